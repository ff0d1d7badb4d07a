"""The exchange's market: rules, touches, marks and closed one-minute bars, each at its own pace."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from execution.clock import Clock
from execution.core.seam import Bar, Quote, SymbolRules
from execution.errors import VenueUnavailable
from execution.venue import ccxt_snapshot
from execution.venue.ccxt_errors import Refusal
from execution.venue.ccxt_limits import Pace
from execution.venue.ccxt_replies import (
    BookTicker,
    ExchangeInfo,
    Kline,
    PremiumIndex,
    SymbolInfo,
)
from execution.venue.ccxt_session import Endpoint, Session
from execution.venue.ccxt_wire import Params

log = logging.getLogger(__name__)

BAR_S: Final = 60
MOST_KLINES: Final = 1_500
# A bar is asked for this long after its close, and again if it is not there yet.
SETTLED_S: Final = 0.5
AGAIN_S: Final = 2.0
RULES_EVERY_S: Final = 300.0

EXCHANGE_INFO: Final = Endpoint("fapiPublicGetExchangeInfo", 1)
BOOK_TICKER: Final = Endpoint("fapiPublicGetTickerBookTicker", 5)
PREMIUM_INDEX: Final = Endpoint("fapiPublicGetPremiumIndex", 10)
KLINES: Final = Endpoint("fapiPublicGetKlines", 1)
# What each may use of the exchange's limit: about once a second, and once in two or three.
BOOK_SHARE: Final = 0.15
MARK_SHARE: Final = 0.10
RULES_SHARE: Final = 0.01


def klines_weight(limit: int) -> int:
    """Return what a request for so many bars weighs."""
    for most, weight in ((99, 1), (499, 2), (1000, 5)):
        if limit <= most:
            return weight
    return 10


class Prices:
    """What the market of `symbols`, and of what is held beside them, shows.

    Every read may raise VenueUnavailable.
    """

    def __init__(self, session: Session, clock: Clock, symbols: Iterable[str]) -> None:
        self.symbols = tuple(symbols)
        self.rules: Mapping[str, SymbolRules] = {}
        self.quotes: Mapping[str, Quote] = {}
        self.funding_due_ts: Mapping[str, float] = {}
        self._session = session
        self._clock = clock
        self._rules_pace = Pace(session.limits, clock, RULES_SHARE)
        self._book_pace = Pace(session.limits, clock, BOOK_SHARE)
        self._mark_pace = Pace(session.limits, clock, MARK_SHARE)
        self._infos: Mapping[str, SymbolInfo] = {}
        self._marks: Mapping[str, PremiumIndex] = {}
        self._books: Mapping[str, BookTicker] = {}
        self._shown = self.symbols
        self._next_ts: dict[str, int] = {}
        self._again_s: dict[str, float] = {}
        self._vain_since_s: dict[str, float] = {}

    # ------------------------------------------------------------ rules

    def doubt_rules(self) -> None:
        """Have the rules read again: the exchange refused an order for them."""
        self._rules_pace.hurry()

    def read_rules(self) -> None:
        """Read what the exchange accepts, where it is due."""
        if not self._rules_pace.is_due():
            return
        info = self._session.read(EXCHANGE_INFO, ExchangeInfo)
        self._rules_pace.done(EXCHANGE_INFO.weight, RULES_EVERY_S)
        for limit in info.rate_limits:
            minute = (limit.rate_limit_type, limit.interval, limit.interval_num)
            if minute == ("REQUEST_WEIGHT", "MINUTE", 1) and limit.limit > 0:
                self._session.limits.limit_1m = limit.limit
        self._infos = {each.symbol: each for each in info.symbols}
        self._show_rules()

    def _show_rules(self) -> None:
        found: dict[str, SymbolRules] = {}
        for symbol in self._shown:
            info, before = self._infos.get(symbol), self.rules.get(symbol)
            new = None if info is None else ccxt_snapshot.rules(info)
            if new is None and before is not None:
                new = ccxt_snapshot.closed(before)  # what is held must still find its grid
            if new is not None:
                found[symbol] = new
            if new != before:
                log.info("rules symbol=%s now=%s", symbol, new)
        self.rules = found

    def show(self, held: Iterable[str]) -> None:
        """Have rules and quotes of these symbols too, whoever holds them."""
        shown = tuple(dict.fromkeys((*self.symbols, *held)))
        if shown != self._shown:
            self._shown = shown
            self._show_rules()

    # ------------------------------------------------------------ touch and mark

    def read_quotes(self) -> None:
        """Read touches and marks, where they are due."""
        if self._mark_pace.is_due():
            marks = self._session.read(PREMIUM_INDEX, tuple[PremiumIndex, ...])
            self._mark_pace.done(PREMIUM_INDEX.weight)
            self._marks = {each.symbol: each for each in marks}
            self.funding_due_ts = {
                symbol: each.next_funding_time / 1000 for symbol, each in self._marks.items()
            }
        if self._book_pace.is_due():
            books = self._session.read(BOOK_TICKER, tuple[BookTicker, ...])
            self._book_pace.done(BOOK_TICKER.weight)
            self._books = {each.symbol: each for each in books}
        offset_s = self._session.offset_s
        self.quotes = {
            symbol: ccxt_snapshot.quote(self._books[symbol], self._marks[symbol], offset_s)
            for symbol in self._shown
            if symbol in self._books and symbol in self._marks
        }

    # ------------------------------------------------------------ bars

    def start_bars(self, next_ts: float) -> None:
        """Read bars from the one that opens at `next_ts` on."""
        self._next_ts = dict.fromkeys(self.symbols, int(next_ts) // BAR_S * BAR_S)
        self._again_s.clear()
        self._vain_since_s.clear()

    def whole_until_ts(self, patience_s: float) -> float:
        """Return until when every bar was read; one that was asked for in vain so long is none."""
        now_s, now = self._clock.monotonic(), self._session.now()
        awaited = [
            float(next_ts)
            for symbol, next_ts in self._next_ts.items()
            if self._trades(symbol) and now_s - self._vain_since_s.get(symbol, now_s) < patience_s
        ]
        return min(awaited, default=now // BAR_S * BAR_S)

    def read_bars(self) -> dict[str, tuple[Bar, ...]]:
        """Return the bars that closed and were not told; where time or weight is short, some later."""
        told: dict[str, tuple[Bar, ...]] = {}
        for symbol in sorted(self._next_ts, key=self._next_ts.__getitem__):
            try:
                bars = self._read_symbol(symbol)
            except VenueUnavailable as error:
                log.warning("bars wait for the next round: %s", error)
                break
            if bars:
                told[symbol] = bars
        return told

    def _read_symbol(self, symbol: str) -> tuple[Bar, ...]:
        next_ts = self._next_ts[symbol]
        missing = int(self._session.now() - SETTLED_S - next_ts) // BAR_S
        now_s = self._clock.monotonic()
        if missing < 1 or now_s < self._again_s.get(symbol, 0.0) or not self._trades(symbol):
            return ()
        limit = min(missing + 1, MOST_KLINES)
        params: Params = {
            "symbol": symbol,
            "interval": "1m",
            "startTime": next_ts * 1000,
            "limit": limit,
        }
        weight = klines_weight(limit)
        answer = self._session.ask(KLINES, tuple[Kline, ...], params, weight=weight)
        bars: tuple[Bar, ...] = ()
        if isinstance(answer, Refusal):
            log.warning("no bars symbol=%s: %s %s", symbol, answer.code, answer.reason)
        else:
            closed = ccxt_snapshot.bars(answer, self._session.now())
            bars = tuple(bar for bar in closed if bar.ts >= next_ts)
        if bars:
            self._next_ts[symbol] = int(bars[-1].ts) + BAR_S
            self._again_s.pop(symbol, None)
            self._vain_since_s.pop(symbol, None)
        else:
            self._again_s[symbol] = now_s + AGAIN_S
            self._vain_since_s.setdefault(symbol, now_s)
        return bars

    def _trades(self, symbol: str) -> bool:
        rules = self.rules.get(symbol)
        return rules is not None and rules.trading
