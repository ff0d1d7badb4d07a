"""The only maker of `Approved`: every check is asked, the first breach is the headline."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from execution.core.guarded import Failed, guarded
from execution.core.risk import checks
from execution.core.risk.checks import Check, Context
from execution.core.sizing import snap_qty
from execution.core.types import Approved, Breach, Verdict, Vetoed


def assess(context: Context) -> Verdict:
    """Approve, approve clamped down to the headroom, or veto with every breach.

    Clamping is for the v6 engine (`policy.clamp`); the gate without it refuses instead. Both hold
    the same limits.
    """
    intent = context.intent
    breaches = _ask(context)
    if not breaches:
        return Approved(intent, context.qty)
    headrooms = [b.headroom_usd for b in breaches if b.headroom_usd is not None]
    if not context.policy.clamp or context.rules is None or len(headrooms) < len(breaches):
        return Vetoed(intent, breaches)
    qty = snap_qty(min(headrooms) / intent.mark_price, context.rules)
    clamped = replace(context, qty=min(qty, context.qty))
    if _ask(clamped):
        return Vetoed(intent, breaches)
    return Approved(intent, clamped.qty, clamped_by=breaches[0].reason)


def still_refused(context: Context) -> str | None:
    """Say why an entry in flight may send no further attempt now, None where it may."""
    return next((breach.reason for breach in _ask(context, checks.RESEND)), None)


def _ask(context: Context, asked: tuple[Check, ...] | None = None) -> tuple[Breach, ...]:
    asked = asked or (checks.VALIDITY if context.intent.reduce_only else checks.ENTRY)
    answers = (_answer(check, context) for check in asked)
    return tuple(answer for answer in answers if answer is not None)


def _answer(check: Check, context: Context) -> Breach | None:
    answer = guarded(check.__name__, partial(check, context))
    if isinstance(answer, Failed):
        # A check that cannot answer has not allowed anything.
        return Breach(answer.stage, None, f"error: {type(answer.error).__name__}", "error")
    return answer
