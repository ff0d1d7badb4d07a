from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.records import Anchors
from execution.core.seam import NewOrder, Rejected
from tests.support import builders
from tests.support.rig import Rig
from tests.support.venue import FakeVenue

NOW = builders.NOW
LONG = ("BTCUSDT", "LONG")
WOULD_CROSS = Rejected("-5022", "post-only order would cross")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper-main.sqlite"


@pytest.fixture
def rig(path: Path) -> Rig:
    return Rig(path)


def entry(qty: str = "10", decision_id: str = "d1", **fields):
    return builders.plan(builders.intent(qty, decision_id, **fields))


def ids(venue: FakeVenue) -> list[str]:
    return [order.client_id for order in venue.sent]


def hold(rig: Rig, qty: str = "10") -> str:
    """Open a position through the desk; return its id."""
    rig.tick(entry(qty))
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    return rig.ledger.legs()[LONG].position_id


def protect(rig: Rig) -> None:
    position = rig.ledger.legs()[LONG].position_id
    wanted = builders.leaving("10", "s1", action="protect", position_id=position)
    rig.tick(builders.plan(wanted, builders.STOP, retry_s=2.0))


def leave(rig: Rig, decision_id: str = "x1", *legs):
    position = rig.ledger.legs()[LONG].position_id
    wanted = builders.leaving("10", decision_id, position_id=position)
    return builders.plan(wanted, *(legs or (builders.TAKER,)), retry_s=2.0)


# ---------------------------------------------------------------- restart


def test_a_restart_sends_nothing_by_itself(rig: Rig) -> None:
    # An approved entry whose first order was refused: its next leg was due.
    rig.venue.answers.append(WOULD_CROSS)
    rig.tick(entry())
    again = rig.restart(after_s=3600)
    for _ in range(5):
        again.tick()
    assert ids(again.venue) == ["hgp-d1-1"]
    assert again.ledger.routes() == {}


def test_a_route_that_was_opened_and_never_sent_is_not_sent_after_a_restart(rig: Rig) -> None:
    rig.tick()
    rig.ledger.open_route(entry(), rig.clock.now())
    again = rig.restart()
    again.tick()
    again.tick()
    assert again.venue.sent == []


def test_a_restart_adopts_the_order_that_rests_and_its_fill(rig: Rig) -> None:
    rig.tick(entry())
    again = rig.restart()
    again.tick()
    assert again.orders == {"hgp-d1-1": "LIVE"}
    again.venue.fill("hgp-d1-1")
    again.tick()
    assert again.held() == "10.000"
    leg = again.ledger.legs()[LONG]
    assert (leg.strategy, leg.exit) == ("fade", builders.PLAN)
    assert ids(again.venue) == ["hgp-d1-1"]


def test_a_restart_adopts_what_was_filled_while_it_was_down(rig: Rig) -> None:
    rig.tick(entry())
    rig.venue.fill("hgp-d1-1", "4")
    rig.venue.end("hgp-d1-1")
    again = rig.restart(after_s=600)
    found = again.tick()
    assert (again.held(), again.orders) == ("4", {})
    assert [change.order.state for change in found.changes] == ["CANCELED"]
    again.tick()
    assert ids(again.venue) == ["hgp-d1-1"]


@pytest.mark.parametrize("arrived", [True, False])
def test_a_kill_between_journal_and_answer_is_resolved_and_not_repeated(
    rig: Rig, arrived: bool
) -> None:
    class Killed(BaseException):
        pass

    def die(_order: NewOrder) -> None:
        raise Killed

    rig.tick()
    rig.venue.watch = die
    with pytest.raises(Killed):
        rig.tick(entry())
    assert rig.orders == {"hgp-d1-1": "PREP"}
    rig.venue.watch = None
    if arrived:
        rig.venue.submit(builders.new_order("hgp-d1-1", qty=Decimal("10.000")))
        rig.venue.sent.clear()
    again = rig.restart()
    for _ in range(30):
        again.tick()
    assert again.orders == ({"hgp-d1-1": "LIVE"} if arrived else {})
    assert again.venue.sent == []


def test_after_a_restart_an_old_stop_still_protects(rig: Rig) -> None:
    hold(rig)
    protect(rig)
    again = rig.restart(after_s=60)
    assert again.tick().protected == {LONG}
    again.tick()
    assert again.venue.canceled == []


