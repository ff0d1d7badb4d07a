"""What the desk does on a person's word, and what it does when the disk takes nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.records import FlattenRequest
from execution.core.seam import Ambiguous
from execution.state_schema.operator_files import Acknowledge, Flatten
from tests.support import builders
from tests.support.disks import no_file_above
from tests.support.rig import Asker, Rig

WHO = {"ts": builders.NOW, "run_id": "", "user": "somebody", "reason": "looked"}
FULL = "cannot be written: disk I/O error"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "paper-main.sqlite", asks=Asker())


def told(rig: Rig) -> list[tuple[str, str, str]]:
    assert isinstance(rig.asks, Asker)
    return rig.asks.answers


def ask(rig: Rig, wish: Acknowledge | Flatten) -> None:
    assert isinstance(rig.asks, Asker)
    rig.asks.ask(wish)


def doubt_two(rig: Rig) -> None:
    """Leave an order of each symbol without an answer."""
    rig.tick()
    rig.venue.answers.extend([Ambiguous("timeout"), Ambiguous("timeout")])
    rig.tick(
        builders.plan(builders.intent("1", "d1")),
        builders.plan(builders.intent("1", "d2", symbol="ETHUSDT")),
    )
    rig.tick()
    assert rig.orders == {"hgp-d1-1": "UNKNOWN", "hgp-d2-1": "UNKNOWN"}


# ---------------------------------------------------------------- flatten


def test_a_flatten_waits_until_it_is_known_what_is_open(rig: Rig) -> None:
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3))
    rig.venue.mute.add("trades")
    ask(rig, Flatten(**WHO, id="request1", symbol=None))
    assert rig.tick().flatten == ()
    assert told(rig) == []
    rig.venue.mute.clear()
    assert rig.tick().flatten == (FlattenRequest("request1", None),)
    assert told(rig) == [("request1", "accepted", "closing 1 positions")]


def test_a_flatten_of_a_symbol_without_a_position_is_done(rig: Rig) -> None:
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3))
    rig.tick()
    ask(rig, Flatten(**WHO, id="request1", symbol="ETHUSDT"))
    assert rig.tick().flatten == ()
    assert told(rig) == [("request1", "done", "nothing is open in ETHUSDT")]


# ---------------------------------------------------------------- acknowledge


def test_a_person_s_word_ends_the_order_that_it_names_and_then_the_rest(rig: Rig) -> None:
    doubt_two(rig)
    ask(rig, Acknowledge(**WHO, id="request1", client_id="hgp-d2-1"))
    rig.tick()
    assert told(rig) == [("request1", "done", "1 unknown orders given up")]
    assert rig.ledger.routes()["d2"].order.state == "ABANDONED"
    assert rig.orders["hgp-d1-1"] == "UNKNOWN"
    ask(rig, Acknowledge(**WHO, id="request2", client_id=None))
    rig.tick()
    assert told(rig)[1] == ("request2", "done", "1 unknown orders given up")
    assert rig.ledger.routes()["d1"].order.state == "ABANDONED"


def test_a_word_that_the_disk_does_not_take_is_refused_and_changes_nothing(rig: Rig) -> None:
    doubt_two(rig)
    ask(rig, Acknowledge(**WHO, id="request1", client_id=None))
    with no_file_above(0):
        rig.tick()
    ((_, outcome, said),) = told(rig)
    assert (outcome, said.endswith(FULL)) == ("refused", True)
    assert rig.orders == {"hgp-d1-1": "UNKNOWN", "hgp-d2-1": "UNKNOWN"}


# ---------------------------------------------------------------- a disk that is full


def test_a_desk_that_starts_on_a_full_disk_knows_and_sends_nothing(rig: Rig) -> None:
    with no_file_above(0):
        found = rig.tick(builders.plan())
        assert (found.reconciled_ts, found.legs, rig.venue.sent) == (None, {}, [])
    rig.tick(builders.plan())
    assert rig.recorded.reconciled_ts is not None
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1"]
