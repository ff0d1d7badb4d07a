"""Is the router working: orders from signal to fill, and what they cost."""

from __future__ import annotations

import streamlit as st

from dashboard import charts, drawing, view_orders, view_router
from dashboard.downloads import Download
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry

JOURNALS = view_orders.JOURNALS
DOWNLOADS = (Download("orders", lambda seen: seen.records(registry.ORDERS_EXECUTED)),)


def draw(seen: Seen, _viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    with drawing.fields():
        symbol = drawing.field("Symbol", "symbol", "every symbol")
        asked = drawing.field("Order", "order", "decision id or order id")
    if asked:
        _story(seen, now, asked)
    drawing.tiles("routes", view_router.tiles(seen, now, symbol))
    found = view_orders.table(seen, now, symbol)
    with drawing.panel("orders", "Newest orders, by decision", found.age):
        drawing.table("orders", found)
    wide, narrow = st.columns([2, 1], gap="small")
    with wide:
        costs = view_router.costs(seen, now, symbol)
        with drawing.panel("costs", "What routes cost", costs.age):
            charts.costs(costs)
    with narrow:
        refused = view_router.rejects(seen, now, symbol)
        with drawing.panel("rejects", "Refused by the venue", refused.age):
            drawing.table("rejects", refused)
    health = view_router.by_symbol(seen, now, symbol)
    with drawing.panel("router", "Router health by symbol", health.age):
        drawing.table("router", health)


def _story(seen: Seen, now: float, asked: str) -> None:
    story = view_orders.story(seen, now, asked)
    with drawing.panel("story", f"Order {asked}", None if story is None else story.age):
        if story is None:
            st.text("Not among the newest orders of the last 24 hours.")
        else:
            drawing.table("story", story)
