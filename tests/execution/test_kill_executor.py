"""The real executor, killed at any moment while its exchange misbehaves: nothing lost or doubled."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.accounts import Accounts
from tests.support.executors import Executor, write_ops

LIFE_S = (0.1, 2.5)
SETTLE_EVERY = 10
# What no answer has proven within this long never will be: core.reconcile.VISIBLE_AFTER_S, twice.
SETTLE_S = 45.0

PLAN = """
seed = {seed}
calm_after_s = 3600.0
[[fault]]
kind = "reply_lost"
calls = ["submit", "cancel"]
frac = 0.15
[[fault]]
kind = "request_lost"
calls = ["submit", "cancel"]
frac = 0.04
[[fault]]
kind = "late_arrival"
frac = 0.08
delay_s = 1.0
[[fault]]
kind = "broken_reply"
how = "garbage"
calls = ["submit", "cancel"]
frac = 0.08
arrived_frac = 0.9
[[fault]]
kind = "refused"
frac = 0.05
codes = ["-2019", "-1111", "-5022"]
[[fault]]
kind = "duplicate_id"
frac = 0.08
[[fault]]
kind = "request_lost"
calls = ["observe", "find_order", "trades", "cash"]
frac = 0.03
[[fault]]
kind = "orders_late"
frac = 0.2
lag_s = 1.0
[[fault]]
kind = "trades_late"
frac = 0.2
lag_s = 1.5
[[fault]]
kind = "trades_repeated"
frac = 0.2
[[fault]]
kind = "trades_reordered"
frac = 0.2
[[fault]]
kind = "positions_empty"
frac = 0.01
[[fault]]
kind = "missing_balance"
frac = 0.01
# Most of a loop is a pause: this makes the time longer in which a kill meets an order under way.
[[fault]]
kind = "slow"
frac = 0.7
calls = ["submit", "cancel"]
delay_s = 0.12
"""


class Rehearsal:
    """Rounds of trading in bad weather, each ended by a kill and looked at in calm weather."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.executor = Executor(folder, write_ops(folder))
        self.accounts = Accounts(self.executor.log_dir, self.executor.store)
        self.met: Counter[str] = Counter()

    def begin(self) -> None:
        """Open both books in calm weather."""
        self.executor.start()
        self.executor.stop()

    def round(self, number: int, *, settle: bool) -> None:
        plan = self.folder / f"faults-{number}.toml"
        plan.write_text(PLAN.format(seed=number))
        storm = self.executor.spawn(plan)
        time.sleep(self.rng.uniform(*LIFE_S))
        assert storm.poll() is None, self.executor.said[-2000:]
        storm.kill()
        storm.wait(30)
        left = Counter(row["state"] for row in self.accounts.orders())
        self.met.update({f"left {state}": left[state] for state in ("PREP", "UNKNOWN")})
        self.accounts.check_any_moment()

        self.executor.start()
        self.executor.loops(3)
        if settle:
            self.executor.wait_for("nothing is UNKNOWN", self.is_settled, SETTLE_S)
        code, _ = self.executor.stop()
        assert code == 0
        self.accounts.check_at_rest()

    def is_settled(self) -> bool:
        return not any(row["state"] in ("PREP", "UNKNOWN") for row in self.accounts.orders())

    def check_that_it_meant_something(self, rounds: int) -> None:
        """Assert that much was traded, and that kills and faults met orders under way."""
        rehearsed = self.executor.said.count("rehearsed call=submit")
        orders, trades = len(self.accounts.orders()), len(self.accounts.trades())
        print(f"rounds={rounds} orders={orders} trades={trades} {rehearsed=} {dict(self.met)}")
        assert orders >= 3 * rounds
        assert trades >= rounds
        assert rehearsed >= rounds


@pytest.fixture
def rehearsal(tmp_path: Path):
    made = Rehearsal(tmp_path, seed=20_261_121)
    made.begin()
    yield made
    made.executor.kill()


def test_three_kills_leave_one_account(rehearsal: Rehearsal) -> None:
    for number in range(3):
        rehearsal.round(number, settle=False)
    rehearsal.check_that_it_meant_something(3)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_fifty_kills_leave_one_account_and_nothing_unknown(rehearsal: Rehearsal) -> None:
    for number in range(1, 51):
        rehearsal.round(number, settle=number % SETTLE_EVERY == 0)
    rehearsal.check_that_it_meant_something(50)
    assert rehearsal.met["left PREP"] + rehearsal.met["left UNKNOWN"] > 0
    assert rehearsal.is_settled()
