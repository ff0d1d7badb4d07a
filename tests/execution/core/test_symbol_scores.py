from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import router_health, symbol_scores
from execution.core.expectancy import summarize
from execution.state_schema.intel_files import ExpectancyRow, RouterHealthRow
from tests.support import builders, intel, policies
from tests.support.builders import NOW

TERMS = intel.terms()


def earned(n: int = 10, **fields: float | None) -> ExpectancyRow:
    trades = [intel.closed(NOW + each, 1.0) for each in range(n)]
    return replace(summarize(trades), **{"hit_rate": 0.6, "expectancy_bps": 5.0, **fields})


def routed(**fields: object) -> RouterHealthRow:
    (row, *_) = router_health.rows({}, policies.policy(), {})
    measured = {
        "n": 30,
        "maker_fill_rate": 0.8,
        "fallback_rate": 0.1,
        "slippage_p50": 1.0,
        "fee_mean_bps": 2.0,
        "policy": replace(row.policy, quality="good"),
    }
    return replace(row, **{**measured, **fields})


def test_the_formula_in_numbers():
    row = symbol_scores.score("BTCUSDT", earned(), routed(), 0.2, TERMS)
    earning = 0.7 * (0.5 + 0.5 * math.tanh(0.5)) + 0.3 * 0.6
    routing = 0.5 + 0.5 * math.tanh(0.7)
    assert row.components == pytest.approx(
        {
            "earning": 0.55 * earning,
            "routing": 0.35 * routing,
            "slippage": -0.01,
            "fee": -0.02,
            "volatility": -0.06,
        }
    )
    assert row.score == pytest.approx(sum(v for v in row.components.values() if v is not None))
    assert row.inputs["expectancy_bps"] == 5.0
    assert row.inputs["fee_bps"] == 2.0


def test_without_data_a_symbol_is_neutral_and_says_of_what():
    row = symbol_scores.score("BTCUSDT", None, None, 3.0, TERMS)
    assert (row.score, row.components) == (0.45, {})
    assert (row.inputs["trades"], row.inputs["orders"]) == (0.0, 0.0)


def test_below_the_minimum_sample_there_is_no_opinion():
    few = earned(TERMS.expectancy.min_trades - 1, expectancy_bps=-500.0)
    unjudged = routed(policy=replace(routed().policy, quality="unknown"), maker_fill_rate=0.0)
    assert symbol_scores.score("BTCUSDT", few, unjudged, None, TERMS).score == 0.45


def test_one_side_alone_leaves_the_other_neutral():
    row = symbol_scores.score("BTCUSDT", earned(), None, None, TERMS)
    assert row.components["routing"] == pytest.approx(0.35 * 0.5)
    row = symbol_scores.score("BTCUSDT", None, routed(), None, TERMS)
    assert row.components["earning"] == pytest.approx(0.55 * 0.5)


def test_volatility_is_measured_from_the_target():
    sizing = policies.sizing(vol_bars=5)
    calm = builders.frame([100.0] * 20)
    assert symbol_scores.volatility_excess(calm, sizing) == 0.0
    wild = builders.frame([100.0, 103.0] * 10)
    found = symbol_scores.volatility_excess(wild, sizing)
    assert found is not None
    assert found > 1
    assert symbol_scores.volatility_excess(builders.frame([100.0] * 3), sizing) is None


NUMBER = st.none() | st.floats(-1e9, 1e9)
SHARE = st.none() | st.floats(0, 1)


@given(NUMBER, SHARE, SHARE, SHARE, NUMBER, NUMBER, st.none() | st.floats(0, 1e9))
def test_a_score_is_a_share_and_costs_never_raise_it(
    bps, hits, maker, fallback, slippage, fee, volatility
):
    trades = earned(expectancy_bps=bps, hit_rate=hits)
    orders = routed(
        maker_fill_rate=maker, fallback_rate=fallback, slippage_p50=slippage, fee_mean_bps=fee
    )
    row = symbol_scores.score("BTCUSDT", trades, orders, volatility, TERMS)
    assert 0 <= row.score <= 1
    assert all((row.components.get(cost) or 0.0) <= 0 for cost in ("slippage", "fee", "volatility"))
