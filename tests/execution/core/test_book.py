from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import book
from execution.core.records import CashTotals
from execution.core.seam import Bar, Blind, Quote
from execution.core.types import Book, Breach, Decided, Decision, EngineState, Frame, Vetoed
from tests.support import builders, policies

START = EngineState()
LONG = ("BTCUSDT", "LONG")
BAD = [math.nan, math.inf, -math.inf, -1.0]
LIMITS = policies.limits().book


def look(state: EngineState, seen, found) -> EngineState:
    return book.observe(state, seen, found, LIMITS)


def seen_with(*held, quotes: dict[str, Quote] | None = None, wallet: str = "10000"):
    at = builders.account(positions=held, wallet_usd=Decimal(wallet))
    fields = {} if quotes is None else {"quotes": quotes}
    return builders.snapshot(account=at, **fields)


def observed(seen, *, state: EngineState = START, **found) -> Book:
    wallet = Decimal(10_000) if isinstance(seen, Blind) else seen.account.wallet_usd
    cash = CashTotals(start_usd=wallet if wallet.is_finite() else Decimal(10_000))
    return look(state, seen, builders.recorded(**{"cash": cash, **found})).book


# ---------------------------------------------------------------- NAV


def test_nav_is_the_wallet_and_what_is_unrealized() -> None:
    # Long 2 from 100 at 103 is +6; short 1 from 100 at 103 is -3.
    seen = seen_with(
        builders.venue_position("BTCUSDT", "LONG", "2"),
        builders.venue_position("BTCUSDT", "SHORT", "-1"),
        quotes={"BTCUSDT": builders.quote(103.0)},
    )
    found = observed(seen)
    assert found.known
    assert not found.stale
    assert (found.wallet_usd, found.unrealized_usd, found.nav_usd) == (10_000.0, 3.0, 10_003.0)
    assert (found.gross_usd, found.net_usd) == (309.0, 103.0)


def test_nav_is_as_old_as_the_oldest_mark_in_it() -> None:
    old = builders.quote(ts=builders.NOW - 7)
    held = builders.venue_position("ETHUSDT", "LONG", "1")
    quotes = {"BTCUSDT": builders.quote(), "ETHUSDT": old}
    assert observed(seen_with(held, quotes=quotes)).as_of_ts == builders.NOW - 7
    assert observed(seen_with(quotes=quotes)).as_of_ts == builders.NOW


def test_the_residual_is_what_the_ledger_expects_less_what_the_venue_has() -> None:
    cash = CashTotals(start_usd=Decimal("10000.005"), fees_usd=Decimal("0.001"))
    assert observed(seen_with(), cash=cash).identity_residual_usd == Decimal("0.004")


@pytest.mark.parametrize("told", ["0", "9999.98", "10000.02", "1e9"])
def test_a_wallet_that_the_ledger_cannot_explain_is_no_nav_and_moves_no_anchor(told: str) -> None:
    good = look(START, seen_with(), builders.recorded())
    cash = CashTotals(start_usd=Decimal(10_000))
    later = builders.recorded(cash=cash, day="2023-11-16")
    found = look(good, seen_with(wallet=told), later).book
    assert (found.nav_usd, found.known, found.stale) == (10_000.0, True, True)
    assert found.anchors == good.book.anchors
    assert found.identity_residual_usd == 10_000 - Decimal(told)


def test_a_blind_venue_keeps_the_last_good_numbers_and_says_since_when() -> None:
    good = look(START, seen_with(), builders.recorded())
    first = look(good, Blind(builders.NOW + 5, "timeout"), builders.recorded())
    second = look(first, Blind(builders.NOW + 9, "reset"), builders.recorded())
    assert (second.book.nav_usd, second.book.known, second.book.stale) == (10_000.0, True, True)
    assert second.book.blind_since_ts == builders.NOW + 5
    assert second.book.blind_reason == "reset"
    assert second.book.as_of_ts == builders.NOW
    assert second.closed == ()


def test_before_the_first_good_look_nothing_is_known() -> None:
    found = observed(Blind(builders.NOW, "timeout"))
    assert not found.known
    assert found.stale
    assert found.as_of_ts is None


@pytest.mark.parametrize("mark", [*BAD, 0.0, 1e300, 5e-324])
def test_a_held_leg_without_a_believable_mark_leaves_the_last_nav_and_makes_it_stale(
    mark: float,
) -> None:
    held = builders.venue_position()
    good = look(START, seen_with(held), builders.recorded())
    quotes = {"BTCUSDT": replace(builders.quote(), mark=mark)}
    found = observed(seen_with(held, quotes=quotes), state=good)
    assert (found.known, found.stale, found.nav_usd) == (True, True, 10_000.0)
    assert found.as_of_ts == builders.NOW
    assert found.anchors == good.book.anchors
    assert found.positions[0].mark_price is None
    assert found.positions[0].unrealized_usd is None


