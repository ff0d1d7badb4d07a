"""One value per journal event; `event` is the tag, `ts` epoch seconds UTC, `run_id` the writer's.

Records are read leniently (unknown keys pass), because a journal outlives the version that wrote it.
Quantities, prices and USD are floats here: journals feed statistics, the ledger keeps the exact text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from execution.core.records import Action, RouteLeg
from execution.core.seam import PositionSide, Side
from execution.core.types import TradingStateName
from execution.state_schema.envelope import Mode, Text, Ts, V6Flags


class Record(Struct, frozen=True, kw_only=True, tag_field="event"):
    """What every record carries besides its event."""

    ts: Ts
    run_id: Text


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
    """What one strategy saw on one closed bar; an intent from the inbox has none."""

    strategy: str
    symbol: Text
    position_side: PositionSide
    action: Literal["entry", "exit"]
    bar_open_ts: float | None
    strength: float
    reason: str
    atr: float | None


# ---------------------------------------------------------------- series


class NavPoint(Record, frozen=True, kw_only=True, tag="nav", gc=False):
    """The NAV of one minute; a minute in which it was unknown or stale has no point.

    `mode` is whose NAV it is: one journal may hold paper's and, after a change of mode, another's.
    """

    nav_usd: float
    wallet_usd: float | None
    unrealized_usd: float | None
    gross_usd: float | None
    net_usd: float | None
    peak_usd: float | None
    drawdown_pct: float | None
    mode: Mode | None = None


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

    `touch` is null where the symbol had no sound quote. `engine` names version, flags and
    policies (with their mode) of what decided; a record from before it was told has none.
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
    engine: str | None = None


class ShadowHeartbeat(Record, frozen=True, kw_only=True, tag="heartbeat", gc=False):
    """The shadow pipeline is watched, whether or not it decides."""

    reason: str
