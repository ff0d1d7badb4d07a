from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from execution.state_schema.operator_files import EXPIRES_S, Flatten
from execution.state_schema.registry import COMMAND_RESULTS, COMMANDS
from tests.support.operators import NOW, Operator

ROOT = Path(__file__).resolve().parents[3]
YES = ("flatten", "--reason", "going home", "--yes")


@pytest.fixture
def operator(tmp_path, monkeypatch):
    monkeypatch.setenv("HEDGE_LOG_DIR", str(tmp_path / "logs"))
    return Operator(tmp_path / "logs")


def answering(operator, *outcomes):
    """Let an executor answer what is pending at each of the command's looks, in turn."""
    ear, left = operator.executor(), [*outcomes]

    def tick():
        for command in ear.read(operator.clock.now()).pending:
            if left:
                ear.answer(command, *left.pop(0))

    operator.clock.meanwhile = tick


def test_the_request_is_what_was_typed(operator):
    done = operator.type(*YES, "--symbol", "btcusdt", "--wait", "0")
    (command,) = operator.lines(COMMANDS)
    assert isinstance(command, Flatten)
    assert (command.ts, command.symbol, command.reason) == (NOW, "BTCUSDT", "going home")
    assert operator.executor().read(NOW).pending == (command,)
    assert operator.audit() == [("flatten", "going home", "asked")]
    assert done.exit_code == 3


def test_without_a_symbol_it_is_every_position_under_an_id_of_its_own(operator):
    operator.type(*YES, "--wait", "0")
    operator.type(*YES, "--wait", "0")
    first, second = operator.lines(COMMANDS)
    assert first.symbol is None
    assert first.id != second.id


# ---------------------------------------------------------------- the answer


def test_done_is_told_as_soon_as_it_is_done(operator):
    answering(operator, ("accepted", "closing 2 positions"), ("done", "closed 2"))
    done = operator.type(*YES)
    assert done.exit_code == 0
    assert "done: closed 2\n" in done.stdout
    assert operator.clock.now() - NOW == pytest.approx(0.4)
    assert [outcome for _, _, outcome in operator.audit()] == [
        "asked",
        "accepted: closing 2 positions",
        "done: closed 2",
    ]


def test_accepted_is_good_when_the_wait_is_over(operator):
    answering(operator, ("accepted", "closing 2 positions"))
    done = operator.type(*YES)
    assert done.exit_code == 0
    assert "accepted: closing 2 positions; begun and not finished yet" in done.stdout
    assert operator.clock.now() - NOW == pytest.approx(15.0)


def test_refused_is_exit_one(operator):
    answering(operator, ("refused", "no position in XUSDT"))
    done = operator.type(*YES, "--symbol", "XUSDT")
    assert done.exit_code == 1
    assert "refused: no position in XUSDT\n" in done.stdout


def test_another_requests_answer_is_not_mine(operator):
    operator.type(*YES, "--wait", "0")
    (other,) = operator.lines(COMMANDS)
    ear = operator.executor()
    ear.read(NOW)
    ear.answer(other, "done", "the other one")
    assert operator.type(*YES, "--wait", "1").exit_code == 3


@pytest.mark.parametrize(("wait_s", "waited_s"), [("0", 0.0), ("3", 3.0), ("15", 15.0)])
def test_without_an_answer_it_says_that_the_request_stands(operator, wait_s, waited_s):
    operator.publish(1)
    operator.clock.advance(400.0)
    asked_ts = operator.clock.now()
    done = operator.type(*YES, "--wait", wait_s)
    assert done.exit_code == 3
    assert operator.clock.now() - asked_ts == pytest.approx(waited_s)
    assert f"no answer: the executor was last heard {400 + waited_s:.0f} s ago" in done.stdout
    assert "it is dead or hung" in done.stdout
    (command,) = operator.lines(COMMANDS)
    # 1_790_000_700 ends at 14:25:00 UTC.
    assert f"the request {command.id} stands: carried out until 14:25:00 UTC" in done.stdout
    assert operator.executor().read(asked_ts + EXPIRES_S).pending == (command,)


def test_a_live_executor_that_is_silent_is_not_called_dead(operator):
    operator.clock.meanwhile = lambda: operator.publish(1)
    done = operator.type(*YES)
    assert done.exit_code == 3
    assert "no answer: the executor was last heard 0 s ago\n" in done.stdout


