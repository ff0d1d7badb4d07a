from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from execution import kill_latch
from execution.errors import ConfigError
from execution.state_schema.registry import AUDIT
from tests.support.operators import NOW, Operator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def operator(tmp_path, monkeypatch):
    monkeypatch.setenv("HEDGE_LOG_DIR", str(tmp_path / "logs"))
    return Operator(tmp_path / "logs")


def is_on(operator):
    seen = operator.executor().read(NOW).kill
    return seen is not None and seen.on


def hedge(*words, **environ):
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


# ---------------------------------------------------------------- on, off, status


def test_on_and_off_and_what_status_exits_with(operator):
    assert operator.type("kill", "status").exit_code == 1
    assert operator.type("kill", "on", "--reason", "runaway").exit_code == 0
    assert operator.type("kill", "status").exit_code == 0
    assert is_on(operator)
    assert operator.type("kill", "off", "--reason", "mended").exit_code == 0
    assert operator.type("kill", "status").exit_code == 1
    assert not is_on(operator)
    assert operator.audit() == [("kill_on", "runaway", "on"), ("kill_off", "mended", "off")]


def test_the_file_says_who_when_and_why(operator):
    operator.type("kill", "on", "--reason", "runaway")
    (act,) = operator.lines(AUDIT)
    assert operator.kill_json() == {"on": True, "ts": NOW, "user": act.user, "reason": "runaway"}
    assert act.ts == NOW
    assert act.user


def test_json_tells_the_latch_the_executor_and_the_positions(operator):
    operator.publish(2, naked=1, kill=False)
    operator.clock.advance(2.0)
    code, told = operator.type_json("kill", "on", "--reason", "runaway")
    assert code == 0
    assert (told["on"], told["reason"], told["problem"]) == (True, "runaway", None)
    assert told["executor"] == {"age_s": 2.0, "alive": True, "kill_latch": False}
    assert (told["positions"]["age_s"], told["positions"]["problem"]) == (2.0, None)
    naked, safe = told["positions"]["legs"]
    assert (naked["symbol"], naked["position_side"]) == ("S000USDT", "LONG")
    assert (naked["protected"], naked["unprotected_s"]) == (False, 32.0)
    assert (safe["symbol"], safe["protected"], safe["unprotected_s"]) == ("S001USDT", True, None)
    assert safe["qty"] == pytest.approx(-0.126)
    assert safe["stop_price"] == pytest.approx(101.37 * 0.97)
    assert operator.type_json("kill", "status") == (0, told)


def test_positions_without_protection_are_named(operator):
    operator.publish(3, naked=2)
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert "open positions: 3, 0 s ago" in said
    assert "WITHOUT PROTECTION while the latch is on: S000USDT LONG, S001USDT SHORT\n" in said
    assert said.count("NONE") == 2


def test_a_plan_protects_nothing_while_no_order_is_sent(operator):
    operator.publish(2, naked=1, stops_rest=False)
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert "WITHOUT PROTECTION while the latch is on: S000USDT LONG, S001USDT SHORT\n" in said
    assert (said.count("NONE"), said.count("(plan)")) == (1, 1)


def test_protected_positions_raise_no_alarm(operator):
    operator.publish(2)
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert "open positions: 2" in said
    assert "WITHOUT PROTECTION" not in said
    assert "WARNING" not in said


@pytest.mark.parametrize("stale", [True, False])
def test_old_positions_are_called_old(operator, stale):
    operator.publish(1, stale=stale)
    operator.clock.advance(1.0 if stale else 400.0)
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert f"positions are {1 if stale else 400} s old and may be others by now" in said


def test_a_dead_executor_is_called_dead_and_the_latch_is_on(operator):
    operator.publish(1)
    operator.clock.advance(400.0)
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert "the executor was last heard 400 s ago: it is dead or hung" in said
    assert is_on(operator)


def test_an_executor_that_lives_takes_it_up(operator):
    operator.publish(1, kill=False)
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert "the executor was last heard 0 s ago: it takes this up at its next loop" in said
    operator.publish(1, kill=True)
    assert "takes this up" not in operator.type("kill", "status").stdout


def test_without_any_state_it_works_and_says_what_is_unknown(operator):
    said = operator.type("kill", "on", "--reason", "runaway").stdout
    assert "positions are unknown: state/positions.json: missing" in said
    assert "the executor cannot be heard in this log folder" in said
    assert is_on(operator)


def test_off_shows_no_positions(operator):
    operator.publish(2, naked=2)
    said = operator.type("kill", "off", "--reason", "mended").stdout
    assert said.startswith("kill latch OFF: mended (")
    assert "S000USDT" not in said


# ---------------------------------------------------------------- what may be in its place


