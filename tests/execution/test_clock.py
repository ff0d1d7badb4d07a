from __future__ import annotations

import threading
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.clock import Days, ManualClock, SystemClock

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu"]


def test_the_machines_clock_runs_forward_and_a_wait_ends_when_woken() -> None:
    clock, wake = SystemClock(), threading.Event()
    before, wall = clock.monotonic(), clock.now()
    wake.set()
    clock.wait(60.0, wake)
    assert 0 <= clock.monotonic() - before < 30
    assert wall > 1_700_000_000


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(100.0)
    assert (clock.now(), clock.monotonic()) == (100.0, 0.0)
    clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (102.5, 2.5)


def test_a_wait_on_a_manual_clock_takes_its_time_unless_woken() -> None:
    clock, wake = ManualClock(100.0), threading.Event()
    clock.wait(3.0, wake)
    wake.set()
    clock.wait(50.0, wake)
    assert clock.now() == 103.0


@given(st.lists(st.floats(min_value=0, max_value=1e9), min_size=1))
def test_the_monotonic_scale_never_goes_back_whatever_the_wall_does(walls: list[float]) -> None:
    clock, last = ManualClock(5e8), 0.0
    for wall in walls:
        clock.set(wall)
        assert clock.now() == wall
        assert clock.monotonic() >= last
        last = clock.monotonic()


def test_a_step_back_is_not_made_up_for() -> None:
    clock = ManualClock(100.0)
    clock.set(40.0)
    clock.set(45.0)
    assert clock.monotonic() == 5.0


@given(st.sampled_from(ZONES), st.floats(min_value=0, max_value=4e9))
def test_a_day_is_the_date_of_its_zone(zone: str, now: float) -> None:
    wanted = datetime.fromtimestamp(now, ZoneInfo(zone)).date().isoformat()
    assert Days(zone).label(now) == wanted


@given(
    st.sampled_from(ZONES),
    st.lists(st.floats(min_value=1.6e9, max_value=1.61e9), min_size=2, max_size=20),
)
def test_asking_often_gives_what_asking_once_gives(zone: str, times: list[float]) -> None:
    days = Days(zone)
    assert [days.label(now) for now in times] == [Days(zone).label(now) for now in times]


@given(st.sampled_from(ZONES), st.floats(min_value=0, max_value=4e9), st.floats(0, 1e6))
def test_labels_sort_by_time(zone: str, now: float, later_s: float) -> None:
    assert Days(zone).label(now) <= Days(zone).label(now + later_s)


@pytest.mark.parametrize(
    ("zone", "now", "label"),
    [
        ("UTC", 1_700_006_399.999, "2023-11-14"),
        ("UTC", 1_700_006_400.0, "2023-11-15"),
        # Clocks went forward at 02:00 on 2024-03-31: the day has 23 hours.
        ("Europe/Berlin", 1_711_839_599.0, "2024-03-30"),
        ("Europe/Berlin", 1_711_839_600.0, "2024-03-31"),
        ("Europe/Berlin", 1_711_839_600.0 + 23 * 3600 - 1, "2024-03-31"),
        ("Europe/Berlin", 1_711_839_600.0 + 23 * 3600, "2024-04-01"),
    ],
)
def test_a_day_begins_at_its_zones_midnight(zone: str, now: float, label: str) -> None:
    assert Days(zone).label(now) == label
