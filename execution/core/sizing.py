"""How large an intent is, in exactly one place: by volatility, bounded, on the quantity grid."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal

from execution.core import indicators
from execution.core.policy import Sizing
from execution.core.seam import SymbolRules
from execution.core.types import Frame


def multiplier(sizing: Sizing, frame: Frame) -> float:
    """Return target over realized volatility within its bounds; its lower bound without history."""
    vol_pct = indicators.annual_vol_pct(frame.bars, sizing.vol_bars, frame.bar_s)
    if vol_pct is None or not math.isfinite(vol_pct) or vol_pct <= 0:
        return sizing.multiplier_min
    wanted = sizing.target_vol_pct / vol_pct
    return min(max(wanted, sizing.multiplier_min), sizing.multiplier_max)


def size(nav_usd: float, factor: float, mark: float, sizing: Sizing, rules: SymbolRules) -> Decimal:
    """Return the quantity that is worth the base share of NAV times `factor`, rounded down."""
    return snap_qty(nav_usd * sizing.base_trade_pct / 100 * factor / mark, rules)


def snap_qty(qty: float | Decimal, rules: SymbolRules) -> Decimal:
    """Round a quantity down to the step grid; what is not a positive number becomes 0."""
    if not math.isfinite(qty) or qty <= 0:
        return Decimal(0)
    exact = Decimal(repr(qty)) if isinstance(qty, float) else qty
    return min(exact, rules.max_qty) // rules.step_size * rules.step_size


def snap_price(price: float, tick: Decimal, rounding: str = ROUND_DOWN) -> Decimal:
    """Round a price to the tick grid, down unless told."""
    return (Decimal(repr(price)) / tick).to_integral_value(rounding) * tick
