"""The paper account and its exact arithmetic.

Every amount is rounded to 1e-8 USDT once, when it comes into being, and only added afterwards; so
start + realized + funding - fees + transfers is the wallet to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core.records import CashTotals
from execution.core.seam import (
    ZERO,
    Account,
    CashRow,
    LegKey,
    NewOrder,
    PositionSide,
    Trade,
    VenueOrder,
    VenuePosition,
)

CENT = Decimal("1e-8")
BPS = Decimal(10_000)
ASSET = "USDT"
NO_ASSETS: Mapping[str, Decimal] = {}


class PaperTerms(Struct, frozen=True):
    """What the paper exchange charges and allows.

    `slippage_bps` is beyond the half-spread. The maintenance margin is one rate for every size; the
    liquidation fee is beside the taker's.
    """

    start_usd: Decimal
    maker_fee_bps: Decimal
    taker_fee_bps: Decimal
    slippage_bps: Decimal
    volume_share_frac: Decimal
    leverage: Decimal
    maintenance_margin_pct: Decimal
    liquidation_fee_pct: Decimal


class PaperOrder(Struct, frozen=True, gc=False):
    """An order at the venue; `takes` while it may still cross the spread on its next bar."""

    seen: VenueOrder
    takes: bool


class Leg(Struct, frozen=True, gc=False):
    """One open leg and what it cost, so that partial closes add up; both below 0 for a short."""

    symbol: str
    position_side: PositionSide
    qty: Decimal
    cost_usd: Decimal


class PaperAccount(Struct, frozen=True):
    """All that the account is; `orders` are the open ones by venue id, oldest first.

    `last_id` is the newest id given to an order or a trade.
    """

    wallet_usd: Decimal
    cash: CashTotals
    legs: Mapping[LegKey, Leg] = {}
    orders: Mapping[str, PaperOrder] = {}
    last_id: int = 0


def exact(number: float) -> Decimal:
    """Return the decimal that a float was written as."""
    return Decimal(repr(number))


def usd(amount: Decimal) -> Decimal:
    """Round a new amount to 1e-8; what is booked is booked like this."""
    return amount.quantize(CENT)


def only_reduces(order: NewOrder | VenueOrder) -> bool:
    """Tell whether an order may do nothing but make its leg smaller.

    It says so itself or, in hedge mode, its two sides do.
    """
    closes = {("LONG", "SELL"), ("SHORT", "BUY")}
    return order.reduce_only or order.close_position or (order.position_side, order.side) in closes


def reducible_qty(account: PaperAccount, order: NewOrder | VenueOrder) -> Decimal:
    """Return how much of its leg an order could take off; 0 where it would add to it."""
    leg = account.legs.get((order.symbol, order.position_side))
    if leg is None or (leg.qty > 0) == (order.side == "BUY"):
        return ZERO
    return leg.qty.copy_abs()


def begin(start_usd: Decimal, ts: float) -> tuple[PaperAccount, CashRow]:
    """Open an account with its first deposit."""
    amount = usd(start_usd)
    row = CashRow("start", "start", ASSET, amount, None, ts)
    return PaperAccount(wallet_usd=amount, cash=CashTotals(start_usd=amount)), row


def with_order(account: PaperAccount, order: PaperOrder) -> PaperAccount:
    """Put an order's newest state into the account; one that is done leaves it."""
    orders = dict(account.orders)
    if order.seen.state in {"LIVE", "PARTIAL"}:
        orders[order.seen.venue_order_id] = order
    else:
        orders.pop(order.seen.venue_order_id, None)
    return replace(account, orders=orders)


