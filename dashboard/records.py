"""A journal in `Seen` → its records of the last day and how far they can be trusted; pure."""

from __future__ import annotations

from typing import TypeVar

from dashboard import trouble
from dashboard.seen import Seen
from dashboard.shown import AHEAD_S, DAY_S, Age, absent, duration
from execution.state_schema import registry
from execution.state_schema.journals import Record
from execution.state_schema.registry import Journal

R = TypeVar("R", bound=Record)


def of_the_day(seen: Seen, journal: Journal[R], now: float) -> tuple[R, ...]:
    """Return the records of the last 24 hours, oldest first; what a clock dated ahead is left out."""
    recent = [each for each in seen.records(journal) if -AHEAD_S <= now - each.ts <= DAY_S]
    return tuple(sorted(recent, key=_ts))


def age(seen: Seen, journal: Journal[R], now: float) -> Age:
    """Judge a journal by its writer: while the executor lives, an old record is still the newest."""
    unread = seen.unread(journal)
    if unread is not None:
        return absent(unread)
    found = seen.records(journal)
    if not found:
        return Age("unknown", "no record yet")
    newest_s = now - max(map(_ts, found))
    text = f"newest {duration(newest_s)} ago"
    if trouble.age(seen, registry.EXECUTOR_HEALTH, now).status != "fresh":
        return Age("stale", f"executor silent, {text}", newest_s)
    if newest_s < -AHEAD_S:
        return Age("stale", f"clock {duration(-newest_s)} ahead", newest_s)
    return Age("fresh", text, newest_s)


def empty(seen: Seen, journal: Journal[R], words: str) -> str:
    """Return `words` for a journal without records, or that it cannot be read."""
    return words if seen.unread(journal) is None else f"{journal.path} cannot be read."


def _ts(record: Record) -> float:
    return record.ts
