"""Live and shadow decisions of one tick, paired by their id."""

from __future__ import annotations

from collections.abc import Iterator

from execution.core.types import Approved, Decision
from execution.state_schema.journals import Judgement, ShadowDecision


def pairs(
    live: tuple[Decision, ...], shadow: tuple[Decision, ...], now: float, run_id: str
) -> Iterator[ShadowDecision]:
    """Yield each decision id once, with what either policy made of it."""
    ours = {decision.intent.decision_id: decision for decision in live}
    theirs = {decision.intent.decision_id: decision for decision in shadow}
    for decision_id in ours | theirs:
        one, other = ours.get(decision_id), theirs.get(decision_id)
        intent = (one or theirs[decision_id]).intent
        yield ShadowDecision(
            ts=now,
            run_id=run_id,
            decision_id=decision_id,
            strategy=intent.strategy,
            symbol=intent.symbol,
            position_side=intent.position_side,
            action=intent.action,
            mark_price=intent.mark_price,
            live=None if one is None else _judgement(one),
            shadow=None if other is None else _judgement(other),
        )


def _judgement(decision: Decision) -> Judgement:
    verdict = decision.verdict
    if isinstance(verdict, Approved):
        qty = float(verdict.qty)
        return Judgement(
            approved=True,
            reason=None,
            qty=qty,
            notional_usd=qty * decision.intent.mark_price,
            clamped_by=verdict.clamped_by,
        )
    return Judgement(approved=False, reason=verdict.reason, qty=0.0, notional_usd=0.0)
