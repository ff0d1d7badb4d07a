from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import indicators
from tests.support import builders

PRICE = st.floats(min_value=0.01, max_value=1e6, allow_nan=False)
CLOSES = st.lists(PRICE, min_size=12, max_size=40)


def candles(draw_closes: list[float], widths: list[float]):
    return tuple(
        builders.bar(float(i), close, spread=close * width)
        for i, (close, width) in enumerate(zip(draw_closes, widths, strict=False))
    )


@given(CLOSES)
def test_zscore_is_the_distance_from_the_mean_in_standard_deviations(closes: list[float]) -> None:
    window = closes[-10:]
    deviation = statistics.pstdev(window)
    found = indicators.zscore(builders.bars(closes), 10)
    if deviation < 1e-9 * statistics.fmean(window):
        assert found is None or math.isfinite(found)
    else:
        wanted = (window[-1] - statistics.fmean(window)) / deviation
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_zscore_of_a_flat_window_is_not_a_number_to_act_on() -> None:
    assert indicators.zscore(builders.bars([0.1 + 0.2] * 20), 10) is None


def test_zscore_by_hand() -> None:
    # 1, 2, 3, 4, 5: mean 3, deviation sqrt(2), the last is 2 above.
    assert indicators.zscore(builders.bars([1.0, 2.0, 3.0, 4.0, 5.0]), 5) == pytest.approx(2**0.5)


@given(CLOSES)
def test_emas_are_the_weighted_sums_of_their_definition(closes: list[float]) -> None:
    fast, slow = 2, 4
    window = closes[-4 * slow :]

    def ema(values: list[float], span: int) -> float:
        weight = 2 / (span + 1)
        newest_first = values[::-1]
        tail = (1 - weight) ** (len(values) - 1) * values[0]
        terms = (weight * (1 - weight) ** k * x for k, x in enumerate(newest_first[:-1]))
        return math.fsum([tail, *terms])

    found = indicators.ema_spreads(builders.bars(closes), fast, slow)
    before = ema(window[:-1], fast) - ema(window[:-1], slow)
    after = ema(window, fast) - ema(window, slow)
    assert found == pytest.approx((before, after), rel=1e-6, abs=1e-9 * max(closes))


@given(CLOSES, st.lists(st.floats(min_value=0, max_value=0.5), min_size=40, max_size=40))
def test_atr_is_the_mean_of_the_three_way_true_range(
    closes: list[float], widths: list[float]
) -> None:
    bars = candles(closes, widths)
    ranges = [
        max(
            bar.high - bar.low,
            abs(bar.high - bars[i - 1].close),
            abs(bar.low - bars[i - 1].close),
        )
        for i, bar in enumerate(bars)
        if i > 0
    ]
    assert indicators.atr(bars, 5) == pytest.approx(statistics.fmean(ranges[-5:]))


@given(CLOSES)
def test_volatility_is_the_deviation_of_log_returns_in_a_year(closes: list[float]) -> None:
    window = closes[-11:]
    returns = [math.log(b / a) for a, b in itertools.pairwise(window)]
    wanted = 100 * statistics.pstdev(returns) * math.sqrt(365 * 86_400 / 60)
    found = indicators.annual_vol_pct(builders.bars(closes), 10, 60)
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@given(CLOSES, st.lists(PRICE, max_size=30))
def test_what_is_older_than_the_window_changes_nothing(
    closes: list[float], older: list[float]
) -> None:
    recent, long = closes[-12:], [*older, *closes]
    short_bars, long_bars = builders.bars(recent), builders.bars(long)
    assert indicators.zscore(long_bars, 10) == indicators.zscore(short_bars, 10)
    assert indicators.atr(long_bars, 10) == indicators.atr(short_bars, 10)
    assert indicators.annual_vol_pct(long_bars, 10, 60) == indicators.annual_vol_pct(
        short_bars, 10, 60
    )
    assert indicators.ema_spreads(long_bars, 2, 3) == indicators.ema_spreads(short_bars, 2, 3)


@pytest.mark.parametrize("count", range(11))
def test_too_few_bars_are_no_statistic(count: int) -> None:
    bars = builders.bars([100.0 + i for i in range(count)])
    assert indicators.atr(bars, 10) is None
    assert indicators.annual_vol_pct(bars, 10, 60) is None
    assert (indicators.zscore(bars, 10) is None) == (count < 10)
    assert (indicators.ema_spreads(bars, 3, 5) is None) == (count < 10)


@pytest.mark.parametrize("absurd", [1e-300, 1e300, 5e-324, 1e308])
def test_volatility_of_absurd_prices_is_an_answer_and_no_error(absurd: float) -> None:
    found = indicators.annual_vol_pct(builders.bars([100.0, absurd] * 10), 10, 60)
    assert found is not None
    assert found > 1e4
