"""The values of one tick, in the order in which a tick makes them.

`MarketSnapshot | Blind` → `EngineState` → `Signal` → `OrderIntent` → `Approved | Vetoed` →
`RoutePlan` → `OrderResult` → `TickReport`. Money, price and quantity are `Decimal` where they are
booked or sent and `float` where they are statistics; `book` converts, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from execution.core.guarded import Failed
from execution.core.position_mode import Direction
from execution.core.records import (
    Action,
    Anchors,
    ExitPlan,
    OrderChange,
    Recorded,
    RouteEnd,
    RouteLeg,
    Tuning,
)
from execution.core.seam import (
    Bar,
    Blind,
    MarketSnapshot,
    PositionSide,
    Quote,
    Side,
    SymbolRules,
)
from execution.state_schema.inbox_intent import InboxIntent
from execution.state_schema.strategy_pipe import Want

Tier = Literal["CORE", "SATELLITE", "TACTICAL", "ALT-EXT"]
TradingStateName = Literal["ACTIVE", "REDUCING", "HALTED"]
InboxOutcome = Literal["accepted", "vetoed", "refused"]


# ---------------------------------------------------------------- what we remember


class Position(Struct, frozen=True, gc=False):
    """One open leg, marked, with its plan; `leverage` as the venue says.

    `stop_resting` is whether its stop rests at the venue, so that it holds without this process.
    """

    symbol: str
    position_side: PositionSide
    qty: float
    entry_price: float
    mark_price: float | None
    unrealized_usd: float | None
    notional_usd: float | None
    leverage: float | None
    opened_ts: float | None
    position_id: str | None
    strategy: str | None
    exit: ExitPlan | None
    unprotected_since_ts: float | None
    stop_resting: bool = False


class Doubt(Struct, frozen=True, gc=False):
    """A NAV too far from the last one to be believed, standing since `since_s` on the steady clock."""

    nav_usd: float
    since_s: float


class Book(Struct, frozen=True):
    """The account's numbers of one tick; the floats mean nothing until `known`.

    `doubt` is a NAV that was told and is not believed yet. `cooling_from_s` is when the last
    day-loss stop ended, on the steady clock.
    """

    known: bool = False
    stale: bool = True
    as_of_ts: float | None = None
    blind_since_ts: float | None = None
    blind_reason: str | None = None
    nav_usd: float = 0.0
    wallet_usd: float | None = None
    unrealized_usd: float | None = None
    gross_usd: float | None = None
    net_usd: float | None = None
    drawdown_pct: float | None = None
    day_pnl_usd: float | None = None
    identity_residual_usd: Decimal | None = None
    anchors: Anchors | None = None
    doubt: Doubt | None = None
    cooling_from_s: float | None = None
    positions: tuple[Position, ...] = ()


class Frame(Struct, frozen=True):
    """The newest `keep` closed bars of one symbol at one length, and the bar being built.

    Oldest first; `last_ts` is the open time of the newest base bar folded in.
    """

    bar_s: int
    keep: int
    bars: tuple[Bar, ...] = ()
    building: Bar | None = None
    last_ts: float | None = None


FrameKey = tuple[str, int]


class InboxReply(Struct, frozen=True, gc=False):
    """What there is to say to the writer of the intent `id`."""

    id: str
    outcome: InboxOutcome
    reason: str
    decision_id: str | None = None


class ModuleAnswer(Struct, frozen=True):
    """What a user's module wants on one closed bar."""

    strategy: str
    symbol: str
    bar_open_ts: float
    wants: tuple[Want, ...]


class Outside(Struct, frozen=True):
    """What was heard from outside in one tick, the same for every policy that decides on it.

    `intents` are to be decided, `replies` were answered before that. `failures` are what went wrong
    in this tick; `off` names the strategies that are switched off, with the reason.
    """

    intents: tuple[InboxIntent, ...] = ()
    replies: tuple[InboxReply, ...] = ()
    answers: tuple[ModuleAnswer, ...] = ()
    failures: tuple[Failed, ...] = ()
    off: Mapping[str, str] = {}


