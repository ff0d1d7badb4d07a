"""The production executor with one deliberate mistake each; the simulation must catch every one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from execution.clock import Clock
from execution.core import orders
from execution.core.policy import Policy
from execution.core.records import OrderChange, OrderRecord, Recorded, Route
from execution.core.seam import (
    Accepted,
    Account,
    Ambiguous,
    Blind,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Rejected,
    Trade,
)
from execution.ledger import Ledger
from execution.locks import Lock
from execution.order_desk import OrderDesk
from execution.reconciler import OVERLAP_S, Reconciler
from tests.simulation.node import Parts


class SendBeforeJournal(Parts):
    """The order goes out first, and is written down when the answer is there."""

    class Desk(OrderDesk):
        def _send(self, route: Route, order: NewOrder, now: float) -> OrderChange:
            answer = self._venue.submit(order)
            again = _Answered(self._venue, answer)
            venue, self._venue = self._venue, again
            try:
                return super()._send(route, order, now)
            finally:
                self._venue = venue

    desk = Desk


class NoDurability(Parts):
    """The ledger's commits return before they are on the disk."""

    durable = False


class RetrySameId(Parts):
    """A request without an answer is sent again as it was."""

    class Desk(OrderDesk):
        def _send(self, route: Route, order: NewOrder, now: float) -> OrderChange:
            venue, self._venue = self._venue, _Retrying(self._venue)
            try:
                return super()._send(route, order, now)
            finally:
                self._venue = venue

    desk = Desk


class RetryNewId(Parts):
    """A request without an answer is followed by the next attempt at once, journalled and all."""

    class Desk(OrderDesk):
        def _send(self, route: Route, order: NewOrder, now: float) -> OrderChange:
            change = super()._send(route, order, now)
            if change.order.state != "UNKNOWN":
                return change
            attempt = route.attempts + 2
            again = replace(
                order, client_id=orders.client_id(self._mode, route.decision_id, attempt)
            )
            return super()._send(replace(route, attempts=attempt - 1), again, now)

    desk = Desk


class NotFoundIsNever(Parts):
    """The first answer that there is no such order is believed."""

    class Reconciler(Reconciler):
        def _look_up(
            self, order: OrderRecord, account: Account, agreed: bool
        ) -> OrderChange | Blind | None:
            change = super()._look_up(order, account, agreed)
            after = order if not isinstance(change, OrderChange) else change.order
            if isinstance(change, Blind) or after.state != "UNKNOWN" or order.filled_qty > 0:
                return change
            if isinstance(self._venue.find_order(order.symbol, order.client_id), NotFound):
                return self._ledger.move_order(after, "NEVER", "not found")
            return change

    reconciler = Reconciler


class NoMemoryOfEntries(Parts):
    """A start begins with a clean sheet: what was entered before it counts in no rate."""

    class Ledger(Ledger):
        def entries(self, since_ts: float, after_row: int = 0) -> list[tuple[str, float]]:
            return super().entries(since_ts, after_row) if after_row else []

    ledger = Ledger


class EagerFillWatermark(Parts):
    """Trades are read on from the moment of the last reading, as if none came late."""

    class Ledger(Ledger):
        def __init__(self, file: Any) -> None:
            super().__init__(file)
            self._read_until: dict[str, float] = {}

        def add_trades(self, trades: Iterable[Trade]) -> Any:
            heard = tuple(trades)
            for trade in heard:
                newest = max(trade.ts, self._read_until.get(trade.symbol, 0.0))
                self._read_until[trade.symbol] = newest
            return super().add_trades(heard)

        def last_trade_ts(self, symbol: str) -> float:
            newest = self._read_until.get(symbol, super().last_trade_ts(symbol))
            return newest + 1e-6 + OVERLAP_S

    ledger = Ledger


