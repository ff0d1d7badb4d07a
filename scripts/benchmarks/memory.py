"""Resident memory of each process of the suite, started as supervisor starts it, on paper."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import click
from msgspec import Struct

from execution.clock import SystemClock
from execution.environment import ROOT
from execution.service_loop import rss_mb
from scripts.benchmarks import table

GOALS_MB = {
    "execution.executor_live": 70.0,
    "execution.sync_state": 30.0,
    "scripts.pipeline_shadow_heartbeat": 30.0,
    "scripts.pipeline_compare_service": 30.0,
}
SETTLE_S = 20.0


class Resident(Struct, frozen=True):
    """One process after it has worked for a while."""

    process: str
    rss_mb: float
    goal_mb: float
    ratio_to_goal: float


def measure(settle_s: float) -> list[Resident]:
    """Start the four processes on one log folder, let them work, and look."""
    with tempfile.TemporaryDirectory(prefix="hedge-memory-") as folder:
        nothing = str(Path(folder) / "no.env")
        variables = {"PATH": os.defpath, "HEDGE_LOG_DIR": folder, "HEDGE_ENV_FILE": nothing}
        running = {
            module: subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", module], cwd=ROOT, env=variables, stderr=subprocess.DEVNULL
            )
            for module in GOALS_MB
        }
        try:
            SystemClock().wait(settle_s, threading.Event())
            found = {name: rss_mb(Path(f"/proc/{p.pid}/statm")) for name, p in running.items()}
        finally:
            for process in running.values():
                process.terminate()
            for process in running.values():
                process.wait(timeout=15)
    return [
        Resident(name, round(mb, 1), GOALS_MB[name], round(mb / GOALS_MB[name], 2))
        for name, mb in found.items()
    ]


@click.command()
@click.option("--settle-s", default=SETTLE_S, show_default=True, help="Seconds to work first.")
@table.json_option
def main(settle_s: float, *, as_json: bool) -> None:
    """Print the resident memory of the four daemons."""
    rows = measure(settle_s)
    table.tell("resident memory", rows, as_json=as_json)


if __name__ == "__main__":
    main()
