from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from execution.clock import SystemClock
from execution.state_schema.operator_files import Acknowledge, ResetRisk
from execution.state_schema.registry import COMMANDS
from tests.support.operators import NOW, Operator

ROOT = Path(__file__).resolve().parents[3]
ACKNOWLEDGE = ("risk", "acknowledge", "--reason", "looked at the account")


@pytest.fixture
def operator(tmp_path, monkeypatch):
    monkeypatch.setenv("HEDGE_LOG_DIR", str(tmp_path / "logs"))
    return Operator(tmp_path / "logs")


def answering(operator, outcome, detail):
    ear = operator.executor()

    def tick():
        for command in ear.read(operator.clock.now()).pending:
            ear.answer(command, outcome, detail)

    operator.clock.meanwhile = tick


@pytest.mark.parametrize(("words", "client_id"), [((), None), (("--order", "hpA:1"), "hpA:1")])
def test_the_request_is_what_was_typed(operator, words, client_id):
    assert operator.type(*ACKNOWLEDGE, *words, "--wait", "0").exit_code == 3
    (command,) = operator.executor().read(NOW).pending
    assert isinstance(command, Acknowledge)
    assert (command.client_id, command.reason) == (client_id, "looked at the account")
    assert operator.audit() == [("acknowledge", "looked at the account", "asked")]


@pytest.mark.parametrize(("outcome", "code"), [("accepted", 0), ("done", 0), ("refused", 1)])
def test_the_answer_is_told(operator, outcome, code):
    answering(operator, outcome, "1 order")
    done = operator.type(*ACKNOWLEDGE)
    assert done.exit_code == code
    assert done.stdout.startswith(f"{outcome}: 1 order")


def test_json_holds_request_and_answer(operator):
    answering(operator, "done", "given up")
    code, told = operator.type_json(*ACKNOWLEDGE, "--order", "hpA:1")
    assert code == 0
    assert (told["outcome"], told["detail"]) == ("done", "given up")
    assert told["command"]["client_id"] == "hpA:1"


@pytest.mark.parametrize(
    "words", [("risk", "acknowledge"), (*ACKNOWLEDGE, "--order", ""), ("risk", "reset")]
)
def test_what_is_not_asked_rightly_is_not_asked(operator, words):
    assert operator.type(*words).exit_code == 2
    assert not (operator.log_dir / COMMANDS.path).exists()


def test_the_real_command_is_heard_by_a_real_ear(operator):
    now = SystemClock().now()
    command = [sys.executable, "-m", "scripts.cli", *ACKNOWLEDGE, "--wait", "0"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 3
    assert done.stdout.startswith("no answer: the executor cannot be heard")
    (heard,) = operator.executor().read(now).pending
    assert now <= heard.ts < now + 30
    assert (operator.log_dir / "run").stat().st_mode & 0o777 == 0o700


def test_a_reset_is_asked_with_its_reason_and_answered(operator):
    reset = ("risk", "reset", "--reason", "the loss is understood")
    answering(operator, "refused", "NAV is stale")
    done = operator.type(*reset)
    assert (done.exit_code, done.stdout) == (1, "refused: NAV is stale\n")
    heard = operator.lines(COMMANDS)
    assert [(type(each), each.reason) for each in heard] == [(ResetRisk, "the loss is understood")]
    audited = [
        ("risk_reset", "the loss is understood", said)
        for said in ("asked", "refused: NAV is stale")
    ]
    assert operator.audit() == audited
