"""The candidate policy: the same `decide` on the same state, and never an order."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from execution.core import pipeline
from execution.core.guarded import Failed, guarded
from execution.core.policy import Policy
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import Decided, EngineState, TradingState


class Shadow(Struct, frozen=True):
    """What decides beside the live policy; None while there is no candidate."""

    policy: Policy | None = None

    def decide(
        self, seen: MarketSnapshot | Blind, state: EngineState, now: float
    ) -> Decided | None:
        """Decide as if the candidate were live; an error stays in the answer's failures."""
        if self.policy is None:
            return None
        decided = guarded("shadow", partial(pipeline.decide, seen, state, self.policy, now))
        if isinstance(decided, Failed):
            return Decided(TradingState("HALTED", ("shadow_failed",)), failures=(decided,))
        return decided
