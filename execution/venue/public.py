"""The exchange's public market for the paper venue: real prices and rules, no account and no keys."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Final

from execution.clock import Clock
from execution.core.policy import Listing
from execution.core.seam import Bar, Blind, VenueHealth
from execution.errors import VenueUnavailable
from execution.venue.base import MarketView
from execution.venue.ccxt_market import BAR_S, Prices
from execution.venue.ccxt_replies import FundingRate
from execution.venue.ccxt_session import Endpoint, Session
from execution.venue.ccxt_wire import Params

log = logging.getLogger(__name__)

FUNDING: Final = Endpoint("fapiPublicGetFundingRate", 1)
MOST_RATES: Final = 1_000
# A bar or a funding rate that is not told for so long after it was due is not waited for.
PATIENCE_S: Final = 30.0
FUNDING_AGAIN_S: Final = 3.0
# A rate's own time is about when it was due.
EARLY_S: Final = 1.0

Rates = tuple[tuple[float, float], ...]


class PublicMarket:
    """Real prices on the paper venue's terms: what happened until a moment is told whole, once.

    Bars and funding are held back until every symbol's are there, or were waited for in vain.
    """

    name = "binance"
    series = "binance 1m"

    def __init__(
        self, session: Session, clock: Clock, listings: Iterable[Listing], history_bars: int
    ) -> None:
        self._session = session
        self._spreads = {each.symbol: each.half_spread_bps for each in listings}
        self._prices = Prices(session, clock, self._spreads)
        self._funding = Funding(session, clock, self._prices)
        self._history_bars = history_bars
        self._closed_ts = 0.0
        self._waiting: dict[str, tuple[Bar, ...]] = {}

    def open(self, now: float, origin_ts: float | None, matched_ts: float | None) -> float:
        origin_ts = now // BAR_S * BAR_S if origin_ts is None else origin_ts
        self._closed_ts = origin_ts if matched_ts is None else matched_ts
        self._prices.start_bars(self._closed_ts - self._history_bars * BAR_S)
        self._funding.start(self._closed_ts)
        self._waiting.clear()
        return origin_ts

    def read(self, now: float) -> MarketView | Blind:
        self._session.begin()
        try:
            self._session.mind_the_clock()
            self._prices.read_rules()
            self._prices.read_quotes()
            self._funding.read()
        except VenueUnavailable as error:
            return Blind(now, str(error))
        for symbol, bars in self._prices.read_bars().items():
            self._waiting[symbol] = (*self._waiting.get(symbol, ()), *bars)
        whole_ts = min(self._prices.whole_until_ts(PATIENCE_S), self._funding.whole_until_ts())
        self._closed_ts = max(self._closed_ts, whole_ts)
        return MarketView(
            ts=now,
            closed_ts=self._closed_ts,
            bar_s=BAR_S,
            lag_s=0.0,
            quotes=self._prices.quotes,
            bars=self._told(),
            rules=self._prices.rules,
            half_spread_bps=self._half_spreads(),
            funding=self._funding.told(self._closed_ts),
        )

    def health(self) -> VenueHealth:
        return self._session.health()

    def _told(self) -> dict[str, tuple[Bar, ...]]:
        """Take out of what waits the bars that closed by now."""
        until_ts, waiting = self._closed_ts - BAR_S, self._waiting
        told = {name: tuple(b for b in bars if b.ts <= until_ts) for name, bars in waiting.items()}
        left = {name: tuple(b for b in bars if b.ts > until_ts) for name, bars in waiting.items()}
        self._waiting = {name: bars for name, bars in left.items() if bars}
        return {name: bars for name, bars in told.items() if bars}

    def _half_spreads(self) -> dict[str, float]:
        """Return the half-spreads as they are; where there is no touch, what the listing expects."""
        seen = {
            symbol: 1e4 * (quote.ask - quote.bid) / (quote.ask + quote.bid)
            for symbol, quote in self._prices.quotes.items()
            if quote.sound
        }
        return {**self._spreads, **seen}


class Funding:
    """The rates that fell due, by symbol, from the exchange's own records."""

    def __init__(self, session: Session, clock: Clock, prices: Prices) -> None:
        self._session = session
        self._clock = clock
        self._prices = prices
        # Until when each symbol's rates are known, and when its next one falls due.
        self._known_ts: dict[str, float] = {}
        self._due_ts: dict[str, float] = {}
        self._again_s = -math.inf
        self._rates: dict[str, Rates] = {}

    def start(self, since_ts: float) -> None:
        """Tell the rates that fell due after `since_ts`; the first read asks for all of them."""
        self._known_ts = dict.fromkeys(self._prices.symbols, since_ts)
        self._due_ts = dict.fromkeys(self._prices.symbols, -math.inf)
        self._again_s = -math.inf
        self._rates.clear()

    def read(self) -> None:
        """Ask for what fell due. Raises VenueUnavailable."""
        due = self._awaited()
        if not due or self._clock.monotonic() < self._again_s:
            return
        for symbol in due:
            self._read_symbol(symbol)
        self._again_s = self._clock.monotonic() + FUNDING_AGAIN_S

    def whole_until_ts(self) -> float:
        """Return until when every rate is known: before the bar in which one is still awaited."""
        return min(
            (
                max(self._known_ts[symbol], math.ceil(max(ts, 0.0) / BAR_S) * BAR_S - BAR_S)
                for symbol, ts in self._awaited().items()
            ),
            default=math.inf,
        )

    def told(self, until_ts: float) -> dict[str, Rates]:
        """Take out the rates that fell due by then."""
        rates = self._rates
        self._rates = {
            symbol: left
            for symbol, each in rates.items()
            if (left := tuple(rate for rate in each if rate[0] > until_ts))
        }
        found = {
            s: tuple(rate for rate in each if rate[0] <= until_ts) for s, each in rates.items()
        }
        return {symbol: each for symbol, each in found.items() if each}

    def _awaited(self) -> dict[str, float]:
        """Return what fell due and is not known, by symbol; at the start that is everything."""
        now = self._session.now()
        marked = (symbol for symbol in self._due_ts if symbol in self._prices.funding_due_ts)
        return {symbol: self._due_ts[symbol] for symbol in marked if self._due_ts[symbol] <= now}

    def _read_symbol(self, symbol: str) -> None:
        since_ms = int(self._known_ts[symbol] * 1000) + 1
        params: Params = {"symbol": symbol, "startTime": since_ms, "limit": MOST_RATES}
        rows = self._session.read(FUNDING, tuple[FundingRate, ...], params)
        told = {row.funding_time / 1000: float(row.funding_rate) for row in rows}
        new = tuple(sorted(told.items()))
        if new:
            self._rates[symbol] = (*self._rates.get(symbol, ()), *new)
            self._known_ts[symbol] = new[-1][0]
        now, due_ts = self._session.now(), self._due_ts[symbol]
        if self._known_ts[symbol] < due_ts - EARLY_S:
            if now - due_ts <= PATIENCE_S:
                return
            log.warning("no funding rate is told symbol=%s due_ts=%.0f", symbol, due_ts)
        next_ts = self._prices.funding_due_ts[symbol]
        if next_ts > now:
            self._due_ts[symbol] = next_ts
