"""May the candidate policy go live: live against shadow, decision by decision."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, drawing, view_shadow
from dashboard.downloads import Download
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry

JOURNALS = (registry.SHADOW, registry.COMPARE)
DOWNLOADS = (Download("shadow", lambda seen: seen.records(registry.SHADOW)),)


def draw(seen: Seen, viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    drawing.tiles("compare", view_shadow.tiles(seen, now))
    with drawing.fields():
        symbol = drawing.field("Symbol", "symbol", "every symbol")
    left, right = st.columns(2, gap="small")
    with left:
        warm_up = view_shadow.warm_up(seen, now)
        with drawing.panel("warm_up", "Warm-up", warm_up.age):
            drawing.bars("warm_up", warm_up)
        gates = view_shadow.gates(seen, viewer, now)
        with drawing.panel("gates", "May it be promoted?", gates.age):
            drawing.table("gates", gates)
        head = view_shadow.head(seen, now)
        with drawing.panel("head", "The shadow pipeline", head.age):
            drawing.facts("head", head)
    with right:
        over_time = view_shadow.over_time(seen, now)
        with drawing.panel("agreement", "Agreement over time", over_time.age):
            charts.agreement(over_time)
        results = view_shadow.counterfactual(seen, now)
        with drawing.panel("results", "What the differing orders came to", results.age):
            drawing.table("results", results)
        reasons = view_shadow.reasons(seen, now)
        with drawing.panel("reasons", "Differences by reason", reasons.age):
            drawing.table("reasons", reasons)
    parts = view_shadow.parts(seen, now)
    with drawing.panel("parts", "Agreement by symbol and strategy", parts.age):
        drawing.table("parts", parts)
    decisions = view_shadow.decisions(seen, now, symbol)
    with drawing.panel("decisions", "Newest decisions under both policies", decisions.age):
        drawing.table("decisions", decisions)
