from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.clock import ManualClock
from execution.core.outside import Asking
from execution.core.policy import Module
from execution.core.types import ModuleAnswer
from execution.services import Modules
from execution.strategy_process import StrategyProcess
from tests.support import builders, policies
from tests.support.executors import ROOT

PATIENCE_S = 30.0
ASKING = Asking("mine", "BTCUSDT", 60, builders.bars([100.0] * 30 + [105.0]))
TERMS = Modules(start_s=20.0, failures=4, failures_window_s=3600.0, restart_s=8.0, memory_mb=1024)
DIES = "import os\ndef decide(symbol, bars):\n    os._exit(3)\n"


class Asked:
    """A module's process on a manual clock, looked at until something comes of it."""

    def __init__(self, folder: Path, text: str, *, module="mine:decide", patient=False) -> None:
        (folder / "mine.py").write_text(text)
        self.clock = ManualClock(builders.NOW)
        strategy = Module(
            name="mine",
            markets=("sim",),
            symbols=("BTCUSDT",),
            bar_s=60,
            module=module,
            window_bars=31,
            answer_s=2.0,
            exits=policies.EXITS,
        )
        self.process = StrategyProcess(strategy, folder, TERMS, self.clock, patient=patient)
        self.answers: list[ModuleAnswer] = []
        self.failures: list[str] = []

    def beat(self, *askings: Asking) -> None:
        beaten = self.process.beat(askings)
        self.answers += beaten.answers
        self.failures += [f"{type(each.error).__name__} {each.error}" for each in beaten.failures]

    def until(self, done) -> None:
        """Beat until `done`, without any time going by on the clock."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s, self.failures
            self.beat()
            time.sleep(0.01)

    @property
    def is_ready(self) -> bool:
        return self.process._child is not None and self.process._child.ready

    def ask(self) -> None:
        self.until(lambda: self.is_ready)
        self.beat(ASKING)


@pytest.fixture
def ended() -> Iterator[list[Asked]]:
    made: list[Asked] = []
    yield made
    for each in made:
        each.process.close()


@pytest.fixture
def asked(tmp_path: Path, ended: list[Asked]):
    def make(text: str, **fields) -> Asked:
        ended.append(Asked(tmp_path, text, **fields))
        return ended[-1]

    return make


def test_the_example_answers(asked):
    example = asked((ROOT / "ops" / "strategies" / "breakout.py").read_text())
    example.ask()
    example.until(lambda: example.answers)
    (answer,) = example.answers
    assert (answer.symbol, answer.bar_open_ts) == ("BTCUSDT", ASKING.bars[-1].ts)
    assert [(want.action, want.side) for want in answer.wants] == [
        ("entry", "LONG"),
        ("exit", "SHORT"),
    ]


def test_an_entry_point_of_the_group_is_found_by_its_name(asked, tmp_path: Path):
    told = tmp_path / "mine-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[hedge.strategies]\nby-name = mine:decide\n")
    found = asked("def decide(symbol, bars):\n    return []\n", module="by-name")
    found.ask()
    found.until(lambda: found.answers)
    assert found.answers[0].wants == ()
    missing = asked("", module="nobody")
    missing.until(lambda: missing.failures)
    assert "no entry point nobody in group hedge.strategies" in missing.failures[0]


def test_one_that_dies_is_started_again_after_a_pause_that_doubles(asked):
    dying = asked(DIES)
    for times, pause_s in ((1, 8.0), (2, 16.0), (3, 32.0)):
        dying.ask()
        dying.until(lambda count=times: len(dying.failures) == count)
        assert dying.failures[-1] == "ChildProcessError ended with 3"
        dying.clock.advance(pause_s - 0.1)
        dying.beat()
        assert dying.process._child is None
        dying.clock.advance(0.1)
    dying.ask()
    dying.until(lambda: dying.process.off)
    assert dying.process.off == "switched off after 4 failures, the last: ended with 3"
    dying.clock.advance(1e6)
    dying.beat(ASKING)
    assert dying.process._child is None


def test_failures_of_long_ago_switch_nothing_off(asked):
    raising = asked("def decide(symbol, bars):\n    raise RuntimeError(symbol)\n")
    for times in range(1, TERMS.failures + 2):
        raising.ask()
        raising.until(lambda count=times: len(raising.failures) == count)
        raising.clock.advance(TERMS.failures_window_s / 2)
    assert raising.process.off is None
    assert raising.failures[0] == "RuntimeError RuntimeError: BTCUSDT"


def test_an_answer_after_its_deadline_is_none_and_counted(asked):
    slow = asked("def decide(symbol, bars):\n    while True:\n        pass\n")
    slow.ask()
    pid = slow.process._child.process.pid
    slow.clock.advance(2.0)
    slow.beat()
    assert slow.failures == []
    slow.clock.advance(0.1)
    slow.beat()
    assert slow.failures == ["TimeoutError BTCUSDT: no answer within 2 s: killed"]
    assert not Path(f"/proc/{pid}").exists()
    assert slow.answers == []


def test_one_that_takes_all_memory_gets_an_error_of_its_own(asked):
    greedy = asked("def decide(symbol, bars):\n    return [0] * 10**9\n")
    greedy.ask()
    greedy.until(lambda: greedy.failures)
    assert greedy.failures[0].startswith("RuntimeError MemoryError")


def test_a_replay_waits_for_the_answer(asked):
    patient = asked(
        "import time\ndef decide(symbol, bars):\n    time.sleep(0.2)\n    return []\n", patient=True
    )
    patient.beat(ASKING)
    assert [answer.symbol for answer in patient.answers] == ["BTCUSDT"]
    assert patient.failures == []
