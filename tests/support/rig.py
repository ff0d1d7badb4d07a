"""Ledger, desk and reconciler around a fake venue, driven tick by tick on a manual clock."""

from __future__ import annotations

from pathlib import Path

from execution.clock import Days
from execution.core import book
from execution.core.records import Recorded
from execution.core.types import Acted, Decided, EngineState, RoutePlan
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from execution.operator_requests import Asked, NoRequests
from execution.order_desk import Asks, OrderDesk
from execution.reconciler import Reconciler
from execution.state_schema.operator_files import Command, Outcome
from tests.support import builders, policies
from tests.support.clocks import SteppedClock
from tests.support.venue import FakeVenue


class Asker:
    """Somebody with requests, who is deaf to the answers while a test says so."""

    def __init__(self) -> None:
        self.wishes: dict[str, Command] = {}
        self.answers: list[tuple[str, str, str]] = []
        self.is_deaf = False

    def read(self, now: float) -> Asked:  # noqa: ARG002  as OperatorRequests.read
        return Asked(None, tuple(self.wishes.values()))

    def ask(self, wish: Command) -> None:
        self.wishes[wish.id] = wish

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        if not self.is_deaf:
            self.answers.append((command.id, outcome, detail))
            if outcome != "accepted":
                self.wishes.pop(command.id, None)


class Rig:
    """One executor's order side; `restart` makes another on the same ledger file and venue."""

    def __init__(
        self,
        path: Path | None = None,
        venue: FakeVenue | None = None,
        now: float = builders.NOW,
        *,
        durable: bool = True,
        mode: str = "paper",
        asks: Asks | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self.asks: Asks = NoRequests() if asks is None else asks
        self.durable = durable
        self.venue = FakeVenue() if venue is None else venue
        self.clock = SteppedClock(now)
        self.limits = policies.limits()
        self.ledger = Ledger(LedgerFile(path, mode, "main", durable=durable))
        self.desk = OrderDesk(
            self.ledger,
            self.venue,
            Reconciler(self.ledger, self.venue, self.clock, mode),
            Days("UTC"),
            mode,
            reconcile_s=30.0,
            limits=self.limits,
            asks=self.asks,
            clock=self.clock,
        )
        self.state = EngineState()
        self.recorded = Recorded(day="")
        self.results: tuple[Acted, ...] = ()

    def tick(self, *plans: RoutePlan, live: Decided | None = None, dt: float = 1.0) -> Recorded:
        """See, record, remember and act once; return what was recorded before acting."""
        live = builders.decided(*plans) if live is None else live
        now = self.clock.now()
        seen = self.venue.observe(now)
        self.recorded = self.desk.record(seen, now)
        self.state = book.observe(self.state, seen, self.recorded, self.limits.book)
        self.results = self.desk.act(live, seen, self.state, now)
        self.clock.advance(dt)
        return self.recorded

    def restart(self, after_s: float = 0.0) -> Rig:
        """Start again on the same ledger and venue, as after a kill."""
        self.ledger.close()
        return Rig(
            self.path,
            self.venue,
            self.clock.now() + after_s,
            durable=self.durable,
            mode=self.mode,
            asks=self.asks,
        )

    @property
    def orders(self) -> dict[str, str]:
        """The ledger's open orders by client id, with their states."""
        return {order.client_id: order.state for order in self.ledger.open_orders()}

    def held(self, symbol: str = "BTCUSDT", side: str = "LONG") -> str:
        """Return the ledger's quantity of a leg, as text."""
        found = self.ledger.legs().get((symbol, side))
        return "0" if found is None else str(found.qty)
