"""What the slow cadence thinks: scores, expectancy, suggestions, what was applied."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, drawing, view_intel
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry

JOURNALS = (registry.ORDER_METRICS,)


def draw(seen: Seen, _viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    with drawing.fields():
        symbol = drawing.field("Symbol", "symbol", "every symbol")
    left, right = st.columns(2, gap="small")
    with left:
        scores = view_intel.scores(seen, now, symbol)
        with drawing.panel("scores", "Scores, best first", scores.age):
            drawing.bars("scores", scores)
        allocator = view_intel.allocator(seen, now)
        with drawing.panel("allocator", "Allocator", allocator.age):
            drawing.facts("allocator", allocator)
        force = view_intel.in_force(seen, now)
        with drawing.panel("force", "Router policy in force", force.age):
            drawing.facts("force", force)
    with right:
        hours = view_intel.by_hour(seen, now)
        with drawing.panel("hours", "When trades paid", hours.age):
            charts.hours(hours)
    expectancy = view_intel.expectancy(seen, now, symbol)
    with drawing.panel("expectancy", "Expectancy of a closed trade, net of fees", expectancy.age):
        drawing.table("expectancy", expectancy)
    router = view_intel.router(seen, now, symbol)
    with drawing.panel("suggested", "Router suggestions", router.age):
        drawing.table("suggested", router)
    changes = view_intel.changes(seen, now)
    with drawing.panel("applied", "Applied in 24 hours", changes.age):
        drawing.table("applied", changes)
    allocation = view_intel.allocation(seen, now, symbol)
    with drawing.panel("allocation", "Allocation suggestions", allocation.age):
        drawing.table("allocation", allocation)
    inputs = view_intel.inputs(seen, now, symbol)
    with drawing.panel("inputs", "What scores were computed from", inputs.age):
        drawing.table("inputs", inputs)
