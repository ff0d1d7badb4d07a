from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import anchors, book
from execution.core.records import Anchors, CashTotals
from execution.core.risk import checks
from execution.core.seam import Blind
from execution.core.types import Book, EngineState
from tests.support import builders, policies

NOW = builders.NOW
TODAY, TOMORROW = "2023-11-15", "2023-11-16"
LIMITS = policies.limits().book
JUMP_S, COOLDOWN_S = LIMITS.nav_jump_confirm_s, LIMITS.cooldown_s
# One that no test of the sums moves into a stop or a doubt.
KEPT = Anchors(peak_usd=12_000.0, day_start_usd=10_200.0, day=TODAY)


class Told:
    """A book that looks once a second at a flat account worth `nav`."""

    def __init__(self, kept: Anchors | None = None) -> None:
        self.state = EngineState()
        self.kept = kept
        self.steady_s = 0.0
        self.wall_s = NOW
        self.transfers = Decimal(0)

    def look(self, nav: float | str, dt: float = 1.0, day: str = TODAY, **found: Any) -> Book:
        self.steady_s += dt
        self.wall_s += dt
        wallet = Decimal(nav)
        start = wallet - self.transfers if wallet.is_finite() else Decimal(10_000)
        cash = CashTotals(start_usd=start, transfers_usd=self.transfers)
        seen = builders.snapshot(ts=self.wall_s, account=builders.account(wallet_usd=wallet))
        found = {"day": day, "steady_s": self.steady_s, "cash": cash, "anchors": self.kept, **found}
        self.state = book.observe(self.state, seen, builders.recorded(**found), LIMITS)
        return self.state.book

    def blind(self) -> None:
        seen = Blind(self.wall_s, "timeout")
        self.state = book.observe(self.state, seen, builders.recorded(), LIMITS)

    def restart(self) -> Told:
        """Begin again with what the ledger keeps."""
        again = Told(self.state.book.anchors)
        again.wall_s, again.transfers = self.wall_s, self.transfers
        return again

    def reason(self) -> str | None:
        """Say why an entry that only the book could stop is stopped now."""
        recorded = builders.recorded(steady_s=self.steady_s)
        at = builders.state(book=replace(self.state.book, as_of_ts=NOW), recorded=recorded)
        asked = (
            checks.nav_stale,
            checks.nav_drawdown_limit,
            checks.day_loss_limit,
            checks.cooldown,
        )
        found = (check(builders.context(state=at)) for check in asked)
        return next((breach.reason for breach in found if breach is not None), None)


# ---------------------------------------------------------------- peak and day


def test_the_first_nav_is_peak_and_day_start() -> None:
    assert Told().look(10_000).anchors == Anchors(10_000.0, 10_000.0, TODAY)


def test_the_peak_only_rises_and_the_day_begins_once() -> None:
    same = Told(KEPT).look(10_000)
    assert same.anchors == KEPT
    assert same.drawdown_pct == pytest.approx(100 * 2_000 / 12_000)
    assert same.day_pnl_usd == -200.0
    later = Told(KEPT).look(10_000, day=TOMORROW)
    assert later.anchors == Anchors(12_000.0, 10_000.0, TOMORROW)
    assert later.day_pnl_usd == 0.0


def test_a_clock_that_steps_back_a_day_begins_no_day() -> None:
    kept = replace(KEPT, day=TOMORROW)
    assert Told(kept).look(10_000).anchors == kept
    assert Told(kept).look(12_100).anchors == Anchors(12_100.0, 10_200.0, TOMORROW)


def test_a_restart_moves_nothing() -> None:
    told = Told(KEPT)
    told.look(10_000)
    assert told.restart().look(10_000).anchors == KEPT


# ---------------------------------------------------------------- transfers


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("amount", ["50000", "-4000", "0.00000001"])
def test_a_transfer_moves_peak_and_day_start_by_its_amount_once(
    amount: str, restarted: bool
) -> None:
    told = Told(KEPT)
    before = told.look(10_000)
    if restarted:
        told = told.restart()
    told.transfers = Decimal(amount)
    for _ in range(3):
        found = told.look(10_000 + told.transfers)
        assert not found.stale
        assert found.anchors == replace(
            KEPT,
            peak_usd=12_000 + float(amount),
            day_start_usd=10_200 + float(amount),
            transfers_usd=told.transfers,
        )
        assert found.day_pnl_usd == pytest.approx(before.day_pnl_usd)
    assert told.restart().look(10_000 + told.transfers).anchors == found.anchors


