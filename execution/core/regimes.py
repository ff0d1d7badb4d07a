"""What kind of market a symbol is in: how wide its bars are against how wide they have been."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from execution.core import indicators, signals
from execution.core.policy import Policy, Regimes, Strategy
from execution.core.seam import Bar
from execution.core.types import Frame, FrameKey
from execution.state_schema.intel_files import Regime


def frame_of(
    symbol: str, frames: Mapping[FrameKey, Frame], policy: Policy
) -> tuple[Strategy, Frame] | None:
    """Return the first strategy that trades `symbol`, and its bars; None where there is none.

    They are the bars that `policy` reads: what is kept for a candidate changes nothing in live.
    """
    strategy = next((each for each in policy.strategies if symbol in each.symbols), None)
    if strategy is None or (frame := frames.get((symbol, strategy.bar_s))) is None:
        return None
    read = signals.bars_read(policy, (symbol, strategy.bar_s))
    return strategy, replace(frame, bars=frame.bars[-read:])


def of_symbol(symbol: str, frames: Mapping[FrameKey, Frame], policy: Policy) -> Regime:
    """Return the regime that the newest bars of `symbol` show."""
    found = frame_of(symbol, frames, policy)
    if found is None:
        return "unknown"
    strategy, frame = found
    return of_bars(frame.bars, strategy.exits.atr_bars, policy.router.regimes)


def of_bars(bars: tuple[Bar, ...], recent_bars: int, terms: Regimes) -> Regime:
    """Compare the range of the newest bars with that of all of them; unknown without twice as many."""
    if len(bars) < 2 * recent_bars + 1:
        return "unknown"
    recent, usual = indicators.atr(bars, recent_bars), indicators.atr(bars, len(bars) - 1)
    if recent is None or usual is None or not usual > 0:
        return "unknown"
    ratio = recent / usual
    if ratio < terms.calm_below:
        return "calm"
    return "wild" if ratio > terms.wild_above else "normal"
