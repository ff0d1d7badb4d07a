"""What is held: exit plans, distances to the stops, what was closed."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard import drawing, view_positions
from dashboard.downloads import Download
from dashboard.seen import Seen, Viewer
from execution.state_schema import registry
from execution.state_schema.files import PositionRow
from execution.state_schema.order_journals import Close
from execution.state_store import Unreadable


def _held(seen: Seen) -> Iterable[PositionRow]:
    found = seen.of(registry.POSITIONS)
    return () if isinstance(found, Unreadable) or not found.known else found.rows


def _closed(seen: Seen) -> Iterable[Close]:
    return (each for each in seen.records(registry.ORDERS_EXECUTED) if isinstance(each, Close))


JOURNALS = (registry.ORDERS_EXECUTED,)
DOWNLOADS = (Download("positions", _held), Download("closed", _closed))


def draw(seen: Seen, _viewer: Viewer, now: float) -> None:
    """Draw the page once."""
    drawing.tiles("held", view_positions.tiles(seen, now))
    with drawing.fields():
        symbol = drawing.field("Symbol", "symbol", "every symbol")
    held = view_positions.positions(seen, now, symbol)
    with drawing.panel("positions", "Open legs", held.age):
        drawing.table("positions", held)
    closed = view_positions.closed(seen, now, symbol)
    with drawing.panel("closed", "Closed in 24 hours", closed.age):
        drawing.table("closed", closed)
