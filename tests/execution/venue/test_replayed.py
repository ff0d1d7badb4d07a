"""The replayed market: recorded time as it is, and recorded bars on the wall clock."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import Bar, Blind
from execution.errors import ConfigError
from execution.venue.base import Market, MarketView
from execution.venue.listings import CATCH_UP_BARS
from execution.venue.paper import PaperVenue
from execution.venue.paper_store import PaperStore
from execution.venue.replayed import ReplayedMarket
from tests.execution.venue.scripted import terms
from tests.execution.venue.test_recording import FIRST_S, SYMBOL, bar_line, write
from tests.support import builders, policies

SHARED = Path(__file__).resolve().parents[4] / "shared" / "market"
WALL = 1_800_000_017.3
LISTINGS = (policies.listing(SYMBOL), policies.listing("ETHUSDT"))


def priced(minute: int) -> str:
    """Return a line whose prices tell its minute."""
    price = 100 + minute / 10
    return bar_line(minute, f"{price},{price + 0.2:.1f},{price - 0.2:.1f},{price},5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty common minutes of two symbols; the second lacks the minute 12."""
    rates = tuple(f"{(FIRST_S + 60 * m) * 1000 + 5},0.000{m}" for m in (1, 7, 9))
    write(tmp_path, [priced(minute) for minute in range(20)], funding=rates)
    write(tmp_path, [priced(minute) for minute in range(25) if minute != 12], "ETHUSDT")
    return tmp_path


def looked(market: ReplayedMarket, now: float) -> MarketView:
    view = market.read(now)
    assert isinstance(view, MarketView)
    return view


def minutes(bars: Sequence[Bar]) -> list[int]:
    """Return which recorded minutes these bars are, by their prices."""
    return [round((bar.open - 100) * 10) for bar in bars]


def drive(market: ReplayedMarket) -> list[MarketView]:
    views = []
    while (now := market.next_close_ts()) is not None:
        views.append(looked(market, now))
    return views


# ---------------------------------------------------------------- recorded time


def test_a_driver_sees_each_minute_once_at_its_close(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, None, 0)
    assert market.window_ts == (FIRST_S, FIRST_S + 1200)
    views = drive(market)
    assert [view.ts - FIRST_S for view in views] == [60.0 * n for n in range(1, 21)]
    for n, view in enumerate(views):
        assert view.closed_ts == view.ts
        assert set(view.bars) == ({SYMBOL} if n == 12 else {SYMBOL, "ETHUSDT"})
        assert minutes(view.bars[SYMBOL]) == [n]
        assert view.bars[SYMBOL][0].ts == FIRST_S + 60 * n
        assert view.quotes[SYMBOL].mark == view.bars[SYMBOL][0].close
    # A symbol without a bar keeps its old quote, with its old time.
    assert views[12].quotes["ETHUSDT"] == views[11].quotes["ETHUSDT"]
    assert market.read(FIRST_S + 1200.0) != Blind(FIRST_S + 1200.0, "replay_ended")
    assert market.read(FIRST_S + 1260.0) == Blind(FIRST_S + 1260.0, "replay_ended")


def test_a_quote_is_the_close_between_two_sides_of_the_grid(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, None, 0)
    quote = looked(market, FIRST_S + 60.0).quotes[SYMBOL]
    assert (quote.ts, quote.bid, quote.ask, quote.mark) == (FIRST_S + 60, 99.9, 100.1, 100.0)


def test_funding_comes_with_the_bar_in_which_it_falls_due(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, None, 0)
    due = {n: view.funding[SYMBOL] for n, view in enumerate(drive(market)) if view.funding}
    assert due == {
        n: ((pytest.approx(FIRST_S + 60 * n + 0.005, abs=1e-6), n / 10_000),) for n in (1, 7, 9)
    }


def test_history_comes_with_the_first_look_and_brings_no_funding(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, None, 8)
    first = looked(market, market.next_close_ts() or 0.0)
    assert minutes(first.bars[SYMBOL]) == list(range(8))
    assert first.funding == {}
    assert first.closed_ts == FIRST_S + 480
    rest = drive(market)
    assert minutes([view.bars[SYMBOL][0] for view in rest]) == list(range(8, 20))
    assert [view.funding[SYMBOL][0][1] for view in rest if view.funding] == [0.0009]


def test_more_history_than_there_is_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="fewer minutes than the 20 bars"):
        ReplayedMarket(folder, LISTINGS, None, 20)


def test_memory_is_flat_however_long_the_recording(tmp_path: Path) -> None:
    peaks = []
    for length in (10_000, 40_000):
        where = tmp_path / str(length)
        where.mkdir()
        write(where, [priced(minute) for minute in range(length)])
        tracemalloc.start()
        market = ReplayedMarket(where, LISTINGS[:1], None, 0)
        count = 0
        while (now := market.next_close_ts()) is not None:
            count += len(looked(market, now).bars)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == length
    assert peaks[1] < 1.2 * peaks[0]


# ---------------------------------------------------------------- on the wall clock


