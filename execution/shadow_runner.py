"""The shadow within its budget of time: what takes too long rests, and says so."""

from __future__ import annotations

import math
from typing import Final

from msgspec.structs import replace

from execution.clock import Clock
from execution.core import shadow
from execution.core.guarded import Failed
from execution.core.policy import Policy
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import Decided, EngineState
from execution.errors import ShadowSlow
from execution.service_loop import LoopTimes
from execution.state_schema.files import LoopMs

PATIENCE: Final = 3  # rounds in a row; one alone is a machine that was busy


class ShadowRunner:
    """Asks the candidate each tick, unless it rests after being too slow."""

    def __init__(
        self, policy: Policy | None, clock: Clock, budget_ms: float, rest_s: float
    ) -> None:
        self.policy = policy
        self._clock = clock
        self._budget_s = budget_ms / 1000
        self._rest_s = rest_s
        self._rests_until_s = -math.inf
        self._slow = 0
        self._times = LoopTimes()
        self._answered: dict[tuple[str, str], float] | None = None

    def decide(
        self, seen: MarketSnapshot | Blind, state: EngineState, now: float
    ) -> Decided | None:
        """Decide as the candidate would; None while there is none or it rests.

        It remembers the bars that it answered itself: its bars may be longer than the live ones.
        """
        started_s = self._clock.monotonic()
        if self.policy is None or started_s < self._rests_until_s:
            return None
        if self._answered is None:
            self._answered = {**state.decided}
        own = replace(state, decided=self._answered)
        decided = shadow.decide(seen, own, self.policy, now)
        took_s = self._clock.monotonic() - started_s
        self._answered |= decided.answered
        self._times.add(took_s)
        self._slow = self._slow + 1 if took_s > self._budget_s else 0
        if self._slow < PATIENCE:
            return decided
        self._slow = 0
        self._rests_until_s = started_s + took_s + self._rest_s
        error = ShadowSlow(
            f"deciding took {took_s * 1000:.0f} ms, budget {self._budget_s * 1000:.0f} ms: "
            f"the shadow rests for {self._rest_s:.0f} s"
        )
        return replace(decided, failures=(*decided.failures, Failed("shadow", error)))

    def follow(self, live: Policy) -> None:
        """Let what tunes the live router tune the candidate's, unless it has a router of its own."""
        if self.policy is not None and self.policy.router == live.router:
            self.policy = replace(self.policy, tuned=live.tuned)

    def figures(self) -> LoopMs:
        """Return how long deciding takes."""
        return self._times.figures()
