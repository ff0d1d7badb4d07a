"""What the ledger remembers, and what the desk finds in it each tick.

Money, price and quantity are `Decimal`, as they were booked.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from execution.core.seam import ZERO, LegKey, OrderState, OrderType, PositionSide, Side, Trade

Action = Literal["entry", "exit", "protect", "flatten"]


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
    """One leg from its first fill to flat, from trade records only."""

    position_id: str
    symbol: str
    position_side: PositionSide
    strategy: str
    opened_ts: float
    closed_ts: float
    qty: Decimal
    realized_usd: Decimal
    fees_usd: Decimal


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
    """The NAVs that drawdown and day loss are measured from."""

    peak_usd: float
    day_start_usd: float
    day: str


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
    """One way of sending: its order type, where from the touch, and how long it may rest."""

    type: OrderType
    post_only: bool
    offset_bps: float
    rest_s: float


class Route(Struct, frozen=True):
    """An approved intent being worked, as the ledger has it; `order` is its newest attempt."""

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
    rests none, the legs that have a plan. `entries` holds the times of recent entries by symbol,
    `unread` the symbols that differ and whose trades could not be read, `unaccounted` the held legs
    of a missing or older ledger that nobody has acknowledged, `halts` why a symbol is halted, `day` the present day in the book's own time zone, `disarmed` whether real money would be
    traded without leave.
    """

    day: str
    legs: Mapping[LegKey, LegRecord] = {}
    resting: frozenset[LegKey] = frozenset()
    protected: frozenset[LegKey] = frozenset()
    open_orders: tuple[OrderRecord, ...] = ()
    routes: Mapping[str, Route] = {}
    cash: CashTotals = CashTotals()
    anchors: Anchors | None = None
    reconciled_ts: float | None = None
    entries: Mapping[str, tuple[float, ...]] = {}
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
