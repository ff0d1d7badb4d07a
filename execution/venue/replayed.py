"""The replayed market: recorded bars, either in their own time or put onto the wall clock."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from execution.core.policy import Listing
from execution.core.seam import Bar, Blind, Quote, VenueHealth
from execution.errors import ConfigError
from execution.venue.base import MarketView
from execution.venue.listings import CATCH_UP_BARS, TickGrid, half_spreads_of, rules_of
from execution.venue.recording import Recording

MINUTE_S: Final = 60
ENDED: Final = "replay_ended"

_NO_MORE: Final = Bar(math.inf, 0.0, 0.0, 0.0, 0.0, 0.0)


class ReplayedMarket:
    """Recorded one-minute bars of the listings' symbols, over the window that all of them cover.

    `speed` None leaves the recorded times as they are, for a clock that the driver moves to
    `next_close_ts()`. A number puts the recording onto wall time, so many recorded seconds in one;
    it divides 60. The first `history_bars` minutes are history.
    """

    name = "replay"

    def __init__(
        self, folder: Path, listings: Iterable[Listing], speed: int | None, history_bars: int
    ) -> None:
        listed = {listing.symbol: listing for listing in listings}
        if speed is not None and (speed < 1 or MINUTE_S % speed):
            raise ConfigError(f"services.toml: replay.speed {speed} does not divide 60")
        self._recording = Recording(folder, listed)
        self._speed = speed
        self._pace = 1 if speed is None else speed
        self._bar_s = MINUTE_S // self._pace
        self._history_s = history_bars * MINUTE_S
        # The recorded open time of the first bar that is not history.
        self._base_s = self._recording.first_s + self._history_s
        if self._base_s > self._recording.last_s:
            raise ConfigError(
                f"{folder}: {', '.join(listed)} share fewer minutes than the {history_bars} bars"
                " of history that services.toml asks for"
            )
        self.series = f"replay {folder.resolve()} base={self._base_s} speed={self._pace}"
        self._rules = rules_of(listed.values())
        self._half_spreads = half_spreads_of(listed.values())
        self._grids = {symbol: TickGrid(listing) for symbol, listing in listed.items()}
        self.open(0.0, None, None)

    def open(self, now: float, origin_ts: float | None, matched_ts: float | None) -> float:
        if self._speed is None:
            origin_ts = float(self._base_s)
        elif origin_ts is None:
            # On the grid of whole bars, so that longer bars can be built from these.
            origin_ts = now // self._bar_s * self._bar_s
        self._origin_ts = origin_ts
        self._closed_ts = origin_ts if matched_ts is None else matched_ts
        self._end_ts = self._placed_ts(self._recording.last_s) + self._bar_s
        met_s = self._base_s + (self._closed_ts - origin_ts) * self._pace
        self._tapes = [
            _Tape(symbol, self._grids[symbol], self._bars(symbol, met_s - self._history_s))
            for symbol in self._recording.symbols
        ]
        self._dues = sorted(
            (self._placed_ts(ts), symbol, rate)
            for symbol, rates in self._recording.funding.items()
            for ts, rate in rates
        )
        self._paid = bisect_right(self._dues, (self._closed_ts, "\x7f", 0.0))
        self._quotes: dict[str, Quote] = {}
        return origin_ts

    def _placed_ts(self, recorded_s: float) -> float:
        return self._origin_ts + (recorded_s - self._base_s) / self._pace

    def _bars(self, symbol: str, from_s: float) -> Iterator[Bar]:
        origin_ts, base_s, pace = self._origin_ts, self._base_s, self._pace
        for ms, start, high, low, end, volume in self._recording.bars(symbol, from_s):
            yield Bar(origin_ts + (ms // 1000 - base_s) / pace, start, high, low, end, volume)

    def read(self, now: float) -> MarketView | Blind:
        bar_s, closed_ts = self._bar_s, self._closed_ts
        if closed_ts >= self._end_ts and now >= self._end_ts + bar_s:
            return Blind(now, ENDED)
        due_ts = self._origin_ts + (now - self._origin_ts) // bar_s * bar_s
        if due_ts > closed_ts:
            closed_ts = min(due_ts, closed_ts + CATCH_UP_BARS * bar_s, self._end_ts)
            self._closed_ts = closed_ts
        bars: dict[str, tuple[Bar, ...]] = {}
        quotes = self._quotes.copy()
        for tape in self._tapes:
            bar = tape.head
            if bar.ts >= closed_ts:
                continue
            head = tape.head = next(tape.rest, _NO_MORE)
            # One bar is the common case; more come as history and after an absence.
            bars[tape.symbol] = found = (
                (bar,) if head.ts >= closed_ts else tape.take(bar, closed_ts)
            )
            newest = found[-1]
            quotes[tape.symbol] = tape.grid.touch(newest.ts + bar_s, newest.close)
        self._quotes = quotes
        return MarketView(
            now,
            closed_ts,
            bar_s,
            float(bar_s),
            quotes,
            bars,
            self._rules,
            self._half_spreads,
            self._funding(),
        )

    def health(self) -> VenueHealth:
        return VenueHealth()

    def _funding(self) -> dict[str, tuple[tuple[float, float], ...]]:
        found: dict[str, tuple[tuple[float, float], ...]] = {}
        dues = self._dues
        while self._paid < len(dues) and dues[self._paid][0] <= self._closed_ts:
            ts, symbol, rate = dues[self._paid]
            found[symbol] = (*found.get(symbol, ()), (ts, rate))
            self._paid += 1
        return found

    @property
    def window_ts(self) -> tuple[float, float]:
        """Return when the first new bar opens and the last one closes, on this market's clock."""
        return self._origin_ts, self._end_ts

    def next_close_ts(self) -> float | None:
        """Return when the next bar closes, for a driver that moves the clock; None at the end."""
        head_ts = min(tape.head.ts for tape in self._tapes)
        return None if head_ts >= self._end_ts else max(head_ts + self._bar_s, self._closed_ts)


class _Tape:
    """One symbol's bars to come, the next of them in hand."""

    __slots__ = ("grid", "head", "rest", "symbol")

    def __init__(self, symbol: str, grid: TickGrid, bars: Iterator[Bar]) -> None:
        self.symbol = symbol
        self.grid = grid
        self.head = next(bars, _NO_MORE)
        self.rest = bars

    def take(self, first: Bar, closed_ts: float) -> tuple[Bar, ...]:
        """Return `first` and all after it that open before `closed_ts`."""
        found = [first]
        while self.head.ts < closed_ts:
            found.append(self.head)
            self.head = next(self.rest, _NO_MORE)
        return tuple(found)
