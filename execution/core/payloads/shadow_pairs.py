"""Live and shadow decisions of one tick, paired by their id."""

from __future__ import annotations

from collections.abc import Iterator

from execution.core.payloads.run import RunInfo
from execution.core.types import Approved, Decision, EngineState, TickReport
from execution.state_schema.journals import Judgement, ShadowDecision, Touch


def pairs(report: TickReport, run: RunInfo) -> Iterator[ShadowDecision]:
    """Yield each decision id once, with what either policy made of it.

    Of a tick in which a policy was not asked, or failed, there is nothing to say: null is what a
    policy did not want.
    """
    live, shadow = report.live, report.shadow
    if shadow is None or shadow.failures or live.failures:
        return
    ours = {decision.intent.decision_id: decision for decision in live.decisions}
    theirs = {decision.intent.decision_id: decision for decision in shadow.decisions}
    engine = run.deciding.name
    for decision_id in ours | theirs:
        one, other = ours.get(decision_id), theirs.get(decision_id)
        intent = (one or theirs[decision_id]).intent
        yield ShadowDecision(
            ts=report.now,
            run_id=run.run_id,
            engine=engine,
            decision_id=decision_id,
            strategy=intent.strategy,
            symbol=intent.symbol,
            position_side=intent.position_side,
            side=intent.side,
            action=intent.action,
            mark_price=intent.mark_price,
            touch=_touch(report.state, intent.symbol),
            live=None if one is None else _judgement(one),
            shadow=None if other is None else _judgement(other),
        )


def _touch(state: EngineState, symbol: str) -> Touch | None:
    quote, rules = state.quotes.get(symbol), state.rules.get(symbol)
    if quote is None or rules is None or not quote.sound:
        return None
    return Touch(bid=quote.bid, ask=quote.ask, tick_size=rules.tick_size, step_size=rules.step_size)


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
            legs=() if decision.plan is None else decision.plan.legs,
        )
    return Judgement(approved=False, reason=verdict.reason, qty=0.0, notional_usd=0.0)
