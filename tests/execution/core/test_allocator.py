from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import allocator
from execution.core.policy import SymbolLimits
from execution.state_schema.intel_files import ScoreRow
from tests.support import builders, intel, policies

TERMS = intel.terms().allocator
LIMITS = policies.limits(symbols={"ETHUSDT": SymbolLimits(cap_pct=10.0)})


def scored(**scores: float) -> tuple[ScoreRow, ...]:
    return tuple(
        ScoreRow(symbol=symbol, score=score, components={"earning": score}, inputs={})
        for symbol, score in scores.items()
    )


@pytest.mark.parametrize(
    ("drawdown_pct", "mode"),
    [
        (0.0, "normal"),
        (4.999, "normal"),
        (5.0, "cautious"),
        (9.999, "cautious"),
        (10.0, "defensive"),
        (99.0, "defensive"),
        (None, "cautious"),
        (float("nan"), "cautious"),
    ],
)
def test_the_mode_follows_the_drawdown(drawdown_pct, mode):
    assert allocator.risk_mode(drawdown_pct, TERMS) == mode


@pytest.mark.parametrize("fields", [{"known": False}, {"stale": True}, {"nav_usd": 0.0}])
def test_an_equity_that_is_not_known_is_cautious_and_suggests_nothing(fields):
    found = allocator.suggest(builders.book(**fields), scored(BTCUSDT=0.9), LIMITS, TERMS)
    assert (found.book.risk_mode, found.book.current_equity_usd) == ("cautious", None)
    assert (found.rows, found.note) == ((), "the equity is not known")


def test_no_history_suggests_nothing():
    neutral = ScoreRow(symbol="BTCUSDT", score=0.45, components={}, inputs={})
    found = allocator.suggest(builders.book(), (neutral,), LIMITS, TERMS)
    assert (found.book.risk_mode, found.rows, found.note) == ("normal", (), "no history yet")


def test_weights_follow_scores_and_caps_only_shrink():
    rows = allocator.suggest(
        builders.book(drawdown_pct=6.0), scored(ETHUSDT=0.225, BTCUSDT=0.9), LIMITS, TERMS
    ).rows
    assert [row.symbol for row in rows] == ["BTCUSDT", "ETHUSDT"]
    assert [row.suggested_weight for row in rows] == [pytest.approx(0.8), pytest.approx(0.2)]
    best, worst = rows
    assert (best.caps.symbol_cap_pct, best.caps.trade_cap_pct) == (40.0, 20.0)
    assert best.suggested_caps.symbol_cap_pct == pytest.approx(28.0)  # cautious: 0.7 of 40
    assert (worst.caps.symbol_cap_pct, worst.caps.trade_cap_pct) == (10.0, 10.0)
    assert worst.suggested_caps.symbol_cap_pct == pytest.approx(3.5)  # and half the neutral score
    assert all(row.rationale for row in rows)


@given(
    st.dictionaries(st.sampled_from(["BTCUSDT", "ETHUSDT", "X"]), st.floats(0, 1), min_size=1),
    st.none() | st.floats(0, 100),
)
def test_no_suggestion_is_above_a_configured_cap(scores, drawdown_pct):
    found = allocator.suggest(
        builders.book(drawdown_pct=drawdown_pct), scored(**scores), LIMITS, TERMS
    )
    for row in found.rows:
        assert 0 <= row.suggested_caps.symbol_cap_pct <= row.caps.symbol_cap_pct
        assert 0 <= row.suggested_caps.trade_cap_pct <= row.caps.trade_cap_pct
        assert 0 <= row.suggested_weight <= 1
    assert sum(row.suggested_weight for row in found.rows) <= 1 + 1e-9
