"""The first page: is it alive, what is held, what can be lost."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, drawing, view_model, view_positions, view_risk, view_suite
from dashboard.nav_series import nav_series
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry

JOURNALS = (registry.NAV_SERIES,)


def draw(seen: Seen, viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    drawing.tiles("account", view_model.tiles(seen, now))
    wide, narrow = st.columns([2, 1], gap="small")
    with wide:
        series = nav_series(seen, now)
        with drawing.panel("nav", "NAV and drawdown, 24 hours", series.age):
            charts.nav(series)
    with narrow:
        drawing.trading(view_risk.trading_state(seen, now))
        limits = view_risk.main_limits(seen, now)
        with drawing.panel("limits", "Exposure and losses against their limits", limits.age):
            drawing.bars("main", limits)
    held = view_positions.positions(seen, now)
    with drawing.panel("positions", "Positions", held.age):
        drawing.table("positions", held)
    left, right = st.columns(2, gap="small")
    with left, drawing.panel("processes", "Processes"):
        drawing.processes(view_suite.processes(seen, viewer, now))
    with right:
        alerts = view_suite.alerts(seen, now)
        with drawing.panel("alerts", "Alerts", alerts.age):
            drawing.alerts(alerts)
    with st.container(key="footer"):
        st.text(view_suite.footer(seen, viewer))
