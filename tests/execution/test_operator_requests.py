from __future__ import annotations

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from execution import kill_latch
from execution.core.records import KillLatch
from execution.jsonl_log import MAX_LINE_BYTES, JsonlLogger
from execution.operator_requests import OPEN_COMMANDS, Asked, NoRequests, OperatorRequests
from execution.state_schema.operator_files import (
    EXPIRES_S,
    Acknowledge,
    CommandResult,
    Flatten,
    KillFile,
)
from execution.state_schema.registry import COMMAND_RESULTS, COMMANDS
from tests.support.operators import LIMITS, NOW, Operator


@pytest.fixture
def operator(tmp_path):
    return Operator(tmp_path)


def flatten(ts=NOW, symbol=None):
    return Flatten(
        ts=ts, run_id="cli", id=secrets.token_hex(8), user="ada", reason="why", symbol=symbol
    )


def send(operator, *commands, **limits):
    logger = JsonlLogger(operator.log_dir / COMMANDS.path, operator.clock, **(LIMITS | limits))
    for command in commands:
        assert logger.write(command) is None
    logger.close()


def append(operator, content):
    path = operator.log_dir / COMMANDS.path
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(content)


def pending(ear, now=NOW):
    return [command.id for command in ear.read(now).pending]


def answers(operator):
    return [(each.id, each.outcome, each.detail) for each in operator.lines(COMMAND_RESULTS)]


# ---------------------------------------------------------------- the latch


def latch(on, reason="why"):
    return KillFile(on=on, ts=NOW, user="ada", reason=reason)


def test_nothing_there_is_nothing_asked(operator):
    assert operator.executor().read(NOW) == Asked(None, ())
    assert not (operator.log_dir / "run").exists()


def test_the_latch_is_seen_at_the_next_read(operator):
    ear = operator.executor()
    assert ear.read(NOW).kill is None
    kill_latch.write(operator.log_dir, latch(True))
    assert ear.read(NOW).kill == KillLatch(on=True, reason="why", ts=NOW)
    kill_latch.write(operator.log_dir, latch(False, "over"))
    assert ear.read(NOW).kill == KillLatch(on=False, reason="over", ts=NOW)
    (operator.log_dir / kill_latch.KILL_FILE).unlink()
    assert ear.read(NOW).kill is None


def test_the_latch_outlives_the_executor(operator):
    kill_latch.write(operator.log_dir, latch(True))
    assert operator.executor().read(NOW).kill.on
    assert operator.executor().read(NOW + 1e6).kill.on


def test_what_changes_without_a_trace_is_seen_within_a_second(operator):
    path = operator.log_dir / kill_latch.KILL_FILE
    path.parent.mkdir()
    target = path.with_name("target")
    target.write_bytes(json.encode(latch(False)))
    path.symlink_to(target)
    ear = operator.executor()
    assert not ear.read(NOW).kill.on
    target.write_bytes(json.encode(latch(True)))
    operator.clock.advance(0.5)
    assert not ear.read(NOW).kill.on  # an unchanged file is not read every tick
    operator.clock.advance(0.5)
    assert ear.read(NOW).kill.on


def test_a_wall_clock_that_steps_back_does_not_hide_the_latch(operator):
    ear = operator.executor()
    kill_latch.write(operator.log_dir, latch(False))
    assert not ear.read(NOW).kill.on
    kill_latch.write(operator.log_dir, latch(True))
    assert ear.read(NOW - 3600).kill.on


@settings(max_examples=200)
@given(content=st.binary(max_size=100))
def test_no_bytes_make_the_read_raise(tmp_path_factory, content):
    operator = Operator(tmp_path_factory.getbasetemp() / "bytes")
    ear = operator.executor()
    path = operator.log_dir / kill_latch.KILL_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert ear.read(NOW).kill.on


# ---------------------------------------------------------------- requests


