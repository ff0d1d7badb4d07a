"""At what price one bar fills an order: the rules of the paper venue, and of the shadow's ghosts.

A bar tells its four prices but not their order, so an account is given the worse reading: stops pay
the gap, takers pay half-spread and slippage on the open, and a resting order fills only when price
traded through it. No taker fills outside the bar.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from msgspec import Struct

from execution.core.seam import Side


class Conditions(Struct, frozen=True):
    """One bar as orders meet it; `cross_frac` is half-spread and slippage together."""

    close_ts: float
    open: Decimal
    high: Decimal
    low: Decimal
    volume_qty: Decimal
    cross_frac: Decimal
    tick_size: Decimal
    step_size: Decimal


def stopped(side: Side, stop: Decimal, bar: Conditions) -> Decimal | None:
    """Return what a stop pays, None where it is not reached; a gap beyond it is the account's."""
    if side == "SELL":
        return crossed(side, min(stop, bar.open), bar) if bar.low <= stop else None
    return crossed(side, max(stop, bar.open), bar) if bar.high >= stop else None


def limited(
    side: Side, price: Decimal, bar: Conditions, *, takes: bool
) -> tuple[Decimal | None, bool]:
    """Return what a limit pays, None where the bar does not fill it, and whether as a maker.

    It crosses only while it `takes`. What rests fills where price traded through it, at its own
    price, also where the bar gapped past it: who stood there was filled on the way.
    """
    if takes:
        paid = crossed(side, bar.open, bar)
        if paid <= price if side == "BUY" else paid >= price:
            return paid, False
    through = bar.low < price if side == "BUY" else bar.high > price
    return price if through else None, True


def crossed(side: Side, base: Decimal, bar: Conditions) -> Decimal:
    """Return what a taker pays at `base`: on the tick against it, and not outside the bar."""
    tick = bar.tick_size
    if side == "BUY":
        price = _snap(base * (1 + bar.cross_frac), tick, ROUND_CEILING)
        if price > bar.high:
            price = _snap(bar.high, tick, ROUND_FLOOR)
        return price if price >= base else bar.high
    price = _snap(base * (1 - bar.cross_frac), tick, ROUND_FLOOR)
    if price < bar.low:
        price = _snap(bar.low, tick, ROUND_CEILING)
    return price if price <= base else bar.low


def _snap(price: Decimal, tick: Decimal, rounding: str) -> Decimal:
    return (price / tick).to_integral_value(rounding) * tick
