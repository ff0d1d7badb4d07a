"""One seed: an exchange, its weather, and the executor that lives and dies in it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from msgspec import Struct

from execution.core.position_mode import PositionMode
from execution.errors import LedgerFull, LockHeld
from tests.simulation import rest
from tests.simulation.disk import Crash, CrashPlan, Disk
from tests.simulation.exchange import RULES, Exchange
from tests.simulation.node import Node, Operator, Parts
from tests.simulation.policies import SYMBOLS, draw_policy
from tests.simulation.watch import Violation, Watch
from tests.simulation.weather import Weather
from tests.support.clocks import SteppedClock

START = 1_700_006_400.0
STORM_S = 200.0
HOUR_S = 3600.0
STEP_S = 15.0  # small enough to be taken for time that passed
CALM_TICKS = 80
CALM_TICK_S = 3.0


class Verdict(Struct, frozen=True):
    """What became of one seed; `story` is what happened, where it was asked for."""

    seed: int
    violation: str | None
    counts: Mapping[str, int]
    story: tuple[str, ...]


def run(seed: int, parts: Parts, folder: Path, *, told: bool = False) -> Verdict:
    """Live through one seed; `folder` is where the executor's lock is."""
    world = World(seed, parts, folder, told=told)
    with suppress(Violation):
        world.storm()
        world.calm()
    world.end()
    first = world.watch.first
    return Verdict(seed, None if first is None else str(first), world.counts, tuple(world.story))


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, parts: Parts, folder: Path, *, told: bool) -> None:
        self.parts = parts
        self.rng = random.Random(f"{seed} world")
        # Drawn apart, so that a seed's other draws are the same in both modes.
        self._venue_rng = random.Random(f"{seed} venue")
        mode: PositionMode = self._venue_rng.choice(("hedge", "one_way"))
        self.policy = draw_policy(self.rng, mode)
        self.rests_stops = self.rng.random() < 0.8
        self.counts: Counter[str] = Counter()
        self.story: list[str] = []
        self._told = told
        self._lock_path = folder / "executor.lock"
        self.watch = Watch(self)
        self.exchange = Exchange(seed, SYMBOLS, START, self.watch, mode)
        self.counts[mode] += 1
        self.clock = SteppedClock(START + self.rng.uniform(-0.5, 0.5))
        self.weather = Weather(seed, START + 15, START + STORM_S)
        self.exchange.is_slow_to_show = True
        self.exchange.order_lag_s = self.weather.order_lag_s
        self.exchange.trade_lag_s = self.weather.trade_lag_s
        self.crash = CrashPlan(seed, self.rng.choice((60, 200, 1000)))
        self.operator = Operator(self)
        self.decided: Mapping[tuple[str, str], float] = {}
        self.nodes: dict[str, Node] = {}
        self._disk = Disk()
        steps = self.rng.random() < 0.25
        self._clock_steps_at_s = self.rng.uniform(0, STORM_S) if steps else math.inf
        self._down_until = {"first": START, "second": START + self.rng.uniform(0, 2 * STORM_S)}

    @property
    def elapsed_s(self) -> float:
        """Return how long ago all this began."""
        return self.exchange.now - START

    def tell(self, what: str) -> None:
        """Add to the story, where somebody wants to hear it."""
        if self._told:
            self.story.append(f"{self.elapsed_s:8.2f} {what}")

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.exchange.advance(seconds)
        self.clock.advance(seconds)

    # ------------------------------------------------------------ the storm

    def storm(self) -> None:
        """Trade through faults and crashes."""
        while not self.weather.is_calm(self.exchange.now):
            for name in ("first", "second"):
                if self.exchange.now >= self._down_until[name]:
                    self._live(name)
            self._meddle()
            self.advance(self.rng.uniform(0.3, 3.0))
            if self.watch.first is not None:
                raise self.watch.first

    def _live(self, name: str) -> None:
        try:
            node = self.nodes.get(name) or self._start(name)
            if node is not None:
                node.tick()
        except LedgerFull as error:
            self.tell(f"{name} cannot start: {error}")
            self._down_until[name] = self.exchange.now + 2.0
        except Crash as crash:
            self.tell(f"{name} crashes {crash}")
            self.counts[f"died {crash}"] += 1
            self.counts["crashes"] += 1
            self._stop(name)
            pause = self.rng.choice((0.0, self.rng.uniform(0, 10), self.rng.uniform(5, 90)))
            self._down_until[name] = self.exchange.now + pause

    def _start(self, name: str) -> Node | None:
        """Start an executor; the second one is the mistake of somebody who did not see the first."""
        try:
            lock = self.parts.lock(self._lock_path)
        except LockHeld:
            self.counts["refused"] += 1
            self._down_until[name] = self.exchange.now + self.rng.uniform(30, 90)
            return None
        # Two that run at once each work on a copy, as two checkouts of one account do.
        disk = Disk(self._disk.image) if self.nodes else self._disk
        disk.feel(self.weather, self.exchange.now)
        try:
            node = self.nodes[name] = Node(self, disk, lock)
        except (Crash, LedgerFull):
            if lock is not None:
                lock.release()
            raise
        self.tell(f"{name} starts")
        return node

    def _stop(self, name: str) -> None:
        node = self.nodes.pop(name, None)
        if node is not None:
            node.end()

    def _meddle(self) -> None:
        """Let people do things: close by hand, now or at a price, and ask for a flatten."""
        legs, rng = self.exchange.legs, self.rng
        if legs and rng.random() < 0.01:
            key = rng.choice(list(legs))
            part = rng.choice((Decimal(1), Decimal("0.5")))
            qty = (abs(legs[key].qty) * part).quantize(RULES.step_size, ROUND_DOWN)
            if qty > 0:
                self.tell(f"by hand {key} {qty}")
                self.exchange.close_by_hand(key, qty)
        if legs and rng.random() < 0.01:
            key = rng.choice(list(legs))
            self.tell(f"rests by hand {key}")
            self.exchange.rest_by_hand(key, rng.choice((5, 50)))
        if legs and self._venue_rng.random() < 0.005:
            key = self._venue_rng.choice(list(legs))
            self.tell(f"liquidated {key}")
            self.counts["liquidations"] += 1
            self.exchange.liquidate(key)
        if self.elapsed_s >= self._clock_steps_at_s:
            self._clock_steps_at_s = math.inf
            step_s = rng.choice((-HOUR_S, HOUR_S, -STEP_S, STEP_S))
            self.tell(f"the wall clock steps by {step_s} s")
            self.clock.step(step_s)
            self.watch.stepped()
        if rng.random() < 0.005:
            self.operator.wish(self.clock.now())

    # ------------------------------------------------------------ the calm

    def calm(self) -> None:
        """Let everything be answered, the market stand still, and the executor come to rest."""
        self.crash.is_on = False
        self.exchange.is_slow_to_show = False
        self.exchange.freeze()
        if not self.nodes:
            self._start("first")
        node, *rivals = self.nodes.values()
        for _ in range(CALM_TICKS):
            node.tick()
            for rival in rivals:
                rival.tick()
            if rest.is_quiet(self, node):
                return
            self.advance(CALM_TICK_S)
        left = next(rest.differences(self, node), "there is still something to be done")
        raise self.watch.broken(f"after the calm: {left}")

    def end(self) -> None:
        """Let go of every process."""
        for name in tuple(self.nodes):
            self._stop(name)