class EngineState(Struct, frozen=True):
    """All that one tick hands to the next; no memory is anywhere else.

    `closed` names the frames whose bar closed in this tick. `decided` holds the last bar open time
    that each (strategy, symbol) has answered for. `vetoes` counts by reason since the day began.
    `outside` is this tick's, like `closed`.
    """

    book: Book = Book()
    frames: Mapping[FrameKey, Frame] = {}
    closed: tuple[FrameKey, ...] = ()
    quotes: Mapping[str, Quote] = {}
    rules: Mapping[str, SymbolRules] = {}
    recorded: Recorded = Recorded(day="")
    decided: Mapping[tuple[str, str], float] = {}
    vetoes: Mapping[str, int] = {}
    outside: Outside = Outside()


# ---------------------------------------------------------------- what we decide


class Signal(Struct, frozen=True, gc=False):
    """What one strategy wants on one closed bar; `strength` is in the strategy's own unit.

    `size_frac` is the share of the suite's own size. One from the inbox has its `intent` in place
    of a bar.
    """

    strategy: str
    symbol: str
    position_side: Direction
    action: Literal["entry", "exit"]
    bar_open_ts: float | None
    strength: float
    reason: str
    atr: float | None
    size_frac: float = 1.0
    intent: InboxIntent | None = None


class OrderIntent(Struct, frozen=True):
    """One order that somebody wants, sized and on the quantity grid, before risk.

    `mark_price` is the price it was decided at; all slippage is measured against it.
    """

    decision_id: str
    strategy: str
    symbol: str
    position_side: PositionSide
    side: Side
    action: Action
    qty: Decimal
    mark_price: float
    bar_open_ts: float | None
    reduce_only: bool
    urgent: bool
    reason: str
    exit: ExitPlan | None = None
    position_id: str | None = None
    size_factor: float | None = None


class Breach(Struct, frozen=True, gc=False):
    """One limit that says no; `headroom_usd` is what a smaller order could still have."""

    reason: str
    limit: float | str | None
    observed: float | str | None
    unit: str
    headroom_usd: float | None = None


class Approved(Struct, frozen=True):
    """An intent that risk let through; made by `core.risk.engine` alone."""

    intent: OrderIntent
    qty: Decimal
    clamped_by: str | None = None


class Vetoed(Struct, frozen=True):
    """An intent that risk refused; the first breach is the headline."""

    intent: OrderIntent
    breaches: tuple[Breach, ...]

    @property
    def reason(self) -> str:
        """Name the headline."""
        return self.breaches[0].reason


Verdict = Approved | Vetoed


class RoutePlan(Struct, frozen=True):
    """How an approved intent is worked: its legs, one attempt each, in order.

    With `retry_s` the last leg is tried again after that long, for as long as it is needed.
    `tuning` is None where there was no choice: what is urgent, and stops.
    """

    approved: Approved
    legs: tuple[RouteLeg, ...]
    retry_s: float | None = None
    tuning: Tuning | None = None


class TradingState(Struct, frozen=True):
    """What may be sent now, and why."""

    name: TradingStateName
    reasons: tuple[str, ...] = ()


class Decision(Struct, frozen=True):
    """One intent with its verdict, and the route where it was approved."""

    intent: OrderIntent
    verdict: Verdict
    plan: RoutePlan | None


class Decided(Struct, frozen=True):
    """Everything one policy decided in one tick.

    `answered` are the (strategy, symbol) → bar open times this tick has settled, with or without
    an intent; `signals` every signal seen; `failures` the stages that raised.
    `symbol_trading` holds only the symbols whose state is tighter than the book's. `held_back` says
    why entries in flight, by decision id, may send no further attempt now; `withdrawn` are those
    whose strategy wants out of the leg that they would open.
    """

    trading: TradingState
    symbol_trading: Mapping[str, TradingState] = {}
    decisions: tuple[Decision, ...] = ()
    signals: tuple[Signal, ...] = ()
    answered: Mapping[tuple[str, str], float] = {}
    failures: tuple[Failed, ...] = ()
    held_back: Mapping[str, str] = {}
    withdrawn: frozenset[str] = frozenset()


class OrderResult(Struct, frozen=True):
    """One thing the desk did: an order sent or canceled, and the state it is in now."""

    decision_id: str
    change: OrderChange


Acted = OrderResult | RouteEnd


class TickReport(Struct, frozen=True):
    """The audit value of one tick; everything published is a function of it."""

    now: float
    seen: MarketSnapshot | Blind
    state: EngineState
    live: Decided
    shadow: Decided | None
    results: tuple[Acted, ...]
