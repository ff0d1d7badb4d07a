"""The real executor, asked to end, stopped in its sleep, and started twice."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.errors import EXIT_LOCKED
from tests.support.accounts import Accounts
from tests.support.executors import PATIENT, Executor, write_ops

SLEEP_S = 6.0
LONG_SLEEP_S = 30.0
# Every call is told in the log, and is a millisecond slower for it.
TOLD = """
seed = 1
calm_after_s = 3600.0
[[fault]]
kind = "slow"
frac = 1.0
delay_s = 0.001
"""
OPEN = ("PREP", "LIVE", "PARTIAL", "UNKNOWN")
CALL = re.compile(r"rehearsed call=(\w+) fault=slow")


def make(folder: Path, **changes: object) -> tuple[Executor, Accounts]:
    executor = Executor(folder, write_ops(folder, **changes))
    return executor, Accounts(executor.log_dir, executor.store)


@pytest.fixture(params=["cancel", "keep"])
def ending(request, tmp_path: Path) -> Iterator[tuple[str, Executor, Accounts]]:
    """An executor with entries that rest and a position with its stop, under either policy."""
    told = {"resting_entries_on_stop": f'"{request.param}"'}
    executor, accounts = make(tmp_path, hold_bars=1000, **PATIENT, **told)
    executor.start()
    executor.wait_for(
        "an entry and a stop rest",
        lambda: {row["action"] for row in accounts.resting()} >= {"entry", "protect"},
    )
    yield request.param, executor, accounts
    executor.kill()


def test_asked_to_end_it_ends_in_time_and_its_stops_stay(
    ending: tuple[str, Executor, Accounts],
) -> None:
    policy, executor, accounts = ending
    code, seconds = executor.stop()

    assert code == 0
    assert seconds < 10.0
    resting = accounts.resting()
    entries = [row["client_id"] for row in resting if row["action"] == "entry"]
    assert bool(entries) is (policy == "keep")
    stopped = {
        (row["symbol"], row["position_side"]) for row in resting if row["action"] == "protect"
    }
    assert stopped == accounts.venue_legs().keys() != set()
    accounts.check_at_rest()
    health = executor.health()
    assert health is not None
    assert health.open_orders == len(resting)
    by_ledger = {row["client_id"] for row in accounts.orders() if row["state"] in OPEN}
    assert by_ledger == {row["client_id"] for row in resting}

    executor.start()
    executor.loops(2)
    accounts.check_any_moment()
    states = {row["client_id"]: row["state"] for row in accounts.orders()}
    # Canceled where the strategy has said exit since: of each one it is known what became of it.
    known = ("LIVE", "PARTIAL", "FILLED", "CANCELED")
    assert all(states[name] in known for name in entries)


def test_a_second_one_exits_and_names_the_first(tmp_path: Path) -> None:
    executor, accounts = make(tmp_path)
    executor.start()
    first = executor.pid
    try:
        second = executor.spawn()
        assert second.wait(30) == EXIT_LOCKED == 75
        assert f"executor.lock: held by executor (pid {first})" in executor.said
        executor.loops(3)
        assert executor.stop()[0] == 0
        accounts.check_at_rest()
    finally:
        executor.kill()


# ---------------------------------------------------------------- stopped, and continued


@pytest.mark.parametrize("seconds", [SLEEP_S, pytest.param(LONG_SLEEP_S, marks=pytest.mark.full)])
def test_after_a_sleep_it_reconciles_before_it_sends(tmp_path: Path, seconds: float) -> None:
    executor, accounts = make(tmp_path, loop_s=0.2)
    plan = tmp_path / "told.toml"
    plan.write_text(TOLD)
    executor.start(plan)
    try:
        executor.wait_for("it trades", lambda: len(accounts.trades()) >= 3)
        executor.wait_for(
            "what may fill meanwhile rests",
            lambda: sum(row["action"] == "entry" for row in accounts.resting()) >= 2,
        )
        executor.loops(1)  # it has just published, and now it waits
        executor.signal(signal.SIGSTOP)
        stopped_ts = time.time()
        told, known = len(executor.said), len(accounts.orders())
        fills = len(accounts.fills())
        threading.Event().wait(seconds)
        assert len(executor.said) == told
        continued_ts = time.time()
        executor.signal(signal.SIGCONT)
        executor.wait_for("it sends again", lambda: "submit" in CALL.findall(executor.said[told:]))
        executor.loops(5)
        assert executor.stop()[0] == 0
    finally:
        executor.kill()

    calls = CALL.findall(executor.said[told:])
    before = calls[: calls.index("submit")]
    assert before[0] == "observe"
    sent = accounts.orders()[known:]
    assert sent != []
    assert min(row["signed_ts"] for row in sent) >= continued_ts
    asleep = [row for row in accounts.trades() if stopped_ts <= row["ts"] <= continued_ts]
    print(f"slept={seconds} calls_before_submit={before} traded_asleep={len(asleep)} {fills=}")
    # What happened meanwhile was read before anything was sent.
    assert asleep == [] or "trades" in before
    accounts.check_at_rest()
