from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import promotion
from execution.core.compare import Agreement, Checkpoint, Tally
from execution.core.histogram import Histogram
from execution.core.payloads import compare_summary
from execution.core.promotion import Interval, Promotion
from execution.state_schema.files import CompareSummary
from scripts.benchmarks import sample

TERMS = Promotion(
    min_pairs=250,
    min_agreement_pct=80.0,
    min_results=30,
    confidence_pct=95.0,
    min_difference_usd=0.5,
    max_new_breaches=1,
)
GOOD = Tally(
    pairs=Agreement(300, 270),
    new_breaches=1,
    differences=Histogram(40, 40.0, {100: 40}),
)


def draw(seed: int = 7):
    return partial(_draw, random.Random(seed))


def _draw(source, sample, count):
    return source.choices(sample, k=count)


def told(tally: Tally) -> CompareSummary:
    point = Checkpoint(
        engine_version="v6",
        v6_flags=sample.FLAGS,
        moved_ts=0.0,
        live_policy="live",
        shadow_policy="shadow",
        tally=tally,
    )
    return compare_summary.build(point, 900.0, "v6", sample.FLAGS, 0.0)


def verdicts(tally: Tally, mean: Interval | None) -> dict[str, bool | None]:
    return {gate.name: gate.passed for gate in promotion.gates(told(tally), TERMS, mean)}


# ---------------------------------------------------------------- the interval


@pytest.mark.parametrize("numbers", [[], [1.0]])
def test_of_fewer_than_two_numbers_nothing_is_known(numbers):
    assert promotion.interval(numbers, 95.0, draw()) is None


def test_numbers_that_are_all_the_same_leave_no_doubt():
    assert promotion.interval([2.5] * 40, 95.0, draw()) == Interval(40, 2.5, 2.5)


def test_known_values_by_a_draw_that_is_known():
    """The means are 0.000 to 0.999, in any order: 95 % of them lie between the 26th and 975th."""
    order = list(range(promotion.RESAMPLES))
    random.Random(1).shuffle(order)
    means = iter(order)

    def drawn(_numbers, count):
        return [next(means) / 1000] * count

    assert promotion.interval([0.0, 1.0], 95.0, drawn) == Interval(2, 0.025, 0.974)


def test_it_is_as_wide_as_the_normal_one_for_a_normal_sample():
    source = random.Random(3)
    numbers = [source.gauss(1.0, 2.0) for _ in range(400)]
    mean = sum(numbers) / 400
    deviation = (sum((x - mean) ** 2 for x in numbers) / 400) ** 0.5
    found = promotion.interval(numbers, 95.0, draw())
    assert found is not None
    assert found.low_usd == pytest.approx(mean - 1.96 * deviation / 20, abs=0.03)
    assert found.high_usd == pytest.approx(mean + 1.96 * deviation / 20, abs=0.03)


def test_it_covers_the_truth_as_often_as_it_says():
    """Of 200 samples about 180 intervals of 90 % cover the mean; chance alone is within 160 to 196."""
    source, covered = random.Random(11), 0
    for _ in range(200):
        numbers = [source.gauss(0.3, 1.0) for _ in range(40)]
        found = promotion.interval(numbers, 90.0, partial(_draw, source))
        assert found is not None
        covered += found.low_usd <= 0.3 <= found.high_usd
    assert 160 <= covered <= 196


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12), st.floats(50, 99.9))
def test_it_lies_within_the_sample_and_grows_with_its_confidence(numbers, confidence_pct):
    found = promotion.interval(numbers, confidence_pct, draw())
    wider = promotion.interval(numbers, 99.9, draw())
    assert found is not None
    assert wider is not None
    slack = 1e-6 * max(map(abs, numbers)) + 1e-9
    assert min(numbers) - slack <= wider.low_usd <= found.low_usd <= found.high_usd
    assert found.high_usd <= wider.high_usd <= max(numbers) + slack


# ---------------------------------------------------------------- the gates


def test_what_meets_every_demand_passes_every_gate():
    assert set(verdicts(GOOD, Interval(40, 0.5, 1.5)).values()) == {True}


@pytest.mark.parametrize(
    ("changes", "low_usd", "failed"),
    [
        ({"pairs": Agreement(249, 249)}, 0.5, "pairs"),
        ({"pairs": Agreement(300, 239)}, 0.5, "agreement"),
        ({"differences": Histogram(29, 29.0, {100: 29})}, 0.5, "results"),
        ({}, 0.4999, "difference"),
        ({"new_breaches": 2}, 0.5, "new breaches"),
    ],
)
def test_each_demand_that_is_not_met_fails_its_own_gate(changes, low_usd, failed):
    found = verdicts(replace(GOOD, **changes), Interval(40, low_usd, 2.0))
    assert [name for name, passed in found.items() if passed is not True] == [failed]


def test_what_is_not_measured_passes_no_gate():
    found = verdicts(Tally(), None)
    assert found == {
        "pairs": False,
        "agreement": None,
        "results": False,
        "difference": None,
        "new breaches": True,
    }


def test_the_warm_up_is_the_least_that_may_be_asked():
    eager = replace(TERMS, min_pairs=1)
    few = told(replace(GOOD, pairs=Agreement(199, 199)))
    assert promotion.gates(few, eager, Interval(40, 1.0, 2.0))[0].passed is False