@pytest.mark.parametrize("content", [b"", b"off", b'{"on":false}', b"x" * 100_000])
def test_garbage_is_on_and_off_mends_it(operator, content):
    operator.type("kill", "off", "--reason", "first")
    (operator.log_dir / kill_latch.KILL_FILE).write_bytes(content)
    code, told = operator.type_json("kill", "status")
    assert (code, told["on"], told["reason"]) == (0, True, None)
    assert told["problem"]
    assert "the file cannot be read" in operator.type("kill", "status").stdout
    assert operator.type("kill", "off", "--reason", "mended").exit_code == 0
    assert not is_on(operator)


def test_a_folder_in_its_place_is_on_and_stays_on(operator):
    path = operator.log_dir / kill_latch.KILL_FILE
    (path / "inside").mkdir(parents=True)
    done = operator.type("kill", "on", "--reason", "runaway")
    assert done.exit_code == 0
    assert "run/kill.json not written" in done.stderr
    done = operator.type("kill", "off", "--reason", "mended")
    assert done.exit_code == 1
    assert "kill latch ON: the file cannot be read (not a regular file)" in done.stdout
    assert [outcome for _, _, outcome in operator.audit()] == ["on", "still on"]


def test_an_audit_that_cannot_be_written_is_said_and_stops_nothing(operator):
    (operator.log_dir / AUDIT.path).mkdir(parents=True)
    done = operator.type("kill", "on", "--reason", "runaway")
    assert done.exit_code == 0
    assert "not in the audit: execution/audit.jsonl: Is a directory" in done.stderr
    assert is_on(operator)


# ---------------------------------------------------------------- how it is asked


@pytest.mark.parametrize("verb", ["on", "off"])
@pytest.mark.parametrize("reason", [[], ["--reason", ""], ["--reason", " \n"]])
def test_a_reason_is_needed(operator, verb, reason):
    assert operator.type("kill", verb, *reason).exit_code == 2
    assert not (operator.log_dir / "run").exists()


def test_any_reason_becomes_one_line(operator):
    operator.type("kill", "on", "--reason", "  two\nlines \udcff " + "x" * 1_000)
    reason = operator.kill_json()["reason"]
    assert reason.startswith("two\\nlines \\udcff xxx")
    assert len(reason) == 300
    assert operator.audit() == [("kill_on", reason, "on")]


def test_a_folder_that_is_not_there_is_refused(operator, tmp_path):
    done = operator.type("kill", "on", "--reason", "r", "--log-dir", str(tmp_path / "lgos"))
    assert isinstance(done.exception, ConfigError)
    assert not (tmp_path / "lgos").exists()


def test_wrong_settings_do_not_stand_between_an_operator_and_the_latch(
    operator, tmp_path, monkeypatch
):
    shutil.copytree(ROOT / "ops", tmp_path / "ops")
    (tmp_path / "ops/risk.toml").write_text("nonsense = 1\n")
    monkeypatch.setenv("HEDGE_OPS_DIR", str(tmp_path / "ops"))
    monkeypatch.setenv("MARKET", "nowhere")
    assert hedge("kill", "on", "--reason", "runaway").returncode == 0
    assert is_on(operator)


def test_an_env_that_cannot_be_read_is_named_with_the_way_around_it(
    operator, tmp_path, monkeypatch
):
    (tmp_path / "broken.env").write_text("DRY_RUN\n")
    monkeypatch.setenv("HEDGE_ENV_FILE", str(tmp_path / "broken.env"))
    done = operator.type("kill", "on", "--reason", "runaway")
    assert isinstance(done.exception, ConfigError)
    assert "line 1: expected NAME=value; nothing was done: --log-dir" in str(done.exception)
    folder = ("--log-dir", str(operator.log_dir))
    assert operator.type("kill", "on", "--reason", "runaway", *folder).exit_code == 0
    assert is_on(operator)


# ---------------------------------------------------------------- the real process


def test_the_real_command(operator):
    done = hedge("kill", "on", "--reason", "runaway", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["on"], told["path"]) == (True, str(operator.log_dir / "run/kill.json"))
    path = operator.log_dir / "run/kill.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["kill.json"]
    assert hedge("kill", "status").returncode == 0
    assert hedge("kill", "off", "--reason", "mended").returncode == 0
    assert hedge("kill", "status").returncode == 1


def test_a_full_disk_does_not_keep_it_off(operator):
    operator.type("kill", "off", "--reason", "fine")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.cli", "kill", "on", "--reason", "runaway"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        # No file may have a byte, as on a disk that is full.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.returncode == 0
    assert "run/kill.json not written: File too large" in done.stderr
    assert "not in the audit" in done.stderr
    assert done.stdout.startswith("kill latch ON: the file cannot be read")
    assert is_on(operator)
