from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import autotune, router_health
from execution.core.autotune import Evidence
from execution.core.expectancy import summarize
from execution.core.records import RoutePolicy
from execution.state_schema.intel_files import RouterSuggestionRow, ScoreRow
from tests.support import intel, policies
from tests.support.builders import NOW

TERMS = intel.terms().autotune
START = RoutePolicy(maker_first=True, taker_bias=0.2, offset_bps=4.0)


def suggest(
    filled: float | None = 0.8,
    *,
    n: int = TERMS.min_attempts,
    quality: str = "ok",
    regime: str = "normal",
    earned_bps: float | None = None,
    score: float | None = None,
    missed: float = 0.0,
    current: RoutePolicy = START,
) -> RouterSuggestionRow | None:
    (row, *_) = router_health.rows({}, policies.policy(), {})
    routed = replace(
        row,
        n=n,
        maker_fill_rate=filled,
        unfilled_rate=missed,
        policy=replace(row.policy, quality=quality),
        regime=regime,
    )
    earned = replace(summarize([intel.closed(NOW, 1.0)]), expectancy_bps=earned_bps)
    scored = ScoreRow(symbol="BTCUSDT", score=score or 0.0, components={"x": 1.0}, inputs={})
    evidence = Evidence(
        routed, None if earned_bps is None else earned, None if score is None else scored
    )
    return autotune.suggest(evidence, current, TERMS)


def step(**given: object) -> tuple[float, float]:
    """Return by how much offset and bias would move."""
    row = suggest(**given)
    if row is None:
        return 0.0, 0.0
    before, after = row.current_policy, row.proposed_policy
    return (
        round(after.offset_bps - before.offset_bps, 6),
        round(after.taker_bias - before.taker_bias, 6),
    )


def test_nothing_is_suggested_below_the_minimum_sample():
    assert suggest(0.0, n=TERMS.min_attempts - 1, quality="broken") is None
    assert suggest(0.0, quality="unknown") is None


def test_attempts_that_never_filled_are_a_sample():
    row = suggest(0.0, quality="broken")
    assert row is not None
    assert row.proposed_policy == replace(START, offset_bps=3.0)
    assert row.rationale == ("quotes filled 0.00 of 20 attempts, below 0.8, at 4 bps: narrower",)
    assert row.metrics["attempts"] == 20.0


@pytest.mark.parametrize(
    ("given_", "moved"),
    [
        ({"filled": 0.8}, (0.0, 0.0)),
        ({"filled": 0.7}, (-0.5, 0.0)),
        ({"filled": 0.5}, (-1.0, 0.0)),
        ({"filled": 0.1}, (-1.0, 0.0)),
        ({"filled": 0.98, "quality": "good"}, (0.5, -0.05)),
        ({"filled": 0.98, "quality": "ok", "regime": "wild"}, (1.0, 0.0)),
        ({"filled": 0.98, "quality": "degraded"}, (0.0, 0.0)),
        ({"filled": 0.98, "missed": 0.03, "quality": "good"}, (-0.5, 0.0)),
        ({"filled": 0.98, "missed": 0.02, "quality": "ok"}, (0.5, 0.0)),
        ({"filled": 0.8, "quality": "good"}, (0.0, -0.05)),
        ({"filled": 0.8, "earned_bps": -6.0}, (0.0, -0.05)),
        ({"filled": 0.8, "earned_bps": -4.0}, (0.0, 0.0)),
        ({"filled": 0.8, "earned_bps": 6.0}, (0.0, 0.0)),
        ({"filled": 0.8, "earned_bps": 4.0, "regime": "wild"}, (0.0, 0.0)),
        ({"filled": 0.8, "earned_bps": 6.0, "regime": "wild"}, (0.0, 0.05)),
        ({"filled": 0.8, "score": 0.1}, (0.0, -0.05)),
        # One vote for each side leaves the bias where it is.
        ({"filled": 0.8, "earned_bps": 6.0, "regime": "wild", "score": 0.1}, (0.0, 0.0)),
        ({"filled": None, "quality": "unknown"}, (0.0, -0.05)),
    ],
)
def test_every_reason_moves_what_it_should(given_, moved):
    assert step(**given_) == moved
    row = suggest(**given_)
    assert row is None or row.rationale


def test_as_near_as_it_may_stand_the_bias_rises_and_stops_short_of_never_quoting():
    nearest = replace(START, offset_bps=0.5)
    assert step(filled=0.1, current=nearest) == (0.0, 0.05)
    assert step(filled=0.9, missed=0.05, current=nearest) == (0.0, 0.05)
    at_touch = replace(START, offset_bps=0.0)
    assert step(filled=0.1, current=at_touch) == (0.0, 0.05)
    assert suggest(0.1, current=replace(nearest, taker_bias=0.95)) is None


def test_a_configured_offset_outside_the_bounds_is_approached_step_by_step():
    far = replace(START, offset_bps=12.0)
    assert step(filled=0.0, current=far) == (-1.0, 0.0)
    assert step(filled=0.99, quality="good", current=far)[0] == 0.0
    assert step(filled=0.99, quality="ok", current=replace(START, offset_bps=0.0)) == (0.5, 0.0)


def test_a_symbol_that_only_crosses_is_asked_to_quote_again():
    row = suggest(None, quality="unknown", current=RoutePolicy(False, 1.0, 1.0))
    assert row is not None
    assert row.proposed_policy == RoutePolicy(True, 0.95, 1.0)
    assert row.rationale[0] == "quotes were not tried: try them again"


POLICIES = st.builds(RoutePolicy, st.booleans(), st.floats(0, 1), st.floats(0, 50))


@given(
    st.none() | st.floats(0, 1),
    st.sampled_from(["unknown", "good", "ok", "degraded", "broken"]),
    st.sampled_from(["unknown", "calm", "normal", "wild"]),
    st.none() | st.floats(-100, 100),
    st.none() | st.floats(0, 1),
    POLICIES,
)
def test_every_step_is_bounded(filled, quality, regime, earned_bps, score, current):
    row = suggest(
        filled,
        quality=quality,
        regime=regime,
        earned_bps=earned_bps,
        score=score,
        current=current,
    )
    if row is None:
        return
    after = row.proposed_policy
    moved_bps = after.offset_bps - current.offset_bps
    assert abs(moved_bps) <= 1 + 1e-6
    assert abs(after.taker_bias - current.taker_bias) <= 0.05 + 1e-6
    assert 0 <= after.taker_bias <= 1
    assert (
        moved_bps == 0 or 0.5 <= after.offset_bps <= 8 or 8 < after.offset_bps < current.offset_bps
    )
    assert after != current
    assert row.rationale
