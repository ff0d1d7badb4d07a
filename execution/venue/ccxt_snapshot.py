"""The exchange's replies → values of the seam. Pure: what cannot be read raises VenueUnavailable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final, Literal

from msgspec.structs import replace

from execution.core.seam import (
    Account,
    Bar,
    CashRow,
    LegKey,
    NewOrder,
    OrderState,
    OrderType,
    Quote,
    SymbolRules,
    Trade,
    VenueOrder,
    VenuePosition,
)
from execution.errors import VenueUnavailable
from execution.venue.ccxt_replies import (
    AccountInfo,
    BookTicker,
    Income,
    Kline,
    OrderInfo,
    PremiumIndex,
    SymbolInfo,
    UserTrade,
)
from execution.venue.ccxt_wire import Params

USDT: Final = "USDT"

STATES: Final[dict[str, OrderState]] = {
    "NEW": "LIVE",
    "PARTIALLY_FILLED": "PARTIAL",
    "FILLED": "FILLED",
    "CANCELED": "CANCELED",
    "EXPIRED": "EXPIRED",
    "EXPIRED_IN_MATCH": "EXPIRED",
    "REJECTED": "REJECTED",
    # A liquidation's own orders, while they are worked.
    "NEW_INSURANCE": "LIVE",
    "NEW_ADL": "LIVE",
}
TYPES: Final[dict[str, OrderType]] = {"LIMIT": "LIMIT", "MARKET": "MARKET"}
# Fees and results of trades are booked from the trades themselves, by their ids.
OF_TRADES: Final = ("REALIZED_PNL", "COMMISSION")

KINDS: Final[dict[str, Literal["funding", "fee_asset"]]] = {
    "FUNDING_FEE": "funding",
    "COMMISSION": "fee_asset",
}


# ---------------------------------------------------------------- rules


def rules(info: SymbolInfo) -> SymbolRules | None:
    """Return what the exchange accepts for a symbol; None where its grids are no numbers above 0."""
    found = {str(each.get("filterType")): each for each in info.filters}
    lot, market = found.get("LOT_SIZE", {}), found.get("MARKET_LOT_SIZE", {})
    tick = _number(found.get("PRICE_FILTER", {}).get("tickSize"))
    step, least = _number(lot.get("stepSize")), _number(lot.get("minQty"))
    most = _number(lot.get("maxQty"))
    notional = _number(found.get("MIN_NOTIONAL", {}).get("notional"))
    if not (tick and step and least and most and notional):
        return None
    band = found.get("PERCENT_PRICE", {})
    return SymbolRules(
        tick_size=tick,
        step_size=step,
        min_qty=least,
        max_qty=most,
        min_notional_usd=notional,
        trading=info.status == "TRADING",
        market_max_qty=_number(market.get("maxQty")),
        price_down_mult=_number(band.get("multiplierDown")),
        price_up_mult=_number(band.get("multiplierUp")),
    )


def closed(before: SymbolRules) -> SymbolRules:
    """Return the rules of a symbol that trades no more: what is held must still find its grid."""
    return replace(before, trading=False)


def _number(value: str | float | bool | None) -> Decimal | None:
    """Return a number above 0; everything else is None."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


# ---------------------------------------------------------------- prices


def quote(book: BookTicker, mark: PremiumIndex, offset_s: float) -> Quote:
    """Return touch and mark, as old as the older of the two, on the local clock."""
    return Quote(
        ts=min(book.time, mark.time) / 1000 - offset_s,
        bid=float(book.bid_price),
        ask=float(book.ask_price),
        mark=float(mark.mark_price),
    )


def bars(klines: Iterable[Kline], now: float) -> tuple[Bar, ...]:
    """Return the bars that are closed by `now`, the exchange's time, once each and oldest first."""
    closed = {kline.open_time: kline for kline in klines if kline.close_time < now * 1000}
    return tuple(
        Bar(
            ts=kline.open_time / 1000,
            open=float(kline.open),
            high=float(kline.high),
            low=float(kline.low),
            close=float(kline.close),
            volume=float(kline.volume),
        )
        for _, kline in sorted(closed.items())
    )


# ---------------------------------------------------------------- the account


