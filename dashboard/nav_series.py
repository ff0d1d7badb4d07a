"""The NAV journal as a line with the drawdown under it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from msgspec import Struct

from dashboard.seen import Seen
from dashboard.shown import AHEAD_S, DAY_S, Age, absent, age_of, duration
from execution.state_schema import registry
from execution.state_schema.journals import NavPoint

# One point a minute: two missing ones are a gap, and a gap is not a straight line.
GAP_S: Final = 180.0
MAX_AGE_S: Final = 180.0
WINDOW_S: Final = float(DAY_S)
LINE: Final = 2  # points


class NavSeries(Struct, frozen=True):
    """Equally long columns of one chart; None breaks the line. `note` says why nothing is drawn."""

    ts: tuple[float, ...]
    nav_usd: tuple[float | None, ...]
    drawdown_pct: tuple[float | None, ...]
    age: Age
    note: str | None


def nav_series(seen: Seen, now: float) -> NavSeries:
    """Return the points of the last day; the drawdown is drawn downwards, so it is negative."""
    unread = seen.unread(registry.NAV_SERIES)
    if unread is not None:
        return NavSeries((), (), (), absent(unread), "The NAV journal cannot be read.")
    points = seen.records(registry.NAV_SERIES)
    known = sorted((each for each in points if each.ts <= now + AHEAD_S), key=_ts)
    drawn = [each for each in known if now - each.ts <= WINDOW_S]
    age = Age("unknown", "no point yet") if not known else age_of(known[-1].ts, MAX_AGE_S, now)
    rows = list(_with_gaps(drawn))
    return NavSeries(
        ts=tuple(ts for ts, _ in rows),
        nav_usd=tuple(None if each is None else each.nav_usd for _, each in rows),
        drawdown_pct=tuple(
            None if each is None or each.drawdown_pct is None else -each.drawdown_pct
            for _, each in rows
        ),
        age=age,
        note=_note(len(known), len(drawn), now - known[-1].ts if known else 0.0),
    )


def _ts(point: NavPoint) -> float:
    return point.ts


def _with_gaps(points: list[NavPoint]) -> Iterator[tuple[float, NavPoint | None]]:
    for before, after in pairwise(points):
        yield before.ts, before
        if after.ts - before.ts > GAP_S:
            yield (before.ts + after.ts) / 2, None
    if points:
        yield points[-1].ts, points[-1]


def _note(known: int, drawn: int, newest_age_s: float) -> str | None:
    if known and not drawn:
        return f"No NAV point in 24 hours; the newest is {duration(newest_age_s)} old."
    if drawn < LINE:
        return "The line begins with the second NAV point; one is written each minute."
    return None
