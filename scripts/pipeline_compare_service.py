"""Service: compares the shadow's decisions with the live ones, also while nothing trades.

It shares the summary with the executor: both count the same journal from one checkpoint with the
same pure functions, under the lock of the pair.
"""

from __future__ import annotations

import sys
import threading

from execution import service_loop
from execution.clock import Clock
from execution.core import compare
from execution.core.payloads import compare_summary
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import CompareSummary, JournalPosition
from scripts.pipeline_service import PipelineService


class Comparison(PipelineService):
    """The summary, written when it is due."""

    def __init__(self, settings: Settings, clock: Clock, stop: threading.Event) -> None:
        super().__init__(
            "pipeline_compare",
            registry.COMPARE_SUMMARY,
            registry.PROCESS_COMPARE,
            settings.services.compare,
            settings,
            clock,
            stop,
        )
        self._summary: CompareSummary | None = None

    def refresh(self) -> None:
        """Count what is new in the journal, and write what the whole comes to."""
        self.count_on(self._count_step)
        if self._summary is not None:
            point = compare.journal_point(self._summary, self.service.run_id)
            self.service.append(registry.COMPARE, point)

    def _count_step(self) -> JournalPosition | None:
        """Count one step of the journal into the checkpoint and the summary."""
        now = self.clock.now()
        version, flags = self._deciding()
        with self.store.locked():
            before = self.store.read(compare.CHECKPOINT)
            point = compare.advance(before, self.read_step, version, flags, now)
            self._summary = compare_summary.build(
                compare.facts(point), self.settings.engine_version, self.service.flags, now
            )
            self.store.write(compare.CHECKPOINT, point)
            self.store.write(registry.COMPARE_SUMMARY, self._summary)
        return point.journal

    def _deciding(self) -> tuple[str, V6Flags]:
        """Return version and flags of the executor, whose decisions these are."""
        probe = self.store.read(registry.RUNTIME_PROBE)
        if probe is None:
            return self.settings.engine_version, self.service.flags
        return probe.engine_version, probe.v6_flags


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Beat until `stop`, or MAX_LOOPS times."""
    Comparison(settings, clock, stop).run()


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("pipeline_compare", run)


if __name__ == "__main__":
    sys.exit(main())
