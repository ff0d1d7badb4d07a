"""Strategies: what a closed bar says. None of them knows the book, the size or the risk."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from execution.core import indicators
from execution.core.policy import Inbox, Module, Policy, Reader, Strategy, Trend, ZScore
from execution.core.position_mode import Direction
from execution.core.seam import Bar
from execution.core.types import FrameKey, Signal

Bars = tuple[Bar, ...]
Want = tuple[Literal["entry", "exit"], Direction]
# How strongly, in the strategy's own unit, and what; None where the bars do not carry an answer.
Said = tuple[float, list[Want]] | None


def read(
    strategy: Reader, symbol: str, bars: Bars, held: Collection[Direction]
) -> tuple[Signal, ...]:
    """Return what `strategy` wants on the last of `bars`: exits of what it holds, then entries."""
    said = zscore(strategy, bars) if isinstance(strategy, ZScore) else trend(strategy, bars)
    if said is None:
        return ()
    strength, wants = said
    wants = [want for want in wants if want[0] == "entry" or want[1] in held]
    if not wants:
        return ()
    range_usd = indicators.atr(bars, strategy.exits.atr_bars)
    if range_usd is None or not math.isfinite(range_usd) or range_usd <= 0:
        return ()  # no stop could be placed, so nothing can be wanted
    unit = "z" if isinstance(strategy, ZScore) else "spread_bps"
    reason = f"{unit}={strength:.2f}"
    return tuple(
        Signal(strategy.name, symbol, side, action, bars[-1].ts, strength, reason, range_usd)
        for action, side in wants
    )


def zscore(strategy: ZScore, bars: Bars) -> Said:
    """Fade a far close, leave near the mean."""
    z = indicators.zscore(bars, strategy.window_bars)
    if z is None or not math.isfinite(z):
        return None
    wants: list[Want] = []
    if z >= -strategy.exit_z:
        wants.append(("exit", "LONG"))
    if z <= strategy.exit_z:
        wants.append(("exit", "SHORT"))
    if z <= -strategy.entry_z:
        wants.append(("entry", "LONG"))
    if z >= strategy.entry_z:
        wants.append(("entry", "SHORT"))
    return z, wants


def trend(strategy: Trend, bars: Bars) -> Said:
    """Follow a crossing of the two EMAs while the range pays for it; leave when it turns."""
    spreads = indicators.ema_spreads(bars, strategy.fast_bars, strategy.slow_bars)
    if spreads is None or not bars[-1].close > 0 or not math.isfinite(sum(spreads)):
        return None
    before, after = spreads
    wants: list[Want] = []
    if after < 0:
        wants.append(("exit", "LONG"))
    if after > 0:
        wants.append(("exit", "SHORT"))
    crossed: Direction | None = None
    if before <= 0 < after:
        crossed = "LONG"
    elif before >= 0 > after:
        crossed = "SHORT"
    if crossed is not None and _is_wide(strategy, bars):
        wants.append(("entry", crossed))
    return 1e4 * after / bars[-1].close, wants


def _is_wide(strategy: Trend, bars: Bars) -> bool:
    width = indicators.atr(bars, strategy.exits.atr_bars)
    return width is not None and 1e4 * width / bars[-1].close >= strategy.min_atr_bps


def bars_read(policy: Policy, key: FrameKey) -> int:
    """Return how many closed bars of one series `policy` reads; another policy may keep more."""
    symbol, bar_s = key
    return max(
        bars_needed(strategy, policy.sizing.vol_bars)
        for strategy in policy.strategies
        if strategy.bar_s == bar_s and symbol in strategy.symbols
    )


def bars_needed(strategy: Strategy, vol_bars: int) -> int:
    """Return how many closed bars `strategy` and its sizing read."""
    return max(_own_bars(strategy), strategy.exits.atr_bars + 1, vol_bars + 1)


def _own_bars(strategy: Strategy) -> int:
    match strategy:
        case ZScore() | Module():
            return strategy.window_bars
        case Trend():
            return 4 * strategy.slow_bars
        case Inbox():
            return 0