def test_a_request_is_pending_until_it_is_done(operator):
    ear, command = operator.executor(), flatten(symbol="BTCUSDT")
    assert ear.read(NOW).pending == ()
    send(operator, command)
    assert ear.read(NOW).pending == (command,)
    assert ear.read(NOW).pending == (command,)
    ear.answer(command, "done", "closed 1 position")
    assert ear.read(NOW).pending == ()
    assert answers(operator) == [(command.id, "done", "closed 1 position")]
    assert operator.audit() == [("flatten", "why", "done: closed 1 position")]


def test_both_kinds_come_in_their_order(operator):
    ear, first = operator.executor(), flatten()
    second = Acknowledge(
        ts=NOW, run_id="cli", id="0123456789abcdef", user="ada", reason="seen", client_id="h-1"
    )
    send(operator, first, second)
    assert ear.read(NOW).pending == (first, second)
    ear.answer(second, "refused", "no such order")
    assert ear.read(NOW).pending == (first,)
    assert operator.audit() == [("acknowledge", "seen", "refused: no such order")]


def test_a_begun_request_is_told_once_and_stays_pending(operator):
    ear, command = operator.executor(), flatten()
    send(operator, command)
    for _ in range(3):
        assert pending(ear) == [command.id]
        ear.answer(command, "accepted")
    ear.answer(command, "done")
    ear.answer(command, "refused", "too late")
    ear.answer(command, "accepted")
    assert pending(ear) == []
    assert [outcome for _, outcome, _ in answers(operator)] == ["accepted", "done"]
    assert [outcome for _, _, outcome in operator.audit()] == ["accepted", "done"]


def test_an_answered_request_is_not_carried_out_again_after_a_restart(operator):
    done, refused, begun, fresh = (flatten() for _ in range(4))
    ear = operator.executor()
    send(operator, done, refused, begun)
    ear.read(NOW)
    ear.answer(done, "done")
    ear.answer(refused, "refused", "no")
    ear.answer(begun, "accepted")
    send(operator, fresh)
    assert pending(operator.executor()) == [begun.id, fresh.id]


def test_what_was_begun_may_be_finished_late_but_not_by_the_next_process(operator):
    ear, command = operator.executor(), flatten()
    send(operator, command)
    ear.read(NOW)
    ear.answer(command, "accepted")
    late = NOW + EXPIRES_S + 1
    assert pending(ear, late) == [command.id]
    assert pending(operator.executor(), late) == []
    assert answers(operator)[-1] == (
        command.id,
        "refused",
        "expired: asked 301 s ago, limit 300 s: ask again",
    )


def test_what_another_process_begun_is_taken_up_and_does_not_expire_then(operator):
    command = flatten()
    send(operator, command)
    first = operator.executor()
    first.read(NOW)
    first.answer(command, "accepted")
    second = operator.executor()
    assert pending(second, NOW + 10) == [command.id]
    second.answer(command, "accepted")
    assert pending(second, NOW + EXPIRES_S + 50) == [command.id]
    assert len(answers(operator)) == 1


@pytest.mark.parametrize(
    ("age_s", "is_pending", "detail"),
    [
        (EXPIRES_S, True, None),
        (EXPIRES_S + 0.5, False, "expired: asked 300 s ago, limit 300 s: ask again"),
        (86_400.0, False, "expired: asked 86400 s ago, limit 300 s: ask again"),
        (-EXPIRES_S, True, None),
        (-3600.0, False, "expired: dated 3600 s ahead of the executor's clock: ask again"),
    ],
)
def test_a_request_out_of_time_is_refused_once(operator, age_s, is_pending, detail):
    command = flatten(NOW - age_s)
    send(operator, command)
    for _ in range(2):
        assert pending(operator.executor()) == ([command.id] if is_pending else [])
    assert [said for _, _, said in answers(operator)] == ([] if is_pending else [detail])


