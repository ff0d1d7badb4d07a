"""Service: compares the shadow's decisions with the live ones, also while nothing trades.

It shares the summary with the executor: both count the same journal from one checkpoint with the
same pure functions, under the lock of the pair.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Final

from execution import service_loop
from execution.clock import Clock
from execution.core import compare
from execution.core.payloads import compare_summary
from execution.jsonl_log import Batch, JsonlLogger, read_from, tail
from execution.service_loop import Service, timer_on_beats
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import CompareSummary, JournalPosition
from execution.state_schema.journals import FlagChange, FlagsStart, ShadowDecision, ShadowHeartbeat
from execution.state_store import StateStore

STARTS_READ: Final = 200
# A long journal is counted in steps, with a pause in which the executor can have the lock.
STEP_BYTES: Final = 512 * 1024
STEP_PAUSE_S: Final = 0.005


class Comparison:
    """The summary, written when it is due."""

    def __init__(self, settings: Settings, clock: Clock, stop: threading.Event) -> None:
        timers = settings.services.compare
        self._clock = clock
        self._stop = stop
        self._store = StateStore(settings.log_dir, clock)
        self._journal = settings.log_dir / registry.SHADOW.path
        self._engine_version = settings.engine_version
        self._timer = timer_on_beats(timers.interval_s, timers.beat_s, clock)
        self.service = Service(
            registry.PROCESS_COMPARE,
            settings,
            clock,
            self._store,
            partial(JsonlLogger, clock=clock, **service_loop.journal_limits(settings)),
        )

    def work(self) -> None:
        """Count what is new in the journal, and write what the whole comes to."""
        if not self._timer.is_due():
            return
        position, summary = self._count_on()
        while self._is_behind(position) and not self._stop.is_set():
            self._clock.wait(STEP_PAUSE_S, self._stop)
            position, summary = self._count_on()
        self.service.append(registry.COMPARE, compare.journal_point(summary, self.service.run_id))
        self._timer.done()

    def _count_on(self) -> tuple[JournalPosition | None, CompareSummary]:
        """Count one step of the journal into the checkpoint and the summary."""
        now = self._clock.now()
        deciding = self._deciding()
        with self._store.locked():
            before = self._store.read(compare.CHECKPOINT)
            point = compare.advance(before, self._read_step, *deciding, now)
            summary = compare_summary.build(
                compare.facts(point), self._engine_version, self.service.flags, now
            )
            self._store.write(compare.CHECKPOINT, point)
            self._store.write(registry.COMPARE_SUMMARY, summary)
        return point.journal, summary

    def _deciding(self) -> tuple[str, V6Flags]:
        """Return version and flags of the executor, whose decisions these are."""
        probe = self._store.read(registry.RUNTIME_PROBE)
        if probe is None:
            return self._engine_version, self.service.flags
        return probe.engine_version, probe.v6_flags

    def _is_behind(self, position: JournalPosition | None) -> bool:
        return any(batch.position != position for batch in self._read_step(position))

    def _read_step(
        self, position: JournalPosition | None
    ) -> list[Batch[ShadowDecision | ShadowHeartbeat]]:
        decode = registry.SHADOW.decoder.decode
        try:
            return [read_from(self._journal, position, decode, STEP_BYTES)]
        except OSError as error:
            self.service.faults.report("shadow_journal", "unreadable", str(error))
            return []


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Beat until `stop`, or MAX_LOOPS times."""
    comparison = Comparison(settings, clock, stop)
    starts = partial(_read_starts, settings)
    comparison.service.run(comparison.work, starts, settings.services.compare.beat_s, stop)


def _read_starts(settings: Settings) -> tuple[FlagsStart | FlagChange, ...]:
    journal = registry.FLAGS
    return tail(settings.log_dir / journal.path, STARTS_READ, journal.decoder.decode).records


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("pipeline_compare", run)


if __name__ == "__main__":
    sys.exit(main())
