"""How much a symbol has earned its place: 0..1, from what its trades brought and what they cost.

score = 0.55 E + 0.35 R - slippage - fee - 0.3 volatility. E blends the expectancy in bps of what was
opened with the hit rate, R is how often a maker quote filled against how often it had to be crossed.
"""

from __future__ import annotations

import math

from execution.core import indicators
from execution.core.intel_terms import Intel, ScoreTerms
from execution.core.policy import Sizing
from execution.core.types import Frame
from execution.state_schema.intel_files import ExpectancyRow, RouterHealthRow, ScoreRow

EARNING_WEIGHT, ROUTING_WEIGHT, VOLATILITY_WEIGHT = 0.55, 0.35, 0.3
EXPECTANCY_SHARE = 0.7  # of E; the rest is the hit rate's
EXPECTANCY_SCALE_BPS = 10.0
HALF = 0.5  # of E and of R while they are not known
NEUTRAL = (EARNING_WEIGHT + ROUTING_WEIGHT) * HALF


def score(
    symbol: str,
    earned: ExpectancyRow | None,
    routed: RouterHealthRow | None,
    volatility: float | None,
    terms: Intel,
) -> ScoreRow:
    """Score one symbol; without enough trades and without a known quality it is neutral.

    `volatility` is how far the realized one is above the target, as a share of the target.
    """
    trades = earned if earned is not None and earned.n >= terms.expectancy.min_trades else None
    orders = routed if routed is not None and routed.policy.quality != "unknown" else None
    inputs = {
        "trades": 0.0 if earned is None else float(earned.n),
        "expectancy_bps": None if earned is None else earned.expectancy_bps,
        "hit_rate": None if earned is None else earned.hit_rate,
        "orders": 0.0 if routed is None else float(routed.n),
        "maker_fill_rate": None if routed is None else routed.maker_fill_rate,
        "fallback_rate": None if routed is None else routed.fallback_rate,
        "slippage_bps": None if routed is None else routed.slippage_p50,
        "fee_bps": None if routed is None else routed.fee_mean_bps,
        "volatility_excess": volatility,
    }
    earning, routing = _earning(trades), _routing(orders)
    if earning is None and routing is None:
        return ScoreRow(symbol=symbol, score=NEUTRAL, components={}, inputs=inputs)
    cost = terms.scores
    components = {
        "earning": EARNING_WEIGHT * (HALF if earning is None else earning),
        "routing": ROUTING_WEIGHT * (HALF if routing is None else routing),
        "slippage": _lost(inputs["slippage_bps"], cost.slippage_penalty_per_bps, cost),
        "fee": _lost(inputs["fee_bps"], cost.fee_penalty_per_bps, cost),
        "volatility": 0.0 - VOLATILITY_WEIGHT * min(1.0, max(0.0, volatility or 0.0)),
    }
    total = min(1.0, max(0.0, sum(components.values())))
    return ScoreRow(symbol=symbol, score=total, components=dict(components), inputs=inputs)


def volatility_excess(frame: Frame, sizing: Sizing) -> float | None:
    """Return how far the realized volatility is above the target, as a share of it; 0 is at it."""
    vol_pct = indicators.annual_vol_pct(frame.bars, sizing.vol_bars, frame.bar_s)
    if vol_pct is None or not math.isfinite(vol_pct):
        return None
    return max(0.0, vol_pct / sizing.target_vol_pct - 1)


def _earning(trades: ExpectancyRow | None) -> float | None:
    if trades is None or trades.expectancy_bps is None or trades.hit_rate is None:
        return None
    brought = HALF + HALF * math.tanh(trades.expectancy_bps / EXPECTANCY_SCALE_BPS)
    return EXPECTANCY_SHARE * brought + (1 - EXPECTANCY_SHARE) * trades.hit_rate


def _routing(orders: RouterHealthRow | None) -> float | None:
    if orders is None or orders.maker_fill_rate is None or orders.fallback_rate is None:
        return None
    return HALF + HALF * math.tanh(orders.maker_fill_rate - orders.fallback_rate)


def _lost(bps: float | None, per_bps: float, terms: ScoreTerms) -> float:
    return 0.0 if bps is None else 0.0 - min(terms.penalty_max, per_bps * max(0.0, bps))
