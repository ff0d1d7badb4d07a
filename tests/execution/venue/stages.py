"""A venue with faults around it on a manual clock: around a fake one, and around the paper venue."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from execution.clock import ManualClock
from execution.core.seam import (
    Accepted,
    Ambiguous,
    Blind,
    MarketSnapshot,
    Rejected,
    VenueOrder,
)
from execution.venue.base import Venue
from execution.venue.fault_plan import FaultPlan
from execution.venue.faults import FaultyVenue
from tests.execution.venue.scripted import SYMBOL, Bench, candle
from tests.support import builders
from tests.support.venue import FakeVenue

D = Decimal
CALM_S = 1000.0


class Stage:
    """A venue with faults around it, on a manual clock; `inner` is the truth."""

    inner: Venue

    def __init__(self, *faults: Any, seed: int = 1, calm_after_s: float = CALM_S) -> None:
        self.clock = ManualClock(builders.NOW)
        self.prepare()
        self.inner.observe(self.clock.now())
        self.venue = FaultyVenue(self.inner, FaultPlan(seed, calm_after_s, faults), self.clock)

    def prepare(self) -> None:
        raise NotImplementedError

    def fill(self, *client_ids: str) -> None:
        """Let orders be executed at the inner venue, a minute from now."""
        raise NotImplementedError

    def submit(self, client_id: str, **fields: Any) -> Accepted | Rejected | Ambiguous:
        """Send a small order that rests."""
        known = {"signed_ts": self.clock.now(), "price": D("90.0"), "qty": D("0.1")}
        return self.venue.submit(builders.new_order(client_id, **{**known, **fields}))

    def look(self) -> MarketSnapshot | Blind:
        return self.venue.observe(self.clock.now())

    def has(self, client_id: str) -> bool:
        """Tell whether the order is truly there."""
        return isinstance(self.inner.find_order(SYMBOL, client_id), VenueOrder)

    def told(self, client_id: str) -> bool:
        return isinstance(self.venue.find_order(SYMBOL, client_id), VenueOrder)

    def ask(self, call: str) -> object:
        """Make one call of that kind, the same each time."""
        calls: dict[str, Callable[[], object]] = {
            "observe": self.look,
            "submit": lambda: self.submit("asked"),
            "cancel": lambda: self.venue.cancel(SYMBOL, "asked"),
            "find_order": lambda: self.venue.find_order(SYMBOL, "asked"),
            "trades": lambda: self.venue.trades(SYMBOL, 0.0),
            "cash": lambda: self.venue.cash(0.0),
        }
        return calls[call]()


class FakeStage(Stage):
    inner: FakeVenue

    def prepare(self) -> None:
        self.inner = FakeVenue()

    def fill(self, *client_ids: str) -> None:
        self.clock.advance(60)
        self.inner.observe(self.clock.now())
        for client_id in client_ids:
            self.inner.submit(builders.new_order(client_id, qty=D("0.1")))
            self.inner.fill(client_id)


class PaperStage(Stage):
    def prepare(self) -> None:
        made = Bench([candle(100.0)] * 200, start_usd=D(100_000))
        made.step()
        self.clock.set(made.now)
        self.inner = made.venue

    def fill(self, *client_ids: str) -> None:
        market = {"type": "MARKET", "price": None, "post_only": False, "qty": D("0.1")}
        for client_id in client_ids:
            order = builders.new_order(client_id, signed_ts=self.clock.now(), **market)
            assert isinstance(self.inner.submit(order), Accepted)
        self.clock.advance(60)
        self.inner.observe(self.clock.now())


STAGES = (FakeStage, PaperStage)
