"""What the page costs: first paint and refresh beside 1 MB and 500 MB of journals, and CPU.

A session is Streamlit's own runner without a browser (AppTest): the script, its reading and every
value that would be sent. AppTest keeps what a server would send and forget, so memory is not
measured here: `scripts/bench soak` watches the real server while a browser has the page open.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct
from streamlit.testing.v1 import AppTest

from execution.clock import SystemClock
from execution.environment import ROOT
from execution.jsonl_log import JsonlLogger
from execution.state_schema import registry
from execution.state_schema.journals import NavPoint, Record, Veto
from execution.state_schema.registry import Journal
from scripts.benchmarks import table

MB = 1_000_000
SMALL_MB, LARGE_MB = 1, 500
REFRESH_S = 2.0
REFRESHES = 20
PAGES: dict[str, Journal[Any]] = {
    "overview": registry.NAV_SERIES,
    "risk": registry.RISK_VETOES,
}
SCRIPT = """
from dashboard import live, {page}
from execution.state_schema import registry
live.page({page}.draw, registry.NAV_SERIES, registry.RISK_VETOES)()
"""


class Session(Struct, frozen=True):
    """What one session in a process of its own measured of itself; a refresh is the median."""

    first_paint_ms: float
    refresh_ms: float
    first_cpu_ms: float
    refresh_cpu_ms: float


class Paint(Struct, frozen=True):
    """One page beside small and large journals: the best of several fresh processes.

    The ratios are large over small, of wall time and of processor time. `cpu_pct` is what one open
    session takes of a core at the default refresh, beside the small ones.
    """

    page: str
    journals_mb: tuple[int, int]
    first_paint_ms: tuple[float, float]
    refresh_ms: tuple[float, float]
    first_ratio: float
    refresh_ratio: float
    first_cpu_ratio: float
    refresh_cpu_ratio: float
    cpu_pct: float


def record(ts: float) -> dict[str, Record]:
    """Return one record of each journal that the measured pages read."""
    point = NavPoint(
        ts=ts,
        run_id="bench",
        nav_usd=100_000.0 + ts % 977,
        wallet_usd=100_000.0,
        unrealized_usd=ts % 977,
        gross_usd=40_000.0,
        net_usd=1_000.0,
        peak_usd=101_000.0,
        drawdown_pct=1.0,
    )
    veto = Veto(
        ts=ts,
        run_id="bench",
        decision_id=f"d{int(ts)}",
        strategy="trend",
        symbol="BTCUSDT",
        position_side="LONG",
        side="BUY",
        action="entry",
        qty=0.012,
        reason="max_concurrent",
        limit=4,
        observed=5,
        unit="legs",
        reasons=("max_concurrent",),
    )
    return {registry.NAV_SERIES.name: point, registry.RISK_VETOES.name: veto}


def grow(log_dir: Path, journal: Journal[Any], size_mb: int) -> None:
    """Write a journal of this size whose end is now: a point a minute, or a veto each ten seconds."""
    step_s = 60 if journal is registry.NAV_SERIES else 10
    line = msgspec.json.encode(record(SystemClock().now())[journal.name]) + b"\n"
    count = size_mb * MB // len(line) + 1
    start = SystemClock().now() - step_s * count
    path = log_dir / journal.path
    path.parent.mkdir(parents=True, exist_ok=True)
    head, tail = line.split(b'"ts":')[0] + b'"ts":', line.split(b",", 2)[2]
    with path.open("wb") as file:
        for at in range(0, count, 10_000):
            ends = range(at, min(count, at + 10_000))
            file.write(b"".join(head + b"%.3f," % (start + step_s * n) + tail for n in ends))


def look(page: str, log_dir: Path, refreshes: int) -> Session:
    """Open one session on this folder and refresh it, each time after an appended record."""
    journal, clock = PAGES[page], SystemClock()
    logger = JsonlLogger(log_dir / journal.path, clock, max_bytes=10**12, backups=9, max_age_s=1e12)
    session = AppTest.from_string(SCRIPT.format(page=page), default_timeout=600)
    spent_ms, cpu_ms = [], []
    for _ in range(refreshes + 1):
        lost = logger.write(record(clock.now())[journal.name])
        start, start_cpu = time.perf_counter(), time.process_time()
        session.run()
        spent_ms.append(1_000 * (time.perf_counter() - start))
        cpu_ms.append(1_000 * (time.process_time() - start_cpu))
        if lost is not None or session.exception:
            raise click.ClickException(f"not drawn: {lost} {session.exception}")
    return Session(
        spent_ms[0],
        statistics.median(spent_ms[1:]),
        cpu_ms[0],
        statistics.median(cpu_ms[1:]),
    )


def session(page: str, log_dir: Path, refreshes: int) -> Session:
    """Let a fresh process look."""
    variables = {
        "PATH": os.defpath,
        "HEDGE_LOG_DIR": str(log_dir),
        "HEDGE_ENV_FILE": str(log_dir / "no.env"),
    }
    command = ["-m", "scripts.benchmarks.page", "--look", page, str(log_dir), str(refreshes)]
    answer = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, *command],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return msgspec.json.decode(answer.stdout.splitlines()[-1], type=Session)


def paint(page: str, rounds: int, sizes: tuple[int, int]) -> Paint:
    """Measure one page beside both sizes, in turns, so that a busy machine is busy for both."""
    with tempfile.TemporaryDirectory(prefix="hedge-page-") as folder:
        found: dict[int, list[Session]] = {size: [] for size in sizes}
        for size in sizes:
            grow(Path(folder) / str(size), PAGES[page], size)
        os.sync()  # what is still being written to disk is not the page's cost
        for _ in range(rounds):
            for size in sizes:
                found[size].append(session(page, Path(folder) / str(size), REFRESHES))
    figures = ("first_paint_ms", "refresh_ms", "first_cpu_ms", "refresh_cpu_ms")
    least = {
        name: [min(getattr(each, name) for each in some) for some in found.values()]
        for name in figures
    }
    ratio = {name: round(large / small, 2) for name, (small, large) in least.items()}
    first, later = least["first_paint_ms"], least["refresh_ms"]
    return Paint(
        page=page,
        journals_mb=sizes,
        first_paint_ms=(first[0], first[1]),
        refresh_ms=(later[0], later[1]),
        first_ratio=ratio["first_paint_ms"],
        refresh_ratio=ratio["refresh_ms"],
        first_cpu_ratio=ratio["first_cpu_ms"],
        refresh_cpu_ratio=ratio["refresh_cpu_ms"],
        cpu_pct=round(least["refresh_cpu_ms"][0] / (10 * REFRESH_S), 1),
    )


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Fresh processes for each size.")
@click.option("--large-mb", default=LARGE_MB, show_default=True, help="Size of the large journal.")
@click.option("--look", "looked", nargs=3, default=None, hidden=True)
def main(rounds: int, large_mb: int, looked: tuple[str, str, str] | None) -> None:
    """Print what first paint and refresh cost, and what an open session takes of a core."""
    if looked is not None:
        page, folder, count = looked
        click.echo(msgspec.json.encode(look(page, Path(folder), int(count))))
        return
    table.show("paint", [paint(page, rounds, (SMALL_MB, large_mb)) for page in PAGES])


if __name__ == "__main__":
    main()
