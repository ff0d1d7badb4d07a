"""The shared pair between processes: whoever is stopped, the others keep it fresh and honest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from execution.clock import SystemClock
from execution.state_schema import registry
from execution.state_schema.files import CompareSummary, ShadowHead
from execution.state_schema.journals import ShadowDecision
from execution.state_store import StateStore
from tests.support.executors import ROOT, write_ops

HEARTBEAT, COMPARE = "scripts.pipeline_shadow_heartbeat", "scripts.pipeline_compare_service"
EXECUTOR = "execution.executor_live"
DEADLINE_S = 60.0


class Suite:
    """An executor and the two services as processes of one log folder, on brisk timers."""

    def __init__(self, folder: Path) -> None:
        self.log_dir = folder / "logs"
        self.log_dir.mkdir()
        self.store = StateStore(self.log_dir, SystemClock())
        self._ops = write_ops(folder, shadow_head_s=0.3, compare_s=0.3)
        services = self._ops / "services.toml"
        text = services.read_text()
        for was, now in (
            ("interval_s = 600.0", "interval_s = 0.4"),
            ("interval_s = 900.0", "interval_s = 0.4"),
            ("beat_s = 30.0", "beat_s = 0.2"),
        ):
            assert was in text
            text = text.replace(was, now)
        services.write_text(text)
        (self._ops / "shadow.toml").write_text("[strategy.brisk-fade]\nentry_z = 1.0\n")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, module: str) -> None:
        variables = {
            "HEDGE_LOG_DIR": str(self.log_dir),
            "HEDGE_OPS_DIR": str(self._ops),
            "PIPELINE_V6_SHADOW_ENABLED": "1",
        }
        self._running[module] = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=os.environ | variables,
            stderr=subprocess.DEVNULL,
        )

    def stop(self, module: str) -> None:
        process = self._running.pop(module)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0

    def kill(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def head(self) -> ShadowHead:
        found = self.store.read(registry.SHADOW_HEAD)
        assert found is not None
        return found

    def summary(self) -> CompareSummary:
        found = self.store.read(registry.COMPARE_SUMMARY)
        assert found is not None
        return found

    def wait_for(self, what: str, condition: Callable[[], object]) -> None:
        until_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < until_s, f"waited in vain: {what}"
            assert all(process.poll() is None for process in self._running.values())
            time.sleep(0.05)

    def both_move(self) -> None:
        """Wait until both files were computed anew, twice."""
        for _ in range(2):
            head, summary = self.head(), self.summary()
            self.wait_for("the head is fresh", partial(self._is_newer, self.head, head))
            self.wait_for("the summary is fresh", partial(self._is_newer, self.summary, summary))

    @staticmethod
    def _is_newer(read: Callable[[], ShadowHead | CompareSummary], than: Any) -> bool:
        return read().generated_ts > than.generated_ts


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    made = Suite(tmp_path)
    yield made
    made.kill()


def test_whoever_is_stopped_the_others_keep_the_pair_fresh_and_honest(suite: Suite) -> None:
    suite.start(EXECUTOR)
    suite.wait_for(
        "it decides", lambda: (head := suite.store.read(registry.SHADOW_HEAD)) and head.total > 5
    )
    suite.wait_for("it compares", lambda: suite.store.read(registry.COMPARE_SUMMARY) is not None)
    suite.both_move()  # without either service
    suite.start(HEARTBEAT)
    suite.start(COMPARE)
    for file in (registry.PROCESS_SHADOW_HEARTBEAT, registry.PROCESS_COMPARE):
        suite.wait_for(f"{file.name} beats", lambda file=file: suite.store.read(file) is not None)
    suite.both_move()

    suite.stop(EXECUTOR)
    suite.both_move()  # what it decided last is counted now
    stopped, compared = suite.head(), suite.summary()
    suite.both_move()
    later = suite.head()
    assert isinstance(later.last_decision, ShadowDecision)
    assert later.last_decision == stopped.last_decision
    assert (later.total, later.allowed) == (stopped.total, stopped.allowed)
    assert stopped.last_decision_age_s is not None
    assert later.last_decision_age_s is not None
    grown_s = later.last_decision_age_s - stopped.last_decision_age_s
    assert grown_s == pytest.approx(later.generated_ts - stopped.generated_ts)
    assert grown_s > 0
    assert later.heartbeat_ts is not None
    assert later.heartbeat_ts > later.last_decision.ts
    assert suite.summary().sample_size == compared.sample_size > 0
    assert suite.summary().shadow_policy == compared.shadow_policy is not None

    suite.start(EXECUTOR)
    suite.stop(HEARTBEAT)
    suite.stop(COMPARE)
    suite.wait_for("it decides again", lambda: suite.head().total > later.total)
    suite.both_move()
    assert suite.summary().sample_size >= compared.sample_size
