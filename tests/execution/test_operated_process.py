"""The real executor beside the real `hedge kill` and `hedge flatten`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.state_schema import registry
from tests.support.accounts import Accounts, Row
from tests.support.executors import PATIENT, Executor, write_ops

WHY = ("--reason", "a rehearsal")


class Operated:
    """An executor with entries that rest and positions with their stops."""

    def __init__(self, folder: Path, **changes: object) -> None:
        ops = write_ops(folder, hold_bars=1000, **PATIENT, **changes)
        self.executor = Executor(folder, ops)
        self.accounts = Accounts(self.executor.log_dir, self.executor.store)
        self.executor.start()
        self.executor.wait_for("an entry and a stop rest", self.is_rich)

    def is_rich(self) -> bool:
        return self.actions() >= {"entry", "protect"}

    def actions(self) -> set[str]:
        """Name the kinds of orders that rest at the venue."""
        return {row["action"] for row in self.accounts.resting()}

    def sent(self) -> list[Row]:
        return self.accounts.of_venue("SELECT * FROM orders ORDER BY id")

    def reasons(self) -> tuple[str, tuple[str, ...]]:
        risk = self.executor.store.read(registry.RISK_SNAPSHOT)
        assert risk is not None
        return risk.trading_state, risk.trading_state_reasons

    def kill_on(self) -> None:
        said = self.executor.hedge("kill", "on", *WHY)
        assert said.returncode == 0, said.stderr
        self.wait_until_halted()

    def wait_until_halted(self) -> None:
        """Wait until the executor goes by the latch: only then is what rests what stays."""

        def is_halted() -> bool:
            health = self.executor.health()
            return health is not None and health.kill_latch and "entry" not in self.actions()

        self.executor.wait_for("the latch is heard and the entries are canceled", is_halted)

    def watch_stops(self, loops: int) -> None:
        """Watch that stops stay: only what filled as the latch was heard has none, and gets none."""
        bare = self.accounts.bare_legs()
        self.executor.loops(loops)
        assert self.accounts.bare_legs() <= bare
        assert self.accounts.canceled_stops() == []


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    made = Operated(tmp_path)
    yield made
    made.executor.kill()


def test_kill_on_cancels_entries_keeps_stops_and_sends_nothing_until_off(
    operated: Operated,
) -> None:
    executor = operated.executor
    operated.kill_on()
    sent = operated.sent()

    operated.watch_stops(loops=40)  # two bars, each full of signals
    assert [row["id"] for row in operated.sent()] == [row["id"] for row in sent]
    assert operated.reasons() == ("HALTED", ("kill_switch",))
    health = executor.health()
    assert health is not None
    assert (health.trading_state, health.kill_latch) == ("HALTED", True)

    assert executor.hedge("kill", "off", *WHY).returncode == 0
    executor.wait_for("entries are sent again", lambda: len(operated.sent()) > len(sent))
    assert executor.stop()[0] == 0
    operated.accounts.check_at_rest()


def test_kill_on_with_the_executor_dead_holds_at_its_start(operated: Operated) -> None:
    executor = operated.executor
    executor.kill()
    assert executor.hedge("kill", "on", *WHY).returncode == 0
    assert executor.hedge("kill", "status").returncode == 0
    sent = operated.sent()

    executor.start()
    operated.wait_until_halted()
    operated.watch_stops(loops=25)
    assert operated.reasons() == ("HALTED", ("kill_switch",))
    new = [row for row in operated.sent() if row["id"] > sent[-1]["id"]]
    assert new == []
    assert executor.stop()[0] == 0
    operated.accounts.check_at_rest()


@pytest.fixture
def sated(tmp_path: Path) -> Iterator[Operated]:
    """One that soon stops asking for more: whoever goes on entering is flat for moments only."""
    made = Operated(tmp_path, entries_per_symbol_window=2)
    yield made
    made.executor.kill()


@pytest.mark.parametrize("killed", [False, True])
def test_flatten_closes_every_position_and_answers_done(sated: Operated, killed: bool) -> None:
    operated, executor, accounts = sated, sated.executor, sated.accounts
    if killed:
        operated.kill_on()
    assert accounts.venue_legs() != {}
    known = {row["client_id"] for row in accounts.orders()}

    said = executor.hedge("flatten", "--yes", *WHY, "--wait", "30", "--json")
    assert said.returncode == 0, said.stdout + said.stderr
    assert json.loads(said.stdout)["outcome"] == "done"

    flattened = [row for row in accounts.orders() if row["action"] == "flatten"]
    assert flattened != []
    assert all(row["reduce_only"] for row in flattened)
    if killed:
        executor.loops(5)
        assert accounts.venue_legs() == {} == accounts.ledger_legs()
        assert accounts.resting() == []
        new = [row for row in accounts.orders() if row["client_id"] not in known]
        assert {row["action"] for row in new} == {"flatten"}
    assert executor.stop()[0] == 0
    accounts.check_at_rest()
