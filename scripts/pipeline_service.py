"""What the two pipeline services share: one file of the shared pair, kept fresh and mirrored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from execution import guards, service_loop
from execution.clock import Clock
from execution.core.mirror import documents
from execution.core.mirror.documents import Document
from execution.core.payloads import flag_starts
from execution.jsonl_log import JsonlLogger, newest
from execution.mirror_writer import MirrorWriter
from execution.pipeline_pair import PipelinePair
from execution.service_loop import Service, timer_on_beats
from execution.services import Compare, Heartbeat
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.files import ProcessHealth
from execution.state_schema.registry import StateFile
from execution.state_store import StateStore, Unreadable

# A long journal is counted in steps, with a pause in which the executor can have the lock.
STEP_BYTES: Final = 512 * 1024
STEP_PAUSE_S: Final = 0.005


class PipelineService:
    """A service that writes `file` when it is due, and mirrors it as whoever wrote it last left it."""

    def __init__(
        self,
        name: guards.Service,
        file: StateFile[Any],
        process: StateFile[ProcessHealth],
        timers: Heartbeat | Compare,
        settings: Settings,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = StateStore(settings.log_dir, clock)
        self.service = Service(
            process,
            settings,
            clock,
            self.store,
            partial(JsonlLogger, clock=clock, **service_loop.journal_limits(settings)),
        )
        self._file = file
        self._stop = stop
        self._beat_s = timers.beat_s
        self._timer = timer_on_beats(timers.interval_s, timers.beat_s, clock)
        self.pair = PipelinePair(
            self.store,
            settings.log_dir,
            settings.services,
            settings.engine_version,
            self.service.flags,
            self.service.faults,
            STEP_BYTES,
        )
        self._mirror = MirrorWriter(
            name,
            settings,
            clock,
            self.store,
            self.service,
            documents.name_of(file),
            2 * timers.interval_s,
        )

    def refresh(self) -> None:
        """Write the file."""
        raise NotImplementedError

    def work(self) -> None:
        """Write the file where that is due, and mirror it where it is new."""
        if self._timer.is_due():
            self.refresh()
            self._timer.done()
        self._mirror.cycle(self._documents)

    def run(self) -> None:
        """Beat until told to stop, or MAX_LOOPS times."""
        starts = partial(newest, self.settings.log_dir, registry.FLAGS, flag_starts.READ)
        self.service.run(self.work, starts, self._beat_s, self._stop)

    def count_on(self, step: Callable[[], bool]) -> None:
        """Count the journals to their ends; `step` counts a part and says whether that was all."""
        while not (step() or self._stop.is_set()):
            self.clock.wait(STEP_PAUSE_S, self._stop)

    def _documents(self, _withheld: Mapping[str, str]) -> list[Document]:
        payload = self.store.inspect(self._file)
        return [] if isinstance(payload, Unreadable) else [documents.state(self._file, payload)]