def account(
    info: AccountInfo,
    entries: Mapping[LegKey, Decimal],
    leverage: Mapping[str, int],
    open_orders: tuple[VenueOrder, ...],
    ts: float,
) -> Account:
    """Return the account at `ts`, the exchange's time; without a USDT balance nothing is known."""
    assets = {each.asset: each.wallet_balance for each in info.assets}
    if USDT not in assets:
        raise VenueUnavailable("the account shows no USDT balance")
    legs = [(held.symbol, held.position_side) for held in info.positions]
    if len(assets) < len(info.assets) or len(set(legs)) < len(legs):
        raise VenueUnavailable("the account shows a balance or a position twice")
    wallet_usd = assets.pop(USDT)
    positions = []
    for held in info.positions:
        if held.position_amt == 0:
            continue
        multiple = leverage.get(held.symbol)
        positions.append(
            VenuePosition(
                symbol=held.symbol,
                position_side=held.position_side,
                qty=held.position_amt,
                entry_price=entries[held.symbol, held.position_side],
                leverage=None if multiple is None else Decimal(multiple),
            )
        )
    others = {asset: amount for asset, amount in assets.items() if amount != 0}
    return Account(ts, wallet_usd, tuple(positions), open_orders, others)


def order(info: OrderInfo) -> VenueOrder:
    """Return one order; conditional ones of whatever kind are stops here."""
    state = STATES.get(info.status)
    if state is None:
        raise VenueUnavailable(f"order {info.order_id} is in an unknown state {info.status[:40]!r}")
    return VenueOrder(
        client_id=info.client_order_id,
        venue_order_id=str(info.order_id),
        symbol=info.symbol,
        side=info.side,
        position_side=info.position_side,
        type=TYPES.get(info.type, "STOP_MARKET"),
        qty=info.orig_qty,
        price=info.price or None,
        stop_price=info.stop_price or None,
        reduce_only=info.reduce_only,
        close_position=info.close_position,
        filled_qty=info.executed_qty,
        state=state,
        ts=(info.time or info.update_time) / 1000,
    )


def trade(row: UserTrade, client_id: str, fee_price_usd: Decimal) -> Trade:
    """Return one execution; `fee_price_usd` is the fee asset's price when it filled."""
    fee_usd = row.commission * fee_price_usd
    return Trade(
        symbol=row.symbol,
        trade_id=str(row.id),
        client_id=client_id,
        venue_order_id=str(row.order_id),
        side=row.side,
        position_side=row.position_side,
        qty=row.qty,
        price=row.price,
        fee=row.commission,
        fee_asset=row.commission_asset,
        fee_usd=fee_usd,
        realized_usd=row.realized_pnl,
        maker=row.maker,
        ts=row.time / 1000,
    )


def cash(row: Income) -> CashRow | None:
    """Return one movement of a wallet; None for what the trades book already."""
    if row.income_type in OF_TRADES and row.asset == USDT:
        return None
    return CashRow(
        cash_id=f"{row.income_type}:{row.tran_id}:{row.asset}:{row.symbol}",
        kind=KINDS.get(row.income_type, "transfer"),
        asset=row.asset,
        amount=row.income,
        symbol=row.symbol or None,
        ts=row.time / 1000,
    )


# ---------------------------------------------------------------- what is sent


def plain(number: Decimal) -> str:
    """Write a number as the exchange reads it: plain digits, no exponent, no tail of zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def order_params(order: NewOrder, *, hedge: bool) -> Params:
    """Return the wire's form of an order.

    In hedge mode side and position side say whether it reduces, and the exchange refuses to be told
    twice.
    """
    params: dict[str, str | int | bool] = {
        "symbol": order.symbol,
        "side": order.side,
        "type": order.type,
        "quantity": plain(order.qty),
        "newClientOrderId": order.client_id,
        "newOrderRespType": "ACK",
    }
    if order.price is not None:
        params["price"] = plain(order.price)
        params["timeInForce"] = "GTX" if order.post_only else "GTC"
    # Also BOTH, in one-way mode: the exchange then refuses an order that was meant for another mode.
    params["positionSide"] = order.position_side
    if order.reduce_only and not hedge:
        params["reduceOnly"] = "true"
    return params
