"""What the ledger remembers, and what the desk finds in it each tick.

Money, price and quantity are `Decimal`, as they were booked.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from execution.core.seam import ZERO, LegKey, OrderState, OrderType, PositionSide, Side, Trade

Action = Literal["entry", "exit", "protect", "flatten"]
RejectKey = tuple[str, str]


class ExitPlan(Struct, frozen=True, gc=False):
    """How a position ends."""

    stop_price: float
    take_profit_price: float
    deadline_ts: float


class OrderRecord(Struct, frozen=True, gc=False):
    """One order in the ledger; `clean_lookups` counts answers that it is not at the venue."""

    client_id: str
    decision_id: str
    attempt: int
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
    state: OrderState
    filled_qty: Decimal
    signed_ts: float
    deadline_ts: float
    venue_order_id: str | None = None
    code: str | None = None
    foreign: bool = False
    clean_lookups: int = 0


class LegRecord(Struct, frozen=True, gc=False):
    """What the ledger knows about one open leg beyond the venue's numbers."""

    position_id: str
    symbol: str
    position_side: PositionSide
    qty: Decimal
    strategy: str
    opened_ts: float
    exit: ExitPlan | None


class ClosedTrade(Struct, frozen=True, gc=False):
    """One leg from its first fill to flat, from trade records only.

    `entry_usd` is what its opening fills were worth, `risk_usd` what its stop would have lost of
    that; None where it had no plan.
    """

    position_id: str
    symbol: str
    position_side: PositionSide
    strategy: str
    opened_ts: float
    closed_ts: float
    qty: Decimal
    realized_usd: Decimal
    fees_usd: Decimal
    entry_usd: Decimal
    risk_usd: Decimal | None


class CashTotals(Struct, frozen=True, gc=False):
    """The ledger's sums, exact; their total is the wallet the ledger expects."""

    start_usd: Decimal = ZERO
    realized_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    transfers_usd: Decimal = ZERO

    @property
    def wallet_usd(self) -> Decimal:
        """Sum the identity: start + realized + funding - fees + transfers."""
        return (
            self.start_usd
            + self.realized_usd
            + self.funding_usd
            - self.fees_usd
            + self.transfers_usd
        )


class Anchors(Struct, frozen=True, gc=False):
    """The NAVs that drawdown and day loss are measured from, and the last day-loss stop.

    `transfers_usd` are the deposits less the withdrawals that are in them. `stopped_ts` is when the
    stop began while `stopped`, and afterwards when it ended. `resets` counts a person's resets.
    """

    peak_usd: float
    day_start_usd: float
    day: str
    transfers_usd: Decimal = ZERO
    stopped: bool = False
    stopped_ts: float | None = None
    resets: int = 0


class OrderChange(Struct, frozen=True, gc=False):
    """One order that reached another state, for the journals."""

    order: OrderRecord
    was: OrderState
    reason: str


class KillLatch(Struct, frozen=True, gc=False):
    """The operator's stop as it stands on disk; an unreadable file counts as on."""

    on: bool
    reason: str
    ts: float | None = None


class FlattenRequest(Struct, frozen=True, gc=False):
    """An operator's wish to be flat, in one symbol or, with None, in all."""

    request_id: str
    symbol: str | None


class RouteLeg(Struct, frozen=True, gc=False):
    """One way of sending: its order type, where from the touch, and how long it may rest.

    With `budget_bps` it is a limit that crosses, at most so far beyond the decision price. Of the
    post-only orders that the venue refuses as crossing, `refusals` count as no attempt at all.
    """

    type: OrderType
    post_only: bool
    offset_bps: float
    rest_s: float
    budget_bps: float | None = None
    refusals: int = 0


class RoutePolicy(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """How one symbol's orders are worked, in numbers.

    `taker_bias` is the share of the maker's patience that is given up where crossing may follow: 0
    keeps all of it, 1 crosses at once. `offset_bps` is how far behind the touch a quote stands.
    """

    maker_first: bool
    taker_bias: Annotated[float, Meta(ge=0, le=1)]
    offset_bps: Annotated[float, Meta(ge=0, le=50)]


class Tuning(Struct, frozen=True, gc=False):
    """The policy a route was planned by, and the one that `router.toml` configures."""

    configured: RoutePolicy
    used: RoutePolicy


class Route(Struct, frozen=True):
    """An approved intent being worked, as the ledger has it; `order` is its newest attempt.

    `refused` counts the attempts that the venue refused because, post-only, they would have crossed.
    """

    decision_id: str
    strategy: str
    symbol: str
    position_side: PositionSide
    side: Side
    action: Action
    qty: Decimal
    filled_qty: Decimal
    mark_price: float
    reduce_only: bool
    position_id: str | None
    stop_price: float | None
    legs: tuple[RouteLeg, ...]
    retry_s: float | None
    attempts: int
    order: OrderRecord | None
    refused: int = 0
    tuning: Tuning | None = None


class RouteEnd(Struct, frozen=True):
    """One route that is over: its orders and their trades since it was opened, oldest first."""

    route: Route
    opened_ts: float
    orders: tuple[OrderRecord, ...]
    trades: tuple[Trade, ...]


class Settled(Struct, frozen=True):
    """What one reconciliation found; `complete` unless the venue left a question open.

    `unread` are the symbols that differ and whose trades could not be read; `unaccounted` the held
    legs that this ledger cannot account for, until a person has acknowledged them.
    """

    complete: bool
    trades: tuple[Trade, ...] = ()
    closed: tuple[ClosedTrade, ...] = ()
    changes: tuple[OrderChange, ...] = ()
    halts: dict[str, str] = {}
    unread: frozenset[str] = frozenset()
    unaccounted: frozenset[LegKey] = frozenset()


class Recorded(Struct, frozen=True):
    """What `desk.record` found: the ledger's present view, and what is new in it.

    `resting` are the legs whose stop rests at the venue; `protected` are these or, where the venue
    rests none, the legs that have a plan. `unread` are the symbols that differ and whose trades could
    not be read, `unaccounted` the held legs of a missing or older ledger that nobody has acknowledged,
    `halts` says why a symbol is halted, `day` is the present day in the book's own time zone,
    `disarmed` says whether real money would be traded without leave. `steady_s` is the time on the
    clock that nobody sets; on it are the times of recent `entries` by symbol, and of recent `rejects`
    by symbol and code.
    """

    day: str
    steady_s: float = 0.0
    legs: Mapping[LegKey, LegRecord] = {}
    resting: frozenset[LegKey] = frozenset()
    protected: frozenset[LegKey] = frozenset()
    open_orders: tuple[OrderRecord, ...] = ()
    routes: Mapping[str, Route] = {}
    cash: CashTotals = CashTotals()
    anchors: Anchors | None = None
    reconciled_ts: float | None = None
    entries: Mapping[str, tuple[float, ...]] = {}
    rejects: Mapping[RejectKey, tuple[float, ...]] = {}
    halts: Mapping[str, str] = {}
    unread: frozenset[str] = frozenset()
    unaccounted: frozenset[LegKey] = frozenset()
    kill: KillLatch | None = None
    flatten: tuple[FlattenRequest, ...] = ()
    low_disk: bool = False
    disarmed: bool = False
    trades: tuple[Trade, ...] = ()
    closed: tuple[ClosedTrade, ...] = ()
    changes: tuple[OrderChange, ...] = ()
