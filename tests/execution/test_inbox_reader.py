from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import outside
from execution.core.policy import Inbox
from execution.core.types import InboxReply
from execution.inbox_reader import TICK_INTENTS, WAITING_INTENTS, Broken, Heard, InboxReader, decode
from execution.state_schema import registry
from execution.state_schema.inbox_intent import InboxIntent
from execution.state_schema.inbox_results import InboxResult
from tests.support import policies

NOW = 1_800_000_000.0
INBOX = Inbox(
    name="model",
    markets=("sim",),
    symbols=("BTCUSDT",),
    bar_s=60,
    max_age_s=30.0,
    max_stop_bps=500.0,
    exits=policies.EXITS,
)
POLICY = policies.policy(strategies=(INBOX,))


def intent(name: str = "one", **fields: object) -> InboxIntent:
    known = {
        "ts": NOW,
        "valid_until_ts": NOW + 10,
        "strategy": "model",
        "symbol": "BTCUSDT",
        "side": "LONG",
        "action": "entry",
    }
    return InboxIntent(**{"id": name, **known, **fields})


class Folder:
    """A log folder with its inbox, and a reader of it."""

    def __init__(self, folder: Path) -> None:
        self.inbox = folder / registry.INBOX_PATH
        self.results = folder / registry.INBOX_RESULTS.path
        self.inbox.parent.mkdir()
        self.ledger: set[str] = set()
        self._folder = folder
        self.restart()

    def restart(self) -> None:
        self.reader = InboxReader(self._folder, POLICY, self.ledger.__contains__)

    def put(self, *lines: InboxIntent | bytes) -> None:
        with self.inbox.open("ab") as file:
            for line in lines:
                file.write((line if isinstance(line, bytes) else msgspec.json.encode(line)) + b"\n")

    def read(self, now: float = NOW, *, may_decide: bool = True) -> Heard:
        return self.reader.read(now, may_decide=may_decide)

    def answer(self, heard: Heard) -> list[tuple[str, str]]:
        """Do as a tick does that accepts everything: tell the reader, and keep the answers."""
        accepted = [InboxReply(each.id, "accepted", "", "d") for each in heard.intents]
        replies = [*heard.replies, *accepted]
        self.reader.answered(replies)
        with self.results.open("ab") as file:
            for each in replies:
                result = InboxResult(
                    ts=NOW,
                    run_id="r",
                    id=each.id,
                    outcome=each.outcome,
                    decision_id=each.decision_id,
                    reason=each.reason,
                )
                file.write(msgspec.json.encode(result) + b"\n")
        return [(each.id, each.outcome) for each in replies]

    def drain(self, ticks: int = 50) -> list[tuple[str, str]]:
        return [each for _ in range(ticks) for each in self.answer(self.read())]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@given(raw=st.binary(max_size=300))
def test_whatever_the_bytes_a_line_is_an_intent_or_says_what_is_wrong(raw: bytes):
    assert isinstance(decode(raw), InboxIntent | Broken)


@given(
    key=st.sampled_from(InboxIntent.__struct_fields__),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()),
)
def test_what_decodes_is_within_its_bounds(key: str, value: object):
    raw = msgspec.to_builtins(intent()) | {key: value}
    found = decode(msgspec.json.encode(raw))
    if isinstance(found, InboxIntent):
        assert 0 < found.size_frac <= 1
        assert found.side in ("LONG", "SHORT")
        assert math.isfinite(found.ts + found.valid_until_ts)
        assert 1 <= len(found.id) <= 64
        assert (found.stop_bps is None) == (found.take_profit_bps is None)
        assert (found.stop_price is None) == (found.take_profit_price is None)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"stop_bps": 1.0}, "belong together"),
        ({"take_profit_price": 1.0}, "belong together"),
        (
            {"stop_bps": 1.0, "take_profit_bps": 1.0, "stop_price": 1.0, "take_profit_price": 1.0},
            "give one of them",
        ),
        ({"action": "exit", "hold_s": 5.0}, "no plan of its own"),
        ({"size_frac": 1.01}, "size_frac"),
        ({"qty": 1000}, "qty"),
        ({"id": "a b"}, "id"),
    ],
)
def test_a_shape_that_is_wrong_is_said(fields: dict[str, object], wrong: str):
    found = decode(msgspec.json.encode(msgspec.to_builtins(intent()) | fields))
    assert isinstance(found, Broken)
    assert wrong in found.why


def test_an_intent_waits_for_its_answer_through_ticks_that_fail(folder: Folder):
    folder.put(intent())
    assert [each.id for each in folder.read().intents] == ["one"]
    heard = folder.read()  # the tick before failed: nobody said what became of it
    assert [each.id for each in heard.intents] == ["one"]
    assert folder.answer(heard) == [("one", "accepted")]
    assert folder.read() == Heard()


def test_while_blind_it_waits_until_it_is_late(folder: Folder):
    folder.put(intent(), intent("two", valid_until_ts=NOW + 25))
    assert folder.read(may_decide=False) == Heard()
    heard = folder.read(NOW + 20)
    assert folder.answer(heard) == [("one", "refused"), ("two", "accepted")]
    assert heard.replies[0].reason.startswith("late")


def test_an_id_is_answered_once_across_restarts(folder: Folder):
    folder.put(intent(), b'{"id": "broken"}', b"nameless")
    assert folder.drain() == [("broken", "refused"), ("one", "accepted")]
    folder.restart()
    assert folder.drain() == []
    folder.put(intent(side="SHORT"))
    assert folder.drain() == [("one", "refused")]
    folder.restart()
    assert folder.drain() == []


def test_a_file_that_replaces_the_inbox_repeats_nothing(folder: Folder):
    folder.put(intent())
    assert folder.drain() == [("one", "accepted")]
    folder.inbox.unlink()
    assert folder.drain(3) == []
    folder.put(intent(), intent("two"))
    assert folder.drain() == [("two", "accepted")]


def test_what_the_ledger_knows_was_accepted_though_nobody_said_so(folder: Folder):
    folder.ledger.add(outside.entry_id("main", intent()))
    folder.put(intent())
    (reply,) = folder.read(NOW + 1000).replies
    assert (reply.outcome, reply.decision_id) == ("accepted", *folder.ledger)


def test_a_flood_is_taken_in_portions_and_answered_whole(folder: Folder):
    count = WAITING_INTENTS * 3
    folder.put(*(intent(f"i{number}") for number in range(count)))
    found: list[tuple[str, str]] = []
    while answers := folder.answer(heard := folder.read()):
        assert len(heard.intents) <= TICK_INTENTS
        found += answers
    assert len({name for name, _ in found}) == len(found) == count
    assert WAITING_INTENTS <= sum(outcome == "accepted" for _, outcome in found) < count


def test_lines_without_a_name_are_counted(folder: Folder):
    folder.read()
    folder.put(b"a" * 300_000, *(b"garbage" for _ in range(40)), b"x" * 5000, intent())
    said = []
    for _ in range(4):
        heard = folder.read()
        folder.answer(heard)
        said += [heard.nameless] if heard.nameless else []
    assert sum(int(text.split()[0]) for text in said) == 42


def test_an_inbox_that_is_no_file_is_an_error_and_no_more(folder: Folder):
    folder.inbox.mkdir()
    with pytest.raises(OSError, match="regular"):
        folder.read()
