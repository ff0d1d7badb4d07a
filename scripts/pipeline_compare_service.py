"""Service: compares the shadow's decisions with the live ones, also while nothing trades.

It shares the summary with the executor: both count the same journals from one checkpoint with the
same pure functions, under the lock of the pair.
"""

from __future__ import annotations

import sys
import threading

from execution import service_loop
from execution.clock import Clock
from execution.core.compare import Deciding
from execution.core.payloads import compare_summary
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.files import CompareSummary
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
        """Count what is new in the journals, and write what the whole comes to."""
        self.count_on(self._count_step)
        if self._summary is not None:
            point = compare_summary.journal_point(self._summary, self.service.run_id)
            self.service.append(registry.COMPARE, point)

    def _count_step(self) -> bool:
        """Count one step of the journals into the checkpoint and the summary."""
        self._summary, read_all = self.pair.refresh_compare(self._deciding(), self.clock.now())
        return read_all

    def _deciding(self) -> Deciding:
        """Return the executor whose decisions these are; before its first start, what will be."""
        probe = self.store.read(registry.RUNTIME_PROBE)
        if probe is not None:
            return Deciding(
                probe.engine_version, probe.v6_flags, probe.live_policy, probe.shadow_policy
            )
        settings, flags = self.settings, self.service.flags
        shadowed = flags.PIPELINE_V6_SHADOW_ENABLED
        return Deciding(
            settings.engine_version,
            flags,
            settings.fingerprint,
            settings.shadow_fingerprint if shadowed else None,
        )


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Beat until `stop`, or MAX_LOOPS times."""
    Comparison(settings, clock, stop).run()


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("pipeline_compare", run)


if __name__ == "__main__":
    sys.exit(main())
