"""Drives a scratch project from outside: its scripts, its daemon, its processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PROGRAMS = {
    "hedge-executor",
    "hedge-dashboard",
    "hedge-sync_state",
    "hedge-pipeline-shadow-heartbeat",
    "hedge-pipeline-compare",
}
SILENT = "import time\n\nprint('here', flush=True)\ntime.sleep(600)\n"
SILENT_PAGE = "import streamlit as st\n\nst.write('here')\n"


class Done(NamedTuple):
    """How a command ended; `text` is all that it printed."""

    code: int
    text: str


class Process(NamedTuple):
    """One line of supervisor's status."""

    state: str
    pid: int | None


class Suite:
    """One scratch project."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.logs = project / "logs"

    def run(self, *command: str | Path, cwd: Path = Path("/"), path: str | None = None) -> Done:
        """Run a command in an environment that says nothing, from another folder."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={
                "PATH": path or os.environ["PATH"],
                "HOME": str(self.project.parent),
                "PIP_DRY_RUN": "1",  # the packages are borrowed: nothing may be installed
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        return Done(done.returncode, done.stdout)

    def script(self, name: str, *arguments: str, path: str | None = None) -> Done:
        return self.run(self.project / "scripts" / name, *arguments, path=path)

    def ctl(self, *arguments: str) -> Done:
        bin_ = self.project / ".venv" / "bin"
        return self.run(
            bin_ / "supervisorctl", "-c", self.project / "ops" / "supervisord.conf", *arguments
        )

    def processes(self) -> dict[str, Process]:
        """Read supervisor's status, by program."""
        found = {}
        for line in self.ctl("status", "hedge:*").text.splitlines():
            name, state, *rest = line.replace(",", "").split()
            pid = int(rest[1]) if rest[:1] == ["pid"] else None
            found[name.removeprefix("hedge:")] = Process(state, pid)
        return found

    def pids(self) -> dict[str, int | None]:
        return {name: process.pid for name, process in self.processes().items()}

    def daemon_pid(self) -> int:
        return int((self.logs / "run" / "supervisord.pid").read_text())

    def left_over(self) -> list[str]:
        """List the processes that have anything to do with this project."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                works_here = (folder / "cwd").readlink().is_relative_to(self.project)
            except OSError:  # gone, or somebody else's
                continue
            if command and (works_here or str(self.project) in command):
                found.append(f"{folder.name} {command}")
        return found

    def silence(self) -> None:
        """Replace the five programs by ones that only stay."""
        for path in (
            "execution/executor_live.py",
            "execution/sync_state.py",
            "scripts/pipeline_shadow_heartbeat.py",
            "scripts/pipeline_compare_service.py",
        ):
            (self.project / path).write_text(SILENT)
        (self.project / "dashboard" / "app.py").write_text(SILENT_PAGE)


def wait_for(what: str, condition: Callable[[], bool], seconds: float) -> float:
    """Wait until `condition` holds, and return how long that took."""
    began = time.monotonic()
    while not condition():
        elapsed = time.monotonic() - began
        assert elapsed < seconds, f"after {elapsed:.1f} s still not: {what}"
        time.sleep(0.05)
    return time.monotonic() - began
