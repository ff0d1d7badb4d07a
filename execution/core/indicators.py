"""Statistics over closed bars; every one answers None where the bars do not carry it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from operator import mul

from execution.core.seam import Bar

YEAR_S = 365 * 86_400


def zscore(bars: Sequence[Bar], n: int) -> float | None:
    """Return how many standard deviations the last close is from the mean of the last `n`."""
    if len(bars) < n:
        return None
    last = bars[-1].close
    # Taken from the last close, small numbers are squared, and one pass in C does it.
    away = [bar.close - last for bar in bars[-n:]]
    mean = sum(away) / n
    variance = sum(map(mul, away, away)) / n - mean * mean
    # Rounding leaves a flat window a variance of about 1e-32 of the price squared, not 0.
    if not variance > (1e-12 * last) ** 2:
        return None
    return -mean / math.sqrt(variance)


def ema_spreads(bars: Sequence[Bar], fast: int, slow: int) -> tuple[float, float] | None:
    """Return fast EMA minus slow EMA at the last bar but one and at the last.

    Both start at the first of the last `4 * slow` closes, so that a restart gives the same value.
    """
    window = [bar.close for bar in bars[-4 * slow :]]
    if len(window) < 2 * slow:
        return None
    fast_weight, slow_weight = 2 / (fast + 1), 2 / (slow + 1)
    fast_ema = slow_ema = window[0]
    before = 0.0
    for close in window:
        before = fast_ema - slow_ema
        fast_ema += fast_weight * (close - fast_ema)
        slow_ema += slow_weight * (close - slow_ema)
    return before, fast_ema - slow_ema


def atr(bars: Sequence[Bar], n: int) -> float | None:
    """Return the mean true range of the last `n` bars, in price units."""
    if len(bars) < n + 1:
        return None
    total = 0.0
    previous = bars[-n - 1].close
    for bar in bars[-n:]:
        high, low = bar.high, bar.low
        total += (max(previous, high)) - (min(previous, low))
        previous = bar.close
    return total / n


def annual_vol_pct(bars: Sequence[Bar], n: int, bar_s: int) -> float | None:
    """Return the annualized standard deviation of the last `n` log returns, in percent."""
    if len(bars) < n + 1:
        return None
    closes = [bar.close for bar in bars[-n - 1 :]]
    if min(closes) <= 0:
        return None
    # Logarithms are taken before they are compared: a ratio of prices can run out of floats.
    logs = [math.log(close) for close in closes]
    returns = [after - before for before, after in pairwise(logs)]
    mean = sum(returns) / n
    variance = sum((r - mean) ** 2 for r in returns) / n
    return 100 * math.sqrt(variance * YEAR_S / bar_s)
