"""What the open legs amount to; sync_state publishes it and the page shows it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from execution.state_schema.files import Exposures, LargestExposure, PositionRow


def assess(legs: Iterable[PositionRow], nav_usd: float | None) -> Exposures | None:
    """Add up `legs`; None where the notional of one of them is unknown.

    `nav_usd` is None while it is unknown. Both legs of a symbol count in gross, and its net in
    `by_symbol` and `largest`.
    """
    by_symbol: dict[str, float] = {}
    by_side = {"LONG": 0.0, "SHORT": 0.0}
    for leg in legs:
        notional_usd = leg.notional_usd
        if notional_usd is None:
            return None
        by_symbol[leg.symbol] = by_symbol.get(leg.symbol, 0.0) + notional_usd
        side = leg.position_side
        if side == "BOTH":
            side = "SHORT" if notional_usd < 0 else "LONG"
        by_side[side] += abs(notional_usd)
    gross_usd = sum(by_side.values())
    if not math.isfinite(gross_usd):
        return None
    return Exposures(
        gross_usd=gross_usd,
        net_usd=sum(by_symbol.values()),
        largest=_largest(by_symbol),
        by_symbol=by_symbol,
        by_side=by_side,
        gross_pct=_pct(gross_usd, nav_usd),
    )


def _largest(by_symbol: dict[str, float]) -> LargestExposure | None:
    if not by_symbol:
        return None
    # Of two that are equal, the first by name: the answer must not depend on the order of legs.
    symbol = min(by_symbol, key=lambda name: (-abs(by_symbol[name]), name))
    return LargestExposure(symbol=symbol, notional_usd=by_symbol[symbol])


def _pct(part_usd: float, nav_usd: float | None) -> float | None:
    if nav_usd is None or not nav_usd > 0:
        return None
    pct = 100 * (part_usd / nav_usd)
    return pct if math.isfinite(pct) else None