def fill(
    account: PaperAccount,
    order: VenueOrder,
    qty: Decimal,
    price: Decimal,
    maker: bool,
    ts: float,
    terms: PaperTerms,
) -> tuple[PaperAccount, Trade]:
    """Book one execution of `order`; one that only reduces must not be larger than its leg."""
    notional = usd(price * qty)
    fee = usd(notional * (terms.maker_fee_bps if maker else terms.taker_fee_bps) / BPS)
    leg, realized = _turned(account.legs, order, qty, notional)
    legs = dict(account.legs)
    if leg.qty != 0:
        legs[leg.symbol, leg.position_side] = leg
    else:
        del legs[leg.symbol, leg.position_side]
    trade = Trade(
        symbol=order.symbol,
        trade_id=str(account.last_id + 1),
        client_id=order.client_id,
        venue_order_id=order.venue_order_id,
        side=order.side,
        position_side=order.position_side,
        qty=qty,
        price=price,
        fee=fee,
        fee_asset=ASSET,
        fee_usd=fee,
        realized_usd=realized,
        maker=maker,
        ts=ts,
    )
    after = replace(
        account,
        wallet_usd=account.wallet_usd + realized - fee,
        cash=replace(
            account.cash,
            realized_usd=account.cash.realized_usd + realized,
            fees_usd=account.cash.fees_usd + fee,
        ),
        legs=legs,
        last_id=account.last_id + 1,
    )
    return after, trade


def _turned(
    legs: Mapping[LegKey, Leg], order: VenueOrder, qty: Decimal, notional: Decimal
) -> tuple[Leg, Decimal]:
    """Return the leg after `qty` more or less of it, and what that realized.

    In one-way mode an opposite order first reduces; what is left of it opens the other way.
    """
    nothing = Leg(order.symbol, order.position_side, ZERO, ZERO)
    leg = legs.get((order.symbol, order.position_side), nothing)
    more, worth = (qty, notional) if order.side == "BUY" else (-qty, -notional)
    if leg.qty * more >= 0:
        return replace(leg, qty=leg.qty + more, cost_usd=leg.cost_usd + worth), ZERO
    held_qty = leg.qty.copy_abs()
    if qty > held_qty and only_reduces(order):
        raise ValueError(f"{order.client_id}: {qty} would turn a leg of {leg.qty} around")
    # The last piece takes what is left of the cost: rounding never stays behind.
    cost = leg.cost_usd if qty >= held_qty else usd(leg.cost_usd * qty / held_qty)
    closing = worth if qty <= held_qty else usd(worth * held_qty / qty)
    left_usd = leg.cost_usd - cost + worth - closing
    return replace(leg, qty=leg.qty + more, cost_usd=left_usd), ZERO - closing - cost


def pay_funding(
    account: PaperAccount, symbol: str, mark: Decimal, rate: Decimal, ts: float
) -> tuple[PaperAccount, tuple[CashRow, ...]]:
    """Pay or receive funding on the legs of `symbol`; who is long pays a positive rate."""
    rows = []
    for leg in account.legs.values():
        if leg.symbol != symbol:
            continue
        amount = ZERO - usd(leg.qty * mark * rate)
        cash_id = f"funding:{symbol}:{leg.position_side}:{round(ts * 1000)}"
        rows.append(CashRow(cash_id, "funding", ASSET, amount, symbol, ts))
    if not rows:
        return account, ()
    total = sum((row.amount for row in rows), ZERO)
    after = replace(
        account,
        wallet_usd=account.wallet_usd + total,
        cash=replace(account.cash, funding_usd=account.cash.funding_usd + total),
    )
    return after, tuple(rows)


def show(account: PaperAccount, leverage: Decimal, ts: float) -> Account:
    """Return the account as the venue's clients see it."""
    return Account(
        ts=ts,
        wallet_usd=account.wallet_usd,
        positions=tuple(_position(leg, leverage) for leg in account.legs.values()),
        open_orders=tuple(order.seen for order in account.orders.values()),
        other_assets=NO_ASSETS,
    )


def _position(leg: Leg, leverage: Decimal) -> VenuePosition:
    return VenuePosition(
        symbol=leg.symbol,
        position_side=leg.position_side,
        qty=leg.qty,
        entry_price=usd(leg.cost_usd / leg.qty),
        leverage=leverage,
    )