def test_a_held_leg_without_a_quote_makes_nav_stale() -> None:
    held = builders.venue_position()
    assert observed(seen_with(held, quotes={})).stale


def test_a_mark_stands_without_a_touch() -> None:
    quotes = {"BTCUSDT": Quote(builders.NOW, bid=math.nan, ask=0.0, mark=101.0)}
    assert observed(seen_with(builders.venue_position(), quotes=quotes)).nav_usd == 10_001.0


@pytest.mark.parametrize("wallet", ["NaN", "Infinity", "-Infinity", "1e15"])
def test_a_wallet_that_cannot_be_is_no_nav(wallet: str) -> None:
    found = observed(seen_with(wallet=wallet))
    assert not found.known
    assert found.stale
    assert found.nav_usd == 0.0
    assert found.anchors is None


# ---------------------------------------------------------------- protection and plans


def test_a_position_carries_its_plan_from_the_ledger() -> None:
    found = observed(seen_with(builders.venue_position()), legs={LONG: builders.leg()})
    assert found.positions[0].exit == builders.PLAN
    assert found.positions[0].position_id == "p-BTCUSDT-LONG"


def test_the_time_without_a_stop_is_counted_from_its_first_tick() -> None:
    seen = seen_with(builders.venue_position())
    first = look(START, seen, builders.recorded())
    later = replace(seen, ts=builders.NOW + 8)
    assert first.book.positions[0].unprotected_since_ts == builders.NOW
    assert observed(later, state=first).positions[0].unprotected_since_ts == builders.NOW
    protected = observed(later, state=first, protected=frozenset({LONG}))
    assert protected.positions[0].unprotected_since_ts is None


# ---------------------------------------------------------------- vetoes and answers


def test_what_was_decided_is_remembered() -> None:
    veto = Vetoed(builders.intent(), (Breach("gross_cap", 1.0, 2.0, "usd"),))
    live = Decided(
        builders.ACTIVE,
        decisions=(Decision(veto.intent, veto, None),) * 2,
        answered={("fade", "BTCUSDT"): 60.0},
    )
    before = replace(START, decided={("fade", "ETHUSDT"): 5.0}, vetoes={"gross_cap": 1})
    after = book.remember(before, live)
    assert after.vetoes == {"gross_cap": 3}
    assert after.decided == {("fade", "ETHUSDT"): 5.0, ("fade", "BTCUSDT"): 60.0}


def test_vetoes_are_counted_anew_each_day_and_not_after_a_step_back() -> None:
    counted = {"gross_cap": 4}
    state = replace(START, recorded=builders.recorded(), vetoes=counted)
    for day, wanted in (("2023-11-16", {}), ("2023-11-15", counted), ("2023-11-14", counted)):
        found = builders.recorded(day=day)
        assert look(state, seen_with(), found).vetoes == wanted


# ---------------------------------------------------------------- bars


def aggregated(bars: Iterable[Bar], bar_s: int, base_s: int) -> list[Bar]:
    """Build longer bars the obvious way: group what is known, keep the groups that are over."""
    known = {bar.ts: bar for bar in reversed(list(bars))}  # of an overlap the first word stands
    if not known:
        return []
    first, last = min(known), max(known)
    groups: dict[float, list[Bar]] = {}
    for ts in sorted(known):
        groups.setdefault(ts // bar_s * bar_s, []).append(known[ts])
    return [
        Bar(
            start,
            group[0].open,
            max(bar.high for bar in group),
            min(bar.low for bar in group),
            group[-1].close,
            sum(bar.volume for bar in group),
        )
        for start, group in groups.items()
        # A group is left out when history began inside it, or while it can still grow.
        if start >= first and last + base_s >= start + bar_s
    ]


@st.composite
def streams(draw: st.DrawFn) -> list[list[Bar]]:
    """Draw base bars with gaps, in looks that overlap."""
    first = draw(st.integers(min_value=0, max_value=9))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 7]), min_size=1, max_size=40))
    times = [first]
    for step in steps:
        times.append(times[-1] + step)
    prices = st.integers(min_value=50, max_value=150)
    bars = []
    for time in times:
        opened, closed, up, down = (draw(prices) for _ in range(4))
        bars.append(
            Bar(
                60.0 * time,
                float(opened),
                float(max(opened, closed, up)),
                float(min(opened, closed, down)),
                float(closed),
                float(time % 5),
            )
        )
    looks, at = [], 0
    while at < len(bars):
        until = at + draw(st.integers(min_value=1, max_value=8))
        back = draw(st.integers(min_value=0, max_value=5))
        looks.append(bars[max(0, at - back) : until])
        at = until
    return looks


