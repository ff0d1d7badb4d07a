"""The candidate policy: the same `decide` on the same state, and never an order."""

from __future__ import annotations

from functools import partial

from execution.core import pipeline
from execution.core.guarded import Failed, guarded
from execution.core.policy import Policy
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import Decided, EngineState, TradingState


def decide(seen: MarketSnapshot | Blind, state: EngineState, policy: Policy, now: float) -> Decided:
    """Decide as if the candidate were live; an error stays in the answer's failures."""
    decided = guarded("shadow", partial(pipeline.decide, seen, state, policy, now))
    if isinstance(decided, Failed):
        return Decided(TradingState("HALTED", ("shadow_failed",)), failures=(decided,))
    return decided