def test_what_is_decided_anew_after_a_restart_is_worked_on(rig: Rig) -> None:
    hold(rig)
    rig.venue.answers.append(WOULD_CROSS)
    rig.tick(leave(rig, "x1", builders.MAKER))
    again = rig.restart(after_s=60)
    again.tick()
    again.tick(leave(again))
    assert ids(again.venue)[-1] == "hgp-x1-2"
    again.venue.fill("hgp-x1-2")
    again.tick()
    assert again.held() == "0"


# ---------------------------------------------------------------- the view


def test_the_same_account_is_not_asked_about_again(rig: Rig) -> None:
    rig.tick(entry())
    rig.tick()
    asked = len(rig.venue.asked)
    first = rig.tick(dt=40.0)
    later = rig.tick()
    assert len(rig.venue.asked) == asked
    assert later.routes is first.routes
    # What has not changed is as good as compared anew.
    assert (first.reconciled_ts, later.reconciled_ts) == (NOW + 1, NOW + 42)


def test_a_clock_that_steps_back_does_not_put_off_reconciliation(rig: Rig) -> None:
    rig.tick()
    rig.clock.set(NOW - 3600)
    assert rig.tick().reconciled_ts == NOW - 3600


def test_the_day_turns_without_any_event(rig: Rig) -> None:
    assert rig.tick(dt=86_400.0).day == "2023-11-15"
    rig.venue.mute.add("observe")
    assert rig.tick().day == "2023-11-16"


def test_anchors_are_kept_when_they_move(path: Path) -> None:
    rig = Rig(path)
    rig.tick()
    assert rig.ledger.anchors() == Anchors(10_000.0, 10_000.0, "2023-11-15")
    rig.venue.pay("f1", "250")
    rig.tick()
    assert rig.restart().tick().anchors == Anchors(10_250.0, 10_000.0, "2023-11-15")


def test_a_venue_that_rests_no_stops_is_protected_by_the_plan(path: Path) -> None:
    rig = Rig(path, FakeVenue(rests_stops=False))
    hold(rig)
    found = rig.tick()
    assert (found.protected, found.resting) == ({LONG}, frozenset())
    rig.venue.execute("ETHUSDT", "LONG", "BUY", Decimal(1))
    assert rig.tick().protected == {LONG}


def test_entries_are_counted_again_after_a_restart(rig: Rig) -> None:
    rig.tick(entry())
    assert rig.tick(dt=5.0).entries == {"BTCUSDT": (1.0,)}  # heard of at the look after it
    again = rig.restart().tick()
    assert again.entries == {"BTCUSDT": (again.steady_s - 6.0,)}


# ---------------------------------------------------------------- questions that stay open


def test_what_was_not_answered_is_asked_again_of_the_same_account(rig: Rig) -> None:
    rig.tick(entry())
    rig.tick()
    rig.venue.fill("hgp-d1-1")
    rig.venue.mute.add("trades")
    for _ in range(3):
        assert rig.tick().reconciled_ts == NOW + 1
        assert rig.held() == "0"
    rig.venue.mute.clear()
    assert rig.tick().reconciled_ts == NOW + 5
    assert rig.held() == "10.000"


def test_a_first_look_that_is_not_answered_reconciles_nothing(rig: Rig) -> None:
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(1))
    rig.venue.mute.add("trades")
    assert rig.tick().reconciled_ts is None
    rig.venue.mute.clear()
    assert rig.tick().reconciled_ts == NOW + 1


def test_a_halt_stands_while_its_question_is_open(rig: Rig) -> None:
    rig.tick()
    rig.venue.held[LONG] = Decimal(5)
    rig.venue.change()
    assert list(rig.tick().halts) == ["BTCUSDT"]
    rig.venue.mute.add("trades")
    rig.venue.execute("ETHUSDT", "LONG", "BUY", Decimal(1))
    assert list(rig.tick().halts) == ["BTCUSDT"]


def test_a_halt_is_looked_into_again_though_the_account_stands_still(rig: Rig) -> None:
    rig.tick()
    trade = rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(1))
    rig.venue.done.clear()
    assert list(rig.tick().halts) == ["BTCUSDT"]
    rig.venue.done.append(trade)
    assert list(rig.tick(dt=30.0).halts) == ["BTCUSDT"]
    assert rig.tick().halts == {}
    assert rig.held() == "1"
