"""The simulated market: a function of (seed, step), so that a restart finds the same prices.

Every symbol follows a common walk and one of its own. Four points of the walks make a bar; the
prices at one step depend on nothing but the seed, the symbol's listing and the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from execution.core.policy import Listing, SimPath
from execution.core.seam import Bar, Quote, VenueHealth
from execution.errors import ConfigError
from execution.venue.base import MarketView
from execution.venue.listings import CATCH_UP_BARS, Grid, TickGrid, half_spreads_of, rules_of
from execution.venue.sim_path import SPAN, Walk, key_of, uniform

POINTS_PER_BAR: Final = 4
BARS_PER_SPAN: Final = SPAN // POINTS_PER_BAR
FUNDING_EVERY_S: Final = 28_800
FUNDING_RATES: Final = (-0.00005, 0.00025)


class SimulatedMarket:
    """Prices of every listing that has a `sim`, one bar per `bar_s` of wall time."""

    name = "sim"

    def __init__(
        self, listings: Iterable[Listing], seed: int, bar_s: int, history_bars: int
    ) -> None:
        simulated = {item: item.sim for item in listings if item.sim is not None}
        if not simulated:
            raise ConfigError(
                "universe.toml: no listing has a sim, so there is nothing to simulate"
            )
        self.series = f"sim seed={seed} bar_s={bar_s}"
        self._bar_s = bar_s
        self._history_bars = history_bars
        self._rules = rules_of(simulated)
        self._half_spreads = half_spreads_of(simulated)
        common = _Shared(Walk(key_of("common", seed)))
        self._prices = {
            item.symbol: _Prices(item, path, common, seed) for item, path in simulated.items()
        }
        self._origin_ts = 0.0
        self._next = 0
        self._closed = 0
        self._funded = 0
        self._quotes: dict[str, Quote] = {}

    def open(self, now: float, origin_ts: float | None, matched_ts: float | None) -> float:
        bar_s = self._bar_s
        # On the grid of whole bars, so that longer bars can be built from these.
        self._origin_ts = now // bar_s * bar_s if origin_ts is None else origin_ts
        met_ts = self._origin_ts if matched_ts is None else matched_ts
        self._closed = round((met_ts - self._origin_ts) / bar_s)
        self._next = self._closed - self._history_bars
        self._funded = self._closed
        return self._origin_ts

    def read(self, now: float) -> MarketView:
        due = math.floor((now - self._origin_ts) / self._bar_s)
        # The step never goes back: after a backward clock step the market stands still.
        self._closed = max(self._closed, min(due, self._closed + CATCH_UP_BARS))
        steps = range(self._next, self._closed)
        funding = self._funding(self._funded, self._closed)
        self._next = self._funded = self._closed
        bars = self._bars(steps) if steps else {}
        return MarketView(
            ts=now,
            closed_ts=self._origin_ts + self._closed * self._bar_s,
            bar_s=self._bar_s,
            lag_s=float(self._bar_s),
            quotes=self._quotes,
            bars=bars,
            rules=self._rules,
            half_spread_bps=self._half_spreads,
            funding=funding,
        )

    def health(self) -> VenueHealth:
        return VenueHealth()

    def _bars(self, steps: range) -> dict[str, tuple[Bar, ...]]:
        made: dict[str, list[Bar]] = {symbol: [] for symbol in self._prices}
        # Step by step through all symbols: they share the common walk's span while it is at hand.
        for step in steps:
            ts = self._origin_ts + step * self._bar_s
            for symbol, prices in self._prices.items():
                made[symbol].append(prices.bar(step, ts))
        close_ts = self._origin_ts + steps.stop * self._bar_s
        self._quotes = {
            symbol: prices.grid.touch(close_ts, made[symbol][-1].close)
            for symbol, prices in self._prices.items()
        }
        return {symbol: tuple(bars) for symbol, bars in made.items()}

    def _funding(self, first: int, end: int) -> dict[str, tuple[tuple[float, float], ...]]:
        """Return the rates that fell due in steps `first` to `end`, at 0, 8 and 16 o'clock UTC."""
        before = int((self._origin_ts + first * self._bar_s) // FUNDING_EVERY_S)
        newest = int((self._origin_ts + end * self._bar_s) // FUNDING_EVERY_S)
        numbers = range(before + 1, newest + 1)
        if not numbers:
            return {}
        return {
            symbol: tuple(
                (float(number * FUNDING_EVERY_S), prices.funding_rate(number)) for number in numbers
            )
            for symbol, prices in self._prices.items()
        }


class _Shared:
    """The common walk, with the span at hand that every symbol reads next."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._index: int | None = None
        self._points: list[float] = []

    def span(self, index: int) -> list[float]:
        if index != self._index:
            self._index, self._points = index, self._walk.span(index)
        return self._points


class _Prices:
    """One symbol's prices, made a span of points at a time."""

    def __init__(self, listing: Listing, path: SimPath, common: _Shared, seed: int) -> None:
        self.grid = TickGrid(listing)
        self._path = path
        self._lots = Grid(listing.step_size)
        self._common = common
        self._own = Walk(key_of("own", seed, listing.symbol))
        self._volume_key = key_of("volume", seed, listing.symbol)
        self._funding_key = key_of("funding", seed, listing.symbol)
        # The common walk weighs `beta` against the symbol's own 1; together they have variance 1.
        weight = math.hypot(path.beta, 1.0)
        size = path.vol_bps / 1e4 / math.sqrt(POINTS_PER_BAR)
        self._common_size, self._own_size = size * path.beta / weight, size / weight
        self._index: int | None = None
        self._points: list[float] = []

    def bar(self, step: int, ts: float) -> Bar:
        index, place = divmod(step, BARS_PER_SPAN)
        if index != self._index:
            self._index, self._points = index, self._make(index)
        first = place * POINTS_PER_BAR
        points = self._points[first : first + POINTS_PER_BAR + 1]
        high, low = max(points), min(points)
        return Bar(ts, points[0], high, low, points[-1], self._volume(step, high, low))

    def _make(self, index: int) -> list[float]:
        start, nearest = self._path.price_usd, self.grid.nearest
        common_size, own_size = self._common_size, self._own_size
        return [
            nearest(start * math.exp(common_size * common + own_size * own))
            for common, own in zip(self._common.span(index), self._own.span(index), strict=True)
        ]

    def _volume(self, step: int, high: float, low: float) -> float:
        """Return the bar's volume in base units: livelier where the price moved more."""
        moved = (high - low) / low / (self._path.vol_bps / 1e4)
        lively = (0.4 + 1.2 * uniform(self._volume_key, step)) * (0.6 + 0.3 * moved)
        return self._lots.nearest(self._path.volume_usd / low * lively)

    def funding_rate(self, number: int) -> float:
        least, most = FUNDING_RATES
        return round(least + (most - least) * uniform(self._funding_key, number), 8)
