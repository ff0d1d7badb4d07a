"""An operator at the command line, and the executor's two files that the commands show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result
from msgspec.structs import replace

from execution.clock import ManualClock
from execution.core.payloads import positions, processes
from execution.core.records import KillLatch
from execution.jsonl_log import tail
from execution.operator_requests import OperatorRequests
from execution.state_publish import JournalSet
from execution.state_schema import registry
from execution.state_store import StateStore
from scripts.benchmarks import sample
from scripts.cli import hedge

NOW = 1_790_000_000.0
LIMITS = {"max_bytes": 1 << 30, "backups": 8, "max_age_s": 1e9}


class WaitingClock(ManualClock):
    """A clock on which something happens while a command waits."""

    def __init__(self, now: float = NOW) -> None:
        super().__init__(now)
        self.meanwhile: Callable[[], object] = lambda: None

    def wait(self, seconds: float, wake: Any) -> None:
        super().wait(seconds, wake)
        self.meanwhile()


class Operator:
    """One log folder with somebody at the command line and, if asked for, an executor."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.clock = WaitingClock()
        self.log_dir.mkdir(parents=True, exist_ok=True)

    def type(self, *words: str, answer: str | None = None) -> Result:
        """Run `hedge` with these words; the exit code of a refusal to start is in `exception`."""
        return CliRunner().invoke(hedge, [*words], obj=self.clock, input=answer)

    def type_json(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = self.type(*words, "--json")
        return done.exit_code, json.loads(done.stdout)

    def executor(self) -> OperatorRequests:
        """Start an executor's ear in this folder, with the journals that it really has."""
        journals = JournalSet(self.log_dir, self.clock, **LIMITS)  # type: ignore[arg-type]
        return OperatorRequests(self.log_dir, self.clock, journals, "executor-run")

    def publish(
        self,
        legs: int = 2,
        *,
        naked: int = 0,
        stale: bool = False,
        kill: bool | None = None,
        stops_rest: bool = True,
    ) -> None:
        """Publish positions and health as the executor does; the first `naked` have no stop."""
        now = self.clock.now()
        report, run = sample.tick(legs, now), sample.run_info(now)
        book = report.state.book
        held = [
            replace(
                position,
                unprotected_since_ts=now - 30.0 if index < naked else None,
                stop_resting=stops_rest and index >= naked,
            )
            for index, position in enumerate(book.positions)
        ]
        latch = None if kill is None else KillLatch(on=kill, reason="r")
        state = replace(
            report.state,
            book=replace(book, positions=tuple(held), stale=stale),
            recorded=replace(report.state.recorded, kill=latch),
        )
        report = replace(report, state=state)
        store = StateStore(self.log_dir, self.clock)
        store.write(registry.POSITIONS, positions.build(report, run, positions.rows(state.book)))
        store.write(registry.EXECUTOR_HEALTH, processes.executor_health(report, run))

    def audit(self) -> list[tuple[str, str | None, str | None]]:
        """Return (act, reason, outcome) of every line of the audit."""
        return [(each.act, each.reason, each.outcome) for each in self.lines(registry.AUDIT)]

    def lines(self, journal: registry.Journal[Any]) -> list[Any]:
        batch = tail(self.log_dir / journal.path, 10_000, journal.decoder.decode)
        assert batch.broken == 0
        return [*batch.records]

    def kill_json(self) -> dict[str, Any]:
        return msgspec.json.decode((self.log_dir / "run/kill.json").read_bytes())