def test_a_deposit_hides_no_loss_and_a_withdrawal_makes_none() -> None:
    told = Told()
    told.look(10_000)
    told.transfers = Decimal(-6_000)
    assert told.look(4_000).drawdown_pct == 0.0
    told.look(3_500)
    assert told.reason() == "nav_drawdown_limit"
    told.transfers += 3_500  # what was lost, put back
    found = told.look(7_000)
    assert (found.anchors.peak_usd - found.nav_usd, found.day_pnl_usd) == (500.0, -500.0)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-500, 2000)), min_size=1, max_size=12))
def test_losses_in_dollars_are_what_trading_made_them_whatever_is_transferred(moves) -> None:
    told, plain = Told(), Told()
    nav = paid = Decimal(20_000)
    for traded, transferred in moves:
        nav, paid = nav + traded, paid + traded + transferred
        told.transfers += transferred
        with_transfers, without = told.look(str(paid)), plain.look(str(nav))
        lost = with_transfers.anchors.peak_usd - with_transfers.nav_usd
        assert lost == pytest.approx(without.anchors.peak_usd - without.nav_usd, abs=1e-6)
        assert with_transfers.day_pnl_usd == pytest.approx(without.day_pnl_usd, abs=1e-6)


# ---------------------------------------------------------------- a NAV in doubt


@pytest.mark.parametrize("jump", ["12000.01", "7999.99", "0", "-5", "1", "900000000"])
def test_a_jump_is_not_believed_until_it_has_stood(jump: str) -> None:
    told = Told()
    good = told.look(10_000)
    for _ in range(int(JUMP_S)):
        found = told.look(jump)
        assert (found.known, found.stale, found.nav_usd) == (True, True, 10_000.0)
        assert (found.anchors, found.drawdown_pct) == (good.anchors, 0.0)
        assert told.reason() == "nav_stale"
    found = told.look(jump)
    assert (found.stale, found.nav_usd) == (False, float(jump))


@pytest.mark.parametrize("near", ["12000", "8000"])
def test_a_move_of_just_the_limit_is_believed(near: str) -> None:
    told = Told()
    told.look(10_000)
    assert told.look(near).nav_usd == float(near)


def test_a_crash_that_lasts_trips_and_one_that_was_none_does_not() -> None:
    told = Told()
    told.look(10_000)
    told.look(5_000, dt=JUMP_S - 1)
    told.look(10_000)
    assert told.reason() is None
    told.look(5_000)
    told.look(4_900, dt=JUMP_S - 1)  # it falls on, and stands all the same
    assert told.reason() == "nav_stale"
    told.look(4_800)
    assert told.reason() == "nav_drawdown_limit"


def test_a_nav_that_jumps_about_is_never_believed() -> None:
    told = Told()
    told.look(10_000)
    for nav in (100, 90_000) * 40:
        assert told.look(nav).nav_usd == 10_000.0


def test_a_jump_does_not_stand_while_nobody_looks() -> None:
    told = Told()
    told.look(10_000)
    told.look(5_000)
    told.blind()
    assert told.look(5_000, dt=JUMP_S).nav_usd == 10_000.0


def test_the_wall_clock_confirms_nothing() -> None:
    told = Told()
    told.look(10_000)
    told.look(5_000)
    told.wall_s += 3600
    assert told.look(5_000).stale


def test_a_day_that_begins_in_doubt_begins_with_what_was_known() -> None:
    told = Told()
    told.look(10_000)
    told.look(7_000)
    told.look(7_000, dt=JUMP_S, day=TOMORROW)
    assert told.state.book.anchors.day_start_usd == 10_000.0
    assert told.state.book.day_pnl_usd == -3_000.0


def test_the_first_look_after_a_start_is_compared_with_the_days_start() -> None:
    told = Told(KEPT)
    found = told.look(40_000)
    assert (found.known, found.stale) == (False, True)
    assert told.look(40_000, dt=JUMP_S).anchors.peak_usd == 40_000.0
    assert Told(KEPT).look(9_000).known


@pytest.mark.parametrize("nav", ["0", "-5", "NaN", "Infinity", "1e15"])
@pytest.mark.parametrize("day", [TODAY, TOMORROW])
def test_a_nav_that_is_none_trips_and_moves_nothing_however_long_it_stands(nav, day) -> None:
    told = Told()
    good = told.look(10_000)
    for _ in range(5):
        found = told.look(nav, dt=JUMP_S, day=day)
        assert found.anchors == good.anchors
        assert found.drawdown_pct in (None, 0.0)
        assert not found.anchors.stopped
        assert told.reason() is not None
    assert told.look(10_000, dt=JUMP_S).anchors == good.anchors