@given(streams(), st.sampled_from([60, 120, 300]))
def test_folding_gives_what_an_independent_aggregation_gives(
    looks: list[list[Bar]], bar_s: int
) -> None:
    frame = Frame(bar_s=bar_s, keep=1000)
    for look in looks:
        frame = book.fold(frame, look, 60)
    assert [*frame.bars] == aggregated([bar for look in looks for bar in look], bar_s, 60)


@given(streams(), st.sampled_from([60, 300]), st.integers(min_value=1, max_value=7))
def test_how_bars_are_split_into_looks_changes_nothing(
    looks: list[list[Bar]], bar_s: int, keep: int
) -> None:
    whole = sorted({bar.ts: bar for look in looks for bar in look}.items())
    at_once = book.fold(Frame(bar_s=bar_s, keep=keep), [bar for _, bar in whole], 60)
    frame = Frame(bar_s=bar_s, keep=keep)
    for look in looks:
        frame = book.fold(frame, look, 60)
    assert frame == at_once
    assert len(frame.bars) <= keep


def test_a_bar_closes_with_its_last_base_bar() -> None:
    frame = Frame(bar_s=300, keep=10)
    frame = book.fold(frame, builders.bars([100.0] * 4, end=240.0), 60)
    assert frame.bars == ()
    frame = book.fold(frame, [builders.bar(240.0, 110.0)], 60)
    assert [(bar.ts, bar.close, bar.high) for bar in frame.bars] == [(0.0, 110.0, 111.0)]


def test_a_bar_whose_last_base_bar_is_missing_closes_with_the_next() -> None:
    frame = Frame(bar_s=120, keep=10)
    frame = book.fold(frame, [builders.bar(0.0, 100.0)], 60)
    frame = book.fold(frame, [builders.bar(120.0, 105.0)], 60)
    assert [(bar.ts, bar.close) for bar in frame.bars] == [(0.0, 100.0)]


def test_a_bar_that_history_enters_midway_is_left_out() -> None:
    frame = book.fold(Frame(bar_s=300, keep=10), builders.bars([100.0] * 8, end=600.0), 60)
    assert [bar.ts for bar in frame.bars] == [300.0]


def test_only_the_frames_that_closed_are_named() -> None:
    keys = (("BTCUSDT", 60), ("BTCUSDT", 300), ("ETHUSDT", 60))
    state = replace(START, frames={key: Frame(key[1], 10) for key in keys})
    seen = builders.snapshot(bars={"BTCUSDT": (builders.bar(builders.NOW - 60),)})
    after = look(state, seen, builders.recorded())
    assert after.closed == (("BTCUSDT", 60),)
    assert look(after, seen, builders.recorded()).closed == ()


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *[
            (field, bad)
            for field in ("open", "high", "low", "close", "volume", "ts")
            for bad in BAD
        ],
        *[(field, 0.0) for field in ("open", "high", "low", "close")],
        *[(field, 1e300) for field in ("open", "low", "close", "ts")],
    ],
)
def test_a_bar_that_cannot_be_one_is_left_out_and_those_after_it_are_not(
    field: str, bad: float
) -> None:
    state = replace(START, frames={("BTCUSDT", 60): Frame(60, 10)})
    broken = replace(builders.bar(builders.NOW - 120), **{field: bad})
    fine = builders.bar(builders.NOW - 60)
    seen = builders.snapshot(bars={"BTCUSDT": (broken, fine)})
    after = look(state, seen, builders.recorded())
    assert after.frames["BTCUSDT", 60].bars == (fine,)


def test_every_series_that_a_policy_reads_has_its_frame() -> None:
    policy = policies.policy(
        strategies=(
            policies.zscore(window_bars=10, bar_s=60),
            policies.trend(slow_bars=20, bar_s=60),
            policies.trend(name="slow", symbols=("ETHUSDT",), bar_s=300),
        )
    )
    state = book.start([policy], {("fade", "BTCUSDT"): 7.0})
    assert {key: frame.keep for key, frame in state.frames.items()} == {
        ("BTCUSDT", 60): 80,
        ("ETHUSDT", 60): 80,
        ("ETHUSDT", 300): 16,
    }
    assert state.decided == {("fade", "BTCUSDT"): 7.0}
