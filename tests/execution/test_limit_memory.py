"""What limits remember, through the real desk and ledger: restarts and clocks change none of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.clock import ManualClock
from execution.core.records import Anchors
from execution.core.risk import checks
from execution.core.seam import Rejected
from execution.errors import LedgerFull
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from execution.limit_memory import LimitMemory
from execution.state_schema.operator_files import ResetRisk
from tests.support import builders, policies
from tests.support.rig import Asker, Rig

BOOK = policies.limits().book
PAUSE_S, TIMES = BOOK.repeat_pause_s, BOOK.repeat_rejects
NOW, TODAY = builders.NOW, "2023-11-15"
NO_MARGIN = Rejected("-2019", "margin is insufficient")
HOUR_S = 3600.0
RESET = ResetRisk(ts=0.0, run_id="", id="request1", user="somebody", reason="looked at it")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "paper-main.sqlite", asks=Asker())


def entry(name: str, symbol: str = "BTCUSDT"):
    wanted = builders.intent("1", name, symbol=symbol)
    return builders.plan(wanted, builders.TAKER)


def refused(rig: Rig, *answers: Rejected, dt: float = 1.0) -> None:
    """Enter once for each answer, a tick apart."""
    for answer in answers:
        rig.venue.answers.append(answer)
        rig.tick(entry(f"d{len(rig.venue.sent)}"), dt=dt)
    rig.tick()


def asked(rig: Rig, name: str, symbol: str = "BTCUSDT", **limits: int):
    """Ask one check about an entry on what the desk recorded at its last tick."""
    at = builders.state(recorded=rig.recorded)
    policy = policies.policy(limits=policies.limits(**limits))
    wanted = builders.intent(symbol=symbol)
    return getattr(checks, name)(builders.context(wanted, state=at, policy=policy))


# ---------------------------------------------------------------- the same reject again and again


def test_identical_rejects_stop_the_symbols_entries_and_no_others(rig: Rig) -> None:
    refused(rig, *[NO_MARGIN] * (TIMES - 1))
    assert asked(rig, "repeat_throttle") is None
    refused(rig, NO_MARGIN)
    found = asked(rig, "repeat_throttle")
    assert (found.reason, found.limit, found.observed) == ("repeat_throttle", TIMES, TIMES)
    assert asked(rig, "repeat_throttle", "ETHUSDT") is None


def test_rejects_of_different_codes_are_not_the_same(rig: Rig) -> None:
    refused(rig, NO_MARGIN, Rejected("-1111", "off the grid"), NO_MARGIN)
    assert asked(rig, "repeat_throttle") is None


@pytest.mark.parametrize("code", ["-5022", "-2021"])
def test_what_a_moving_price_explains_is_no_fault(rig: Rig, code: str) -> None:
    refused(rig, *[Rejected(code, "the price moved")] * (TIMES + 2))
    assert asked(rig, "repeat_throttle") is None


def test_rejects_far_apart_are_no_burst(rig: Rig) -> None:
    refused(rig, *[NO_MARGIN] * TIMES, dt=BOOK.repeat_window_s / (TIMES - 1) + 0.1)
    assert asked(rig, "repeat_throttle") is None
    refused(rig, *[NO_MARGIN] * TIMES, dt=BOOK.repeat_window_s / (TIMES - 1))
    assert asked(rig, "repeat_throttle") is not None


@pytest.mark.parametrize("restarted", [False, True])
def test_entries_go_on_when_the_pause_is_over_also_across_a_restart(
    rig: Rig, restarted: bool
) -> None:
    refused(rig, *[NO_MARGIN] * TIMES)
    since_s = 2.0  # the last was sent a tick before the look that hears of it
    if restarted:
        rig = rig.restart(after_s=PAUSE_S / 2)
    else:
        rig.clock.advance(PAUSE_S / 2)
    rig.clock.advance(PAUSE_S / 2 - since_s - 1)
    rig.tick(dt=3.0)
    assert asked(rig, "repeat_throttle") is not None
    rig.tick()
    assert asked(rig, "repeat_throttle") is None


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 30.0])
def test_no_step_of_the_clock_ends_the_pause_or_refills_a_rate(rig: Rig, step_s: float) -> None:
    refused(rig, *[NO_MARGIN] * (TIMES - 1))
    rig.venue.answers.append(NO_MARGIN)
    rig.tick(entry("last"), dt=0.5)
    rig.clock.step(step_s)  # before the look that hears of the last one
    for _ in range(3):
        rig.tick(dt=0.1)
        assert asked(rig, "repeat_throttle") is not None
        assert asked(rig, "order_rate", entries_per_minute=TIMES).unit == "entries_per_minute"
        assert asked(rig, "order_rate", entries_per_symbol_window=TIMES).unit == "entries"
        assert asked(rig, "order_rate", entries_per_second=1).unit == "entries_per_second"
    rig.clock.advance(61.0)
    rig.tick()
    assert asked(rig, "order_rate", entries_per_minute=1) is None


def test_rates_are_of_the_whole_book_and_are_counted_again_after_a_restart(rig: Rig) -> None:
    rig.tick(entry("d1"), entry("d2", "ETHUSDT"), dt=0.4)
    again = rig.restart()
    again.tick(dt=0.5)
    for limit in ("entries_per_second", "entries_per_minute"):
        assert asked(again, "order_rate", **{limit: 3}) is None
        assert asked(again, "order_rate", **{limit: 2}).observed == 3
    again.tick(dt=0.2)
    again.tick()
    assert asked(again, "order_rate", entries_per_second=1) is None


# ---------------------------------------------------------------- transfers


@pytest.mark.parametrize("restarted", [False, True])
def test_a_transfer_that_the_venue_tells_moves_the_anchors_once(rig: Rig, restarted: bool) -> None:
    rig.tick()
    rig.venue.pay("t1", "-4000.25", "transfer")
    if restarted:
        rig = rig.restart(after_s=60.0)
    for _ in range(3):
        rig.tick()
        assert rig.state.book.drawdown_pct == 0.0
        assert rig.state.book.anchors == Anchors(5999.75, 5999.75, TODAY, Decimal("-4000.25"))
    assert rig.restart().tick().anchors == rig.state.book.anchors


# ---------------------------------------------------------------- a person's reset


def lose(rig: Rig) -> None:
    """Lose a thousand, in a leg that is flat again, and have its symbol's entries stopped."""
    refused(rig, *[NO_MARGIN] * TIMES)
    rig.venue.pay("f1", "-1000")
    rig.tick()
    assert rig.state.book.drawdown_pct == 10.0
    assert rig.state.book.anchors.stopped