class NoGateOnUnknown(Parts):
    """Entries go on while an order of their symbol is in doubt."""

    class Desk(OrderDesk):
        def record(self, seen: MarketSnapshot | Blind, now: float) -> Recorded:
            found = super().record(seen, now)
            shown = tuple(
                replace(order, state="LIVE") if order.state in ("UNKNOWN", "PREP") else order
                for order in found.open_orders
            )
            return replace(found, open_orders=shown)

        def _is_held_back(self, route: Route, live: Any) -> bool:
            return route.decision_id in live.held_back

    desk = Desk


class NoStalenessGate(Parts):
    """Numbers of any age are good enough."""

    def policy(self, policy: Policy) -> Policy:
        fresh = replace(
            policy.limits.freshness,
            nav_max_age_s=1e9,
            market_max_age_s=1e9,
            reconciliation_max_age_s=1e9,
        )
        return replace(policy, limits=replace(policy.limits, freshness=fresh))


class NoLock(Parts):
    """Nobody asks whether another executor runs."""

    def lock(self, path: Path) -> Lock | None:  # noqa: ARG002  it is the point
        return None


class NoFillDedupe(Parts):
    """A trade that is told twice is booked twice."""

    class Ledger(Ledger):
        def _is_booked(self, trade: Trade) -> bool:  # noqa: ARG002  it is the point
            return False

        def _insert(self, table: str, value: Struct, conflict: str = "ABORT") -> bool:
            if isinstance(value, Trade) and super()._is_booked(value):
                copies = self._db.execute("SELECT count(*) FROM fills").fetchone()[0]
                value = replace(value, trade_id=f"{value.trade_id}+{copies}")
            return super()._insert(table, value, conflict)

    ledger = Ledger


class NoBackFill(Parts):
    """What was traded before this process began is nobody's business."""

    class Reconciler(Reconciler):
        def __init__(self, ledger: Ledger, venue: Any, clock: Clock, mode: str) -> None:
            super().__init__(ledger, _Forgetful(venue), clock, mode)

    reconciler = Reconciler


class NoStartUpReconciliation(Parts):
    """A start believes its ledger, and compares from the first change on."""

    class Desk(OrderDesk):
        def _settle(self, seen: MarketSnapshot | Blind, now: float) -> Recorded:
            if self._view is None and not isinstance(seen, Blind) and self._ledger.begun_ts():
                self._account = seen.account
                self._view = self._read(now, now, {})
            return super()._settle(seen, now)

    desk = Desk


class _Venue:
    """A venue that changes one thing of another."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Answered(_Venue):
    def __init__(self, inner: Any, answer: Accepted | Rejected | Ambiguous) -> None:
        super().__init__(inner)
        self._answer = answer

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:  # noqa: ARG002  it is out already
        return self._answer


class _Retrying(_Venue):
    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        answer = self._inner.submit(order)
        return self._inner.submit(order) if isinstance(answer, Ambiguous) else answer


class _Forgetful(_Venue):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._began_ts: float | None = None

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        if self._began_ts is None:
            self._began_ts = self._inner.tick_ts
        return self._inner.trades(symbol, max(since_ts, self._began_ts))


MUTANTS: dict[str, type[Parts]] = {
    "send-before-journal": SendBeforeJournal,
    "no-durability": NoDurability,
    "retry-same-id": RetrySameId,
    "retry-new-id": RetryNewId,
    "not-found-is-never": NotFoundIsNever,
    "eager-fill-watermark": EagerFillWatermark,
    "no-gate-on-unknown": NoGateOnUnknown,
    "no-staleness-gate": NoStalenessGate,
    "no-lock": NoLock,
    "no-fill-dedupe": NoFillDedupe,
    "no-back-fill": NoBackFill,
    "no-start-up-reconciliation": NoStartUpReconciliation,
    "no-memory-of-entries": NoMemoryOfEntries,
}


def mutant(name: str) -> Parts:
    """Return the parts of one mutant, which carry its name."""
    parts = MUTANTS[name]()
    parts.name = name
    return parts
