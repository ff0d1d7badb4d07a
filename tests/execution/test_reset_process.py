"""The real executor beside the real `hedge risk reset`, and killed right after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.jsonl_log import tail
from execution.state_schema import registry
from tests.support.accounts import Accounts, read
from tests.support.executors import Executor, write_ops

WHY = ("--reason", "a rehearsal")


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    """One whose day-loss limit is what a few fees come to."""
    made = Executor(tmp_path, write_ops(tmp_path, day_loss_limit_pct=0.001))
    yield made
    made.kill()


def is_stopped(executor: Executor) -> bool:
    risk = executor.store.read(registry.RISK_SNAPSHOT)
    return risk is not None and "day_loss_limit" in risk.trading_state_reasons


def kept(executor: Executor) -> tuple[float, float, int, int]:
    path = executor.log_dir / "ledger" / "paper-main.sqlite"
    (row,) = read(path, "SELECT * FROM anchors")
    return row["peak_usd"], row["day_start_usd"], row["stopped"], row["resets"]


def test_a_reset_ends_the_stop_is_audited_and_outlives_the_executor(executor: Executor) -> None:
    executor.start()
    executor.wait_for("the day-loss stop", lambda: is_stopped(executor))
    _, begun_usd, *limits = kept(executor)
    assert limits == [1, 0]
    # One that is down cannot answer; the request stands, and is carried out at the next start.
    executor.kill()
    asked = executor.hedge("risk", "reset", *WHY, "--wait", "0", "--json")
    assert asked.returncode == 3
    request = json.loads(asked.stdout)["command"]
    executor.start()
    executor.wait_for("the reset", lambda: kept(executor)[3] == 1)
    executor.kill()

    peak_usd, day_start_usd, _, _ = kept(executor)
    assert 0 < day_start_usd <= peak_usd
    assert day_start_usd != begun_usd  # NAV as it was then: the market went on meanwhile
    executor.start()
    executor.loops(3)
    assert kept(executor)[3] == 1
    nav = executor.store.read(registry.NAV)
    assert nav is not None
    assert nav.day_start_usd == day_start_usd

    acts = tail(executor.log_dir / registry.AUDIT.path, 100, registry.AUDIT.decoder.decode).records
    told = [(a.act, a.reason, a.outcome) for a in acts if a.command_id == request["id"]]
    assert told[0] == ("risk_reset", "a rehearsal", "asked")
    assert told[1][2].startswith("done")
    results = tail(
        executor.log_dir / registry.COMMAND_RESULTS.path,
        100,
        registry.COMMAND_RESULTS.decoder.decode,
    ).records
    assert [(r.id, r.outcome) for r in results] == [(request["id"], "done")]

    said = executor.hedge("risk", "reset", *WHY, "--wait", "20")
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.startswith("done: peak and day start are ")
    assert kept(executor)[3] == 2
    assert executor.stop()[0] == 0
    Accounts(executor.log_dir, executor.store).check_at_rest()
