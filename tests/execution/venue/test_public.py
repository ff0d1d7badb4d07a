"""Real prices on paper's terms: told once, whole until a moment, with the funding that fell due."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.clock import ManualClock
from execution.core.seam import Blind
from execution.environment import Secret
from execution.venue.base import MarketView
from execution.venue.ccxt_limits import Limits
from execution.venue.ccxt_session import Session
from execution.venue.ccxt_wire import CcxtWire
from execution.venue.public import PATIENCE_S, PublicMarket
from tests.exchange.faults import Fault
from tests.exchange.running import Running, in_thread
from tests.exchange.setup import LISTINGS, Setup

NOW = 1_800_014_400.0 + 17.0
MINUTE = NOW - 17.0
SYMBOLS = {listing.symbol for listing in LISTINGS}


class Stall:
    """A public market at an exchange of this machine, on a clock that the test moves."""

    def __init__(self, exchange: Running, clock: ManualClock, folder: Path) -> None:
        self.exchange, self.clock = exchange, clock
        nobody = Secret("")
        wire = CcxtWire(nobody, nobody, demo=False, base_url=exchange.url, call_s=5.0)
        session = Session(wire, Limits(folder, clock), clock, 5.0, 10.0)
        self.market = PublicMarket(session, clock, LISTINGS, history_bars=50)
        self.blind: list[str] = []

    def read(self, seconds: float = 1.0) -> MarketView | None:
        self.clock.advance(seconds)
        view = self.market.read(self.clock.now())
        if isinstance(view, Blind):
            self.blind.append(view.reason)
            return None
        return view

    def views(self, count: int) -> list[MarketView]:
        return [view for _ in range(count) if (view := self.read()) is not None]


@pytest.fixture
def stall(tmp_path: Path) -> Iterator[Stall]:
    clock = ManualClock(NOW)
    with in_thread(Setup(listings=LISTINGS, history_minutes=400), clock) as exchange:
        yield Stall(exchange, clock, tmp_path)


def opens(views: list[MarketView], symbol: str = "BTCUSDT") -> list[float]:
    return [bar.ts - MINUTE for view in views for bar in view.bars.get(symbol, ())]


def test_history_comes_first_and_then_each_minute_once(stall: Stall) -> None:
    assert stall.market.open(NOW, None, None) == MINUTE
    views = stall.views(200)
    assert (views[0].closed_ts, views[0].bar_s, views[0].lag_s) == (MINUTE, 60, 0.0)
    for symbol in SYMBOLS:
        assert opens(views, symbol) == [60.0 * n for n in range(-50, 3)]
    assert [view.closed_ts for view in views] == sorted(view.closed_ts for view in views)
    assert views[-1].closed_ts == MINUTE + 180


def test_quotes_spreads_and_rules_are_the_exchanges(stall: Stall) -> None:
    stall.market.open(NOW, None, None)
    (view,) = stall.views(1)
    assert view.quotes.keys() == view.rules.keys() == view.half_spread_bps.keys() == SYMBOLS
    quote = view.quotes["BTCUSDT"]
    assert quote.sound
    mid = (quote.bid + quote.ask) / 2
    assert view.half_spread_bps["BTCUSDT"] == pytest.approx(1e4 * (quote.ask - mid) / mid)
    assert abs(quote.ts - stall.clock.now()) < 3


def test_bars_that_cannot_be_read_now_are_told_when_they_can(stall: Stall) -> None:
    stall.market.open(NOW, None, None)
    stall.views(1)
    stall.exchange.suffer(Fault(kind="lost", on=("GET /fapi/v1/klines",)))
    late = stall.views(60)
    assert opens(late) == []
    assert {view.closed_ts for view in late} == {MINUTE}
    stall.exchange.suffer()
    views = stall.views(20)
    assert opens(views) == [0.0]


def test_what_was_missed_while_down_is_told_at_the_next_start(stall: Stall) -> None:
    stall.market.open(NOW, None, None)
    stall.views(1)
    stall.clock.advance(1800)
    assert stall.market.open(stall.clock.now(), MINUTE, MINUTE) == MINUTE
    views = stall.views(3)
    assert opens(views) == [60.0 * n for n in range(-50, 30)]
    assert views[-1].closed_ts == MINUTE + 1800


def test_funding_that_fell_due_is_told_once_by_its_own_rate(stall: Stall) -> None:
    """The next funding of the exchange is at a whole eight hours."""
    stall.market.open(NOW, None, None)
    stall.views(1)
    due_ts = math.ceil(NOW / 28_800) * 28_800.0
    stall.clock.set(due_ts - 130)
    stall.exchange.ask("fund", symbol="BTCUSDT", rate=0.0003)
    views = stall.views(400)
    told = [rate for view in views for rate in view.funding.get("BTCUSDT", ())]
    assert len(told) == len({ts for ts, _ in told})
    assert any(rate == pytest.approx(0.0003) for _, rate in told)
    for view in views:
        for ts, _ in view.funding.get("BTCUSDT", ()):
            assert ts <= view.closed_ts


def test_no_wait_is_without_end(stall: Stall) -> None:
    """A symbol whose bars do not come holds the others back for a while only."""
    stall.market.open(NOW, None, None)
    stall.views(1)
    stall.market._prices._vain_since_s["SOLUSDT"] = stall.clock.monotonic() - PATIENCE_S
    stall.market._prices._again_s["SOLUSDT"] = math.inf
    views = stall.views(60)
    assert opens(views) == [0.0]
    assert opens(views, "SOLUSDT") == []


def test_an_exchange_that_cannot_be_read_is_blind(stall: Stall) -> None:
    stall.market.open(NOW, None, None)
    stall.views(1)
    stall.exchange.suffer(Fault(kind="html"))
    assert stall.read(300) is None
    assert stall.blind
    stall.exchange.suffer()
    assert stall.read() is not None


def test_the_figures_of_the_line_are_told(stall: Stall) -> None:
    stall.market.open(NOW, None, None)
    stall.views(5)
    health = stall.market.health()
    assert health.clock_offset_ms == pytest.approx(0, abs=50)
    assert health.weight_used_1m == pytest.approx(
        sum(each["weight"] for each in stall.exchange.requests)
    )
