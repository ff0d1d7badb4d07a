"""What crosses the venue seam: what an exchange shows, what it is sent, and what it answers.

Money, price and quantity are `Decimal` where they are booked or sent, `float` where they are
statistics (bars, quotes). Failure is a value here: `Blind`, `Ambiguous`, `NotFound`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

Side = Literal["BUY", "SELL"]
PositionSide = Literal["LONG", "SHORT", "BOTH"]
OrderType = Literal["LIMIT", "MARKET", "STOP_MARKET"]
OrderState = Literal[
    "PREP",
    "LIVE",
    "PARTIAL",
    "FILLED",
    "CANCELED",
    "EXPIRED",
    "REJECTED",
    "UNKNOWN",
    "NEVER",
    "ABANDONED",
]
LegKey = tuple[str, PositionSide]

ZERO = Decimal(0)


# ---------------------------------------------------------------- what the venue says


class Bar(Struct, frozen=True, gc=False):
    """One closed bar; `ts` is its open time."""

    ts: float
    open: float
    high: float
    low: float
    close: float
    volume: float


class Quote(Struct, frozen=True, gc=False):
    """The touch and the mark of one symbol, with the market's own time."""

    ts: float
    bid: float
    ask: float
    mark: float

    @property
    def sound(self) -> bool:
        """Tell whether this can be a market: finite, not crossed, the mark near the touch."""
        return 0 < self.bid <= self.ask < math.inf and self.bid / 2 < self.mark < self.ask * 2


class SymbolRules(Struct, frozen=True, gc=False):
    """What the exchange accepts for one symbol: grids, minima, and whether it trades.

    A MARKET order may be bounded lower than others; a price is held within these multiples of the
    mark. None is a bound that the market does not state.
    """

    tick_size: Decimal
    step_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    min_notional_usd: Decimal
    trading: bool = True
    market_max_qty: Decimal | None = None
    price_down_mult: Decimal | None = None
    price_up_mult: Decimal | None = None


class VenuePosition(Struct, frozen=True, gc=False):
    """One open leg as the venue holds it; `qty` is negative for a short."""

    symbol: str
    position_side: PositionSide
    qty: Decimal
    entry_price: Decimal
    leverage: Decimal | None = None


class VenueOrder(Struct, frozen=True, gc=False):
    """One order as the venue holds it."""

    client_id: str
    venue_order_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    type: OrderType
    qty: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    reduce_only: bool
    close_position: bool
    filled_qty: Decimal
    state: OrderState
    ts: float


class Trade(Struct, frozen=True, gc=False):
    """One execution by the venue's own id; the only source of maker, fee and realized PnL."""

    symbol: str
    trade_id: str
    client_id: str
    venue_order_id: str
    side: Side
    position_side: PositionSide
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    fee_usd: Decimal
    realized_usd: Decimal
    maker: bool
    ts: float


class CashRow(Struct, frozen=True, gc=False):
    """One movement of the wallet that is not a trade, by the venue's own id."""

    cash_id: str
    kind: Literal["start", "funding", "transfer", "fee_asset"]
    asset: str
    amount: Decimal
    symbol: str | None
    ts: float


class Account(Struct, frozen=True):
    """The account at `ts`; a venue returns the same object while nothing in it changed."""

    ts: float
    wallet_usd: Decimal
    positions: tuple[VenuePosition, ...]
    open_orders: tuple[VenueOrder, ...]
    other_assets: Mapping[str, Decimal]


class MarketSnapshot(Struct, frozen=True):
    """One look at market and account.

    `bars` holds only base bars that closed since the previous look (history on the first), oldest
    first; overlap is allowed. `bar_s` is the base bar's length; `lag_s` how old a quote of this
    market is by construction (one bar where the market is known by bars, 0 on real quotes).
    """

    ts: float
    bar_s: int
    lag_s: float
    quotes: Mapping[str, Quote]
    bars: Mapping[str, tuple[Bar, ...]]
    rules: Mapping[str, SymbolRules]
    account: Account


class Blind(Struct, frozen=True):
    """The venue could not be read; nothing is known, and nothing is empty."""

    ts: float
    reason: str


class VenueHealth(Struct, frozen=True):
    """What the venue says of its own connection; None where it has no such thing."""

    clock_offset_ms: float | None = None
    weight_used_1m: float | None = None
    banned_until_ts: float | None = None


# ---------------------------------------------------------------- what goes to the venue


class NewOrder(Struct, frozen=True, gc=False):
    """One order, on the grid, as it is journalled and then sent once."""

    client_id: str
    symbol: str
    side: Side
    position_side: PositionSide
    type: OrderType
    qty: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    reduce_only: bool
    close_position: bool
    post_only: bool
    signed_ts: float


class Accepted(Struct, frozen=True, gc=False):
    """The venue has the order."""

    venue_order_id: str


class Rejected(Struct, frozen=True, gc=False):
    """The venue refused, and the order does not exist."""

    code: str
    reason: str


class Ambiguous(Struct, frozen=True, gc=False):
    """No answer that can be believed: the order may exist."""

    reason: str


class NotFound(Struct, frozen=True, gc=False):
    """The venue answered that it has no such order (now)."""