def test_a_request_that_nobody_carries_out_expires(operator):
    ear, command = operator.executor(), flatten()
    send(operator, command)
    assert pending(ear, NOW + 299) == [command.id]
    assert pending(ear, NOW + 301) == []
    assert pending(ear, NOW + 302) == []
    assert [outcome for _, outcome, _ in answers(operator)] == ["refused"]


def test_the_same_id_is_one_request(operator):
    ear, command = operator.executor(), flatten()
    again = replace(command, symbol="ETHUSDT")
    send(operator, command, again)
    assert ear.read(NOW).pending == (command,)
    ear.answer(command, "done")
    send(operator, again)
    assert pending(ear) == []


def test_a_detail_is_one_line_however_it_comes(operator):
    ear, command = operator.executor(), flatten()
    send(operator, command)
    ear.read(NOW)
    ear.answer(command, "refused", "line\nbreak \udcff " + "x" * 1000)
    ((_, _, said),) = answers(operator)
    assert said.startswith("line\\nbreak \\udcff xxx")
    assert len(said) == 300


# ---------------------------------------------------------------- what is hostile or broken

GOOD = json.encode(flatten())
BAD = {
    "no json": b"flatten everything",
    "torn and closed": GOOD[:40],
    "unknown event": GOOD.replace(b'"flatten"', b'"transfer"'),
    "no event": GOOD.replace(b'"event":"flatten",', b""),
    "no symbol": GOOD.replace(b',"symbol":null', b""),
    "id of another alphabet": GOOD.replace(b'"id":"', b'"id":"../'),
    "no reason": GOOD.replace(b'"why"', b'""'),
    "a book as a reason": GOOD.replace(b"why", b"w" * 301),
    "no time": GOOD.replace(b'"ts":1790000000.0', b'"ts":null'),
    "not utf-8": GOOD.replace(b"ada", b"\xff"),
    "deep": b"[" * 20_000,
    "too long": b" " * MAX_LINE_BYTES + GOOD,
    "empty": b"",
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_counted_and_the_next_one_is_read(operator, line):
    ear, command = operator.executor(), flatten()
    append(operator, line + b"\n")
    send(operator, command)
    assert pending(ear) == [command.id]
    assert ear.broken == 1
    assert answers(operator) == []


@settings(max_examples=150)
@given(st.lists(st.booleans() | st.binary(max_size=40).map(lambda line: line.replace(b"\n", b""))))
def test_no_line_raises_and_no_request_between_is_lost(tmp_path_factory, lines):
    operator = Operator(tmp_path_factory.mktemp("lines"))
    ear, sent = operator.executor(), []
    for line in lines:
        if isinstance(line, bytes):
            append(operator, line + b"\n")
        else:
            sent.append(flatten())
            send(operator, sent[-1])
        if line is True:
            ear.read(NOW)
    assert pending(ear) == [command.id for command in sent]
    assert ear.broken == sum(isinstance(line, bytes) for line in lines)


def test_a_line_without_its_end_waits_for_it(operator):
    ear, command = operator.executor(), flatten()
    line = json.encode(command)
    append(operator, line[:30])
    assert pending(ear) == []
    append(operator, line[30:] + b"\n")
    assert pending(ear) == [command.id]
    assert ear.broken == 0


def test_requests_are_followed_through_rotation(operator):
    ear, commands = operator.executor(), [flatten() for _ in range(20)]
    for command in commands[:10]:
        send(operator, command, max_bytes=400)
        ear.read(NOW)
    send(operator, *commands[10:], max_bytes=400)
    assert len([*(operator.log_dir / "run").glob("commands.*.jsonl")]) > 5
    assert pending(ear) == [command.id for command in commands]


def test_a_replaced_file_brings_nothing_back(operator):
    ear, command, later = operator.executor(), flatten(), flatten()
    send(operator, command)
    ear.read(NOW)
    ear.answer(command, "done")
    path = operator.log_dir / COMMANDS.path
    content = path.read_bytes()
    path.unlink()
    assert pending(ear) == []
    path.write_bytes(content + json.encode(later) + b"\n")
    assert pending(ear) == [later.id]


def test_a_folder_in_place_of_the_requests_is_survived(operator):
    ear, command = operator.executor(), flatten()
    path = operator.log_dir / COMMANDS.path
    path.mkdir(parents=True)
    kill_latch.write(operator.log_dir, latch(True))
    assert ear.read(NOW) == Asked(KillLatch(on=True, reason="why", ts=NOW), ())
    path.rmdir()
    send(operator, command)
    assert pending(ear) == [command.id]


def test_without_the_earlier_answers_only_new_requests_are_carried_out(operator):
    earlier, new = flatten(NOW - 10), flatten(NOW + 1)
    path = operator.log_dir / COMMAND_RESULTS.path
    path.mkdir(parents=True)
    send(operator, earlier)
    ear = operator.executor()
    assert pending(ear) == []
    send(operator, new)
    assert pending(ear, NOW + 2) == [new.id]
    assert operator.audit() == [
        ("flatten", "why", "refused: earlier answers cannot be read: ask again")
    ]
    path.rmdir()
    ear.read(NOW + 3)
    assert answers(operator) == [
        (earlier.id, "refused", "earlier answers cannot be read: ask again")
    ]


def test_answers_that_can_be_read_again_hold_nothing_back(operator):
    path = operator.log_dir / COMMAND_RESULTS.path
    path.mkdir(parents=True)
    ear, earlier = operator.executor(), flatten(NOW - 10)
    assert pending(ear) == []
    path.rmdir()
    assert pending(ear) == []
    send(operator, earlier)
    assert pending(ear) == [earlier.id]


def test_no_request_is_looked_at_before_every_answer_is_known(operator):
    answered, fresh = flatten(), flatten()
    send(operator, answered, fresh)
    result = CommandResult(ts=NOW, run_id="r", id=answered.id, outcome="done", detail="")
    path = operator.log_dir / COMMAND_RESULTS.path
    filler = (b" " * 200_000 + b"\n") * 60  # more than one look takes in
    path.write_bytes(filler + json.encode(result) + b"\n")
    ear = operator.executor()
    assert pending(ear) == []
    assert pending(ear) == [fresh.id]
    assert ear.broken == 60


class FullDisk:
    """Journals that take nothing until there is room."""

    def __init__(self):
        self.room = False
        self.taken = []

    def append(self, entries):
        if not self.room:
            return ("lost",)
        self.taken += entries
        return ()


def test_an_answer_that_finds_no_room_is_written_when_there_is_some(operator):
    disk, command = FullDisk(), flatten()
    ear = OperatorRequests(operator.log_dir, operator.clock, disk, "r")
    send(operator, command)
    ear.read(NOW)
    ear.answer(command, "accepted")
    ear.answer(command, "done")
    assert pending(ear) == []
    disk.room = True
    assert pending(ear) == []
    results = [record for _, record in disk.taken if isinstance(record, CommandResult)]
    assert [each.outcome for each in results] == ["accepted", "done"]
    assert len(disk.taken) == 4
    ear.read(NOW)
    assert len(disk.taken) == 4


def test_a_flood_is_bounded_and_answered(operator):
    ear, commands = operator.executor(), [flatten() for _ in range(OPEN_COMMANDS + 50)]
    send(operator, *(flatten(NOW - 1e6) for _ in range(200)), *commands)
    assert pending(ear) == [command.id for command in commands[:OPEN_COMMANDS]]
    assert len(answers(operator)) == 250
    assert answers(operator)[-1] == (
        commands[-1].id,
        "refused",
        "100 requests are open: ask again later",
    )


def test_where_nobody_asks_there_is_nothing_and_no_trace(operator):
    nobody = NoRequests()
    assert nobody.read(NOW) == Asked(None, ())
    nobody.answer(flatten(), "done")
    assert [*operator.log_dir.iterdir()] == []
