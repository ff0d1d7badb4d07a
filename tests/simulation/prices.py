"""Prices that walk around a mean, so that strategies which fade and follow both trade."""

from __future__ import annotations

import math
import random

from execution.core.seam import Bar, Quote

BAR_S = 10
START = 1000.0
TICK = 0.1
PULL = 0.02  # of the way to the mean, per second
VOL = 1.2  # in quote currency, per square root of a second
HISTORY = 30


class Walk:
    """The price of one symbol: its quote now, and its closed bars."""

    def __init__(self, rng: random.Random, now: float) -> None:
        self._rng = rng
        self._price = START
        self._ts = now - HISTORY * BAR_S
        self._open_ts = self._ts - self._ts % BAR_S
        self._shape = [START, START, START]  # open, high, low
        self.bars: list[Bar] = []
        self.quote = _quote(now, START)
        while self._ts < now:
            self.move(min(now, self._ts + 2.0))

    def move(self, now: float) -> None:
        """Walk on until `now`, closing the bars in between."""
        seconds, self._ts = now - self._ts, now
        if seconds <= 0:
            return
        bar_ts = now - now % BAR_S
        if bar_ts > self._open_ts:
            self._close(bar_ts)
        drawn = self._rng.gauss(0.0, VOL * math.sqrt(seconds))
        price = self._price + (START - self._price) * min(1.0, PULL * seconds) + drawn
        self._price = round(max(price, START / 2) / TICK) * TICK
        shape = self._shape
        shape[1], shape[2] = max(shape[1], self._price), min(shape[2], self._price)
        self.quote = _quote(now, self._price)

    def _close(self, bar_ts: float) -> None:
        first, high, low = self._shape
        while self._open_ts < bar_ts:
            self.bars.append(Bar(self._open_ts, first, high, low, self._price, 10.0))
            self._open_ts += BAR_S
            first = high = low = self._price
        self._shape = [self._price] * 3


def _quote(ts: float, price: float) -> Quote:
    return Quote(ts, round(price - TICK, 1), round(price + TICK, 1), round(price, 1))
