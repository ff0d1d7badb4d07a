"""Service: keeps the shadow pipeline's head fresh, also when nothing trades.

It shares the head with the executor: both build it with one pure function over one journal, under
the lock of the pair.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Final

from execution import service_loop
from execution.clock import Clock
from execution.jsonl_log import JsonlLogger, tail
from execution.pipeline_pair import PipelinePair
from execution.service_loop import Service, timer_on_beats
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.journals import FlagChange, FlagsStart, ShadowHeartbeat
from execution.state_store import StateStore

STARTS_READ: Final = 200
# A long journal is counted in steps, with a pause in which the executor can have the lock.
STEP_BYTES: Final = 512 * 1024
STEP_PAUSE_S: Final = 0.005


class Heartbeat:
    """The head, written when it is due."""

    def __init__(self, settings: Settings, clock: Clock, stop: threading.Event) -> None:
        timers = settings.services.heartbeat
        self._clock = clock
        self._stop = stop
        self._store = StateStore(settings.log_dir, clock)
        self._timer = timer_on_beats(timers.interval_s, timers.beat_s, clock)
        self.service = Service(
            registry.PROCESS_SHADOW_HEARTBEAT,
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
        """Say in the journal that the pipeline is watched, then count what is new in it."""
        if not self._timer.is_due():
            return
        self.service.append(registry.SHADOW, self._heartbeat())
        while not (self._count_on() or self._stop.is_set()):
            self._clock.wait(STEP_PAUSE_S, self._stop)
        self._timer.done()

    def _heartbeat(self) -> ShadowHeartbeat:
        switched = "on" if self.service.flags.PIPELINE_V6_SHADOW_ENABLED else "off"
        return ShadowHeartbeat(
            ts=self._clock.now(),
            run_id=self.service.run_id,
            reason=f"watched, the shadow is switched {switched}",
        )

    def _count_on(self) -> bool:
        """Count one step of the journal into the head; tell whether that was all of it."""
        _, read_all = self._pair.refresh_head(self.service.run_id, self._clock.now())
        return read_all


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Beat until `stop`, or MAX_LOOPS times."""
    heartbeat = Heartbeat(settings, clock, stop)
    starts = partial(_read_starts, settings)
    heartbeat.service.run(heartbeat.work, starts, settings.services.heartbeat.beat_s, stop)


def _read_starts(settings: Settings) -> tuple[FlagsStart | FlagChange, ...]:
    journal = registry.FLAGS
    return tail(settings.log_dir / journal.path, STARTS_READ, journal.decoder.decode).records


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("pipeline_shadow_heartbeat", run)


if __name__ == "__main__":
    sys.exit(main())
