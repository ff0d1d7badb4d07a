"""Watch a running suite: memory, descriptors, threads, disk, and the age of every state file.

It starts and ends nothing: it looks at the suite of one log folder that `scripts/up` started.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from execution.clock import Clock, SystemClock
from execution.environment import ROOT
from execution.service_loop import rss_mb
from execution.state_schema import registry
from execution.state_schema.files import ExecutorHealth
from execution.state_schema.registry import StateFile
from execution.state_store import StateStore, Unreadable
from scripts.benchmarks import table

MB = 1_000_000
PROC = Path("/proc")
PROGRAM = b"SUPERVISOR_PROCESS_NAME="
SOCKET = "SUPERVISOR_SERVER_URL=unix://{}/run/supervisor.sock"
# What a person ought to know of, as the logs say it.
UNEXPECTED = re.compile(r"Traceback|\b(WARNING|ERROR|CRITICAL)\b")


Programs = Callable[[], Iterable[tuple[str, int]]]


class Sample(Struct, frozen=True):
    """One process at one moment."""

    pid: int
    rss_mb: float
    fds: int
    threads: int


class Process(Struct, frozen=True):
    """One program over the watch: after the warm-up, at the end, and at most; restarts seen."""

    process: str
    rss_mb_warm_end_max: tuple[float, float, float]
    fds_warm_end_max: tuple[int, int, int]
    threads_warm_end_max: tuple[int, int, int]
    restarts: int


class Age(Struct, frozen=True):
    """One state file over the watch: how old its content got, and how often it was not readable."""

    file: str
    oldest_s: float
    limit_s: float
    samples: int
    too_old: int
    unreadable: int


class Rest(Struct, frozen=True):
    """The executor's loop as it published it, the folder, and what the logs say."""

    hours: float
    loop_ms_p50_last: float | None
    loop_ms_p99_worst: float | None
    loop_ms_sampled_max: float | None
    folder_mb_warm: float
    folder_mb_end: float
    files_warm_end: tuple[int, int]
    unexpected_log_lines: int


class Watch:
    """What was seen so far."""

    def __init__(self, log_dir: Path, clock: Clock, programs: Programs) -> None:
        self._log_dir = log_dir
        self._programs = programs
        self._clock = clock
        self._store = StateStore(log_dir, clock)
        self.processes: dict[str, list[Sample]] = {}
        self.ages: dict[str, list[float | None]] = {file.name: [] for file in registry.STATE_FILES}
        self.loops: list[ExecutorHealth] = []
        self.folder: list[tuple[float, int]] = []

    def look(self) -> None:
        """Take one sample of everything."""
        for name, pid in self._programs():
            try:
                sample = Sample(
                    pid,
                    rss_mb(PROC / str(pid) / "statm"),
                    sum(1 for _ in (PROC / str(pid) / "fd").iterdir()),
                    sum(1 for _ in (PROC / str(pid) / "task").iterdir()),
                )
            except OSError:  # it ended while it was looked at: the next sample has its successor
                continue
            self.processes.setdefault(name, []).append(sample)
        for file in registry.STATE_FILES:
            self._look_at(file)
        sizes = [size for path in self._log_dir.rglob("*") if (size := _size(path)) is not None]
        self.folder.append((sum(sizes) / MB, len(sizes)))

    def _look_at(self, file: StateFile[Any]) -> None:
        found = self._store.inspect(file)
        known = not isinstance(found, Unreadable)
        age_s = self._clock.now() - file.computed_ts(found) if known else None
        self.ages[file.name].append(age_s)
        if isinstance(found, ExecutorHealth):
            self.loops.append(found)


def programs(log_dir: Path) -> Iterator[tuple[str, int]]:
    """Find the programs that the daemon of this folder started."""
    socket = SOCKET.format(log_dir).encode()
    for path in PROC.glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if socket in variables:
            names = [each for each in variables if each.startswith(PROGRAM)]
            yield names[0].removeprefix(PROGRAM).decode(), int(path.parent.name)


def report(watch: Watch, warm: int, hours: float, log_dir: Path) -> None:
    """Print the tables; samples before number `warm` are the warm-up."""
    table.show("processes", [_process(*each, warm) for each in sorted(watch.processes.items())])
    limits = {file.name: file.max_age_s for file in registry.STATE_FILES}
    seen = {name: ages for name, ages in watch.ages.items() if any(age is not None for age in ages)}
    table.show("state files", [_age(name, ages, limits[name]) for name, ages in seen.items()])
    times = [health.loop_ms for health in watch.loops]
    (warm_mb, warm_files), (end_mb, end_files) = watch.folder[warm], watch.folder[-1]
    rest = Rest(
        round(hours, 2),
        times[-1].p50 if times else None,
        max((each.p99 for each in times if each.p99 is not None), default=None),
        max((each.last for each in times if each.last is not None), default=None),
        round(warm_mb, 2),
        round(end_mb, 2),
        (warm_files, end_files),
        sum(_unexpected(path) for path in log_dir.glob("hedge-*.log")),
    )
    table.show("the rest", [rest])


def _process(name: str, samples: list[Sample], warm: int) -> Process:
    after = samples[min(warm, len(samples) - 1) :]
    first, last = after[0], after[-1]
    return Process(
        name,
        (first.rss_mb, last.rss_mb, max(each.rss_mb for each in after)),
        (first.fds, last.fds, max(each.fds for each in after)),
        (first.threads, last.threads, max(each.threads for each in after)),
        len({each.pid for each in samples}) - 1,
    )


def _age(name: str, ages: list[float | None], limit_s: float) -> Age:
    known = [age for age in ages if age is not None]
    return Age(
        name,
        max(known, default=0.0),
        limit_s,
        len(ages),
        sum(age > limit_s for age in known),
        len(ages) - len(known),
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # replaced while it was looked at
        return None


def _unexpected(path: Path) -> int:
    return sum(
        bool(UNEXPECTED.search(line)) for line in path.read_text(errors="replace").splitlines()
    )


@click.command()
@click.option("--log-dir", type=click.Path(path_type=Path), default=ROOT / "logs")
@click.option("--minutes", default=120.0, show_default=True)
@click.option("--every-s", default=10.0, show_default=True)
@click.option("--warm-minutes", default=10.0, show_default=True, help="Left out of the figures.")
def main(log_dir: Path, minutes: float, every_s: float, warm_minutes: float) -> None:
    """Watch for so many minutes, then print what grew and what was too old."""
    clock, never = SystemClock(), threading.Event()
    watch = Watch(log_dir.resolve(), clock, partial(programs, log_dir.resolve()))
    started_s = clock.monotonic()
    while clock.monotonic() - started_s < 60 * minutes:
        watch.look()
        clock.wait(every_s, never)
    watch.look()
    if not watch.processes:
        raise click.ClickException(f"no program of {log_dir} runs; start them with scripts/up")
    warm = min(int(60 * warm_minutes / every_s), len(watch.folder) - 1)
    report(watch, warm, (clock.monotonic() - started_s) / 3600, log_dir)


if __name__ == "__main__":
    main()
