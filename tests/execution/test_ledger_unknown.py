"""A ledger that is missing or older than the account: nothing trades until a person has looked."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from execution.core.risk import trading_state
from execution.operator_requests import Asked
from execution.state_schema.operator_files import Acknowledge, Command, Outcome
from tests.support import builders, policies
from tests.support.rig import Rig
from tests.support.venue import FakeVenue

LONG = ("BTCUSDT", "LONG")


class Person:
    """Somebody who acknowledges, and hears the answers."""

    def __init__(self) -> None:
        self.pending: tuple[Command, ...] = ()
        self.answers: list[tuple[Outcome, str]] = []

    def read(self, now: float) -> Asked:  # noqa: ARG002  as OperatorRequests.read
        return Asked(pending=self.pending)

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        self.answers.append((outcome, detail))
        self.pending = tuple(each for each in self.pending if each != command)

    def acknowledge(self, client_id: str | None = None) -> None:
        fields = {"ts": builders.NOW, "run_id": "", "user": "somebody", "reason": "looked"}
        self.pending = (Acknowledge(**fields, id="a1", client_id=client_id),)


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "testnet-main.sqlite"


def start(path: Path, person: Person, venue: FakeVenue, mode: str = "testnet") -> Rig:
    rig = Rig(path, venue, mode=mode, asks=person)
    rig.tick()
    return rig


def halted(rig: Rig) -> tuple[str, ...]:
    """Return why the whole book is halted after one more tick."""
    rig.tick()
    seen = rig.venue.observe(rig.clock.now())
    state = trading_state.derive(seen, rig.state, policies.policy(), rig.clock.now())
    return state.reasons if state.name == "HALTED" else ()


def held_before() -> FakeVenue:
    """Return a venue on which a position was opened before any ledger of ours."""
    venue = FakeVenue()
    venue.observe(builders.NOW - 60)
    venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3))
    return venue


def open_in_secret(venue: FakeVenue) -> None:
    """Open one more unit by a trade that the venue tells nobody of."""
    trade = venue.execute("BTCUSDT", "LONG", "BUY", Decimal(1))
    venue.wallet += trade.fee
    venue.done.clear()


def test_a_missing_ledger_with_a_position_halts_the_book(path: Path, person: Person) -> None:
    rig = start(path, person, held_before())
    assert rig.recorded.unaccounted == {LONG}
    assert rig.recorded.halts == {}  # its fills are known: what they were for is not
    assert halted(rig) == ("ledger_unknown BTCUSDT LONG",)
    assert halted(rig.restart()) == ("ledger_unknown BTCUSDT LONG",)


def test_nothing_is_judged_before_everything_was_read(path: Path, person: Person) -> None:
    venue = held_before()
    venue.mute.add("trades")
    rig = start(path, person, venue)
    assert (rig.recorded.unaccounted, rig.recorded.reconciled_ts) == (frozenset(), None)
    venue.mute.clear()
    assert halted(rig) == ("ledger_unknown BTCUSDT LONG",)


def test_on_paper_and_without_a_position_nothing_is_unknown(path: Path, person: Person) -> None:
    assert halted(start(path, person, held_before(), mode="paper")) == ()
    assert halted(start(path.with_name("other.sqlite"), person, FakeVenue())) == ()


def test_a_person_s_word_ends_it_for_good(path: Path, person: Person) -> None:
    rig = start(path, person, held_before())
    person.acknowledge()
    rig.tick()
    ((outcome, said),) = person.answers
    assert outcome == "done"
    assert "; taken as they are: BTCUSDT LONG: where no plan is shown only you close" in said
    assert halted(rig) == ()
    assert rig.recorded.legs[LONG].strategy == "foreign"
    assert rig.recorded.legs[LONG].exit is None
    assert halted(rig.restart(after_s=3600.0)) == ()


def test_an_acknowledged_order_says_nothing_about_the_ledger(path: Path, person: Person) -> None:
    rig = start(path, person, held_before())
    person.acknowledge("hgt-d1-1")
    rig.tick()
    assert person.answers == [("refused", "no order hgt-d1-1 is UNKNOWN")]
    assert halted(rig) == ("ledger_unknown BTCUSDT LONG",)


def test_it_ends_by_itself_when_the_position_is_gone(path: Path, person: Person) -> None:
    rig = start(path, person, held_before())
    rig.venue.execute("BTCUSDT", "LONG", "SELL", Decimal(3))
    assert halted(rig) == ()


def test_an_older_ledger_is_known_by_orders_that_it_never_journalled(
    path: Path, person: Person
) -> None:
    rig = start(path, person, FakeVenue())
    rig.ledger.close()
    shutil.copy(path, path.with_name("backup"))
    rig = rig.restart()
    rig.tick(builders.plan(builders.intent("10", "d1")))
    rig.venue.fill("hgt-d1-1")
    rig.tick()
    assert halted(rig) == ()
    rig.ledger.close()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    shutil.copy(path.with_name("backup"), path)
    rig = rig.restart()
    assert halted(rig) == ("ledger_unknown BTCUSDT LONG",)
    person.acknowledge()
    rig.tick()
    assert halted(rig) == ()


def test_an_own_order_that_rests_unknown_to_an_older_ledger_halts_when_it_fills(
    path: Path, person: Person
) -> None:
    rig = start(path, person, FakeVenue())
    rig.venue.submit(builders.new_order("hgt-lost-1"))
    rig.tick()  # adopted, shown, and not canceled
    assert rig.orders == {"hgt-lost-1": "LIVE"}
    rig.venue.fill("hgt-lost-1")
    assert halted(rig) == ("ledger_unknown BTCUSDT LONG",)


def test_a_fill_of_a_journalled_order_is_known_whatever_the_exchange_s_clock_says(
    path: Path, person: Person
) -> None:
    rig = start(path, person, FakeVenue())
    rig.tick(builders.plan(builders.intent("10", "d1")))
    trade = rig.venue.fill("hgt-d1-1")
    rig.venue.done[-1] = replace(trade, ts=builders.NOW - 3.0)
    assert halted(rig) == ()
    assert rig.held() == "10.000"


def test_what_was_done_by_hand_while_down_is_no_older_ledger(path: Path, person: Person) -> None:
    rig = start(path, person, FakeVenue())
    rig.clock.advance(60)
    rig.venue.observe(rig.clock.now())
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3))
    rig = rig.restart()
    assert halted(rig) == ()
    assert rig.recorded.legs[LONG].strategy == "foreign"


def test_a_position_that_no_fill_explains_halts_the_book_at_a_start(
    path: Path, person: Person
) -> None:
    venue = held_before()
    venue.done.clear()  # longer ago than the exchange remembers
    rig = start(path, person, venue)
    assert halted(rig) == ("ledger_unknown BTCUSDT LONG",)
    person.acknowledge()
    rig.tick()
    assert halted(rig) == ()
    assert list(rig.recorded.halts) == ["BTCUSDT"]  # nobody invents its fills
    assert halted(rig.restart()) == ()
    open_in_secret(venue)
    assert halted(rig.restart()) == ("ledger_unknown BTCUSDT LONG",)


def test_a_mismatch_that_comes_up_later_halts_its_symbol_only(path: Path, person: Person) -> None:
    rig = start(path, person, FakeVenue())
    open_in_secret(rig.venue)
    assert halted(rig) == ()
    assert list(rig.recorded.halts) == ["BTCUSDT"]
