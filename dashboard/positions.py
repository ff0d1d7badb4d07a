"""What is held: exit plans, distances to the stops, what was closed."""

from __future__ import annotations

from dashboard import csv_text, drawing, view_positions
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry
from execution.state_schema.order_journals import Close
from execution.state_store import Unreadable

JOURNALS = (registry.ORDERS_EXECUTED,)


def draw(seen: Seen, _viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    drawing.tiles("held", view_positions.tiles(seen, now))
    with drawing.fields():
        symbol = drawing.field("Symbol", "symbol", "every symbol")
    held = view_positions.positions(seen, now, symbol)
    with drawing.panel("positions", "Open legs", held.age):
        drawing.table("positions", held)
        found = seen.of(registry.POSITIONS)
        if not isinstance(found, Unreadable) and found.known and found.rows:
            drawing.download("positions", lambda: csv_text.write(found.rows))
    closed = view_positions.closed(seen, now, symbol)
    with drawing.panel("closed", "Closed in 24 hours", closed.age):
        drawing.table("closed", closed)
        ends = [each for each in seen.records(registry.ORDERS_EXECUTED) if isinstance(each, Close)]
        if ends:
            drawing.download("closed", lambda: csv_text.write(ends))
