from __future__ import annotations

import math

import pytest

from execution.core.records import Anchors, KillLatch
from execution.core.risk import trading_state
from execution.core.seam import Blind
from execution.core.types import Book, TradingState
from tests.support import builders, policies

NOW = builders.NOW
SEEN = builders.snapshot()
BLIND = Blind(NOW, "timeout")


def derived(seen=SEEN, *, book=None, **recorded) -> tuple[str, tuple[str, ...]]:
    at = builders.state(
        book=builders.book() if book is None else book, recorded=builders.recorded(**recorded)
    )
    found = trading_state.derive(seen, at, policies.policy(), NOW)
    return found.name, found.reasons


def test_everything_known_and_fresh_is_active() -> None:
    assert derived() == ("ACTIVE", ())


def test_the_kill_latch_halts() -> None:
    assert derived(kill=KillLatch(on=True, reason="test")) == ("HALTED", ("kill_switch",))
    assert derived(kill=KillLatch(on=False, reason="")) == ("ACTIVE", ())


def test_real_money_without_leave_halts() -> None:
    assert derived(disarmed=True) == ("HALTED", ("disarmed",))
    kill = KillLatch(on=True, reason="test")
    halted = derived(BLIND, disarmed=True, kill=kill)
    assert halted == ("HALTED", ("kill_switch", "disarmed", "blind"))


def test_a_blind_venue_halts() -> None:
    assert derived(BLIND) == ("HALTED", ("blind",))


@pytest.mark.parametrize(
    "book",
    [
        Book(),
        builders.book(known=False),
        builders.book(0.0),
        builders.book(-1.0),
        builders.book(math.nan),
        builders.book(math.inf),
    ],
)
def test_a_nav_that_is_not_known_and_positive_halts(book: Book) -> None:
    assert derived(book=book) == ("HALTED", ("nav_unavailable",))


@pytest.mark.parametrize(("down", "wanted"), [(9.99, "ACTIVE"), (10.0, "REDUCING")])
def test_the_drawdown_limit_reduces(down: float, wanted: str) -> None:
    assert derived(book=builders.book(drawdown_pct=down))[0] == wanted


@pytest.mark.parametrize(("pnl", "wanted"), [(-499.9, "ACTIVE"), (-500.0, "REDUCING")])
def test_the_days_loss_reduces(pnl: float, wanted: str) -> None:
    assert derived(book=builders.book(day_pnl_usd=pnl))[0] == wanted


def test_the_days_loss_is_measured_from_the_days_start_and_not_from_the_peak() -> None:
    anchors = Anchors(peak_usd=20_000.0, day_start_usd=10_000.0, day="2023-11-15")
    book = builders.book(9_600.0, anchors=anchors, day_pnl_usd=-400.0)
    assert trading_state.day_loss_pct(book) == pytest.approx(4.0)


def test_a_loss_that_is_no_number_is_not_called_none() -> None:
    assert math.isnan(trading_state.day_loss_pct(builders.book(day_pnl_usd=math.nan)))


def test_a_days_gain_or_an_unknown_one_is_no_loss() -> None:
    assert trading_state.day_loss_pct(builders.book(day_pnl_usd=300.0)) == 0.0
    assert trading_state.day_loss_pct(builders.book(day_pnl_usd=None)) == 0.0
    assert trading_state.day_loss_pct(builders.book(anchors=None)) == 0.0


@pytest.mark.parametrize(("since_s", "wanted"), [(2.0, "ACTIVE"), (2.1, "REDUCING")])
def test_a_stop_that_stays_missing_reduces(since_s: float, wanted: str) -> None:
    naked = builders.position(unprotected_since_ts=NOW - since_s)
    assert derived(book=builders.book(positions=(naked,)))[0] == wanted


def test_all_reasons_are_named_and_a_halt_comes_before_a_reduction() -> None:
    naked = builders.position(unprotected_since_ts=NOW - 60)
    book = builders.book(drawdown_pct=50.0, day_pnl_usd=-5000.0, positions=(naked,))
    reduces = ("nav_drawdown_limit", "day_loss_limit", "missing_stop")
    assert derived(book=book) == ("REDUCING", reduces)
    kill = KillLatch(on=True, reason="")
    assert derived(BLIND, book=book, kill=kill) == ("HALTED", ("kill_switch", "blind"))


def test_a_mismatch_halts_its_symbol_and_not_the_book() -> None:
    halts = {"BTCUSDT": "position_mismatch LONG: ledger 0, venue 1"}
    at = builders.state(recorded=builders.recorded(halts=halts))
    assert trading_state.derive(SEEN, at, policies.policy(), NOW) == builders.ACTIVE
    found = trading_state.by_symbol(at, TradingState("REDUCING", ("day_loss_limit",)))
    assert list(found) == ["BTCUSDT"]
    assert found["BTCUSDT"].name == "HALTED"
    assert found["BTCUSDT"].reasons == (halts["BTCUSDT"], "day_loss_limit")
