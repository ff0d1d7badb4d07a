"""Service: compares the shadow's decisions with the live ones, also while nothing trades.

It shares the summary with the executor: both count the same journals from one checkpoint with the
same pure functions, under the lock of the pair.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Final

from execution import service_loop
from execution.clock import Clock
from execution.core.compare import Deciding
from execution.core.payloads import compare_summary
from execution.jsonl_log import JsonlLogger, tail
from execution.pipeline_pair import PipelinePair
from execution.service_loop import Service, timer_on_beats
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.files import CompareSummary
from execution.state_schema.journals import FlagChange, FlagsStart
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
        self._settings = settings
        self._store = StateStore(settings.log_dir, clock)
        self._timer = timer_on_beats(timers.interval_s, timers.beat_s, clock)
        self.service = Service(
            registry.PROCESS_COMPARE,
            settings,
            clock,
            self._store,
            partial(JsonlLogger, clock=clock, **service_loop.journal_limits(settings)),
        )
        self._pair = PipelinePair(
            self._store,
            settings.log_dir,
            settings.services,
            settings.engine_version,
            self.service.flags,
            self.service.faults,
            STEP_BYTES,
        )

    def work(self) -> None:
        """Count what is new in the journals, and write what the whole comes to."""
        if not self._timer.is_due():
            return
        summary, read_all = self._count_on()
        while not (read_all or self._stop.is_set()):
            self._clock.wait(STEP_PAUSE_S, self._stop)
            summary, read_all = self._count_on()
        point = compare_summary.journal_point(summary, self.service.run_id)
        self.service.append(registry.COMPARE, point)
        self._timer.done()

    def _count_on(self) -> tuple[CompareSummary, bool]:
        return self._pair.refresh_compare(self._deciding(), self._clock.now())

    def _deciding(self) -> Deciding:
        """Return the executor whose decisions these are; before its first start, what will be."""
        probe = self._store.read(registry.RUNTIME_PROBE)
        if probe is not None:
            return Deciding(
                probe.engine_version, probe.v6_flags, probe.live_policy, probe.shadow_policy
            )
        settings, flags = self._settings, self.service.flags
        shadowed = flags.PIPELINE_V6_SHADOW_ENABLED
        return Deciding(
            settings.engine_version,
            flags,
            settings.fingerprint,
            settings.shadow_fingerprint if shadowed else None,
        )


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