# ---------------------------------------------------------------- the day-loss stop and its cooldown


def stopped() -> Told:
    told = Told()
    told.look(10_000)
    told.look(9_500)
    return told


def test_the_stop_is_remembered_and_its_cooldown_begins_when_it_ends() -> None:
    told = stopped()
    began = told.state.book.anchors
    assert (began.stopped, began.stopped_ts, told.reason()) == (True, told.wall_s, "day_loss_limit")
    assert told.look(9_400, dt=COOLDOWN_S * 2).anchors == began
    told.look(9_600)
    for dt, reason in ((0, "cooldown"), (COOLDOWN_S - 0.5, "cooldown"), (0.5, None), (1e6, None)):
        told.look(9_600, dt=dt)
        assert told.reason() == reason


def test_a_stop_that_comes_again_begins_its_cooldown_again() -> None:
    told = stopped()
    told.look(9_600)
    told.look(9_450, dt=COOLDOWN_S / 2)
    told.look(9_600)
    told.look(9_600, dt=COOLDOWN_S - 1)
    assert told.reason() == "cooldown"


def test_a_new_day_ends_the_stop_and_not_the_cooldown() -> None:
    told = stopped()
    found = told.look(9_500, day=TOMORROW)
    assert (found.day_pnl_usd, told.reason()) == (0.0, "cooldown")


@pytest.mark.parametrize("down_s", [0.0, 600.0, COOLDOWN_S - 1, COOLDOWN_S + 1])
def test_a_cooldown_goes_on_after_a_restart(down_s: float) -> None:
    told = stopped()
    told.look(9_600)
    again = told.restart()
    again.look(9_600, dt=down_s)
    assert again.reason() == ("cooldown" if down_s < COOLDOWN_S else None)
    again.look(9_600, dt=max(0.0, COOLDOWN_S - down_s))
    assert again.reason() is None


def test_a_stop_that_ended_while_nobody_looked_ends_at_the_first_look() -> None:
    again = stopped().restart()
    again.look(9_600, dt=COOLDOWN_S * 3)
    assert again.reason() == "cooldown"


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 1e7])
def test_a_step_of_the_clock_ends_no_cooldown(step_s: float) -> None:
    told = stopped()
    told.look(9_600)
    told.wall_s += step_s
    told.look(9_600, dt=COOLDOWN_S - 1)
    assert told.reason() == "cooldown"
    told.look(9_600)
    assert told.reason() is None


def test_a_clock_set_back_while_the_executor_was_down_begins_the_cooldown_anew() -> None:
    told = stopped()
    told.look(9_600)
    again = told.restart()
    again.wall_s -= 86_400
    again.look(9_600)
    again.look(9_600, dt=COOLDOWN_S - 1)
    assert again.reason() == "cooldown"


# ---------------------------------------------------------------- a person's reset


def test_a_reset_measures_from_the_present_nav_on() -> None:
    told = stopped()
    told.look(8_900)
    found = builders.recorded(day=TODAY)
    fresh = anchors.reset(told.state.book, found, 15.0, told.wall_s)
    assert fresh == Anchors(8_900.0, 8_900.0, TODAY, resets=1)
    # The ledger's anchors of a newer reset take the place of those in memory; older ones do not.
    now = told.look(8_900, anchors=fresh)
    assert (now.anchors, now.drawdown_pct, told.reason()) == (fresh, 0.0, None)
    assert told.look(8_900, anchors=KEPT).anchors == fresh


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"known": False}, "NAV is not known"),
        ({"as_of_ts": None}, "NAV is not known"),
        ({"stale": True, "blind_reason": "timeout"}, "NAV is stale: it is 0 s old (timeout)"),
        ({"as_of_ts": NOW - 15.5}, "NAV is stale: it is 16 s old"),
        ({"as_of_ts": math.nan}, "NAV is stale"),
        ({"nav_usd": 0.0}, "NAV is 0.00 USD"),
        ({"nav_usd": math.nan}, "NAV is nan USD"),
    ],
)
def test_a_reset_needs_a_nav_and_says_what_is_wrong_with_it(fields, why: str) -> None:
    at = replace(builders.book(), **fields)
    assert why in anchors.reset(at, builders.recorded(), 15.0, NOW)


def test_a_reset_in_doubt_names_both_numbers() -> None:
    told = Told()
    told.look(10_000)
    told.look(5_000)
    said = anchors.reset(told.state.book, builders.recorded(), 15.0, told.wall_s)
    assert said == "NAV is in doubt: 5,000.00 USD is told, 10,000.00 believed"