@pytest.mark.parametrize(("speed", "bar_s"), [(1, 60), (4, 15), (60, 1)])
def test_recorded_bars_are_put_onto_whole_wall_bars(folder: Path, speed: int, bar_s: int) -> None:
    market = ReplayedMarket(folder, LISTINGS, speed, 5)
    origin = market.open(WALL, None, None)
    assert origin == WALL // bar_s * bar_s
    first = looked(market, WALL)
    assert (first.bar_s, first.lag_s) == (bar_s, float(bar_s))
    assert minutes(first.bars[SYMBOL]) == [0, 1, 2, 3, 4]
    assert [bar.ts for bar in first.bars[SYMBOL]] == [origin - bar_s * n for n in (5, 4, 3, 2, 1)]
    later = looked(market, origin + 2 * bar_s)
    assert minutes(later.bars[SYMBOL]) == [5, 6]
    assert [bar.ts for bar in later.bars[SYMBOL]] == [origin, origin + bar_s]
    assert looked(market, origin + 2.9 * bar_s).bars == {}
    due = looked(market, origin + 3 * bar_s).funding[SYMBOL]
    assert due == ((pytest.approx(origin + 2 * bar_s + 0.005 / speed, abs=1e-6), 0.0007),)


def test_it_ends_blind(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, 1, 5)
    origin = market.open(WALL, None, None)
    last = looked(market, origin + 15 * 60)
    assert minutes(last.bars[SYMBOL]) == list(range(20))
    assert market.read(origin + 16 * 60) == Blind(origin + 16 * 60, "replay_ended")
    market.open(origin + 5000, origin, origin + 900)
    assert market.read(origin + 5000) == Blind(origin + 5000, "replay_ended")


def test_a_restart_goes_on_where_the_account_was(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, 1, 4)
    origin = market.open(WALL, None, None)
    assert market.open(WALL + 400, origin, origin + 120) == origin
    view = looked(market, origin + 300)
    # Four of history before the cursor at minute 6, then the three that were missed.
    assert minutes(view.bars[SYMBOL]) == [2, 3, 4, 5, 6, 7, 8]
    assert view.bars[SYMBOL][4].ts == origin + 120
    assert [rate for _, rate in view.funding[SYMBOL]] == [0.0007]


def test_a_backward_clock_step_stops_it(folder: Path) -> None:
    market = ReplayedMarket(folder, LISTINGS, 1, 0)
    origin = market.open(WALL, None, None)
    before = looked(market, origin + 300)
    after = looked(market, origin - 86_400)
    assert (after.bars, after.quotes, after.closed_ts) == ({}, before.quotes, origin + 300)
    assert minutes(looked(market, origin + 360).bars[SYMBOL]) == [5]


def test_a_long_absence_is_caught_up_in_pieces(tmp_path: Path) -> None:
    write(tmp_path, [priced(minute) for minute in range(5000)])
    market = ReplayedMarket(tmp_path, LISTINGS[:1], 1, 0)
    origin = market.open(WALL, None, None)
    taken = [len(looked(market, origin + 4500 * 60).bars[SYMBOL]) for _ in range(3)]
    assert taken == [CATCH_UP_BARS, CATCH_UP_BARS, 4500 - 2 * CATCH_UP_BARS]


def test_a_speed_that_does_not_divide_a_minute_is_refused(folder: Path) -> None:
    for speed in (7, 0, -1, 120):
        with pytest.raises(ConfigError, match=rf"replay\.speed {speed} "):
            ReplayedMarket(folder, LISTINGS, speed, 0)


def test_a_series_is_its_folder_window_and_speed(folder: Path) -> None:
    names = {
        ReplayedMarket(folder, LISTINGS, speed, history).series
        for speed, history in ((1, 0), (2, 0), (1, 5))
    }
    assert len(names) == 3
    assert all(str(folder.resolve()) in name for name in names)


def test_a_paper_account_keeps_its_place_over_a_restart(folder: Path, tmp_path: Path) -> None:
    def open_venue(now: float) -> PaperVenue:
        market: Market = ReplayedMarket(folder, LISTINGS, 1, 4)
        venue = PaperVenue(market, PaperStore(tmp_path / "paper.sqlite"), terms())
        venue.observe(now)
        return venue

    origin = WALL // 60 * 60
    venue = open_venue(WALL)
    venue.submit(
        builders.new_order("a", type="MARKET", price=None, post_only=False, signed_ts=WALL)
    )
    venue.observe(origin + 120)
    venue.close()
    venue = open_venue(origin + 240)
    (trade,) = venue.trades(SYMBOL, 0.0)
    assert (trade.ts, trade.price) == (origin + 60, Decimal("100.5"))
    # Long through the minutes 7 at 100.7: it paid 7 basis points of that, once.
    assert [row.amount for row in venue.cash(origin + 1)] == [Decimal("-0.07049")]
    venue.close()


# ---------------------------------------------------------------- the real recording


def test_a_real_month_is_read_whole_and_flat() -> None:
    if not SHARED.exists():
        pytest.skip("the recorded market data is not on this machine")
    listings = [policies.listing(s) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT")]
    market = ReplayedMarket(SHARED, listings, None, 0)
    venue = PaperVenue(market, PaperStore(None, durable=False), terms())
    counted = dict.fromkeys((listing.symbol for listing in listings), 0)
    first = last = None
    while (now := market.next_close_ts()) is not None:
        seen = venue.observe(now)
        assert not isinstance(seen, Blind)
        for symbol, bars in seen.bars.items():
            counted[symbol] += len(bars)
        first, last = first or seen, seen
    assert counted == {"BTCUSDT": 43_199, "ETHUSDT": 43_199, "SOLUSDT": 43_199}
    assert first.bars["BTCUSDT"] == (Bar(1746372780.0, 95505.4, 95505.5, 95502.7, 95502.7, 16.536),)
    assert last.bars["BTCUSDT"] == (
        Bar(1748964660.0, 106687.9, 106695.3, 106580.1, 106588.4, 261.189),
    )
