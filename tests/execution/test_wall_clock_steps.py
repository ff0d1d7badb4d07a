"""The machine's wall clock is set by an hour, or a tick is held up: limits, days and looks hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.order_desk import SEND_WITHIN_S
from execution.state_schema import registry
from tests.support import builders
from tests.support.accounts import Accounts
from tests.support.engines import NOW, Rehearsed
from tests.support.rig import Rig

HOUR_S = 3600.0
ENTRIES = 2  # of one symbol in a window of sixty bars


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Rehearsed]:
    made = Rehearsed(monkeypatch, tmp_path, entries_per_symbol_window=ENTRIES)
    made.ticks(60)  # thirty seconds: every symbol has had what it may have in a minute
    yield made
    made.engine.close()


def entries_by_symbol(rehearsed: Rehearsed) -> Counter[str]:
    rows = rehearsed.engine.ledger._db.execute("SELECT symbol FROM intents WHERE action = 'entry'")
    return Counter(row[0] for row in rows)


def check_the_books(rehearsed: Rehearsed) -> None:
    accounts = Accounts(rehearsed.log_dir, rehearsed.store)
    assert rehearsed.heard.unjournalled == []
    accounts.check_any_moment()
    assert accounts.fills() == accounts.trades()


# ---------------------------------------------------------------- an hour, either way


def test_the_limit_binds_before_anything_is_stepped(rehearsed: Rehearsed) -> None:
    entered = entries_by_symbol(rehearsed)
    assert len(entered) >= 8
    assert max(entered.values()) == ENTRIES
    assert rehearsed.report.state.vetoes["order_rate"] > 0


def test_back_by_an_hour_the_market_stands_still_and_nothing_is_entered(
    rehearsed: Rehearsed,
) -> None:
    heard, before = rehearsed.heard, rehearsed.report.state
    entered, sent = entries_by_symbol(rehearsed), len(heard.entries)
    rehearsed.clock.step(-HOUR_S)
    for _ in range(240):  # two minutes, twice the window
        rehearsed.ticks(1)
        assert rehearsed.report.state.frames == before.frames
    assert len(heard.entries) == sent
    assert entries_by_symbol(rehearsed) == entered
    anchors = rehearsed.report.state.book.anchors
    assert anchors == before.book.anchors
    assert anchors.day == before.recorded.day
    check_the_books(rehearsed)

    rehearsed.clock.step(HOUR_S)
    rehearsed.ticks(4)
    assert rehearsed.report.live.trading.name == "ACTIVE"
    assert rehearsed.report.state.frames != before.frames
    check_the_books(rehearsed)


@pytest.mark.parametrize(
    "steps", [(HOUR_S,), (-HOUR_S, HOUR_S), (HOUR_S, -HOUR_S)], ids=["on", "back", "to and fro"]
)
def test_no_step_refills_the_order_rate(rehearsed: Rehearsed, steps: tuple[float, ...]) -> None:
    first_s = rehearsed.clock.monotonic()
    for step_s in steps:
        rehearsed.clock.step(step_s)
        rehearsed.ticks(5)
    while rehearsed.clock.monotonic() < 60.0:
        rehearsed.ticks(1)
        assert max(entries_by_symbol(rehearsed).values()) == ENTRIES
    assert rehearsed.clock.monotonic() - first_s >= 30.0
    # Once a minute has gone by in earnest there may be more, where the market is not ahead of us.
    rehearsed.ticks(40)
    if steps[-1] > 0:
        assert max(entries_by_symbol(rehearsed).values()) > ENTRIES
    check_the_books(rehearsed)


def test_forward_by_an_hour_the_day_and_the_peak_hold(rehearsed: Rehearsed) -> None:
    before = rehearsed.report.state
    assert before.book.day_pnl_usd < -1.0  # so that a day begun anew would show
    rehearsed.clock.step(HOUR_S)
    rehearsed.ticks(20)
    after = rehearsed.report.state.book
    assert after.anchors.day == before.book.anchors.day
    assert after.anchors.day_start_usd == before.book.anchors.day_start_usd
    assert after.anchors.peak_usd >= before.book.anchors.peak_usd
    assert rehearsed.report.live.trading.name == "ACTIVE"
    check_the_books(rehearsed)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_restart_in_a_stepped_hour_keeps_the_anchors(rehearsed: Rehearsed, step_s: float) -> None:
    before = rehearsed.report.state.book.anchors
    rehearsed.restart(after_s=step_s)
    rehearsed.ticks(3)
    anchors = rehearsed.report.state.book.anchors
    assert (anchors.day, anchors.day_start_usd) == (before.day, before.day_start_usd)
    assert anchors.peak_usd >= before.peak_usd
    check_the_books(rehearsed)


def test_over_midnight_and_back_the_day_begins_once(rehearsed: Rehearsed) -> None:
    to_midnight_s = 12 * HOUR_S - (rehearsed.clock.now() - NOW)
    rehearsed.clock.step(to_midnight_s - 60.0)
    rehearsed.ticks(2)
    first = rehearsed.report.state.book.anchors
    rehearsed.clock.step(HOUR_S)
    rehearsed.ticks(2)
    second = rehearsed.report.state.book.anchors
    assert second.day > first.day
    rehearsed.clock.step(-HOUR_S)
    rehearsed.ticks(130)  # and now midnight comes in earnest
    assert rehearsed.report.state.recorded.day == second.day
    assert rehearsed.report.state.book.anchors.day_start_usd == second.day_start_usd
    nav = rehearsed.store.read(registry.NAV)
    assert nav.day_start_usd == second.day_start_usd


# ---------------------------------------------------------------- a tick that is held up


@pytest.mark.parametrize("held_up_s", [SEND_WITHIN_S + 0.1, 30.0, -HOUR_S, HOUR_S])
def test_after_a_hold_up_in_mid_tick_nothing_goes_out_before_the_next_look(
    tmp_path: Path, held_up_s: float
) -> None:
    rig = Rig(tmp_path / "paper-main.sqlite")
    plans = [
        builders.plan(builders.intent("10", name, symbol=symbol))
        for name, symbol in (("d1", "BTCUSDT"), ("d2", "ETHUSDT"))
    ]
    rig.venue.watch = lambda _: rig.clock.set(rig.clock.now() + held_up_s)
    rig.tick(*plans)
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1"]
    rig.venue.watch = lambda _: None
    rig.tick()
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1", "hgp-d2-1"]
    assert rig.venue.sent[1].signed_ts == rig.recorded.reconciled_ts


def test_a_tick_that_is_a_little_slow_sends_what_it_decided(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "paper-main.sqlite")
    plans = [
        builders.plan(builders.intent("10", name, symbol=symbol))
        for name, symbol in (("d1", "BTCUSDT"), ("d2", "ETHUSDT"))
    ]
    rig.venue.watch = lambda _: rig.clock.advance(SEND_WITHIN_S)
    rig.tick(*plans)
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1", "hgp-d2-1"]
