"""One value per journal event; `event` is the tag, `ts` epoch seconds UTC, `run_id` the writer's.

Records are read leniently (unknown keys pass), because a journal outlives the version that wrote it.
Quantities, prices and USD are floats here: journals feed statistics, the ledger keeps the exact text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from execution.core.records import Action, RouteLeg, RoutePolicy
from execution.core.seam import OrderState, OrderType, PositionSide, Side
from execution.core.types import TradingStateName
from execution.state_schema.envelope import Count, Text, Ts, V6Flags


class Record(Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every record carries besides its event."""

    ts: Ts
    run_id: Text


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


# ---------------------------------------------------------------- risk_vetoes, signal_metrics


class Veto(Record, frozen=True, kw_only=True, tag="veto", gc=False):
    """A refusal by its headline; `reasons` are all limits that said no, in their order."""

    decision_id: Text
    strategy: str
    symbol: Text
    position_side: PositionSide
    side: Side
    action: Action
    qty: float
    reason: Text
    limit: float | str | None
    observed: float | str | None
    unit: str
    reasons: tuple[str, ...]


class SignalMetric(Record, frozen=True, kw_only=True, tag="signal", gc=False):
    """What one strategy saw on one closed bar."""

    strategy: str
    symbol: Text
    position_side: PositionSide
    action: Literal["entry", "exit"]
    bar_open_ts: float
    strength: float
    reason: str
    atr: float | None


# ---------------------------------------------------------------- series


class NavPoint(Record, frozen=True, kw_only=True, tag="nav", gc=False):
    """The NAV of one minute; a minute in which it was unknown or stale has no point."""

    nav_usd: float
    wallet_usd: float | None
    unrealized_usd: float | None
    gross_usd: float | None
    net_usd: float | None
    peak_usd: float | None
    drawdown_pct: float | None


class BarPoint(Struct, frozen=True, array_like=True, gc=False):
    """One closed base bar, as a list in this order; `ts` is its open time."""

    ts: float
    open: float
    high: float
    low: float
    close: float
    volume: float


class MarkPoint(Record, frozen=True, kw_only=True, tag="mark"):
    """The mark of one symbol in one minute, and its base bars since the point before.

    `quote_ts` is the market's own time, `bar_s` the length of the bars.
    """

    symbol: Text
    mark_price: float
    quote_ts: float
    bar_s: int = 60
    bars: tuple[BarPoint, ...] = ()


# ---------------------------------------------------------------- operations


class FlagsStart(Record, frozen=True, kw_only=True, tag="start"):
    """A process started with these flags."""

    process: Text
    engine_version: Text
    flags: V6Flags


class FlagChange(Record, frozen=True, kw_only=True, tag="change", gc=False):
    """One flag differs from the last start of the same process."""

    process: Text
    flag: Text
    was: bool
    now: bool


class Alert(Record, frozen=True, kw_only=True, tag="alert", gc=False):
    """Something a person should know; `subject` is the stage, symbol or file it is about."""

    severity: Literal["info", "warning", "critical"]
    kind: Text
    subject: str
    text: str
    trading_state: TradingStateName | None = None


class OperatorAct(Record, frozen=True, kw_only=True, tag="act", gc=False):
    """What an operator asked for or did, and what came of it."""

    act: Text
    user: str
    reason: str
    command_id: str | None = None
    outcome: str | None = None


# ---------------------------------------------------------------- the pipelines


class Judgement(Struct, frozen=True, kw_only=True):
    """What one policy made of one decision: `qty` is 0 and `legs` is empty when vetoed."""

    approved: bool
    reason: str | None
    qty: float
    notional_usd: float
    clamped_by: str | None = None
    legs: tuple[RouteLeg, ...] = ()


class Touch(Struct, frozen=True, kw_only=True, gc=False):
    """The market that a decision was made on, with the grids that its orders stand on."""

    bid: float
    ask: float
    tick_size: Decimal
    step_size: Decimal


class ShadowDecision(Record, frozen=True, kw_only=True, tag="decision"):
    """One decision id under both policies; null where that policy wanted nothing.

    `touch` is null where the symbol had no sound quote.
    """

    decision_id: Text
    strategy: str
    symbol: Text
    position_side: PositionSide
    side: Side
    action: Action
    mark_price: float
    touch: Touch | None
    live: Judgement | None
    shadow: Judgement | None


class ShadowHeartbeat(Record, frozen=True, kw_only=True, tag="heartbeat", gc=False):
    """The shadow pipeline is watched, whether or not it decides."""

    reason: str
