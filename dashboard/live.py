"""What every page shares: settings read once, files read again and again, the frame on top."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard import drawing, view_model
from dashboard.downloads import Download, maker
from dashboard.reading import Reader
from dashboard.seen import Seen, Viewer
from execution import settings, v6_flags
from execution.clock import SystemClock
from execution.log_lines import log_to_stderr
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.registry import Journal

Draw = Callable[[Seen, Viewer, float], None]

log = logging.getLogger(__name__)
CLOCK: Final = SystemClock()
SILENCE_S: Final = 6.0


@st.cache_resource
def start() -> tuple[Settings, Viewer]:
    """Read the settings once in this process, and log what every process logs at its start.

    ConfigError is not kept: the next page asks again.
    """
    log_to_stderr()
    found = settings.load()
    v6_flags.log_flags(log, found.engine_version, found.mode, found.flags)
    viewer = Viewer(
        mode=found.mode,
        engine_version=found.engine_version,
        started_ts=CLOCK.now(),
        refresh_s=found.services.dashboard.refresh_s,
        promotion=found.services.promotion,
    )
    return found, viewer


def page(
    draw: Draw,
    *journals: Journal[Any],
    logs: bool = False,
    downloads: Sequence[Download] = (),
) -> Callable[[], None]:
    """Return a page that draws the common frame and then its own part, at every refresh.

    It reads `journals` besides the state files, and the processes' logs where it asks for them.
    """
    wanted = (registry.ALERTS, *journals)

    def redraw() -> None:
        found, viewer = start()
        redraws = st.session_state["redraws"] = st.session_state.get("redraws", 0) + 1
        if "reader" not in st.session_state:
            st.session_state["reader"] = Reader(found.log_dir, CLOCK)
        reader: Reader = st.session_state["reader"]
        seen, now = reader.read(*wanted, logs=logs), CLOCK.now()
        drawing.silence(redraws, max(SILENCE_S, 4 * viewer.refresh_s))
        drawing.banner(view_model.frame(seen, viewer, now, _browser_zone()))
        draw(seen, viewer, now)

    def run() -> None:
        found, viewer = start()
        st.fragment(redraw, run_every=viewer.refresh_s)()

        def look() -> Seen:
            # On a thread of its own, at the time of the click: the session's reader is not lent.
            return Reader(found.log_dir, CLOCK).read(*journals)

        # Outside of what redraws itself, where a button's file would change under the click.
        drawing.downloads({each.name: maker(each, look) for each in downloads})

    return run


def _browser_zone() -> tzinfo:
    """Return the reader's time zone, where the browser names one that is known here."""
    name = st.context.timezone
    if not name or name in {"UTC", "Etc/UTC"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
