"""The page as a process: its settings are checked and its start is logged before a browser comes.

Options are Streamlit's own and are passed on as they are.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from execution import service_loop
from execution.clock import Clock
from execution.settings import Settings

APP = Path(__file__).with_name("app.py")


def run(_settings: Settings, _clock: Clock, _stop: threading.Event) -> None:
    """Become Streamlit: the same process, so that supervisor's signals reach it."""
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and only our own page


if __name__ == "__main__":
    sys.exit(service_loop.start("dashboard", run))