def test_an_interrupted_wait_says_that_the_request_stands(operator):
    def interrupt():
        raise KeyboardInterrupt

    operator.clock.meanwhile = interrupt
    done = operator.type(*YES)
    assert done.exit_code == 3
    assert "stands: carried out until" in done.stdout
    assert len(operator.lines(COMMANDS)) == 1


def test_answers_that_cannot_be_read_are_no_answer(operator):
    (operator.log_dir / COMMAND_RESULTS.path).mkdir(parents=True)
    assert operator.type(*YES, "--wait", "1").exit_code == 3


def test_json_holds_request_answer_and_positions(operator):
    operator.publish(2, naked=1)
    answering(operator, ("done", "closed 1"))
    code, told = operator.type_json(*YES, "--symbol", "S001USDT")
    assert code == 0
    (command,) = operator.lines(COMMANDS)
    assert (told["command"]["id"], told["command"]["symbol"]) == (command.id, "S001USDT")
    assert (told["outcome"], told["detail"]) == ("done", "closed 1")
    assert told["expires_ts"] == NOW + 300.0
    assert told["executor"]["alive"] is True
    assert [leg["symbol"] for leg in told["positions"]["legs"]] == ["S001USDT"]
    _, told = operator.type_json(*YES, "--wait", "0")
    assert (told["outcome"], told["detail"]) == (None, "")


# ---------------------------------------------------------------- before it is asked


def test_without_a_terminal_it_shows_and_refuses(operator):
    operator.publish(2)
    done = operator.type("flatten", "--reason", "going home", answer="y\n")
    assert done.exit_code == 2
    assert "S000USDT" in done.stdout
    assert "add --yes" in done.stderr
    assert not (operator.log_dir / COMMANDS.path).exists()


def test_only_the_positions_of_the_symbol_are_shown(operator):
    operator.publish(3)
    said = operator.type(*YES, "--symbol", "S001USDT", "--wait", "0").stdout
    assert "open positions: 1" in said
    assert "S001USDT" in said
    assert "S000USDT" not in said


def test_a_symbol_that_is_none_is_not_asked(operator):
    done = operator.type(*YES, "--symbol", "A" * 65)
    assert done.exit_code == 2
    assert "symbol" in done.stderr
    assert operator.type(*YES, "--symbol", "B\udcff").exit_code == 2
    assert operator.type(*YES, "--symbol", "").exit_code == 2
    assert not (operator.log_dir / COMMANDS.path).exists()


def test_a_request_that_cannot_be_written_was_not_asked(operator):
    (operator.log_dir / COMMANDS.path).mkdir(parents=True)
    done = operator.type(*YES)
    assert done.exit_code == 1
    assert "nothing was asked: run/commands.jsonl: Is a directory" in done.stderr
    assert operator.audit() == []


@pytest.mark.parametrize("wait", ["-1", "301", "nan", "soon"])
def test_a_wait_is_bounded(operator, wait):
    assert operator.type(*YES, "--wait", wait).exit_code == 2


def at_a_terminal(answer: str, *words: str) -> tuple[int, str]:
    """Run the real command with a terminal of its own; type `answer` when it asks."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "scripts.cli", *words]
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said, typed, until = b"", False, time.monotonic() + 30
        while time.monotonic() < until:
            if not select.select([ours], [], [], 1.0)[0]:
                continue
            try:
                said += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not typed and said.endswith(b"[y/N]: "):
                os.write(ours, answer.encode() + b"\n")
                typed = True
        code = process.wait(10)
    os.close(ours)
    assert typed
    return code, said.decode()


@pytest.mark.parametrize(("answer", "code", "asked"), [("y", 3, 1), ("n", 1, 0), ("", 1, 0)])
def test_at_a_terminal_it_asks(operator, answer, code, asked):
    operator.publish(2)
    words = ("flatten", "--reason", "going home", "--wait", "0")
    ended, said = at_a_terminal(answer, *words)
    assert ended == code
    assert "Close 2 positions? [y/N]" in said
    assert ("nothing was asked" in said) is not bool(asked)
    path = operator.log_dir / COMMANDS.path
    assert (len(operator.lines(COMMANDS)) if path.exists() else 0) == asked


def test_at_a_terminal_without_known_positions_it_asks_for_whatever_there_is(operator):
    assert [*operator.log_dir.iterdir()] == []
    _, said = at_a_terminal("n", "flatten", "--reason", "r", "--symbol", "BTCUSDT")
    assert "Close every position of BTCUSDT that the executor finds? [y/N]" in said
