"""The page as a process: its settings are checked and its start is logged before a browser comes.

Options are Streamlit's own and are passed on as they are.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from itertools import pairwise
from pathlib import Path

from execution import service_loop
from execution.clock import Clock
from execution.errors import ConfigError
from execution.settings import Settings

APP = Path(__file__).with_name("app.py")


def run(_settings: Settings, _clock: Clock, _stop: threading.Event) -> None:
    """Become Streamlit: the same process, so that supervisor's signals reach it."""
    refuse_taken_port(sys.argv[1:])
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and only our own page


def refuse_taken_port(options: list[str]) -> None:
    """Raise ConfigError where another program has the page's port: it would be taken for the page."""
    given = dict(pairwise(options))
    address, port = given.get("--server.address", ""), given.get("--server.port", "")
    if not port.isdigit():
        return  # Streamlit has a port of its own, and its own words for a wrong one
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, int(port)))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"{address}:{port} cannot be listened on ({error}): stop the program that has it, "
                "or change --server.port in ops/hedge.conf; then scripts/down, scripts/up"
            ) from error


if __name__ == "__main__":
    sys.exit(service_loop.start("dashboard", run))
