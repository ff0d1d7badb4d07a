"""What one closed bar does to the orders of its symbol.

A bar tells its four prices but not their order, so the account is given the worse reading: stops go
first and pay the gap, takers pay half-spread and slippage on the open, and a resting order fills
only when price traded through it, with a share of the bar's volume. No fill is outside the bar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core.seam import Bar, Side, SymbolRules, Trade, VenueOrder
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


class Conditions(Struct, frozen=True):
    """One bar as orders meet it; `cross_frac` is half-spread and slippage together."""

    close_ts: float
    open: Decimal
    high: Decimal
    low: Decimal
    volume_qty: Decimal
    cross_frac: Decimal
    rules: SymbolRules


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
        rules=rules,
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
        qty = min(qty, volume_qty // bar.rules.step_size * bar.rules.step_size)
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
        return crossed(seen.side, bar.open, bar), False
    if seen.stop_price is not None:
        return _stopped(seen.side, seen.stop_price, bar), False
    if seen.price is None:
        return None, False
    if order.takes:
        price = crossed(seen.side, bar.open, bar)
        if price <= seen.price if seen.side == "BUY" else price >= seen.price:
            return price, False
    return _traded_through(seen.side, seen.price, bar), True


def _stopped(side: Side, stop: Decimal, bar: Conditions) -> Decimal | None:
    # A bar that opens beyond the stop fills from its open: the gap is the account's.
    if side == "SELL":
        return crossed(side, min(stop, bar.open), bar) if bar.low <= stop else None
    return crossed(side, max(stop, bar.open), bar) if bar.high >= stop else None


def _traded_through(side: Side, price: Decimal, bar: Conditions) -> Decimal | None:
    # A bar that gapped past the order never traded at its price; the nearest it did is the fill.
    if side == "BUY":
        return min(price, bar.high) if bar.low < price else None
    return max(price, bar.low) if bar.high > price else None


def crossed(side: Side, base: Decimal, bar: Conditions) -> Decimal:
    """Return what a taker pays at `base`: on the tick against it, and not outside the bar."""
    tick = bar.rules.tick_size
    if side == "BUY":
        price = _snap(base * (1 + bar.cross_frac), tick, ROUND_CEILING)
        if price > bar.high:
            price = _snap(bar.high, tick, ROUND_FLOOR)
        return price if price >= base else bar.high
    price = _snap(base * (1 - bar.cross_frac), tick, ROUND_FLOOR)
    if price < bar.low:
        price = _snap(bar.low, tick, ROUND_CEILING)
    return price if price <= base else bar.low


def _snap(price: Decimal, tick: Decimal, rounding: str) -> Decimal:
    return (price / tick).to_integral_value(rounding) * tick
