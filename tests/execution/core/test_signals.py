from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import signals
from execution.core.seam import Bar
from tests.support import builders, policies

BOTH = ("LONG", "SHORT")
FADE = policies.zscore()
FOLLOW = policies.trend()
# Falls, and turns at its last bar: the fast average crosses the slow one upwards there.
CROSS_UP = [110.0 - i for i in range(16)] + [104.0]


def said(strategy, closes: list[float], held=BOTH) -> list[tuple[str, str]]:
    return [
        (signal.action, signal.position_side)
        for signal in signals.read(strategy, "BTCUSDT", builders.bars(closes), held)
    ]


def test_a_close_far_below_its_mean_is_bought_and_no_short_is_kept() -> None:
    assert said(FADE, builders.DIP) == [("exit", "SHORT"), ("entry", "LONG")]


def test_a_close_far_above_its_mean_is_sold_and_no_long_is_kept() -> None:
    assert said(FADE, builders.SPIKE) == [("exit", "LONG"), ("entry", "SHORT")]


def test_a_close_near_its_mean_ends_both_sides() -> None:
    assert said(FADE, builders.QUIET) == [("exit", "LONG"), ("exit", "SHORT")]


def test_between_the_thresholds_a_position_is_kept() -> None:
    # z is about -1.6: beyond exit_z 0.5, short of entry_z 2.0.
    assert said(FADE, [100.0, 101.0] * 6 + [99.4]) == [("exit", "SHORT")]


@pytest.mark.parametrize("closes", [builders.DIP, builders.SPIKE, builders.QUIET])
def test_only_what_is_held_is_left(closes: list[float]) -> None:
    everything = said(FADE, closes)
    for held in ((), ("LONG",), ("SHORT",)):
        wanted = [
            (action, side) for action, side in everything if action == "entry" or side in held
        ]
        assert said(FADE, closes, held) == wanted


def test_a_signal_carries_its_bar_its_strength_and_its_range() -> None:
    (_, entry) = signals.read(FADE, "BTCUSDT", builders.bars(builders.DIP), BOTH)
    assert entry.strategy == "fade"
    assert entry.bar_open_ts == builders.NOW - builders.BASE_S
    assert entry.strength < -2.0
    # The last three true ranges: 2, 2, and from the close before at 101 down to 96.
    assert entry.atr == pytest.approx((2 + 2 + 5) / 3)


def test_trend_enters_when_the_fast_average_crosses_the_slow_one() -> None:
    assert ("entry", "LONG") in said(FOLLOW, CROSS_UP)
    mirrored = [200.0 - close for close in CROSS_UP]
    assert ("entry", "SHORT") in said(FOLLOW, mirrored)


def test_trend_enters_once_at_the_crossing_and_not_while_it_lasts() -> None:
    assert said(FOLLOW, [*CROSS_UP, 105.0]) == [("exit", "SHORT")]


def test_trend_does_not_enter_while_the_range_is_too_narrow() -> None:
    choosy = policies.trend(min_atr_bps=1e4)
    assert said(choosy, CROSS_UP) == [("exit", "SHORT")]


def test_without_a_range_nothing_is_wanted_because_no_stop_could_be_placed() -> None:
    flat = tuple(Bar(float(i), 100.0, 100.0, 100.0, 100.0, 1.0) for i in range(30))
    assert signals.read(FADE, "BTCUSDT", flat, BOTH) == ()
    assert signals.read(FADE, "BTCUSDT", (), BOTH) == ()


@given(
    st.lists(st.floats(min_value=1.0, max_value=1e5), min_size=13, max_size=30),
    st.sampled_from([FADE, FOLLOW]),
)
def test_no_bar_says_to_enter_and_to_leave_the_same_side(closes: list[float], strategy) -> None:
    answers = said(strategy, closes)
    assert len(answers) == len(set(answers))
    entered = {side for action, side in answers if action == "entry"}
    left = {side for action, side in answers if action == "exit"}
    assert len(entered) <= 1
    assert not entered & left


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("closes", [builders.DIP, builders.SPIKE, CROSS_UP])
@pytest.mark.parametrize("strategy", [FADE, FOLLOW])
def test_a_close_that_is_no_number_says_nothing(bad: float, closes: list[float], strategy) -> None:
    bars = builders.bars(closes)
    for at in (-1, -2, -5):
        broken = [*bars]
        broken[at] = replace(bars[at], close=bad)
        assert signals.read(strategy, "BTCUSDT", tuple(broken), BOTH) == ()


@pytest.mark.parametrize("strategy", [FADE, FOLLOW])
def test_bars_needed_are_enough_for_a_first_answer(strategy) -> None:
    needed = signals.bars_needed(strategy, vol_bars=5)
    assert needed >= 6
    closes = [100.0 + (i % 3) for i in range(needed)]
    assert said(strategy, closes) != []
