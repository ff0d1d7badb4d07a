"""The loop of every process: intervals, signals, what failed, and how a process starts and ends."""

from __future__ import annotations

import _thread
import contextlib
import logging
import math
import os
import resource
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypedDict

from execution import settings as settings_door
from execution.clock import Clock, SystemClock
from execution.core.guarded import Failed, guarded
from execution.core.payloads import flag_starts, processes
from execution.core.payloads.run import ServiceInfo
from execution.errors import EXIT_CONFIG, EXIT_LOCKED, ConfigError, LockHeld
from execution.log_lines import escape, log_to_stderr, one_line
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import LoopMs, ProcessHealth
from execution.state_schema.journals import FlagChange, FlagsStart, Record
from execution.state_schema.registry import Journal, Process, StateFile
from execution.v6_flags import log_flags

log = logging.getLogger(__name__)

REPEAT_S = 60.0
WINDOW_LOOPS = 600
STATM = Path("/proc/self/statm")
MB = 1_000_000
MIB = 1024 * 1024
DAY_S = 86_400

Outcome = Failed | Iterable[Failed] | None
Starts = Iterable[FlagsStart | FlagChange]


# ---------------------------------------------------------------- what failed


class Faults:
    """What failed in one process since its start: a count per stage, and the newest.

    Each kind (stage and type of error) is logged with its traceback once a minute.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self.errors: dict[str, int] = {}
        self.last_error: str | None = None

    def note(self, outcome: Outcome) -> None:
        """Count what failed, and say it where it is time to."""
        if outcome is None:
            return
        for failed in (outcome,) if isinstance(outcome, Failed) else outcome:
            kind = type(failed.error).__name__
            text = guarded(failed.stage, partial(str, failed.error))
            said = kind if isinstance(text, Failed) else f"{kind}: {text}"
            self._count(failed.stage, kind, said, failed.error)

    def report(self, stage: str, kind: str, text: str) -> None:
        """Count something expected that is wrong all the same; it has no traceback."""
        self._count(stage, kind, text, None)

    def _count(self, stage: str, kind: str, text: str, error: Exception | None) -> None:
        self.errors[stage] = self.errors.get(stage, 0) + 1
        text = one_line(text)
        self.last_error = f"{stage}: {text}"
        now_s = self._clock.monotonic()
        said_s, silent = self._said.get((stage, kind), (-math.inf, 0))
        if now_s - said_s < REPEAT_S:
            self._said[stage, kind] = (said_s, silent + 1)
            return
        self._said[stage, kind] = (now_s, 0)
        log.error("failed stage=%s unsaid=%d error=%s", stage, silent, text, exc_info=error)


# ---------------------------------------------------------------- the loop


class LoopTimes:
    """How long the newest loops took."""

    def __init__(self, window: int = WINDOW_LOOPS) -> None:
        self._ms: deque[float] = deque(maxlen=window)

    def add(self, seconds: float) -> None:
        """Take in one loop."""
        self._ms.append(seconds * 1000)

    def figures(self) -> LoopMs:
        """Return the last one and the percentiles of the window, by nearest rank."""
        if not self._ms:
            return LoopMs(last=None, p50=None, p99=None)
        ranked = sorted(self._ms)
        p50, p99 = (ranked[math.ceil(pct * len(ranked) / 100) - 1] for pct in (50, 99))
        return LoopMs(last=self._ms[-1], p50=p50, p99=p99)


class Timer:
    """Something that is due at once, and again `interval_s` after it was done.

    A beat that comes up to `slack_s` early counts as on time.
    """

    def __init__(self, interval_s: float, clock: Clock, slack_s: float = 0.0) -> None:
        self._wait_s = interval_s - slack_s
        self._clock = clock
        self._due_s = -math.inf

    def is_due(self) -> bool:
        """Tell whether it is time."""
        return self._clock.monotonic() >= self._due_s

    def restart(self) -> None:
        """Be due at once."""
        self._due_s = -math.inf

    def done(self) -> None:
        """Count from now on."""
        self._due_s = self._clock.monotonic() + self._wait_s


def timer_on_beats(interval_s: float, beat_s: float, clock: Clock) -> Timer:
    """Make a timer that is looked at every `beat_s` and never waits longer than `interval_s`."""
    return Timer(beat_s * (interval_s // beat_s), clock, slack_s=beat_s / 2)


def loop(
    beat: Callable[[], Outcome],
    *,
    interval_s: float,
    clock: Clock,
    stop: threading.Event,
    faults: Faults,
    stage: str = "beat",
    max_loops: int = 0,
    times: LoopTimes | None = None,
) -> int:
    """Call `beat` every `interval_s` until `stop`, or `max_loops` times; return how often.

    Beats lie on a grid of the monotonic clock; those missed by a long beat are skipped. What a
    beat raises or returns as failed is noted in `faults`, and the loop goes on.
    """
    beats = 0
    due_s = clock.monotonic()
    while not stop.is_set():
        started_s = clock.monotonic()
        faults.note(guarded(stage, beat))
        ended_s = clock.monotonic()
        if times is not None:
            times.add(ended_s - started_s)
        beats += 1
        if beats == max_loops:
            break
        due_s += interval_s * max(1, math.ceil((ended_s - due_s) / interval_s))
        clock.wait(max(0.0, due_s - ended_s), stop)
    log.info("stop beats=%d because=%s", beats, "signal" if stop.is_set() else "MAX_LOOPS")
    return beats


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set, instead of ending the process in mid-beat."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        # The wait that this interrupts may hold the event's own lock: another thread sets it.
        _thread.start_new_thread(stop.set, ())

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- a process


def start(process: Process, body: Callable[[Settings, Clock, threading.Event], object]) -> int:
    """Run `body` as a process of the suite; return its exit code.

    What a person must mend is one line on standard error, without a traceback.
    """
    log_to_stderr()
    try:
        settings = settings_door.load()
        if process != "dashboard":
            settings_door.refuse_mirror(settings.log_dir)
        settings_door.prepare_log_dir(settings)
        log_flags(
            logging.getLogger(process), settings.engine_version, settings.mode, settings.flags
        )
        with stopped_by_signals() as stop:
            body(settings, SystemClock(), stop)
    except ConfigError as error:
        return _refuse(process, error, EXIT_CONFIG)
    except LockHeld as error:
        return _refuse(process, error, EXIT_LOCKED)
    return 0


def _refuse(process: Process, error: Exception, code: int) -> int:
    sys.stderr.write(f"{process}: {escape('; '.join(str(error).splitlines()))}\n")
    return code


# ---------------------------------------------------------------- a service


class Loss(Protocol):
    """A record that a journal did not take."""

    @property
    def journal(self) -> str:
        """Return the journal's name."""

    @property
    def reason(self) -> str:
        """Return why."""


