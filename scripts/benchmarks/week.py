"""A simulated week of the executor on paper: what it leaves in memory, descriptors and on the disk.

The process is the real one, on a clock that jumps to the next loop instead of waiting for it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import click

from execution import executor_live, settings
from execution.clock import ManualClock, SystemClock
from execution.environment import ROOT
from execution.log_lines import log_to_stderr
from scripts.benchmarks import soak

HOUR_S = 3_600
LOOP_S = 5.0  # the simulated market's bar: nothing new happens between two of them


class Watched(ManualClock):
    """A clock that is looked at once in each of its hours."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.looks: list[Callable[[], None]] = []
        self._next_s = 0.0

    def wait(self, seconds: float, wake: threading.Event) -> None:
        """Let `seconds` pass at once."""
        super().wait(seconds, wake)
        if self.monotonic() >= self._next_s:
            self._next_s = self.monotonic() + HOUR_S
            for look in self.looks:
                look()


@click.command()
@click.option("--days", default=7.0, show_default=True)
def main(days: float) -> None:
    """Trade so many days as fast as it goes, then print what grew."""
    log_to_stderr()
    with tempfile.TemporaryDirectory(prefix="hedge-week-") as folder:
        ops_dir, log_dir = Path(folder) / "ops", Path(folder) / "logs"
        shutil.copytree(ROOT / "ops", ops_dir)
        services = (ops_dir / "services.toml").read_text()
        slower = re.sub(r"(?m)^loop_s = .*$", f"loop_s = {LOOP_S}", services)
        (ops_dir / "services.toml").write_text(slower)
        over = {
            "HEDGE_LOG_DIR": str(log_dir),
            "HEDGE_OPS_DIR": str(ops_dir),
            "HEDGE_ENV_FILE": str(Path(folder) / "no.env"),
            "MAX_LOOPS": str(int(days * 24 * HOUR_S / LOOP_S)),
        }
        found = settings.load(over=over)
        settings.prepare_log_dir(found)
        clock = Watched(SystemClock().now())
        watch = soak.Watch(log_dir, clock, lambda: [("executor", os.getpid())])
        clock.looks.append(watch.look)
        executor_live.run(found, clock, threading.Event())
        soak.report(watch, len(watch.folder) // 7, days * 24, log_dir)


if __name__ == "__main__":
    main()
