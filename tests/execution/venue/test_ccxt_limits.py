"""The weight of a minute is never exceeded, and a ban outlives the process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.clock import ManualClock
from execution.venue.ccxt_limits import BAN_FILE, SHARES, UNREADABLE_S, Limits, Pace

NOW = 1_800_014_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def limits(tmp_path: Path, clock: ManualClock) -> Limits:
    return Limits(tmp_path, clock)


def told(weight: int) -> dict[str, str]:
    return {"x-mbx-used-weight-1m": str(weight)}


# ---------------------------------------------------------------- weight


def test_what_was_sent_counts_for_a_minute(limits: Limits, clock: ManualClock) -> None:
    limits.spend(40)
    clock.advance(59.9)
    limits.spend(5)
    assert limits.used_1m == 45
    clock.advance(0.2)
    assert limits.used_1m == 5


def test_what_others_at_this_address_used_counts_too(limits: Limits, clock: ManualClock) -> None:
    limits.spend(5)
    limits.hear(told(1000))
    assert limits.used_1m == 1000
    clock.advance(1)
    limits.spend(40)
    assert limits.used_1m == 1040
    clock.advance(60)
    assert limits.used_1m == 0


def test_a_count_that_is_no_number_changes_nothing(limits: Limits) -> None:
    for text in ("", "-3", "many", "1e9"):
        limits.hear({"x-mbx-used-weight-1m": text})
    limits.hear({})
    assert limits.used_1m == 0


def test_looking_around_stops_before_questions_and_questions_before_orders(limits: Limits) -> None:
    limits.hear(told(1790))
    assert [limits.has_room(20, who) for who in SHARES] == [False, True, True]
    limits.hear(told(2150))
    assert [limits.has_room(20, who) for who in SHARES] == [False, False, True]
    limits.hear(told(2399))
    assert limits.has_room(1, "order")
    assert not limits.has_room(2, "order")


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([1, 5, 30, 40]), st.sampled_from(list(SHARES)), st.floats(0, 3)),
        max_size=300,
    ),
    limit=st.integers(50, 400),
)
def test_no_minute_is_over_the_limit(tmp_path_factory, steps, limit) -> None:
    clock = ManualClock(NOW)
    limits = Limits(tmp_path_factory.mktemp("limits"), clock)
    limits.limit_1m = limit
    sent: list[tuple[float, int]] = []
    for weight, urgency, wait_s in steps:
        clock.advance(wait_s)
        if limits.has_room(weight, urgency):
            limits.spend(weight)
            sent.append((clock.monotonic(), weight))
    for end_s, _ in sent:
        within = [weight for at_s, weight in sent if end_s - 60 < at_s <= end_s]
        assert sum(within) <= limit


def test_a_pace_follows_the_limit(limits: Limits, clock: ManualClock) -> None:
    pace = Pace(limits, clock, 0.15)
    assert pace.is_due()
    pace.done(5)
    clock.advance(0.83)
    assert not pace.is_due()
    clock.advance(0.01)
    assert pace.is_due()
    limits.limit_1m = 1200
    pace.done(5)
    clock.advance(1.66)
    assert not pace.is_due()
    pace.hurry()
    assert pace.is_due()
    pace.done(5, least_s=300)
    clock.advance(299)
    assert not pace.is_due()


# ---------------------------------------------------------------- bans


def test_a_ban_outlives_the_process_and_ends(
    tmp_path: Path, limits: Limits, clock: ManualClock
) -> None:
    assert not limits.is_banned(NOW)
    limits.ban(NOW + 90, NOW, "-1003 banned")
    path = tmp_path / BAN_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text()) == {
        "until_ts": NOW + 90,
        "told_ts": NOW,
        "reason": "-1003 banned",
    }
    after = Limits(tmp_path, clock)
    assert after.is_banned(NOW + 89.9)
    assert not after.is_banned(NOW + 90)


def test_a_shorter_ban_does_not_end_a_longer_one(tmp_path: Path, limits: Limits) -> None:
    limits.ban(NOW + 900, NOW, "418")
    limits.ban(NOW + 10, NOW, "429")
    assert limits.is_banned(NOW + 899)
    assert Limits(tmp_path, ManualClock(NOW)).is_banned(NOW + 899)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"until_ts": 1}', b"[" * 50_000])
def test_a_ban_that_cannot_be_read_counts_as_one_for_a_while(tmp_path: Path, content) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / BAN_FILE).write_bytes(content)
    limits = Limits(tmp_path, ManualClock(NOW))
    assert limits.is_banned(NOW + UNREADABLE_S - 1)
    assert not limits.is_banned(NOW + UNREADABLE_S)


def test_a_pipe_in_the_place_of_the_ban_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / BAN_FILE)
    assert Limits(tmp_path, ManualClock(NOW)).is_banned(NOW)


def test_a_ban_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    limits = Limits(tmp_path, ManualClock(NOW))
    limits.banned_until_ts = None
    limits.ban(NOW + 60, NOW, "418")
    assert limits.is_banned(NOW + 59)