def test_a_reset_begins_with_the_present_nav_and_ends_stop_and_breaker(rig: Rig) -> None:
    lose(rig)
    rig.asks.ask(RESET)
    rig.tick()
    fresh = Anchors(9_000.0, 9_000.0, TODAY, resets=1)
    said = "peak and day start are 9,000.00 USD now; cooldown and breakers have ended"
    assert rig.asks.answers == [("request1", "done", said)]
    assert rig.ledger.anchors() == fresh
    for each in (rig, rig.restart()):
        each.tick()
        assert (each.state.book.anchors, each.state.book.drawdown_pct) == (fresh, 0.0)
        assert each.state.book.cooling_from_s is None
        assert asked(each, "repeat_throttle") is None


def test_a_reset_whose_answer_was_lost_is_not_done_twice(rig: Rig) -> None:
    lose(rig)
    rig.asks.ask(RESET)
    rig.asks.is_deaf = True
    rig.tick()
    rig.venue.pay("f2", "-500")
    rig.asks.is_deaf = False
    again = rig.restart()
    again.tick()
    again.tick()
    assert [outcome for _, outcome, _ in rig.asks.answers] == ["done"]
    assert again.state.book.anchors == Anchors(
        9_000.0, 9_000.0, TODAY, stopped=True, stopped_ts=again.clock.now() - 2.0, resets=1
    )


def test_a_blind_reset_is_refused_and_says_why(rig: Rig) -> None:
    lose(rig)
    before = rig.ledger.anchors()
    rig.venue.mute.add("observe")
    rig.asks.ask(RESET)
    rig.tick()
    assert rig.asks.answers == [("request1", "refused", "NAV is stale: it is 1 s old (muted)")]
    assert rig.ledger.anchors() == before


class FullLedger(Ledger):
    """A ledger whose disk takes nothing more."""

    def reset_limits(self, anchors: Anchors, request_id: str) -> None:
        raise LedgerFull(f"no room for {request_id} and {anchors}")


def test_a_reset_that_the_disk_does_not_take_is_refused_and_changes_nothing() -> None:
    memory = LimitMemory(
        FullLedger(LedgerFile(None, "paper", "main")), ManualClock(NOW), policies.limits()
    )
    answer = memory.reset(RESET, builders.book(), builders.recorded(), 0.0, NOW)
    assert answer[0] == "refused"
    assert answer[1].startswith("no room for request1")
    kept = builders.book().anchors
    memory.keep(kept)
    assert memory._ledger.anchors() == kept


def test_a_reset_before_a_blind_look_stands(rig: Rig) -> None:
    lose(rig)
    rig.asks.ask(RESET)
    rig.tick()
    rig.venue.mute.add("observe")
    rig.tick()
    rig.tick()
    assert rig.ledger.anchors().resets == 1
    rig.venue.mute.clear()
    rig.tick()
    assert rig.state.book.anchors == Anchors(9_000.0, 9_000.0, TODAY, resets=1)
