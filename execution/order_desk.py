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

from execution.clock import Clock, Days
from execution.core import exits, orders, routing
from execution.core.policy import RiskLimits
from execution.core.records import (
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
    SymbolRules,
)
from execution.core.types import Acted, Decided, EngineState, OrderResult, RoutePlan
from execution.errors import LedgerFull
from execution.ledger import Ledger
from execution.limit_memory import LimitMemory
from execution.state_schema.operator_files import Acknowledge, Command, Outcome, ResetRisk
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
        limits: RiskLimits,
        asks: Asks,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._venue = venue
        self._reconciler = reconciler
        self._days = days
        self._mode = mode
        self._reconcile_s = reconcile_s
        self._memory = LimitMemory(ledger, clock, limits)
        self._asks = asks
        self._clock = clock
        self._account: Account | None = None
        self._view: Recorded | None = None
        self._resets: tuple[ResetRisk, ...] = ()
        self._inherited: frozenset[str] = frozenset()
        self._withdrawn: frozenset[str] = frozenset()
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
        rules = {} if isinstance(seen, Blind) else seen.rules
        wishes = [self._hear(command, found, rules) for command in asked.pending]
        self._resets = tuple(wish for wish in asked.pending if isinstance(wish, ResetRisk))
        return replace(
            found,
            day=self._days.label(now),
            steady_s=self._clock.monotonic(),
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
                self._view = view = replace(view, reconciled_ts=now)
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
    ) -> tuple[Acted, ...]:
        """Open what was approved, and take the next step of every route in flight."""
        results: list[Acted] = []
        try:
            self._memory.keep(state.book.anchors)
            self._reset_limits(seen, state, now)
            if not isinstance(seen, Blind):
                results.extend(self._work(live, state, now))
        except LedgerFull as error:
            # What could not be journalled was not sent; the reserve is free now, the next tick tries.
            log.warning("disk is full: orders wait for the next tick error=%s", error)
            self._account = None
        return tuple(results)

    def _work(self, live: Decided, state: EngineState, now: float) -> Iterator[Acted]:
        plans = [decision.plan for decision in live.decisions if decision.plan is not None]
        routes = self._open_routes(plans) if plans else state.recorded.routes
        leaving = routing.leaving(routes.values(), state.recorded.legs)
        self._withdrawn = (self._withdrawn | live.withdrawn) & routes.keys()
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

    def _open_routes(self, plans: list[RoutePlan]) -> Mapping[str, Route]:
        self._account = None  # what is done here is read back by the next record
        now = self._clock.now()  # a look can be slow, and no rate may count from before it
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
    ) -> Acted | None:
        rules, quote = state.rules.get(route.symbol), state.quotes.get(route.symbol)
        leg = state.recorded.legs.get((route.symbol, route.position_side))
        withdrawn = route.decision_id in self._withdrawn
        needed = not withdrawn and routing.is_needed(route, leg, leaving)
        step = routing.step(route, live, needed, rules, quote, now)
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
        if step == "done" or route.order is None:
            return self._ledger.close_route(route)
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

    def _hear(
        self, command: Command, found: Recorded, rules: Mapping[str, SymbolRules]
    ) -> FlattenRequest | None:
        """Carry out what can be done here; return a wish that the next decision is to fulfil."""
        if isinstance(command, Acknowledge):
            self._acknowledge(command, found)
            return None
        if isinstance(command, ResetRisk):
            return None  # its NAV is not known before this look is understood
        held = [leg for leg in found.legs.values() if command.symbol in (None, leg.symbol)]
        open_legs = [leg for leg in held if not exits.is_dust(leg.qty, rules.get(leg.symbol))]
        if found.reconciled_ts is None:
            return None  # what is open is not known yet: it is heard again
        if open_legs:
            self._asks.answer(command, "accepted", f"closing {len(open_legs)} positions")
            return FlattenRequest(command.id, command.symbol)
        dust = ", ".join(f"{leg.qty:f} {leg.symbol}" for leg in held)
        left = f": the exchange takes no order as small as what is left, {dust}" if held else ""
        where = "" if command.symbol is None else f" in {command.symbol}"
        self._asks.answer(command, "done", f"nothing is open{where}{left}")
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
        if command.client_id is not None and not doubtful:
            self._asks.answer(command, "refused", f"no order {command.client_id} is UNKNOWN")
            return
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

    def _reset_limits(self, seen: MarketSnapshot | Blind, state: EngineState, now: float) -> None:
        lag_s = 0.0 if isinstance(seen, Blind) else seen.lag_s
        for command in self._resets:
            answer = self._memory.reset(command, state.book, state.recorded, lag_s, now)
            self._asks.answer(command, *answer)
            self._reread(now)  # also a blind look is to show it
        self._resets = ()

    # ------------------------------------------------------------ the view

    def _read(self, now: float, reconciled_ts: float | None, halts: dict[str, str]) -> Recorded:
        ledger = self._ledger
        legs, open_orders, routes = ledger.legs(), ledger.open_orders(), ledger.routes()
        entries, rejects = self._memory.recall(now)
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
            entries=entries,
            rejects=rejects,
            halts=halts,
        )

    def _reread(self, now: float) -> Recorded:
        """Return the ledger as it is, with what was last heard from the venue."""
        view = self._view
        if view is None:
            return Recorded(day="")
        read = self._read(now, view.reconciled_ts, dict(view.halts))
        self._view = view = replace(read, unread=view.unread, unaccounted=view.unaccounted)
        return view


def _has_stop(
    leg: LegRecord, open_orders: tuple[OrderRecord, ...], routes: Mapping[str, Route]
) -> bool:
    stops = (order for order in open_orders if order.close_position and order.state == "LIVE")
    routed = (routes.get(order.decision_id) for order in stops)
    # By position and not by leg: the stop of the position before this one is not its stop.
    return any(route is not None and route.position_id == leg.position_id for route in routed)


def _in_doubt(view: Recorded) -> bool:
    return any(order.state in ("PREP", "UNKNOWN") for order in view.open_orders)
