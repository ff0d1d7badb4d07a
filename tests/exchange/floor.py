"""Where the prices of the exchange come from: the simulated market, and whoever moves it by hand.

The simulated path moves in steps; between two steps the market stands still, and each look at it is
a bar of its own without volume, so that an order that takes is met at once and not a bar later.
"""

from __future__ import annotations

from msgspec.structs import replace

from execution.core.policy import Listing
from execution.core.seam import Bar, Quote, VenueHealth
from execution.venue.base import MarketView
from execution.venue.listings import TickGrid, half_spreads_of, rules_of
from execution.venue.simulated import SimulatedMarket
from tests.exchange.setup import MINUTE_S, Setup

# The matching counts bars of whole seconds; a look is one that closes now.
LOOK_S = 1
JUMP_VOLUME = 1e6


class Floor:
    """The market of one exchange: prices, candles of a minute, and the rules of each listing."""

    name = "floor"

    def __init__(self, setup: Setup) -> None:
        self.series = f"floor seed={setup.seed}"
        self.listings = {listing.symbol: listing for listing in setup.listings}
        self.status = dict.fromkeys(self.listings, "TRADING")
        self.candles: dict[str, list[Bar]] = {symbol: [] for symbol in self.listings}
        self.quotes: dict[str, Quote] = {}
        self._grids = {symbol: TickGrid(each) for symbol, each in self.listings.items()}
        self.funded: list[tuple[str, float, float]] = []
        self._factors = dict.fromkeys(self.listings, 1.0)
        self._marks: dict[str, float] = {}
        self._jumps: dict[str, list[float]] = {}
        self._due: dict[str, tuple[tuple[float, float], ...]] = {}
        self._step_s = setup.step_s
        history = setup.history_minutes * MINUTE_S // setup.step_s
        self._path = SimulatedMarket(setup.listings, setup.seed, setup.step_s, history)

    def open(self, now: float, _origin_ts: float | None, _matched_ts: float | None) -> float:
        self._path.open(now, None, None)
        for symbol, bars in self._path.read(now).bars.items():
            self._marks[symbol] = bars[-1].close
            for bar in bars:
                self._keep(symbol, bar)
        return now

    def read(self, now: float) -> MarketView:
        view = self._path.read(now)
        while now - view.closed_ts > self._step_s:
            more = self._path.read(now)
            bars = {s: (*told, *more.bars.get(s, ())) for s, told in view.bars.items()}
            view = replace(more, bars=bars or more.bars)
        listed = [s for s, status in self.status.items() if status != "GONE"]
        met = {symbol: self._met(symbol, view.bars.get(symbol, ()), now) for symbol in listed}
        self.quotes = {s: self._grids[s].touch(now, self._marks[s]) for s in listed}
        due, self._due = {**view.funding, **self._due}, {}
        for symbol, rates in due.items():
            self.funded += [(symbol, ts, rate) for ts, rate in rates]
        rules = rules_of(self.listings[symbol] for symbol in listed)
        return MarketView(
            ts=now,
            closed_ts=now,
            bar_s=LOOK_S,
            lag_s=0.0,
            quotes=self.quotes,
            bars=met,
            rules={s: replace(r, trading=self.status[s] == "TRADING") for s, r in rules.items()},
            half_spread_bps=half_spreads_of(self.listings.values()),
            funding=due,
        )

    def health(self) -> VenueHealth:
        return VenueHealth()

    def _met(self, symbol: str, steps: tuple[Bar, ...], now: float) -> tuple[Bar, ...]:
        """Return what orders meet: the steps since the last look, jumps, and this look."""
        factor, grid = self._factors[symbol], self._grids[symbol]
        met = []
        for step in steps:
            prices = (step.open, step.high, step.low, step.close)
            open_, high, low, close = (grid.nearest(price * factor) for price in prices)
            bar = Bar(step.ts, open_, high, low, close, step.volume)
            self._keep(symbol, bar)
            met.append(replace(bar, ts=step.ts + self._step_s - LOOK_S))
            self._marks[symbol] = close
        for price in self._jumps.pop(symbol, []):
            before, self._marks[symbol] = self._marks[symbol], grid.nearest(price)
            ends = (before, self._marks[symbol])
            jump = Bar(now, before, max(ends), min(ends), ends[1], JUMP_VOLUME)
            self._keep(symbol, replace(jump, ts=now // self._step_s * self._step_s))
            met.append(replace(jump, ts=now - LOOK_S))
        mark = self._marks[symbol]
        touch = grid.touch(now, mark)
        met.append(Bar(now - LOOK_S, mark, touch.ask, touch.bid, mark, 0.0))
        return tuple(met)

    def _keep(self, symbol: str, bar: Bar) -> None:
        """Add a step to the candle of its minute."""
        candles, ts = self.candles[symbol], bar.ts // MINUTE_S * MINUTE_S
        if not candles or candles[-1].ts < ts:
            candles.append(replace(bar, ts=ts))
            return
        last = candles[-1]
        candles[-1] = Bar(
            last.ts,
            last.open,
            max(last.high, bar.high),
            min(last.low, bar.low),
            bar.close,
            last.volume + bar.volume,
        )

    # ------------------------------------------------------------ by hand

    def move(self, symbol: str, factor: float) -> None:
        """Let the price jump by a factor, and go on from there."""
        self._factors[symbol] *= factor
        self._jumps.setdefault(symbol, []).append(self._marks[symbol] * factor)

    def fund(self, symbol: str, rate: float, due_ts: float) -> None:
        """Let funding fall due."""
        self._due[symbol] = (*self._due.get(symbol, ()), (due_ts, rate))

    def relist(self, listing: Listing) -> None:
        """Change the grids and minima of a listing while it trades."""
        symbol = listing.symbol
        self.listings[symbol] = listing
        self._grids[symbol] = TickGrid(listing)
        if symbol in self._marks:
            self._marks[symbol] = self._grids[symbol].nearest(self._marks[symbol])
