"""What files and exchanges say reaches a person's terminal as plain text, on one line."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.table import Table

from execution import kill_latch
from execution.environment import ROOT
from execution.state_schema import registry
from execution.state_schema.operator_files import CommandResult, KillFile
from execution.state_store import StateStore
from scripts import cli
from scripts.cli import hedge
from scripts.cli.terminal import Terminal, say
from tests.support.operators import NOW, Operator

HOSTILE = "\x1b]0;t\x07\x1b[2J\x9b1A\u202eTDSU\u200b\r\nkill latch OFF[/b] :smile: \0"
WIDE = {"COLUMNS": "2000"}


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    made = Operator(tmp_path / "logs")
    made.publish()
    store = StateStore(made.log_dir, made.clock)
    positions = store.read(registry.POSITIONS)
    assert positions is not None
    rows = tuple(replace(row, symbol=f"{HOSTILE}{row.symbol}") for row in positions.rows)
    store.write(registry.POSITIONS, replace(positions, rows=rows))
    return made


def type_in_colour(operator: Operator, *words: str) -> Result:
    """Run `hedge` as on a terminal: nothing is stripped on the way."""
    runner = CliRunner(env={**WIDE, "HEDGE_LOG_DIR": str(operator.log_dir)})
    done = runner.invoke(hedge, [*words], obj=operator.clock, color=True)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def assert_plain(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), repr(line)
        assert not line.startswith("kill latch OFF[")


def test_symbols_and_reasons_are_shown_as_they_are_written(operator: Operator) -> None:
    told = KillFile(on=True, ts=NOW, user=HOSTILE, reason=HOSTILE)
    kill_latch.write(operator.log_dir, told)
    shown = type_in_colour(operator, "kill", "status", "--log-dir", str(operator.log_dir))
    assert_plain(shown.output)
    assert (
        shown.output.count(r"\x1b[2J\x9b1A\u202eTDSU\u200b\r\nkill latch OFF[/b] :smile: \x00") >= 4
    )


def test_a_latch_that_is_no_latch_is_quoted_as_text(operator: Operator) -> None:
    path = operator.log_dir / "run/kill.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode({HOSTILE: 1}))
    shown = type_in_colour(operator, "kill", "status", "--log-dir", str(operator.log_dir))
    assert shown.exit_code == 0
    assert_plain(shown.output)
    assert "cannot be read" in shown.output


def test_the_executors_answer_is_shown_as_text(operator: Operator) -> None:
    executor = operator.executor()

    def answer() -> None:
        for command in executor.read(operator.clock.now()).pending:
            told = CommandResult(ts=NOW, run_id="r", id=command.id, outcome="done", detail=HOSTILE)
            path = operator.log_dir / registry.COMMAND_RESULTS.path
            with path.open("ab") as file:
                file.write(msgspec.json.encode(told) + b"\n")

    operator.clock.meanwhile = answer
    words = ("flatten", "--yes", "--reason", "r", "--log-dir", str(operator.log_dir))
    shown = type_in_colour(operator, *words)
    assert shown.exit_code == 0
    assert_plain(shown.output)
    assert r"done: \x1b]0;t" in shown.output


@pytest.mark.parametrize("words", [("status",), ("contract", "check")])
def test_files_of_hostile_content_are_named_and_quoted(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HEDGE_LOG_DIR", str(operator.log_dir))
    for file in (registry.NAV, registry.RISK_SNAPSHOT):
        content = {"schema_version": file.version, "seq": 1, f"[/b]{HOSTILE}": 1}
        (operator.log_dir / file.path).write_bytes(msgspec.json.encode(content))
    health = operator.log_dir / registry.EXECUTOR_HEALTH.path
    health.write_bytes(health.read_bytes().replace(b'"paper"', b'"[/b]\\u001b[2J"'))
    (operator.log_dir / registry.ORDERS_EXECUTED.path).mkdir(parents=True)
    line = msgspec.json.encode({"event": f"[/b]{HOSTILE}", "ts": 1.0, "run_id": "r"})
    (operator.log_dir / registry.RISK_VETOES.path).write_bytes(line + b"\n")
    shown = type_in_colour(operator, *words)
    assert shown.exit_code == 1
    assert_plain(shown.output)
    assert "[/b]" in shown.output
    if words[0] == "contract":
        assert "cannot be read: not a regular file" in shown.output


def test_a_refusal_to_start_quotes_a_file_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("ENV='\x1b[2Jprod'\n")
    monkeypatch.setenv("HEDGE_ENV_FILE", str(env_file))
    monkeypatch.setattr("sys.argv", ["hedge", "status"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 78
    told = capsys.readouterr().err
    assert_plain(told)
    assert told.startswith("hedge: ENV=")


@given(st.text())
def test_a_line_that_is_said_is_plain(text: str) -> None:
    @click.command()
    def speak() -> None:
        say(text)

    assert_plain(CliRunner().invoke(speak, color=True).output)


@given(st.text())
def test_a_cell_is_plain_and_one_line(text: str) -> None:
    table = Table(title=text, show_edge=False)
    table.add_column("a", overflow="fold")
    table.add_row(text)
    console = Terminal(piped_width=4_000)
    with console.capture() as capture:
        console.print(table)
        console.print(text, soft_wrap=True)
    assert_plain(capture.get())


def test_only_the_terminal_and_json_print() -> None:
    """Whoever prints a text of a file past `Terminal` and `say` brings its escapes to the screen."""
    for path in sorted((ROOT / "scripts/cli").glob("*.py")):
        if path.name == "terminal.py":
            continue
        text = path.read_text()
        assert " Console(" not in text, path
        for line in text.splitlines():
            if "click.echo(" in line:
                assert "json" in line or "{" not in line, line
