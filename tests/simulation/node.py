"""One executor process in the simulation, put together from the production pieces."""

from __future__ import annotations

import math
import sqlite3
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from execution.clock import Days
from execution.core import book
from execution.core.policy import Policy
from execution.core.records import KillLatch
from execution.core.seam import Blind
from execution.core.types import EngineState
from execution.errors import LedgerFull
from execution.executor_live import run_tick
from execution.ledger import Ledger
from execution.locks import Lock, hold
from execution.operator_requests import Asked
from execution.order_desk import OrderDesk
from execution.reconciler import Reconciler
from execution.shadow_runner import ShadowRunner
from execution.signal_sources import NoSources
from execution.state_schema.operator_files import Command, Flatten, Outcome
from tests.simulation.disk import Disk, SimulatedFile
from tests.simulation.policies import SYMBOLS
from tests.simulation.wire import Line

if TYPE_CHECKING:
    from tests.simulation.world import World

RECONCILE_S = 5.0


class Parts:
    """The production pieces that an executor is put together from; a mutant overrides one."""

    name = ""
    durable = True
    ledger: type[Ledger] = Ledger
    reconciler: type[Reconciler] = Reconciler
    desk: type[OrderDesk] = OrderDesk

    def lock(self, path: Path) -> Lock | None:
        """Take the executor's lock."""
        return hold(path, "executor")

    def policy(self, policy: Policy) -> Policy:
        """Return the policy to decide by."""
        return policy


class Operator:
    """Somebody who kills and flattens now and then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wishes: dict[str, Flatten] = {}
        self._asked = 0
        self.kill: KillLatch | None = None

    def read(self, now: float) -> Asked:
        """Return what is asked, as OperatorRequests does."""
        on = self._world.weather.holds("kill", self._world.exchange.now)
        if on or self.kill is not None:
            self.kill = KillLatch(on=on, reason="storm", ts=now)
        return Asked(self.kill, tuple(self._wishes.values()))

    def wish(self, now: float) -> None:
        """Ask for everything, or one symbol, to be closed."""
        self._asked += 1
        wish = Flatten(
            ts=now,
            run_id="",
            id=f"flatten{self._asked}",
            user="somebody",
            reason="storm",
            symbol=self._world.rng.choice((None, *SYMBOLS)),
        )
        self._wishes[wish.id] = wish

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        """Hear what became of a wish."""
        self._world.tell(f"{command.id} {outcome} {detail}")
        if outcome != "accepted":
            self._wishes.pop(command.id, None)


class Node:
    """One executor process: what production's Engine is to `run_tick`."""

    def __init__(self, world: World, disk: Disk, lock: Lock | None) -> None:
        parts, policy = world.parts, world.policy
        self.world = world
        self.disk = disk
        self.lock = lock
        self.clock = world.clock
        self.started_ts = self.began_ts = world.exchange.now
        self.policy = policy
        self.live_policy = parts.policy(policy)
        self.shadow = ShadowRunner(None, world.clock, budget_ms=0.0, rest_s=0.0)
        self.sources = NoSources()
        self.file = SimulatedFile(disk, world.crash, durable=parts.durable)
        self.ledger = parts.ledger(self.file)
        self.venue = self.line = Line(world, lambda order: world.watch.requested(self, order))
        self.desk = parts.desk(
            self.ledger,
            self.line,
            parts.reconciler(self.ledger, self.line, world.clock, "paper"),
            Days(policy.limits.book.day_time_zone),
            "paper",
            RECONCILE_S,
            policy.limits,
            world.operator,
            world.clock,
        )
        # The journal of attempts, which this is read back from, may have lost its end.
        decided = world.decided if world.rng.random() < 0.7 else {}
        self.state: EngineState = book.start([self.live_policy], decided)
        self._clean_ts = -math.inf

    @property
    def is_killed(self) -> bool:
        """Tell whether the last read of the latch said so."""
        kill = self.world.operator.kill
        return kill is not None and kill.on

    @property
    def clean_ts(self) -> float:
        """Return the start of the last tick in which the venue answered every question."""
        silent = self.line.was_silent or self.line.seen is None
        return self._clean_ts if silent else self.line.tick_ts

    def tick(self) -> None:
        """Run one tick as the executor's beat does: a full disk ends the tick, not the process."""
        world = self.world
        self.began_ts = world.exchange.now
        self.disk.feel(world.weather, self.began_ts)
        try:
            report = run_tick(self, self.state)
        except LedgerFull as error:
            world.tell(f"tick failed: {error}")
            return
        except (ArithmeticError, LookupError, TypeError, ValueError, sqlite3.Error) as error:
            told = "".join(traceback.format_tb(error.__traceback__)[-4:])
            world.tell(told)
            raise world.watch.broken(f"the tick raised {error!r}") from error
        self._clean_ts = self.clean_ts
        self.state = report.state
        world.decided = report.state.decided
        if isinstance(report.seen, Blind):
            world.counts["blind"] += 1
        world.counts["ticks"] += 1
        world.watch.ticked(self, report)
        world.crash.point("after the tick")

    def end(self) -> None:
        """Let go of what a dead process cannot hold."""
        if self.lock is not None:
            self.lock.release()
        self.file.close()
