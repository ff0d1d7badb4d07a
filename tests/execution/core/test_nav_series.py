from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.clock import Days
from execution.core.nav_series import cutoff_ts, is_point, summarize

DAY = 1_790_035_200.0  # 2026-09-22T00:00:00Z
UTC_DAY = Days("UTC").label


def test_five_numbers():
    ts = [DAY - 120, DAY - 60, DAY + 60, DAY + 120, DAY + 180]
    nav = [101_000.0, 100_000.0, 99_000.0, 102_000.0, 98_940.0]
    found = summarize(ts, nav, -math.inf, DAY + 200, UTC_DAY)
    assert found.from_ts == DAY - 120
    assert found.n == 5
    assert found.peak_usd == 102_000.0
    assert found.drawdown_pct == pytest.approx(3.0)
    assert found.day_pnl_usd == -60.0  # from 99,000, the first of the day


def test_the_day_begins_where_its_time_zone_says():
    ts = [DAY - 7 * 3600, DAY - 5 * 3600]
    nav = [100.0, 110.0]
    tokyo = Days("Asia/Tokyo").label  # both are of the 22nd there
    assert summarize(ts, nav, 0.0, DAY - 5 * 3600, tokyo).day_pnl_usd == 10.0
    york = Days("America/New_York").label
    assert summarize(ts, nav, 0.0, DAY + 5 * 3600, york).day_pnl_usd is None


def test_points_before_the_cutoff_do_not_count():
    ts = [DAY, DAY + 60, DAY + 120]
    found = summarize(ts, [200.0, 100.0, 90.0], DAY + 60, DAY + 130, UTC_DAY)
    assert (found.from_ts, found.n, found.peak_usd) == (DAY + 60, 2, 100.0)
    assert found.drawdown_pct == pytest.approx(10.0)
    assert found.day_pnl_usd == -10.0


def test_points_of_a_clock_that_was_set_back_do_not_count():
    found = summarize([DAY, DAY + 7200], [100.0, 500.0], 0.0, DAY + 60, UTC_DAY)
    assert (found.n, found.peak_usd, found.drawdown_pct) == (1, 100.0, 0.0)


def test_without_points_nothing_is_known():
    for ts, nav, from_ts in (([], [], 0.0), ([DAY], [1.0], DAY + 1)):
        found = summarize(ts, nav, from_ts, DAY + 60, UTC_DAY)
        assert found.n == 0
        assert (found.from_ts, found.peak_usd) == (None, None)
        assert (found.drawdown_pct, found.day_pnl_usd) == (None, None)


def test_yesterdays_last_point_makes_no_profit_today():
    found = summarize([DAY - 60], [100.0], 0.0, DAY + 60, UTC_DAY)
    assert (found.n, found.day_pnl_usd) == (1, None)


def test_numbers_beyond_floats_are_unknown():
    found = summarize([DAY, DAY + 1], [1e308, -1e308], 0.0, DAY + 2, UTC_DAY)
    assert found.day_pnl_usd is None
    assert found.peak_usd == 1e308


def test_a_zero_is_an_outage_and_no_point():
    assert [is_point(nav) for nav in (0.0, -0.0, math.nan, math.inf)] == [False] * 4
    assert is_point(0.01)
    assert is_point(-5.0)


def test_the_later_cutoff_decides():
    assert cutoff_ts(None, None, DAY) == -math.inf
    assert cutoff_ts(DAY - 100, None, DAY) == DAY - 100
    assert cutoff_ts(None, 50.0, DAY) == DAY - 50
    assert cutoff_ts(DAY - 100, 50.0, DAY) == DAY - 50
    assert cutoff_ts(DAY - 10, 50.0, DAY) == DAY - 10


@given(
    st.lists(st.tuples(st.integers(0, 4 * 86_400), st.floats(1.0, 1e6)), min_size=1, max_size=40),
    st.integers(0, 4 * 86_400),
    st.integers(0, 4 * 86_400),
)
def test_agrees_with_the_plain_definition(points, from_s, now_s):
    points = sorted(points)
    ts = [DAY + at for at, _ in points]
    nav = [usd for _, usd in points]
    found = summarize(ts, nav, DAY + from_s, DAY + now_s, UTC_DAY)
    counted = [(at, usd) for at, usd in zip(ts, nav, strict=True) if from_s <= at - DAY <= now_s]
    assert found.n == len(counted)
    if not counted:
        return
    values = [usd for _, usd in counted]
    assert found.peak_usd == max(values)
    assert found.drawdown_pct == pytest.approx(100 * (1 - values[-1] / max(values)))
    assert 0 <= found.drawdown_pct <= 100
    today = [usd for at, usd in counted if UTC_DAY(at) == UTC_DAY(DAY + now_s)]
    assert found.day_pnl_usd == (values[-1] - today[0] if today else None)
