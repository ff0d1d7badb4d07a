"""The first page: is it alive, what is held, what can be lost."""

from __future__ import annotations

from typing import Final

import streamlit as st

from dashboard import drawing, view_model, view_suite
from dashboard.nav_series import nav_series
from dashboard.seen import Seen, Viewer
from dashboard.trouble import Level

LIMITS_SHOWN: Final = 8


def draw(seen: Seen, viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    drawing.tiles("account", view_model.tiles(seen, now))
    wide, narrow = st.columns([2, 1], gap="small")
    with wide:
        series = nav_series(seen, now)
        with drawing.panel("nav", "NAV and drawdown, 24 hours", series.age):
            drawing.nav_chart(series)
    with narrow:
        _risk(seen, now)
    held = view_model.positions(seen, now)
    with drawing.panel("positions", "Positions", held.age):
        drawing.table("positions", held)
    left, right = st.columns(2, gap="small")
    with left, drawing.panel("processes", "Processes"):
        drawing.processes(view_suite.processes(seen, viewer, now))
    with right:
        mirror = view_suite.sync(seen, now)
        with drawing.panel("sync", "Sync state", mirror.age):
            drawing.facts("sync", mirror)
    alerts = view_suite.alerts(seen, now)
    with drawing.panel("alerts", "Alerts", alerts.age):
        drawing.alerts(alerts)
    with st.container(key="footer"):
        st.text(view_suite.footer(seen, viewer))


def _risk(seen: Seen, now: float) -> None:
    trading = view_model.trading_state(seen, now)
    with drawing.panel("trading", trading.label, trading.age):
        drawing.state("trading", trading, _level(trading.value))
    limits = view_model.limits(seen, now)
    with drawing.panel("limits", "Limits", limits.age):
        if not limits.rows:
            st.text("Limits are unknown.")
        drawing.bars("top", limits.rows[:LIMITS_SHOWN])
        if len(limits.rows) > LIMITS_SHOWN:
            with st.expander(
                f"{len(limits.rows) - LIMITS_SHOWN} less used limits", key="more_limits"
            ):
                drawing.bars("rest", limits.rows[LIMITS_SHOWN:])


def _level(state: str) -> Level:
    levels: dict[str, Level] = {"ACTIVE": "ok", "REDUCING": "warning", "HALTED": "critical"}
    return levels.get(state, "note")
