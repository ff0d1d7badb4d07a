"""The simulated market: the same prices always and everywhere, and prices that behave like some."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.core.policy import Listing, SimPath
from execution.core.seam import Bar
from execution.errors import ConfigError
from execution.venue.listings import CATCH_UP_BARS
from execution.venue.paper import PaperVenue
from execution.venue.paper_store import PaperStore
from execution.venue.sim_path import BLOCK_LEVEL, SPAN, SPAN_LEVEL, Walk, key_of
from execution.venue.simulated import SimulatedMarket
from tests.execution.venue.scripted import terms
from tests.support import builders, policies

ROOT = Path(__file__).resolve().parents[3]
BAR_S = 5
ORIGIN = builders.NOW
LISTINGS = (
    policies.listing("BTCUSDT", sim=SimPath(100_000.0, 4.0, 1.0, 1_100_000.0)),
    policies.listing(
        "SOLUSDT",
        tick_size=Decimal("0.01"),
        step_size=Decimal(1),
        sim=SimPath(160.0, 7.0, 1.4, 210_000.0),
    ),
    policies.listing(
        "LONEUSDT", tick_size=Decimal("0.0001"), sim=SimPath(1.2, 12.0, 0.0, 12_000.0)
    ),
)
Bars = dict[str, tuple[Bar, ...]]


def market(
    seed: int = 7, history: int = 50, listings: tuple[Listing, ...] = LISTINGS
) -> SimulatedMarket:
    return SimulatedMarket(listings, seed, BAR_S, history)


def bars_of(sim: SimulatedMarket, *steps: float, matched_ts: float | None = None) -> Bars:
    """Open at ORIGIN, read at each of `steps` bars after it, and return all bars in one piece."""
    sim.open(ORIGIN, None if matched_ts is None else ORIGIN, matched_ts)
    found: dict[str, list[Bar]] = {}
    for step in steps:
        for symbol, bars in sim.read(ORIGIN + step * BAR_S).bars.items():
            found.setdefault(symbol, []).extend(bars)
    return {symbol: tuple(bars) for symbol, bars in found.items()}


@pytest.fixture(scope="module")
def day() -> Bars:
    """About a day of five-second bars."""
    return bars_of(market(history=0), *range(0, 18_001, 1800))


# ---------------------------------------------------------------- a function of seed and step


def test_the_first_look_brings_history_that_ends_at_the_origin() -> None:
    sim = market(history=50)
    assert sim.open(ORIGIN + 3.7, None, None) == ORIGIN
    view = sim.read(ORIGIN + 3.7)
    assert [len(bars) for bars in view.bars.values()] == [50, 50, 50]
    assert view.bars["BTCUSDT"][-1].ts == ORIGIN - BAR_S
    assert view.closed_ts == ORIGIN
    assert (view.bar_s, view.lag_s) == (5, 5.0)
    assert view.quotes["BTCUSDT"].ts == ORIGIN
    assert view.quotes["BTCUSDT"].mark == view.bars["BTCUSDT"][-1].close
    assert sim.read(ORIGIN + 4.9).bars == {}


@given(st.lists(st.integers(0, 300), min_size=1, max_size=8).map(sorted))
@settings(max_examples=30)
def test_how_it_is_read_does_not_change_the_prices(steps: list[int]) -> None:
    assert bars_of(market(), *steps) == bars_of(market(), steps[-1])


@given(st.integers(0, 400), st.integers(0, 60))
@settings(max_examples=30)
def test_a_restart_finds_the_same_prices_and_what_was_missed(died: int, down: int) -> None:
    whole = bars_of(market(history=0), 500)
    again = bars_of(market(history=20), died + down, matched_ts=ORIGIN + died * BAR_S)
    for symbol, bars in again.items():
        shared = [bar for bar in bars if bar.ts >= ORIGIN]
        first = max(0, died - 20)
        assert shared == list(whole[symbol][first : died + down])
        assert len(bars) == 20 + down


def test_another_process_finds_the_same_prices() -> None:
    code = (
        "from tests.execution.venue.test_simulated import bars_of, market;"
        "print(list(bars_of(market(), 60)['SOLUSDT']))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == str(list(bars_of(market(), 60)["SOLUSDT"]))


def test_each_seed_and_symbol_has_prices_of_its_own() -> None:
    one, other = bars_of(market(7), 100), bars_of(market(8), 100)
    assert one["BTCUSDT"] != other["BTCUSDT"]
    assert market(7).series != market(8).series


def test_another_listing_does_not_move_the_others() -> None:
    alone = market(listings=LISTINGS[1:2])
    assert bars_of(alone, 100)["SOLUSDT"] == bars_of(market(), 100)["SOLUSDT"]


def test_a_long_absence_is_caught_up_in_pieces() -> None:
    sim = market(history=10)
    sim.open(ORIGIN, None, None)
    away = CATCH_UP_BARS + 700
    first = sim.read(ORIGIN + away * BAR_S)
    assert len(first.bars["BTCUSDT"]) == 10 + CATCH_UP_BARS
    assert first.quotes["BTCUSDT"].ts == first.closed_ts == ORIGIN + CATCH_UP_BARS * BAR_S
    second = sim.read(ORIGIN + away * BAR_S)
    assert len(second.bars["BTCUSDT"]) == 700
    assert second.closed_ts == ORIGIN + away * BAR_S


def test_after_a_backward_clock_step_the_market_stands_still() -> None:
    sim = market()
    sim.open(ORIGIN, None, None)
    before = sim.read(ORIGIN + 100 * BAR_S)
    for now in (ORIGIN + 99 * BAR_S, ORIGIN - 86_400.0, ORIGIN + 100 * BAR_S):
        after = sim.read(now)
        assert (after.bars, after.funding) == ({}, {})
        assert after.quotes == before.quotes
    assert [bar.ts for bar in sim.read(ORIGIN + 101 * BAR_S).bars["BTCUSDT"]] == [
        ORIGIN + 100 * BAR_S
    ]


def test_a_restart_after_a_backward_clock_step_does_not_go_back_either() -> None:
    sim = market(history=5)
    sim.open(ORIGIN - 3600.0, ORIGIN, ORIGIN + 100 * BAR_S)
    view = sim.read(ORIGIN - 3600.0)
    assert view.closed_ts == ORIGIN + 100 * BAR_S
    assert [bar.ts for bar in view.bars["BTCUSDT"]] == [
        ORIGIN + step * BAR_S for step in range(95, 100)
    ]


def test_funding_falls_due_every_eight_hours_and_once() -> None:
    sim = market(history=5000)
    sim.open(ORIGIN, None, None)
    due: list[tuple[float, float]] = []
    for hour in range(25):
        due += sim.read(ORIGIN + hour * 3600.0).funding.get("BTCUSDT", ())
    assert [ts % 28_800 for ts, _ in due] == [0.0, 0.0, 0.0]
    assert len({rate for _, rate in due}) == 3
    assert all(abs(rate) <= 0.00025 for _, rate in due)
    sim.open(ORIGIN + 90_000.0, ORIGIN, ORIGIN + 86_400.0)
    assert sim.read(ORIGIN + 90_000.0).funding == {}


def test_a_universe_without_a_simulated_symbol_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"universe\.toml: no listing has a sim"):
        market(listings=(policies.listing(),))
    mixed = market(listings=(*LISTINGS[:1], policies.listing("PLAINUSDT")))
    assert set(bars_of(mixed, 3)) == {"BTCUSDT"}


# ---------------------------------------------------------------- prices that behave


def test_bars_are_whole_on_the_grid_and_follow_each_other(day: Bars) -> None:
    for listing in LISTINGS:
        bars = day[listing.symbol]
        assert len(bars) == 18_000
        tick, step = float(listing.tick_size), float(listing.step_size)
        for bar in bars:
            assert 0 < bar.low <= min(bar.open, bar.close)
            assert max(bar.open, bar.close) <= bar.high
            assert bar.volume > 0
            for number, grid in ((bar.low, tick), (bar.close, tick), (bar.volume, step)):
                assert abs(number / grid - round(number / grid)) < 1e-3
        for before, after in pairwise(bars):
            assert after.open == before.close
            assert after.ts == before.ts + BAR_S


def returns(bars: tuple[Bar, ...], every: int = 1) -> list[float]:
    closes = [bar.close for bar in bars[::every]]
    return [math.log(after / before) for before, after in pairwise(closes)]


def test_the_moves_have_the_size_that_the_listing_says(day: Bars) -> None:
    for listing in LISTINGS:
        assert listing.sim is not None
        moved_bps = statistics.pstdev(returns(day[listing.symbol])) * 1e4
        assert moved_bps == pytest.approx(listing.sim.vol_bps, rel=0.25)
        traded = statistics.fmean(bar.volume * bar.close for bar in day[listing.symbol])
        assert traded == pytest.approx(listing.sim.volume_usd, rel=0.25)


def test_moves_do_not_foretell_the_next_and_grow_like_a_walk(day: Bars) -> None:
    for bars in day.values():
        moves = returns(bars)
        assert abs(statistics.correlation(moves[1:], moves[:-1])) < 0.05
        longer = statistics.pstdev(returns(bars, 100)) / statistics.pstdev(moves)
        assert longer == pytest.approx(10, rel=0.3)


def test_symbols_follow_the_common_walk_as_far_as_beta_says(day: Bars) -> None:
    moves = {symbol: returns(bars) for symbol, bars in day.items()}
    together = statistics.correlation(moves["BTCUSDT"], moves["SOLUSDT"])
    assert together == pytest.approx(0.575, abs=0.15)
    assert abs(statistics.correlation(moves["BTCUSDT"], moves["LONEUSDT"])) < 0.1


def test_there_are_jumps_and_regimes(day: Bars) -> None:
    moves = returns(day["BTCUSDT"])
    usual = statistics.pstdev(moves)
    assert max(map(abs, moves)) > 6 * usual
    stretches = [moves[at : at + 256] for at in range(0, len(moves) - 256, 256)]
    spreads = sorted(statistics.pstdev(stretch) for stretch in stretches)
    assert spreads[-len(spreads) // 10] > 1.5 * spreads[len(spreads) // 10]


@given(st.integers(-(2**40), 2**40), st.integers(0, 2**64 - 1))
@settings(max_examples=100)
def test_a_walk_is_whole_anywhere_and_never_strays_far(index: int, key: int) -> None:
    walk = Walk(key)
    points, after = walk.span(index), walk.span(index + 1)
    assert points == Walk(key).span(index)
    assert len(points) == SPAN + 1
    assert points[-1] == pytest.approx(after[0], abs=1e-9)
    assert all(abs(point) < 8 * math.sqrt(1 << BLOCK_LEVEL) for point in points)


def test_a_walk_stays_where_it_began_over_a_million_points() -> None:
    walk = Walk(key_of("test", 1))
    blocks = 1 << (BLOCK_LEVEL - SPAN_LEVEL)
    seen = [walk.span(number * blocks // 7)[0] for number in range(2000)]
    spread = math.sqrt((1 << BLOCK_LEVEL) / 2)
    assert abs(statistics.fmean(seen)) < spread / 4
    assert statistics.pstdev(seen) == pytest.approx(spread, rel=0.2)


def test_a_paper_account_on_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    def open_venue() -> PaperVenue:
        return PaperVenue(market(history=0), PaperStore(tmp_path / "paper.sqlite"), terms())

    venue = open_venue()
    now = ORIGIN + 2.0
    venue.observe(now)
    venue.observe(now + 5)
    buy = builders.new_order(
        "a", type="MARKET", price=None, post_only=False, qty=Decimal("0.01"), signed_ts=now + 5
    )
    venue.submit(buy)
    venue.close()
    venue = open_venue()
    seen = venue.observe(now + 3600)
    whole = bars_of(market(history=0), 2)["BTCUSDT"]
    (trade,) = venue.trades("BTCUSDT", 0.0)
    assert trade.ts == ORIGIN + 10
    assert whole[1].low <= float(trade.price) <= whole[1].high
    assert [leg.qty for leg in seen.account.positions] == [Decimal("0.01")]
    venue.close()
