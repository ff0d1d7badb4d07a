"""The whole executor inside the test: production code on a clock, with an ear at its exchange."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from execution import boot, settings
from execution.boot import Engine
from execution.clock import ManualClock
from execution.core.seam import NewOrder
from execution.core.types import TickReport
from execution.executor_live import beat
from execution.venue.base import Venue
from tests.support.accounts import read
from tests.support.clocks import SteppedClock
from tests.support.executors import write_ops

NOW = 1_800_014_400.0  # noon, so that an hour's step stays within the day


class Heard:
    """A venue that keeps count of what it is asked, and looks into the ledger at every order."""

    def __init__(self, venue: Venue, ledger: Path, clock: ManualClock) -> None:
        self._venue = venue
        self._ledger = ledger
        self._clock = clock
        self.calls: list[tuple[float, str]] = []
        self.sent: list[NewOrder] = []
        self.unjournalled: list[str] = []

    def submit(self, order: NewOrder) -> object:
        """Send it on, once another reader of the ledger's file has found it there."""
        self.calls.append((self._clock.monotonic(), "submit"))
        self.sent.append(order)
        found = read(self._ledger, "SELECT client_id, state FROM orders WHERE state = 'PREP'")
        if order.client_id not in {row["client_id"] for row in found}:
            self.unjournalled.append(order.client_id)
        return self._venue.submit(order)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._venue, name)
        if not callable(found):
            return found

        def told(*words: object) -> object:
            self.calls.append((self._clock.monotonic(), name))
            return found(*words)

        return told

    @property
    def entries(self) -> list[NewOrder]:
        return [order for order in self.sent if not order.reduce_only]

    @property
    def exits(self) -> list[NewOrder]:
        return [order for order in self.sent if order.reduce_only]


class Rehearsed:
    """An executor of `ops/` made brisk; a tick is one whole beat of it, publishing included."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        *,
        faults: str | None = None,
        **changes: Any,
    ) -> None:
        monkeypatch.setenv("HEDGE_LOG_DIR", str(folder / "logs"))
        monkeypatch.setenv("HEDGE_OPS_DIR", str(write_ops(folder, **changes)))
        if faults is not None:
            (folder / "faults.toml").write_text(faults)
            monkeypatch.setenv("PAPER_FAULTS", str(folder / "faults.toml"))
        self.clock = SteppedClock(NOW)
        self.log_dir = folder / "logs"
        self._begin()

    def _begin(self) -> None:
        loaded = settings.load()
        settings.prepare_log_dir(loaded)
        built = boot.build(loaded, self.clock)
        ledger = self.log_dir / "ledger" / f"{loaded.mode}-main.sqlite"
        self.heard = Heard(built.venue, ledger, self.clock)
        self.engine = Engine(
            built.settings,
            self.clock,
            self.heard,  # type: ignore[arg-type]  # the rest of a Venue is passed on
            built.ledger,
            built.journals,
            built.desk._asks,
            "rehearsal",
            sources=built.sources,
        )
        self.store = self.engine.store

    def restart(self, after_s: float = 0.0) -> None:
        """End without any farewell and begin again, the wall clock `after_s` further."""
        self.engine.close()
        self.clock.step(after_s)
        self._begin()

    @property
    def report(self) -> TickReport:
        assert self.engine.report is not None
        return self.engine.report

    def tick(self, seconds: float = 0.5) -> tuple[str, ...]:
        """Let time pass and beat once, as the loop does; return the stages that failed."""
        self.clock.advance(seconds)
        failures = beat(self.engine)
        self.engine.faults.note(failures)
        return tuple(failed.stage for failed in failures)

    def ticks(self, count: int) -> None:
        """Beat so often; nothing may fail."""
        for _ in range(count):
            assert self.tick() == ()

    def trade(self, legs: int = 3) -> None:
        """Beat until so many positions are open with their stops, and an entry rests."""
        for _ in range(200):
            self.ticks(1)
            recorded = self.report.state.recorded
            entries = {r.order.client_id for r in recorded.routes.values() if _rests(r)}
            resting = {order.client_id for order in recorded.open_orders}
            if len(recorded.protected) >= legs and entries & resting:
                return
        raise AssertionError("it does not trade")


def _rests(route: Any) -> bool:
    return route.action == "entry" and route.order is not None and route.order.state == "LIVE"
