from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import regimes
from tests.support import builders, policies

POLICY = policies.policy()  # calm below 0.7, wild above 1.5, on an ATR of 3 bars
KEY = ("BTCUSDT", builders.BASE_S)


def frames(spreads: list[float]):
    """Return frames whose bars have these ranges around a close that stands still."""
    made = [builders.bar(i * 60.0, spread=spread) for i, spread in enumerate(spreads)]
    return {KEY: regimes.Frame(bar_s=60, keep=100, bars=tuple(made))}


@pytest.mark.parametrize(
    ("recent", "wanted"), [(0.1, "calm"), (1.0, "normal"), (3.0, "wild"), (0.0, "calm")]
)
def test_a_regime_is_the_newest_range_against_the_usual(recent: float, wanted: str) -> None:
    shown = frames([1.0] * 12 + [recent] * 3)
    assert regimes.of_symbol("BTCUSDT", shown, POLICY) == wanted


@pytest.mark.parametrize("spreads", [[], [1.0] * 6, [0.0] * 20])
def test_too_few_bars_or_bars_without_a_range_say_nothing(spreads: list[float]) -> None:
    assert regimes.of_symbol("BTCUSDT", frames(spreads), POLICY) == "unknown"


def test_a_symbol_that_nothing_trades_or_shows_is_unknown() -> None:
    assert regimes.of_symbol("SOLUSDT", frames([1.0] * 20), POLICY) == "unknown"
    assert regimes.of_symbol("ETHUSDT", frames([1.0] * 20), POLICY) == "unknown"
    assert regimes.frame_of("BTCUSDT", frames([1.0] * 20), POLICY) is not None


@given(
    st.lists(st.floats(min_value=0.01, max_value=100), min_size=8, max_size=40),
    st.floats(min_value=0.01, max_value=100),
)
def test_a_regime_does_not_depend_on_the_size_of_the_price(
    spreads: list[float], scale: float
) -> None:
    bars = tuple(builders.bar(i * 60.0, spread=s) for i, s in enumerate(spreads))
    scaled = tuple(
        regimes.Bar(b.ts, b.open * scale, b.high * scale, b.low * scale, b.close * scale, b.volume)
        for b in bars
    )
    ratio = _ratio(bars)
    if min(abs(ratio - 0.7), abs(ratio - 1.5)) > 1e-6:
        terms = POLICY.router.regimes
        assert regimes.of_bars(bars, 3, terms) == regimes.of_bars(scaled, 3, terms)


def _ratio(bars) -> float:
    ranges = [bar.high - bar.low for bar in bars[1:]]
    return (sum(ranges[-3:]) / 3) / (sum(ranges) / len(ranges))


def test_bars_that_are_kept_for_a_candidate_change_nothing_in_live() -> None:
    spreads = [1.0] * 7 + [2.0] * 3  # the ten bars that the policy reads
    shown = regimes.of_symbol("BTCUSDT", frames(spreads), POLICY)
    assert shown == "normal"
    longer = frames([0.01] * 80 + spreads)
    assert regimes.of_symbol("BTCUSDT", longer, POLICY) == shown
    read = regimes.frame_of("BTCUSDT", longer, POLICY)
    assert read is not None
    assert len(read[1].bars) == 10
