"""What one closed bar does to the orders of its symbol: stops first, then takers, then who rests.

At what price is said by `core.fill_rules`; a resting order fills with a share of the bar's volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core import fill_rules
from execution.core.fill_rules import Conditions
from execution.core.seam import Bar, SymbolRules, Trade, VenueOrder
from execution.venue import paper_account
from execution.venue.paper_account import (
    BPS,
    PaperAccount,
    PaperOrder,
    PaperTerms,
    exact,
    only_reduces,
    reducible_qty,
)

# Below the first or above the second, a bar cannot touch any order of its symbol.
Reach = tuple[float, float]

_TURN = {"STOP_MARKET": 0, "MARKET": 1, "LIMIT": 2}


class Matched(Struct, frozen=True):
    """The account after a bar, each order that it changed, and its trades."""

    account: PaperAccount
    orders: tuple[PaperOrder, ...]
    trades: tuple[Trade, ...]


def conditions(
    bar: Bar, bar_s: int, rules: SymbolRules, half_spread_bps: float, terms: PaperTerms
) -> Conditions:
    """Read a bar into exact numbers."""
    return Conditions(
        close_ts=bar.ts + bar_s,
        open=exact(bar.open),
        high=exact(bar.high),
        low=exact(bar.low),
        volume_qty=exact(bar.volume) * terms.volume_share_frac,
        cross_frac=(exact(half_spread_bps) + terms.slippage_bps) / BPS,
        tick_size=rules.tick_size,
        step_size=rules.step_size,
    )


def reaches(orders: Iterable[PaperOrder]) -> dict[str, Reach]:
    """Return how far a bar must reach to touch an order, by symbol.

    Quiet bars are told apart by two comparisons of floats; a bar that reaches is matched exactly.
    """
    found: dict[str, Reach] = {}
    for order in orders:
        symbol = order.seen.symbol
        low, high = found.get(symbol, (-math.inf, math.inf))
        seen = order.seen
        trigger = seen.stop_price if seen.type == "STOP_MARKET" else seen.price
        if order.takes or trigger is None:
            found[symbol] = (math.inf, high)
        elif (seen.side == "BUY") == (seen.type == "LIMIT"):
            found[symbol] = (max(low, float(trigger)), high)
        else:
            found[symbol] = (low, min(high, float(trigger)))
    return found


def match(account: PaperAccount, symbol: str, bar: Conditions, terms: PaperTerms) -> Matched:
    """Let one bar meet the orders of `symbol` that were there before it closed."""
    waiting = [
        order
        for order in account.orders.values()
        if order.seen.symbol == symbol and order.seen.ts < bar.close_ts
    ]
    changed: list[PaperOrder] = []
    trades: list[Trade] = []
    volume_qty = bar.volume_qty
    # The sort is stable: within a kind, who came first goes first.
    for order in sorted(waiting, key=lambda order: _TURN[order.seen.type]):
        account, after, trade = _meet(account, order, bar, volume_qty, terms)
        if after != order:
            account = paper_account.with_order(account, after)
            changed.append(after)
        if trade is not None:
            trades.append(trade)
            volume_qty -= trade.qty if trade.maker else 0
    return Matched(account, tuple(changed), tuple(trades))


def _meet(
    account: PaperAccount,
    order: PaperOrder,
    bar: Conditions,
    volume_qty: Decimal,
    terms: PaperTerms,
) -> tuple[PaperAccount, PaperOrder, Trade | None]:
    seen = order.seen
    price, maker = _price(order, bar)
    # What did not cross on its first bar rests from then on.
    rests = PaperOrder(seen, takes=False) if order.takes else order
    if price is None:
        return account, rests, None
    held = None
    qty = seen.qty - seen.filled_qty
    if only_reduces(seen):
        # Never more than the leg holds at this moment: a close can neither enlarge nor flip.
        held = reducible_qty(account, seen)
        if held == 0:
            return account, PaperOrder(replace(seen, state="EXPIRED"), takes=False), None
        qty = held if seen.close_position else min(qty, held)
    if maker:
        qty = min(qty, volume_qty // bar.step_size * bar.step_size)
    if qty <= 0:
        return account, rests, None
    account, trade = paper_account.fill(account, seen, qty, price, maker, bar.close_ts, terms)
    return account, PaperOrder(_filled(seen, qty, qty == held), takes=False), trade


def _filled(order: VenueOrder, qty: Decimal, exhausted: bool) -> VenueOrder:
    """Return the order after a fill; `exhausted` when nothing is left to reduce."""
    if order.close_position:
        return replace(order, qty=qty, filled_qty=qty, state="FILLED")
    filled = order.filled_qty + qty
    if filled == order.qty:
        return replace(order, filled_qty=filled, state="FILLED")
    if exhausted or order.type != "LIMIT":
        return replace(order, filled_qty=filled, state="EXPIRED")
    return replace(order, filled_qty=filled, state="PARTIAL")


# ---------------------------------------------------------------- prices


def _price(order: PaperOrder, bar: Conditions) -> tuple[Decimal | None, bool]:
    """Return at what price the bar fills the order, None when it does not, and whether as maker."""
    seen = order.seen
    if seen.type == "MARKET":
        return fill_rules.crossed(seen.side, bar.open, bar), False
    if seen.stop_price is not None:
        return fill_rules.stopped(seen.side, seen.stop_price, bar), False
    if seen.price is None:
        return None, False
    return fill_rules.limited(seen.side, seen.price, bar, takes=order.takes)
