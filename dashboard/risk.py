"""What may be lost: each limit, its worst of the day, and what was refused."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, drawing, view_risk
from dashboard.downloads import Download
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry

JOURNALS = (registry.RISK_VETOES,)
DOWNLOADS = (Download("vetoes", lambda seen: seen.records(registry.RISK_VETOES)),)


def draw(seen: Seen, _viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    with drawing.fields():
        symbol = drawing.field("Symbol", "symbol", "every symbol")
    wide, narrow = st.columns([2, 1], gap="small")
    with wide:
        over_time = view_risk.vetoes_over_time(seen, now, symbol)
        with drawing.panel("vetoes", "Vetoes by reason, over time", over_time.age):
            charts.vetoes(over_time)
    with narrow:
        drawing.trading(view_risk.trading_state(seen, now))
        today = view_risk.vetoes_today(seen, now)
        with drawing.panel("today", "Vetoes today, all symbols", today.age):
            drawing.bars("today", today)
    limits = view_risk.limit_table(seen, now, symbol)
    with drawing.panel("limits", "Limits, the most used first", limits.age):
        drawing.table("limits", limits)
        with st.container(key="note"):
            st.text(view_risk.worst_since(seen))
    symbols = view_risk.symbols(seen, now, symbol)
    with drawing.panel("symbols", "Symbols", symbols.age):
        drawing.table("symbols", symbols)
    refused = view_risk.vetoes(seen, now, symbol)
    with drawing.panel("refused", "Newest vetoes", refused.age):
        drawing.table("refused", refused)
