from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core.payloads import minutes
from execution.core.payloads.minutes import BARS_KEPT, MinuteMemory
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import TickReport
from execution.state_schema.journals import BarPoint, MarkPoint
from scripts.benchmarks import sample
from tests.support import builders

NOW = sample.NOW
RUN = sample.run_info()
NEW = MinuteMemory()


def names(report: TickReport, memory: MinuteMemory = NEW) -> list[str]:
    return [journal.name for journal, _ in minutes.records(report, RUN, memory)[0]]


def test_one_nav_point_and_one_mark_per_symbol_and_minute():
    report = sample.tick(2)
    entries, memory = minutes.records(report, RUN, NEW)
    assert [journal.name for journal, _ in entries] == ["nav", "marks", "marks"]
    assert memory.minute == NOW // 60
    assert names(report, memory) == []
    assert len(names(report, replace(memory, minute=memory.minute - 1))) == 3
    assert len(names(report, replace(memory, minute=memory.minute + 60))) == 3  # stepped back


def test_a_nav_that_is_unknown_or_stale_leaves_a_gap():
    report = sample.tick(1)
    for change in ({"known": False}, {"stale": True}):
        book = replace(report.state.book, **change)
        changed = replace(report, state=replace(report.state, book=book))
        assert names(changed) == ["marks"]


def test_blind_leaves_no_marks_and_an_old_quote_none_either():
    report = sample.tick(1)
    assert names(replace(report, seen=Blind(NOW, "down"))) == ["nav"]
    assert names(replace(report, now=NOW + 66)) == ["nav"]  # a minute and the lag of 5 s are over
    assert len(names(replace(report, now=NOW + 65))) == 2


@given(st.floats(1e9, 4e9), st.floats(0, 59.99))
def test_a_minute_is_sixty_seconds(start, inside):
    begin = math.floor(start / 60) * 60.0
    at = [replace(sample.tick(0), now=begin + more) for more in (0.0, inside, 60.0)]
    first, same, after = (minutes.records(report, RUN, NEW)[1].minute for report in at)
    assert first == same == after - 1


# ---------------------------------------------------------------- the bars between two points


def tick(at_s: float, *bars: float) -> TickReport:
    """Return a tick in which these bars of BTCUSDT are told, by their open times after NOW."""
    report = sample.tick(1)
    assert isinstance(report.seen, MarketSnapshot)
    told = {"BTCUSDT": tuple(builders.bar(NOW + ts, 100 + ts) for ts in bars)}
    quotes = {"BTCUSDT": builders.quote(ts=NOW + at_s)}
    seen = replace(report.seen, ts=NOW + at_s, bars=told, quotes=quotes, bar_s=5)
    return replace(report, now=NOW + at_s, seen=seen)


def marks(ticks: list[TickReport]) -> list[MarkPoint]:
    found, memory = [], NEW
    for report in ticks:
        entries, memory = minutes.records(report, RUN, memory)
        found += [record for _, record in entries if isinstance(record, MarkPoint)]
    return found


def test_a_mark_tells_every_bar_since_the_one_before_once():
    first, second, third = marks(
        [
            tick(0, -10, -5),  # the history before the first look is nobody's
            tick(5, -5, 0),  # overlap is allowed
            tick(10, 0, 5),
            tick(60),
            tick(65, 60),
            tick(120),
        ]
    )
    assert first.bars == ()
    assert second.bars[0] == BarPoint(NOW - 5, 95.0, 96.0, 94.0, 95.0, 10.0)
    assert [bar.ts - NOW for bar in second.bars] == [-5, 0, 5]
    assert [bar.ts - NOW for bar in third.bars] == [60]
    assert third.bar_s == 5


def test_a_long_catching_up_is_told_in_part():
    point = marks([tick(0), tick(30, *range(0, 5 * BARS_KEPT + 50, 5)), tick(60)])[-1]
    assert len(point.bars) == BARS_KEPT
    assert point.bars[-1].ts == NOW + 5 * BARS_KEPT + 45
