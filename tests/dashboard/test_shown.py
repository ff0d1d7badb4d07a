from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import shown
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.0, "0 s"),
        (59.9, "59 s"),
        (60.0, "1 m"),
        (3_599.0, "59 m"),
        (3_600.0, "1 h"),
        (47.9 * 3_600, "47 h"),
        (48 * 3_600, "2 d"),
        (9_999 * 86_400, "9999 d"),
        (1e300, "over 9999 d"),
    ],
)
def test_a_duration_is_whole_units_of_the_largest_that_fits(seconds, text):
    assert shown.duration(seconds) == text


@pytest.mark.parametrize(
    ("ts", "held", "status", "text"),
    [
        (NOW - 3, False, "fresh", "3 s ago"),
        (NOW - 15, False, "fresh", "15 s ago"),
        (NOW - 15.1, False, "stale", "stale 15 s"),
        (NOW - 200, False, "stale", "stale 3 m"),
        (NOW - 3, True, "stale", "stale 3 s"),
        (NOW + 4, False, "fresh", "0 s ago"),
        (NOW + 200, False, "stale", "clock 3 m ahead"),
        (1e300, False, "stale", "clock over 9999 d ahead"),
        (None, False, "stale", "stale, age unknown"),
    ],
)
def test_an_age_is_judged_against_its_limit(ts, held, status, text):
    age = shown.age_of(ts, 15.0, NOW, held=held)
    assert (age.status, age.text) == (status, text)


@given(ts=NUMBERS, max_age_s=st.floats(1, 1e5), now=st.floats(1e9, 4e9), held=st.booleans())
def test_only_a_value_within_its_age_is_fresh(ts, max_age_s, now, held):
    age = shown.age_of(ts, max_age_s, now, held=held)
    within = -shown.AHEAD_S <= now - ts <= max_age_s
    assert (age.status == "fresh") == (within and not held)


def test_what_is_absent_is_named():
    assert shown.absent(Unreadable("a", "missing", "no such file")).text == "file missing"
    assert shown.absent(Unreadable("a", "not_json", "x")).text == "file not json"
    assert shown.absent(Unreadable("a", "not_json", "x")).status == "unknown"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (shown.usd(None), "unknown"),
        (shown.usd(0.0), "0.00 USD"),
        (shown.usd(-0.001), "0.00 USD"),
        (shown.usd(1234567.891), "1,234,567.89 USD"),
        (shown.usd(-12.345, signed=True), "\N{MINUS SIGN}12.35 USD"),
        (shown.usd(12.0, signed=True), "+12.00 USD"),
        (shown.usd(1e18), "1.000e+18 USD"),
        (shown.pct(None), "unknown"),
        (shown.pct(0.456), "0.46 %"),
        (shown.price(None), "unknown"),
        (shown.price(98_500.0), "98,500.00"),
        (shown.price(1.7455), "1.7455"),
        (shown.price(0.0123456), "0.012346"),
        (shown.price(0.0000123), "0.00001230"),
        (shown.price(1e-12), "1e\N{MINUS SIGN}12"),
        (shown.quantity(None), "unknown"),
        (shown.quantity(1200.0), "1,200"),
        (shown.quantity(-0.25), "\N{MINUS SIGN}0.25"),
        (shown.quantity(0.0), "0"),
        (shown.quantity(1e-10), "1e\N{MINUS SIGN}10"),
        (shown.quantity(1e20), "1.000e+20"),
        (shown.multiple(None, "NAV"), "unknown"),
        (shown.multiple(0.4125, "NAV"), "0.41 \N{MULTIPLICATION SIGN} NAV"),
        (shown.measured(150_960.4, "usd"), "150,960 USD"),
        (shown.measured(12.5, "usd"), "12.50 USD"),
        (shown.measured(3.0, "legs"), "3 legs"),
        (shown.measured(2.0, "pct"), "2.00 %"),
        (shown.measured(None, "pct"), "unknown"),
        (shown.spaced("kill_switch"), "kill switch"),
    ],
)
def test_numbers_carry_sign_and_unit(text, expected):
    assert text == expected


@given(st.floats(-1e300, 1e300))
def test_no_number_is_shown_as_zero_unless_it_rounds_to_it(number):
    for text, least in (
        (shown.amount(number), 0.005),
        (shown.price(number), 0.0),
        (shown.quantity(number), 0.0),
    ):
        read = float(text.replace(",", "").replace(shown.MINUS, "-"))
        if abs(number) > least:
            assert read != 0.0
            assert (read < 0) == (number < 0)
            assert read == pytest.approx(number, rel=0.01, abs=0.0051)


def test_times_name_their_zone_and_refuse_what_no_calendar_has():
    assert shown.clock_time(NOW) == "08:00:00 UTC"
    assert shown.clock_time(NOW, ZoneInfo("Asia/Tokyo")) == "17:00:00 JST"
    assert shown.date_time(NOW, UTC) == "2027-01-15 08:00:00 UTC"
    for ts in (None, -1.0, 0.0, 1e300):
        assert shown.date_time(ts) == "unknown"
