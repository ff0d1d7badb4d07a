"""How a paper account ends that cannot keep its positions: the exchange closes them, and it goes on.

With cross margin every leg stands for every other. Where the wallet and what is unrealized fall to
the maintenance margin, the open orders are canceled and all legs are closed, for the taker's fee and
the liquidation's. A loss beyond the wallet is the insurance fund's.
"""

from __future__ import annotations

import math
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core.fill_rules import Conditions, crossed
from execution.core.seam import ZERO, CashRow, Trade, VenueOrder
from execution.venue import paper_account
from execution.venue.paper_account import ASSET, BPS, Leg, PaperAccount, PaperOrder, PaperTerms
from execution.venue.paper_margin import Marks
from execution.venue.paper_matching import Reach

# How the exchange names the orders by which it closes what is somebody's.
CLIENT_ID = "autoclose-"


class Liquidated(Struct, frozen=True):
    """The account afterwards, and what was done to it."""

    account: PaperAccount
    orders: tuple[PaperOrder, ...]
    trades: tuple[Trade, ...]
    cash: tuple[CashRow, ...]


class _Stake(Struct, frozen=True):
    """What the legs of one symbol hang on: at price p their surplus is `slope * p - base_usd`.

    The surplus is the gain less the maintenance margin; in hedge mode two legs may nearly cancel.
    """

    slope: Decimal
    base_usd: Decimal


def _stakes(account: PaperAccount, terms: PaperTerms) -> dict[str, _Stake]:
    kept_frac = terms.maintenance_margin_pct / 100
    stakes: dict[str, _Stake] = {}
    for leg in account.legs.values():
        before = stakes.get(leg.symbol, _Stake(ZERO, ZERO))
        slope = leg.qty - leg.qty.copy_abs() * kept_frac
        stakes[leg.symbol] = _Stake(before.slope + slope, before.base_usd + leg.cost_usd)
    return stakes


def reaches(account: PaperAccount, terms: PaperTerms) -> dict[str, Reach]:
    """Return, by symbol, the prices within which no liquidation can be due.

    Each symbol may lose its equal share of the wallet; while none loses more, all of them together
    have not lost it.
    """
    stakes = _stakes(account, terms)
    found: dict[str, Reach] = {}
    for symbol, stake in stakes.items():
        if stake.slope == 0:
            found[symbol] = (math.inf, math.inf)  # every bar is looked at
            continue
        edge = float((stake.base_usd - account.wallet_usd / len(stakes)) / stake.slope)
        falls = stake.slope > 0
        found[symbol] = (edge, math.inf) if falls else (-math.inf, edge)
    return found


def liquidate(
    account: PaperAccount, symbol: str, bar: Conditions, marks: Marks, terms: PaperTerms
) -> Liquidated | None:
    """Close everything where a bar of `symbol` brings it so far; None where it does not.

    The bar is read to the account's disadvantage, up to its worst price; the other symbols stand at
    their marks.
    """
    stakes = _stakes(account, terms)
    stake = stakes.pop(symbol, None)
    if stake is None:
        return None
    rest_usd = account.wallet_usd - stake.base_usd
    for other, held in stakes.items():
        # A leg without a mark has neither gained nor lost; it is closed at what it cost.
        at = marks.get(other)
        rest_usd += ZERO if at is None else held.slope * at - held.base_usd
    worst = bar.low if stake.slope > 0 else bar.high
    if stake.slope * worst + rest_usd > 0:
        return None
    price = bar.open
    if stake.slope != 0:
        due = -rest_usd / stake.slope
        price = min(bar.open, due) if stake.slope > 0 else max(bar.open, due)
    return _close_all(account, symbol, price, bar, marks, terms)


def _close_all(
    account: PaperAccount,
    symbol: str,
    price: Decimal,
    bar: Conditions,
    marks: Marks,
    terms: PaperTerms,
) -> Liquidated:
    orders = [
        PaperOrder(replace(order.seen, state="CANCELED"), takes=False)
        for order in account.orders.values()
    ]
    account = replace(account, orders={})
    fees = replace(terms, taker_fee_bps=terms.taker_fee_bps + terms.liquidation_fee_pct * BPS / 100)
    trades = []
    for leg in tuple(account.legs.values()):
        order = _closing(leg, account.last_id + 1, bar.close_ts)
        account = replace(account, last_id=account.last_id + 1)
        if leg.symbol == symbol:
            at = crossed(order.side, price, bar)
        else:
            at = marks.get(leg.symbol, leg.cost_usd / leg.qty)
        account, trade = paper_account.fill(
            account, order, order.qty, at, maker=False, ts=bar.close_ts, terms=fees
        )
        orders.append(PaperOrder(order, takes=False))
        trades.append(trade)
    account, cash = _insured(account, bar.close_ts)
    return Liquidated(account, tuple(orders), tuple(trades), cash)


def _closing(leg: Leg, number: int, ts: float) -> VenueOrder:
    qty = leg.qty.copy_abs()
    return VenueOrder(
        client_id=f"{CLIENT_ID}{number}",
        venue_order_id=str(number),
        symbol=leg.symbol,
        side="SELL" if leg.qty > 0 else "BUY",
        position_side=leg.position_side,
        type="MARKET",
        qty=qty,
        price=None,
        stop_price=None,
        reduce_only=True,
        close_position=False,
        filled_qty=qty,
        state="FILLED",
        ts=ts,
    )


def _insured(account: PaperAccount, ts: float) -> tuple[PaperAccount, tuple[CashRow, ...]]:
    """Bring a wallet that went below 0 back to it."""
    if account.wallet_usd >= 0:
        return account, ()
    row = CashRow(
        f"insurance:{account.last_id}", "transfer", ASSET, -account.wallet_usd, symbol=None, ts=ts
    )
    transfers_usd = account.cash.transfers_usd + row.amount
    return replace(
        account, wallet_usd=ZERO, cash=replace(account.cash, transfers_usd=transfers_usd)
    ), (row,)
