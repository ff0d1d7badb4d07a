from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from execution.alert_command import WAITING, AlertCommand
from execution.clock import ManualClock
from execution.errors import ConfigError
from execution.services import Alerts, Services
from execution.state_schema.journals import Alert
from execution.toml_files import read_toml
from tests.support.executors import ROOT

NOW = 1_800_000_000.0
PATIENCE_S = 20.0
# Appends what it is told, and what it can see of us, to the file that it is named.
PAGER = """
import json, os, sys
told = json.load(sys.stdin)
with open(sys.argv[1], "a") as file:
    file.write(json.dumps({"told": told, "environ": dict(os.environ), "cwd": os.getcwd()}) + "\\n")
"""


def alert(text: str = "x", severity: str = "warning") -> Alert:
    return Alert(
        ts=NOW, run_id="r", severity=severity, kind="veto_everything", subject="cooldown", text=text
    )


class Desk:
    """An alert command on a manual clock, with what its program wrote."""

    def __init__(self, folder: Path, script: str = PAGER, *, deadline_s=10.0, pause_s=0.0) -> None:
        self.clock = ManualClock(NOW)
        self.out = folder / "out"
        program = folder / "pager.py"
        program.write_text(script)
        words = (sys.executable, "-I", str(program), str(self.out))
        terms = Alerts(alert_command=words, deadline_s=deadline_s, pause_s=pause_s)
        self.command = AlertCommand(terms, self.clock)
        self.missed: list[str] = []

    def beat(self) -> None:
        self.missed += [missed.kind for missed in self.command.beat()]

    def told(self) -> list[dict]:
        text = self.out.read_text() if self.out.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def until(self, done) -> None:
        """Beat until `done`, without any time going by on the clock."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s
            self.beat()
            time.sleep(0.01)

    @property
    def idle(self) -> bool:
        return self.command._running is None


@pytest.fixture
def desk(tmp_path: Path):
    made = []

    def make(*words, **terms) -> Desk:
        made.append(Desk(tmp_path, *words, **terms))
        return made[-1]

    yield make
    for each in made:
        each.command.close()


def test_the_program_gets_the_alert_as_json_and_nothing_else_of_ours(desk, monkeypatch) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", "planted-secret")
    one = desk()
    said = alert('péage, "quoted"\nand a second line')
    one.command.tell([said])
    one.until(lambda: one.told() and one.idle)
    (told,) = one.told()
    assert msgspec.convert(told["told"], Alert) == said
    assert set(told["environ"]) <= {"PATH", "LANG", "LC_CTYPE"}  # the last is the interpreter's own
    assert "planted-secret" not in one.out.read_text()
    assert told["cwd"] == "/"
    assert one.missed == []


def test_nothing_is_started_without_a_command() -> None:
    command = AlertCommand(Alerts((), 10.0, 0.0), ManualClock(NOW))
    command.tell([alert()])
    assert command.beat() == ()
    assert command._running is None


def test_alerts_wait_for_the_pause_and_the_most_severe_goes_first(desk) -> None:
    one = desk(pause_s=60.0)
    one.command.tell([alert("first", "info")])
    one.until(lambda: len(one.told()) == 1 and one.idle)
    one.command.tell([alert("low", "info"), alert("mid"), alert("high", "critical")])
    one.clock.advance(59.9)
    one.beat()
    assert one.idle
    for count in (2, 3, 4):
        one.clock.advance(60.0)
        one.until(lambda n=count: len(one.told()) == n and one.idle)
    assert [each["told"]["text"] for each in one.told()] == ["first", "high", "mid", "low"]
    assert one.missed == []


def test_a_program_that_hangs_is_killed_with_all_it_started_by_a_later_beat(desk) -> None:
    hang = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "w") as file:
    file.write(f"[{os.getpid()}, {child.pid}]\\n")
time.sleep(600)
"""
    one = desk(hang, deadline_s=5.0)
    one.command.tell([alert(), alert("next")])
    one.until(one.told)
    (pids,) = one.told()
    one.clock.advance(4.9)
    one.beat()
    assert not one.idle
    assert one.missed == []
    one.clock.advance(0.2)
    one.beat()
    assert one.missed == ["late"]
    one.until(lambda: not any(map(alive, pids)))


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("script", "missed"),
    [
        ("import sys; sys.exit(3)", ["failed"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", ["failed"]),
        ("import os; os.close(0)", []),  # it need not read
    ],
)
def test_how_it_ends_is_counted(desk, script: str, missed: list[str]) -> None:
    one = desk(script)
    one.command.tell([alert()])
    one.beat()
    assert not one.idle
    one.until(lambda: one.idle)
    assert one.missed == missed


def test_a_program_that_cannot_be_started_is_counted_and_the_next_alert_is_tried(tmp_path) -> None:
    (tmp_path / "page").write_text("not executable")
    clock = ManualClock(NOW)
    command = AlertCommand(Alerts((str(tmp_path / "page"),), 10.0, 1.0), clock)
    command.tell([alert(), alert()])
    assert [missed.kind for missed in command.beat()] == ["not_started"]
    assert command.beat() == ()
    clock.advance(1.0)
    assert [missed.kind for missed in command.beat()] == ["not_started"]


def test_a_flood_is_cut_and_what_is_dropped_is_the_least_severe(desk) -> None:
    one = desk(pause_s=1000.0)
    one.command.tell([alert(severity="info")])
    one.until(lambda: one.told() and one.idle)
    one.command.tell([alert(f"{n}", "info") for n in range(2 * WAITING)])
    one.command.tell([alert("worst", "critical")])
    one.beat()
    assert one.missed == ["dropped"]
    one.clock.advance(1000.0)
    one.until(lambda: len(one.told()) == 2)
    assert one.told()[1]["told"]["text"] == "worst"


def test_an_alert_that_does_not_fit_a_pipe_is_not_waited_for(desk) -> None:
    one = desk("import time; time.sleep(600)")
    one.command.tell([alert("x" * 4_000_000)])
    one.beat()
    assert one.missed == ["untold"]


def test_closing_ends_what_runs(desk) -> None:
    one = desk(
        "import os, sys, time\nopen(sys.argv[1], 'w').write(f'{os.getpid()}\\n')\ntime.sleep(600)"
    )
    one.command.tell([alert()])
    one.until(one.told)
    one.command.close()
    assert not alive(one.told()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(one.told()[0], signal.SIGCONT)


@pytest.mark.parametrize("line", ['["page"]', '["", "x"]', '["/bin/true\\u0000"]', '"/bin/true"'])
def test_a_command_that_cannot_be_one_refuses_to_start_and_is_named(tmp_path, line) -> None:
    text = (ROOT / "ops" / "services.toml").read_text()
    changed = tmp_path / "services.toml"
    changed.write_text(text.replace("alert_command = []", f"alert_command = {line}"))
    with pytest.raises(ConfigError, match="alert_command"):
        read_toml(changed, Services)
