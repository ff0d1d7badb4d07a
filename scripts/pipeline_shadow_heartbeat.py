"""Service: keeps the shadow pipeline's head fresh, also when nothing trades.

It shares the head with the executor: both build it with one pure function over one journal, under
the lock of the pair.
"""

from __future__ import annotations

import sys
import threading

from execution import service_loop
from execution.clock import Clock
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.journals import ShadowHeartbeat
from scripts.pipeline_service import PipelineService


class Heartbeat(PipelineService):
    """The head, written when it is due."""

    def __init__(self, settings: Settings, clock: Clock, stop: threading.Event) -> None:
        super().__init__(
            "pipeline_shadow_heartbeat",
            registry.SHADOW_HEAD,
            registry.PROCESS_SHADOW_HEARTBEAT,
            settings.services.heartbeat,
            settings,
            clock,
            stop,
        )

    def refresh(self) -> None:
        """Say in the journal that the pipeline is watched, then count what is new in it."""
        self.service.append(registry.SHADOW, self._heartbeat())
        self.count_on(self._count_step)

    def _heartbeat(self) -> ShadowHeartbeat:
        switched = "on" if self.service.flags.PIPELINE_V6_SHADOW_ENABLED else "off"
        return ShadowHeartbeat(
            ts=self.clock.now(),
            run_id=self.service.run_id,
            reason=f"watched, the shadow is switched {switched}",
        )

    def _count_step(self) -> bool:
        """Count one step of the journal into the head."""
        _, read_all = self.pair.refresh_head(self.service.run_id, self.clock.now())
        return read_all


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Beat until `stop`, or MAX_LOOPS times."""
    Heartbeat(settings, clock, stop).run()


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("pipeline_shadow_heartbeat", run)


if __name__ == "__main__":
    sys.exit(main())
