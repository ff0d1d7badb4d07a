"""What a listing means for a market that is known by its bars: the rules, the grid and the touch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from execution.core.policy import Listing
from execution.core.seam import Quote, SymbolRules

# A recorded price is a float a hair off its tick; a millionth of a tick forgives that, no more.
TICK_TOLERANCE = 1e-6

# Bars that one read may bring beyond history: a long absence must neither block the loop nor fill
# the memory.
CATCH_UP_BARS = 2_000


class Grid:
    """Multiples of one step, in floats that look as a person would write them."""

    __slots__ = ("_denominator", "_numerator", "_per_unit")

    def __init__(self, step: Decimal) -> None:
        # A quotient of two integers is the float nearest to the decimal; a product is not.
        self._numerator, self._denominator = step.as_integer_ratio()
        self._per_unit = self._denominator / self._numerator

    def nearest(self, value: float) -> float:
        """Return the nearest multiple, at least one step."""
        return max(1, round(value * self._per_unit)) * self._numerator / self._denominator


class TickGrid(Grid):
    """The prices of one listing, and the touch that its half-spread makes of a close."""

    __slots__ = ("_above", "_below")

    def __init__(self, listing: Listing) -> None:
        super().__init__(listing.tick_size)
        self._below = self._per_unit * (1 - listing.half_spread_bps / 1e4)
        self._above = self._per_unit * (1 + listing.half_spread_bps / 1e4)

    def touch(self, ts: float, close: float) -> Quote:
        """Return the quote around a close: on the grid, and at least one tick wide."""
        bid = max(1, math.floor(close * self._below + TICK_TOLERANCE))
        ask = max(bid + 1, math.ceil(close * self._above - TICK_TOLERANCE))
        numerator, denominator = self._numerator, self._denominator
        return Quote(ts, bid * numerator / denominator, ask * numerator / denominator, close)


def rules_of(listings: Iterable[Listing]) -> dict[str, SymbolRules]:
    """Return the trading rules of each listing."""
    return {
        listing.symbol: SymbolRules(
            tick_size=listing.tick_size,
            step_size=listing.step_size,
            min_qty=listing.min_qty,
            max_qty=listing.max_qty,
            min_notional_usd=listing.min_notional_usd,
            trading=listing.trading,
        )
        for listing in listings
    }


def half_spreads_of(listings: Iterable[Listing]) -> dict[str, float]:
    """Return the half-spread of each listing, in bps."""
    return {listing.symbol: listing.half_spread_bps for listing in listings}