class Appender(Protocol):
    """One open journal."""

    def write(self, record: Record) -> Loss | None:
        """Append `record`."""


class Store(Protocol):
    """The state files, as a service uses them for itself."""

    def write(self, file: StateFile[ProcessHealth], payload: ProcessHealth) -> ProcessHealth:
        """Replace one file."""

    def sweep(self, process: Process) -> int:
        """Remove what a killed predecessor left."""


class Service:
    """A service's own life: its start, its beats, its journals, and the file that tells of them."""

    def __init__(
        self,
        file: StateFile[ProcessHealth],
        settings: Settings,
        clock: Clock,
        store: Store,
        open_journal: Callable[[Path], Appender],
    ) -> None:
        (self.process,) = file.owners
        self.flags = V6Flags(**settings.flags)
        self.started_ts = clock.now()
        self.run_id = run_id(self.started_ts)
        self.faults = Faults(clock)
        self.cycles = 0
        self._engine_version = settings.engine_version
        self._max_loops = settings.max_loops
        self._file = file
        self._log_dir = settings.log_dir
        self._clock = clock
        self._store = store
        self._open_journal = open_journal
        self._journals: dict[str, Appender] = {}

    def run(
        self,
        work: Callable[[], Outcome],
        read_starts: Callable[[], Starts],
        interval_s: float,
        stop: threading.Event,
    ) -> None:
        """Do `work` every `interval_s` until `stop`, or MAX_LOOPS times.

        `read_starts` reads the newest part of the journal of flags, to which this start is added.
        """
        self.faults.note(guarded("start", partial(self._begin, read_starts)))
        loop(
            partial(self.beat, work),
            interval_s=interval_s,
            clock=self._clock,
            stop=stop,
            faults=self.faults,
            stage=self.process,
            max_loops=self._max_loops,
        )

    def _begin(self, read_starts: Callable[[], Starts]) -> None:
        self._store.sweep(self.process)
        for record in flag_starts.records(self.process, self.info(), read_starts()):
            self.append(registry.FLAGS, record)

    def beat(self, work: Callable[[], Outcome]) -> None:
        """Do the work, note what failed in it, and tell how it goes even then."""
        self.cycles += 1
        self.faults.note(guarded(self.process, work))
        self._store.write(self._file, processes.process_health(self.info(), self._clock.now()))

    def append(self, journal: Journal[Any], record: Record) -> None:
        """Write `record`, or count that it was lost."""
        appender = self._journals.get(journal.path)
        if appender is None:
            appender = self._journals[journal.path] = self._open_journal(
                self._log_dir / journal.path
            )
        lost = appender.write(record)
        if lost is not None:
            self.faults.report(f"journal:{lost.journal}", "lost", lost.reason)

    def info(self) -> ServiceInfo:
        """Return what there is to tell."""
        return ServiceInfo(
            engine_version=self._engine_version,
            run_id=self.run_id,
            flags=self.flags,
            pid=os.getpid(),
            started_ts=self.started_ts,
            cycles=self.cycles,
            errors=dict(self.faults.errors),
            last_error=self.faults.last_error,
            rss_mb=rss_mb(),
        )


def run_id(started_ts: float) -> str:
    """Name one run of one process on this machine."""
    return f"{int(started_ts * 1000):x}-{os.getpid():x}"


def rss_mb(statm: Path = STATM) -> float:
    """Return the resident memory of this process in MiB; where only its peak is known, the peak."""
    try:
        pages = int(statm.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / MIB


class JournalLimits(TypedDict):
    """What a `JsonlLogger` is told of size and retention."""

    max_bytes: int
    backups: int
    max_age_s: float


def journal_limits(settings: Settings) -> JournalLimits:
    """Return the limits of `services.toml` in the units of a logger."""
    journals = settings.services.journals
    return JournalLimits(
        max_bytes=int(journals.max_mb * MB),
        backups=journals.backups,
        max_age_s=journals.max_age_days * DAY_S,
    )
