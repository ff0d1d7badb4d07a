"""What the journals say of orders: what was wanted, what became of it, and what it cost.

Quantities, prices and USD are floats here: journals feed statistics, the ledger keeps the exact text.
"""

from __future__ import annotations

from typing import Literal

from execution.core.records import Action, RoutePolicy
from execution.core.seam import OrderState, OrderType, PositionSide, Side
from execution.state_schema.envelope import Count, Text
from execution.state_schema.journals import Record

# ---------------------------------------------------------------- orders_attempted


class Intent(Record, frozen=True, kw_only=True, tag="intent", gc=False):
    """An order that was wanted, after sizing and before risk."""

    decision_id: Text
    strategy: str
    symbol: Text
    position_side: PositionSide
    side: Side
    action: Action
    qty: float
    mark_price: float
    notional_usd: float
    reduce_only: bool
    urgent: bool
    reason: str
    bar_open_ts: float | None
    size_factor: float | None
    position_id: str | None
    stop_price: float | None
    take_profit_price: float | None
    deadline_ts: float | None


# ---------------------------------------------------------------- orders_executed


class OrderFacts(Record, frozen=True, kw_only=True, gc=False):
    """What every event of one order says of the order."""

    decision_id: str
    client_id: Text
    attempt: int
    symbol: Text
    side: Side
    position_side: PositionSide
    type: OrderType
    qty: float
    filled_qty: float
    price: float | None
    stop_price: float | None
    reduce_only: bool
    foreign: bool
    state: OrderState
    was: OrderState
    reason: str
    venue_order_id: str | None


class Ack(OrderFacts, frozen=True, kw_only=True, tag="ack", gc=False):
    """The venue has the order."""


class Cancel(OrderFacts, frozen=True, kw_only=True, tag="cancel", gc=False):
    """The order ended unfilled, or only partly filled: canceled or expired."""


class Reject(OrderFacts, frozen=True, kw_only=True, tag="reject", gc=False):
    """The venue refused; the order does not exist."""

    code: str | None


class Unknown(OrderFacts, frozen=True, kw_only=True, tag="unknown", gc=False):
    """Nobody knows whether the order exists."""


class Resolved(OrderFacts, frozen=True, kw_only=True, tag="resolved", gc=False):
    """An unknown order's fate is known now: `state`."""


class Fill(Record, frozen=True, kw_only=True, tag="fill", gc=False):
    """One trade of the venue; `decision_id` is null for an order that is not ours."""

    decision_id: str | None
    client_id: str
    trade_id: Text
    venue_order_id: str
    symbol: Text
    side: Side
    position_side: PositionSide
    qty: float
    price: float
    fee_usd: float
    realized_usd: float
    maker: bool
    trade_ts: float


class Close(Record, frozen=True, kw_only=True, tag="close", gc=False):
    """A leg went flat; `realized_usd` is before `fees_usd`.

    `entry_usd` is what it was opened for, `risk_usd` what its stop would have lost, `regime` the
    symbol's when it ended; None where it is not known.
    """

    position_id: Text
    strategy: str
    symbol: Text
    position_side: PositionSide
    opened_ts: float
    closed_ts: float
    qty: float
    realized_usd: float
    fees_usd: float
    entry_usd: float | None = None
    risk_usd: float | None = None
    regime: str | None = None


OrderEvent = Ack | Fill | Close | Cancel | Reject | Unknown | Resolved


# ---------------------------------------------------------------- order_metrics


class FillMetric(Record, frozen=True, kw_only=True, tag="fill", gc=False):
    """What one trade cost, and how it was reached; null is what is not known of it.

    `slippage_bps` is against `decision_price`, positive when worse for us; `offset_bps` is how far
    the limit price stood from `decision_price`, positive away from the market.
    """

    decision_id: str | None
    client_id: str
    trade_id: Text
    symbol: Text
    side: Side
    position_side: PositionSide
    route: Literal["maker", "taker"]
    type: OrderType | None
    attempt: int | None
    qty: float
    price: float
    fees_usd: float
    decision_price: float | None
    slippage_bps: float | None
    offset_bps: float | None
    sent_ts: float | None
    filled_ts: float
    wait_s: float | None


class RouteMetric(Record, frozen=True, kw_only=True, tag="route"):
    """What one finished route came to, from its trades; null is what nothing was traded to tell.

    `slippage_bps` is the average price against `decision_price`, positive when worse for us, and
    `cost_bps` is that plus the fees. A route that no policy chose (urgent, or a stop) has no
    `policy`; `policy_configured` is what `router.toml` says, before any tuning. `quoted` when at
    least one post-only order was sent.
    """

    decision_id: str
    strategy: str
    symbol: Text
    position_side: PositionSide
    side: Side
    action: Action
    outcome: Literal["filled", "partial", "unfilled"]
    qty: float
    filled_qty: float
    maker_qty: float
    taker_qty: float
    filled_usd: float
    fees_usd: float
    decision_price: float | None
    average_price: float | None
    slippage_bps: float | None
    fee_bps: float | None
    cost_bps: float | None
    opened_ts: float
    time_to_fill_s: float | None
    attempts: Count
    quoted: bool
    requotes: Count
    rejects: dict[str, Count]
    policy: RoutePolicy | None
    policy_configured: RoutePolicy | None


class PolicyChange(Record, frozen=True, kw_only=True, tag="policy", gc=False):
    """The routing of one symbol was changed by what autotune suggested, from this moment on."""

    symbol: Text
    before: RoutePolicy
    after: RoutePolicy
    risk_mode: Text
    quality: Text
    rationale: tuple[str, ...]


OrderMetric = FillMetric | RouteMetric | PolicyChange
