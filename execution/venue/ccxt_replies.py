"""The exchange's replies as it shapes them: what must be in each for it to be believed.

A number is finite or the reply is none. What the project does not read is left out.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct, field

Millis = int


class Shape(Struct, frozen=True, rename="camel"):
    """A reply, or a part of one, whose numbers are numbers."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{name} is {value}")


class ServerTime(Shape, frozen=True):
    """GET time."""

    server_time: Millis


# ---------------------------------------------------------------- the market


class RateLimit(Shape, frozen=True):
    """One limit of exchangeInfo."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class SymbolInfo(Shape, frozen=True):
    """One symbol of exchangeInfo; filters are read by their kind."""

    symbol: str
    status: str
    filters: tuple[dict[str, str | int | float | bool | None], ...]


class ExchangeInfo(Shape, frozen=True):
    """GET exchangeInfo."""

    rate_limits: tuple[RateLimit, ...]
    symbols: tuple[SymbolInfo, ...]


class BookTicker(Shape, frozen=True):
    """One touch of GET ticker/bookTicker."""

    symbol: str
    bid_price: Decimal
    ask_price: Decimal
    time: Millis


class PremiumIndex(Shape, frozen=True):
    """One mark of GET premiumIndex."""

    symbol: str
    mark_price: Decimal
    next_funding_time: Millis
    time: Millis


class Kline(Struct, frozen=True, array_like=True):
    """One bar of GET klines."""

    open_time: Millis
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    close_time: Millis


class FundingRate(Shape, frozen=True):
    """One row of GET fundingRate."""

    symbol: str
    funding_rate: Decimal
    funding_time: Millis


# ---------------------------------------------------------------- the account


class Asset(Shape, frozen=True):
    """One balance of the account."""

    asset: str
    wallet_balance: Decimal


class AccountPosition(Shape, frozen=True):
    """One position of the account; its entry price is told by positionRisk alone."""

    symbol: str
    position_side: Literal["LONG", "SHORT", "BOTH"]
    position_amt: Decimal
    update_time: Millis


class AccountInfo(Shape, frozen=True):
    """GET v3/account."""

    assets: tuple[Asset, ...]
    positions: tuple[AccountPosition, ...]
    total_open_order_initial_margin: Decimal


class PositionRisk(Shape, frozen=True):
    """One row of GET v3/positionRisk."""

    symbol: str
    position_side: Literal["LONG", "SHORT", "BOTH"]
    position_amt: Decimal
    entry_price: Decimal


class AccountConfig(Shape, frozen=True):
    """GET accountConfig."""

    dual_side_position: bool
    multi_assets_margin: bool


class SymbolConfig(Shape, frozen=True):
    """One row of GET symbolConfig."""

    symbol: str
    margin_type: str
    leverage: int


class LeverageSet(Shape, frozen=True):
    """POST leverage."""

    symbol: str
    leverage: int


class Done(Shape, frozen=True):
    """POST marginType: a word that it is done."""

    code: int


# ---------------------------------------------------------------- orders, trades, cash


class OrderAck(Shape, frozen=True):
    """What POST and DELETE of an order must say for it to be believed."""

    order_id: int
    client_order_id: str


class OrderInfo(Shape, frozen=True):
    """One order, as GET order, openOrders and allOrders tell it."""

    order_id: int
    client_order_id: str
    symbol: str
    status: str
    side: Literal["BUY", "SELL"]
    position_side: Literal["LONG", "SHORT", "BOTH"]
    type: str
    orig_qty: Decimal
    executed_qty: Decimal
    price: Decimal
    stop_price: Decimal = Decimal(0)
    reduce_only: bool = False
    close_position: bool = False
    time: Millis = 0
    update_time: Millis = 0


class UserTrade(Shape, frozen=True):
    """One row of GET userTrades."""

    id: int
    order_id: int
    symbol: str
    side: Literal["BUY", "SELL"]
    position_side: Literal["LONG", "SHORT", "BOTH"]
    qty: Decimal
    price: Decimal
    commission: Decimal
    commission_asset: str
    realized_pnl: Decimal
    maker: bool
    time: Millis


class Income(Shape, frozen=True):
    """One row of GET income."""

    income_type: str
    income: Decimal
    asset: str
    time: Millis
    tran_id: int | str
    symbol: str = field(default="")
