"""A venue that goes wrong as a plan says, around any other; it loses and delays, and invents nothing.

A fault that an adapter has to notice is `Blind` or `Ambiguous` here. Two that an adapter may let
through, `positions_empty` and `missing_balance`, show a wrong account: whoever reads it must halt on
what does not agree with the ledger, and must not trade on it.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from execution.clock import Clock
from execution.core.seam import (
    ZERO,
    Accepted,
    Account,
    Ambiguous,
    Blind,
    CashRow,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Rejected,
    Trade,
    VenueHealth,
    VenueOrder,
)
from execution.venue.base import Venue
from execution.venue.fault_plan import (
    CALLS,
    NO_ANSWER,
    RECEIVE_WINDOW_S,
    REFUSALS,
    Call,
    DuplicateId,
    FaultPlan,
    Late,
    LateArrival,
    MissingBalance,
    OrdersLate,
    PositionsEmpty,
    Refused,
    Slow,
    Strike,
    TradesLate,
    TradesReordered,
    TradesRepeated,
    Unanswered,
)
from execution.venue.sim_path import key_of, uniform

log = logging.getLogger(__name__)

# The answer to the second of two equal requests: the first one was taken.
ALREADY_THERE: Final = Rejected("-4116", "this client id is in use by an open order")


class FaultyVenue:
    """`inner` with the faults of `plan`; once the rehearsal is over it is `inner` and nothing else.

    Time counts from the making of this, so a restart begins anew. The same seed and calls meet the
    same faults. Of the faults that strike one call, the first of the plan counts; a slow answer
    comes on top. A question that goes unanswered is not passed on: its bars are in the next look.
    """

    def __init__(self, inner: Venue, plan: FaultPlan, clock: Clock) -> None:
        self.name = inner.name
        self.rests_stops = inner.rests_stops
        self._inner = inner
        self._clock = clock
        self._start_s = clock.monotonic()
        self._calm_s = plan.calm_after_s
        self._is_over = False
        self._under_way: tuple[_Letter, ...] = ()
        keyed = [(key_of("fault", plan.seed, at), rule) for at, rule in enumerate(plan.fault)]
        self._late = [(key, rule) for key, rule in keyed if isinstance(rule, Late)]
        self._streams = {
            call: [
                _Stream(rule, key_of(key, call))
                for key, rule in keyed
                if not isinstance(rule, Late) and call in rule.calls
            ]
            for call in CALLS
        }
        log.warning(
            "rehearsal begins seed=%d faults=%d calm_after_s=%g",
            plan.seed,
            len(plan.fault),
            plan.calm_after_s,
        )

    # ------------------------------------------------------------ what strikes

    def _strike(self, call: Call) -> tuple[Strike | None, float]:
        """Return the fault of this call, with a number of 0..1 for what the fault leaves open."""
        at_s = self._at_s()
        self._deliver(at_s)
        if at_s >= self._calm_s:
            self._end()
            return None, 0.0
        struck = [stream for stream in self._streams[call] if stream.strikes(at_s)]
        for stream in struck:
            log.info("rehearsed call=%s fault=%s", call, stream.rule.__struct_config__.tag)
        slow_s = max((s.rule.delay_s for s in struck if isinstance(s.rule, Slow)), default=0.0)
        if slow_s > 0:
            self._clock.wait(slow_s, threading.Event())
        return next(
            ((s.rule, s.drawn) for s in struck if not isinstance(s.rule, Slow)), (None, 0.0)
        )

    def _at_s(self) -> float:
        return self._clock.monotonic() - self._start_s

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            log.warning("rehearsal is over")

    def _keeps_back(self, kind: type[Late], name: str, ts: float) -> bool:
        """Tell whether something of `ts` is too young to be told yet, or a little ahead of our clock.

        Drawn by its name, so that it stays hidden until it is told, also by a new process.
        """
        at_s, age_s = self._at_s(), self._clock.now() - ts
        return at_s < self._calm_s and any(
            isinstance(rule, kind)
            and abs(age_s) < rule.lag_s
            and rule.is_open(at_s)
            and uniform(key_of(key, name), 0) < rule.frac
            for key, rule in self._late
        )

    # ------------------------------------------------------------ seeing

    def observe(self, now: float) -> MarketSnapshot | Blind:
        rule, _ = self._strike("observe")
        if isinstance(rule, Unanswered):
            return Blind(now, rule.reason)
        seen = self._inner.observe(now)
        if isinstance(seen, Blind):
            return seen
        account = self._without_late_orders(seen.account)
        if isinstance(rule, PositionsEmpty):
            account = replace(account, positions=())
        elif isinstance(rule, MissingBalance):
            account = replace(account, wallet_usd=ZERO)
        return seen if account is seen.account else replace(seen, account=account)

    def _without_late_orders(self, account: Account) -> Account:
        told = tuple(order for order in account.open_orders if not self._is_late(order))
        # The same object says that nothing changed, so it is kept where nothing was taken out.
        return (
            account if len(told) == len(account.open_orders) else replace(account, open_orders=told)
        )

    def _is_late(self, order: VenueOrder) -> bool:
        return self._keeps_back(OrdersLate, order.client_id, order.ts)

    # ------------------------------------------------------------ orders

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        rule, drawn = self._strike("submit")
        match rule:
            case Unanswered():
                if rule.arrives(drawn):
                    self._inner.submit(order)
                return Ambiguous(rule.reason)
            case LateArrival():
                self._send_late(order, rule.delay_s)
                return Ambiguous(NO_ANSWER)
            case Refused():
                code = rule.codes[int(drawn * len(rule.codes))]
                return Rejected(code, REFUSALS[code])
            case DuplicateId():
                answer = self._inner.submit(order)
                return ALREADY_THERE if isinstance(answer, Accepted) else answer
            case _:
                return self._inner.submit(order)

    def _send_late(self, order: NewOrder, delay_s: float) -> None:
        """Put an order on its way; the exchange takes none that is older than its window."""
        if self._clock.now() + delay_s <= order.signed_ts + RECEIVE_WINDOW_S:
            due_s = min(self._at_s() + delay_s, self._calm_s)
            self._under_way = (*self._under_way, _Letter(order, due_s))

    def _deliver(self, at_s: float) -> None:
        due = [letter for letter in self._under_way if letter.due_s <= at_s]
        if due:
            self._under_way = tuple(letter for letter in self._under_way if letter.due_s > at_s)
        for letter in sorted(due, key=lambda letter: letter.due_s):
            answer = self._inner.submit(letter.order)
            log.info("rehearsed order=%s arrives late: %s", letter.order.client_id, answer)

    def cancel(self, symbol: str, client_id: str) -> Accepted | NotFound | Ambiguous:
        rule, drawn = self._strike("cancel")
        if not isinstance(rule, Unanswered):
            return self._inner.cancel(symbol, client_id)
        if rule.arrives(drawn):
            self._inner.cancel(symbol, client_id)
        return Ambiguous(rule.reason)

    # ------------------------------------------------------------ looking up

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:
        rule, _ = self._strike("find_order")
        if isinstance(rule, Unanswered):
            return self._blind(rule)
        found = self._inner.find_order(symbol, client_id)
        return NotFound() if isinstance(found, VenueOrder) and self._is_late(found) else found

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        rule, drawn = self._strike("trades")
        if isinstance(rule, Unanswered):
            return self._blind(rule)
        listed = self._inner.trades(symbol, since_ts)
        if isinstance(listed, Blind):
            return listed
        told = tuple(
            trade
            for trade in listed
            if not self._keeps_back(TradesLate, f"{trade.symbol} {trade.trade_id}", trade.ts)
        )
        if isinstance(rule, TradesRepeated):
            return told + told
        if isinstance(rule, TradesReordered):
            return tuple(sorted(told, key=lambda trade: key_of(drawn, trade.trade_id)))
        return told

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:
        rule, _ = self._strike("cash")
        return self._blind(rule) if isinstance(rule, Unanswered) else self._inner.cash(since_ts)

    def _blind(self, rule: Unanswered) -> Blind:
        return Blind(self._clock.now(), rule.reason)

    # ------------------------------------------------------------ passing through

    def health(self) -> VenueHealth:
        return self._inner.health()

    def close(self) -> None:
        self._inner.close()


class _Letter(Struct, frozen=True):
    """An order under way, which arrives `due_s` after the start."""

    order: NewOrder
    due_s: float


class _Stream:
    """What one rule draws for one kind of call.

    It draws in every call, also while the window is closed: what strikes does not shift what comes.
    """

    def __init__(self, rule: Strike, key: int) -> None:
        self.rule = rule
        self._key = key
        self._calls = 0

    def strikes(self, at_s: float) -> bool:
        """Draw for the next call."""
        self._calls += 1
        return self.rule.is_open(at_s) and uniform(self._key, self._calls) < self.rule.frac

    @property
    def drawn(self) -> float:
        """A second number of 0..1 for the same call."""
        return uniform(self._key, self._calls, level=1)
