from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.histogram import Histogram, Scale

SCALE = Scale(width=0.5, limit=100.0)
NUMBERS = st.lists(st.floats(-90, 90), max_size=60)


def test_nothing_is_null():
    stats = SCALE.stats(Histogram())
    assert (stats.n, stats.mean, stats.p50, stats.p95) == (0, None, None, None)


def test_a_known_sample():
    stats = SCALE.stats(SCALE.add(Histogram(), [4.1, 1.0, 3.0, 2.0]))
    assert (stats.n, stats.p50, stats.p95) == (4, 2.0, 4.0)
    assert stats.mean == pytest.approx(2.525)


def test_zero_stays_exactly_zero():
    stats = SCALE.stats(SCALE.add(Histogram(), [0.0] * 9))
    assert (stats.n, stats.mean, stats.p50, stats.p95) == (9, 0.0, 0.0, 0.0)


@given(NUMBERS, NUMBERS)
def test_quantiles_are_right_to_half_a_bin_and_parts_add_up(before, after):
    whole = SCALE.add(Histogram(), before + after)
    assert SCALE.add(SCALE.add(Histogram(), before), after).bins == whole.bins
    stats, ranked = SCALE.stats(whole), sorted(before + after)
    assert stats.n == len(ranked)
    for value, pct in ((stats.p50, 50), (stats.p95, 95)):
        if ranked:
            exact = ranked[math.ceil(pct * len(ranked) / 100) - 1]
            assert value is not None
            assert abs(value - exact) <= SCALE.width / 2
    if ranked:
        assert stats.mean == pytest.approx(sum(ranked) / len(ranked), abs=1e-9)


@given(st.floats())
def test_what_is_absurd_is_bounded_and_what_is_no_number_is_not_counted(number):
    histogram = SCALE.add(Histogram(), [number])
    assert histogram.n == math.isfinite(number)
    assert all(abs(place) <= SCALE.limit / SCALE.width for place in histogram.bins)
    assert abs(histogram.total) <= SCALE.limit
