"""The only sender and canceller of orders: journal → send once → record.

`record` takes in what the venue shows, `act` opens the routes that were approved and takes the
next step of every route in flight. Nothing here waits for a fill, and nothing is sent twice: what
has no believable answer is UNKNOWN until the reconciler has proven what became of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Protocol

from msgspec.structs import replace

from execution.clock import Ages, Clock, Days
from execution.core import orders, routing
from execution.core.records import (
    Anchors,
    FlattenRequest,
    KillLatch,
    LegRecord,
    OrderChange,
    OrderRecord,
    Recorded,
    Route,
    Settled,
)
from execution.core.seam import (
    Accepted,
    Account,
    Blind,
    LegKey,
    MarketSnapshot,
    NewOrder,
    Rejected,
)
from execution.core.types import Decided, EngineState, OrderResult, RoutePlan
from execution.errors import LedgerFull
from execution.ledger import Ledger
from execution.state_schema.operator_files import Acknowledge, Command, Outcome
from execution.venue.base import Venue

log = logging.getLogger(__name__)

# The exchange's word for an id that it already has: this very order was sent before.
ALREADY_SENT = "-4116"
# An order this much later than the look it stands on waits for the next look: a tick was stopped in
# the middle, or slow answers came before it. The exchange would refuse it: its receive window.
SEND_WITHIN_S = 5.0


class Reconciles(Protocol):
    """Whatever brings the ledger in line with the venue."""

    def settle(self, account: Account) -> Settled:
        """Record what `account` shows to differ."""

    def acknowledge(self, legs: Mapping[LegKey, Decimal]) -> None:
        """Take what is held as it is."""


class Asked(Protocol):
    """What operators want now."""

    @property
    def kill(self) -> KillLatch | None:
        """Return the latch as it stands."""

    @property
    def pending(self) -> tuple[Command, ...]:
        """List the requests that want an answer."""


class Asks(Protocol):
    """Whatever operators speak through."""

    def read(self, now: float) -> Asked:
        """Return what is asked at `now`."""

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        """Tell the operator what became of a request."""


class OrderDesk:
    """Orders of one account, from approval to their end."""

    def __init__(
        self,
        ledger: Ledger,
        venue: Venue,
        reconciler: Reconciles,
        days: Days,
        mode: str,
        reconcile_s: float,
        entries_window_s: float,
        asks: Asks,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._venue = venue
        self._reconciler = reconciler
        self._days = days
        self._mode = mode
        self._reconcile_s = reconcile_s
        self._ages = Ages(clock, entries_window_s)
        self._asks = asks
        self._clock = clock
        self._account: Account | None = None
        self._view: Recorded | None = None
        self._kept: Anchors | None = None
        self._inherited: frozenset[str] = frozenset()
        self._held: Mapping[LegKey, Decimal] = {}

    def record(self, seen: MarketSnapshot | Blind, now: float) -> Recorded:
        """Take what the venue shows into the ledger, and return the ledger's view.

        The same account object was compared before and shows nothing new (see `Account`); only
        orders in doubt are asked about again.
        """
        asked = self._asks.read(now)
        try:
            found = self._settle(seen, now)
        except LedgerFull as error:
            # What is written stands, also of this tick, and what was known beside it; ask again.
            log.warning("disk is full: nothing new is recorded error=%s", error)
            self._account = None
            found = self._reread(now)
        wishes = [self._hear(command, found) for command in asked.pending]
        return _with(
            found,
            day=self._days.label(now),
            kill=asked.kill,
            flatten=tuple(wish for wish in wishes if wish is not None),
            low_disk=self._ledger.is_low_on_disk(),
            disarmed=self._mode == "live",  # nothing can arm it yet
        )

    def _settle(self, seen: MarketSnapshot | Blind, now: float) -> Recorded:
        view = self._view
        if isinstance(seen, Blind):
            return view or self._read(now, None, {})
        if view is not None and seen.account is self._account and not _in_doubt(view):
            if 0 <= now - (view.reconciled_ts or 0.0) < self._reconcile_s:
                return view
            if not view.halts:
                self._view = view = replace(view, reconciled_ts=now, entries=self._entries(now))
                return view
        settled = self._reconciler.settle(seen.account)
        if settled.complete or view is None:
            reconciled_ts, halts = (now if settled.complete else None), settled.halts
        else:
            reconciled_ts, halts = view.reconciled_ts, {**view.halts, **settled.halts}
        if view is None:
            self._inherited = frozenset(self._ledger.routes())
        self._account = seen.account if settled.complete else None
        view = self._read(now, reconciled_ts, halts)
        self._held = {(p.symbol, p.position_side): p.qty for p in seen.account.positions}
        self._view = view = replace(view, unread=settled.unread, unaccounted=settled.unaccounted)
        return replace(view, trades=settled.trades, closed=settled.closed, changes=settled.changes)

    def act(
        self, live: Decided, seen: MarketSnapshot | Blind, state: EngineState, now: float
    ) -> tuple[OrderResult, ...]:
        """Open what was approved, and take the next step of every route in flight."""
        results: list[OrderResult] = []
        try:
            self._keep_anchors(state.book.anchors)
            if not isinstance(seen, Blind):
                results.extend(self._work(live, state, now))
        except LedgerFull as error:
            # What could not be journalled was not sent; the reserve is free now, the next tick tries.
            log.warning("disk is full: orders wait for the next tick error=%s", error)
            self._account = None
        return tuple(results)

    def _work(self, live: Decided, state: EngineState, now: float) -> Iterator[OrderResult]:
        plans = [decision.plan for decision in live.decisions if decision.plan is not None]
        routes = self._open_routes(plans, now) if plans else state.recorded.routes
        leaving = routing.leaving(routes.values(), state.recorded.legs)
        for route in routes.values():
            result = self._step(route, live, state, leaving, now)
            if result is not None:
                yield result

    def stand_down(self) -> int:
        """Cancel every entry that rests, at the end of the process; return how many.

        Protective stops and exits stay where they are.
        """
        entries = {
            route.order.client_id: route
            for route in self._ledger.routes().values()
            if route.action == "entry" and route.order is not None
        }
        resting = [order for order in self._ledger.open_orders() if order.client_id in entries]
        for order in resting:
            self._venue.cancel(order.symbol, order.client_id)
        self._account = None
        return len(resting)

    def _open_routes(self, plans: list[RoutePlan], now: float) -> Mapping[str, Route]:
        self._account = None  # what is done here is read back by the next record
        self._inherited -= {plan.approved.intent.decision_id for plan in plans}
        with self._ledger.transaction():
            for plan in plans:
                self._ledger.open_route(plan, now)
        return self._ledger.routes()

    # ------------------------------------------------------------ one route

    def _step(
        self,
        route: Route,
        live: Decided,
        state: EngineState,
        leaving: Mapping[LegKey, int],
        now: float,
    ) -> OrderResult | None:
        rules, quote = state.rules.get(route.symbol), state.quotes.get(route.symbol)
        leg = state.recorded.legs.get((route.symbol, route.position_side))
        needed = routing.is_needed(route, leg, leaving)
        step = routing.step(route, live, needed, rules, now)
        if step == "send" and route.decision_id in self._inherited:
            step = "done"  # a former process wanted it: what is still due is decided anew
        if step == "send" and route.action == "entry" and self._is_held_back(route, live):
            step = "done"  # its moment passes: an entry is sent while every gate is open, or not
        if step == "wait" or (step == "send" and routing.must_wait(route, leg)):
            return None
        if step == "send":
            if rules is None or quote is None or not routing.is_priced(route, quote):
                return None
            self._account = None
            if abs(self._clock.now() - now) > SEND_WITHIN_S:
                return None
            sent = self._send(route, orders.build(route, quote, rules, self._mode, now), now)
            return OrderResult(route.decision_id, sent)
        self._account = None
        if step == "done":
            self._ledger.close_route(route.decision_id)
        elif route.order is not None:
            self._venue.cancel(route.symbol, route.order.client_id)
        return None

    def _is_held_back(self, route: Route, live: Decided) -> bool:
        """Tell whether no entry may go out, also by what an order before it in this tick came to."""
        return route.decision_id in live.held_back or any(
            order.symbol == route.symbol and order.state in ("PREP", "UNKNOWN")
            for order in self._ledger.open_orders()
        )

    def _send(self, route: Route, order: NewOrder, now: float) -> OrderChange:
        """Journal one order, send it once, and record what the venue answered."""
        rest_s = orders.next_leg(route).rest_s
        record = self._ledger.prepare(order, route.decision_id, route.attempts + 1, now + rest_s)
        answer = self._venue.submit(order)
        if isinstance(answer, Accepted):
            return self._ledger.move_order(
                record, "LIVE", "accepted", venue_order_id=answer.venue_order_id
            )
        if isinstance(answer, Rejected) and answer.code != ALREADY_SENT:
            return self._ledger.move_order(record, "REJECTED", answer.reason, code=answer.code)
        return self._ledger.move_order(record, "UNKNOWN", answer.reason)

    # ------------------------------------------------------------ what operators ask

    def _hear(self, command: Command, found: Recorded) -> FlattenRequest | None:
        """Carry out what can be done here; return a wish that the next decision is to fulfil."""
        if isinstance(command, Acknowledge):
            self._acknowledge(command, found)
            return None
        open_legs = [key for key in found.legs if command.symbol in (None, key[0])]
        if found.reconciled_ts is None:
            return None  # what is open is not known yet: it is heard again
        if open_legs:
            self._asks.answer(command, "accepted", f"closing {len(open_legs)} positions")
            return FlattenRequest(command.id, command.symbol)
        self._asks.answer(command, "done", "nothing is open")
        return None

    def _acknowledge(self, command: Acknowledge, found: Recorded) -> None:
        """On a person's word, give up orders that nothing can prove any more.

        Where no order is named, also take the positions as they are that the ledger does not know.
        """
        taken = () if command.client_id is not None else sorted(found.unaccounted)
        doubtful = [
            order
            for order in self._ledger.open_orders()
            if order.state == "UNKNOWN" and command.client_id in (None, order.client_id)
        ]
        self._account = None
        try:
            for order in doubtful:
                self._ledger.move_order(order, "ABANDONED", f"acknowledged by {command.user}")
            if taken:
                self._reconciler.acknowledge(self._held)
        except LedgerFull as error:
            self._asks.answer(command, "refused", str(error))
            return
        said = f"{len(doubtful)} unknown orders given up"
        if taken:
            legs = ", ".join(" ".join(key) for key in taken)
            said += f"; taken as they are: {legs}: where no plan is shown only you close them"
        self._asks.answer(command, "done", said)

    # ------------------------------------------------------------ the view

    def _read(self, now: float, reconciled_ts: float | None, halts: dict[str, str]) -> Recorded:
        ledger = self._ledger
        legs, open_orders, routes = ledger.legs(), ledger.open_orders(), ledger.routes()
        resting = frozenset(key for key, leg in legs.items() if _has_stop(leg, open_orders, routes))
        planned = frozenset(key for key, leg in legs.items() if leg.exit is not None)
        return Recorded(
            day=self._days.label(now),
            legs=legs,
            resting=resting,
            protected=resting if self._venue.rests_stops else planned,
            open_orders=open_orders,
            routes=routes,
            cash=ledger.cash,
            anchors=ledger.anchors(),
            reconciled_ts=reconciled_ts,
            entries=self._entries(now),
            halts=halts,
        )

    def _entries(self, now: float) -> dict[str, tuple[float, ...]]:
        """List the entries of the window; setting the wall clock lets none out of it."""
        return self._ages.recent(self._ledger.entries(now - self._ages.window_s), now)

    def _reread(self, now: float) -> Recorded:
        """Return the ledger as it is, with what was last heard from the venue."""
        view = self._view
        if view is None:
            return Recorded(day="")
        read = self._read(now, view.reconciled_ts, dict(view.halts))
        self._view = view = replace(read, unread=view.unread, unaccounted=view.unaccounted)
        return view

    def _keep_anchors(self, anchors: Anchors | None) -> None:
        if anchors is not None and anchors != self._kept:
            self._ledger.keep_anchors(anchors)
            self._kept = anchors


def _has_stop(
    leg: LegRecord, open_orders: tuple[OrderRecord, ...], routes: Mapping[str, Route]
) -> bool:
    stops = (order for order in open_orders if order.close_position and order.state == "LIVE")
    routed = (routes.get(order.decision_id) for order in stops)
    # By position and not by leg: the stop of the position before this one is not its stop.
    return any(route is not None and route.position_id == leg.position_id for route in routed)


def _with(
    found: Recorded,
    *,
    day: str,
    kill: KillLatch | None,
    flatten: tuple[FlattenRequest, ...],
    low_disk: bool,
    disarmed: bool,
) -> Recorded:
    """Return what was found with what is around it; the same value where nothing differs."""
    around = (day, kill, flatten, low_disk, disarmed)
    if (found.day, found.kill, found.flatten, found.low_disk, found.disarmed) == around:
        return found
    return replace(found, day=day, kill=kill, flatten=flatten, low_disk=low_disk, disarmed=disarmed)


def _in_doubt(view: Recorded) -> bool:
    return any(order.state in ("PREP", "UNKNOWN") for order in view.open_orders)
