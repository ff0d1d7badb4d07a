"""The slow cadence: which stages are due, and what they found.

No stage measures anything yet: each one says so, at its own interval, in the shape that it will
keep (router health, scores, expectancy, suggestions).
"""

from __future__ import annotations

from msgspec.structs import replace

from execution.core.payloads import unmeasured
from execution.core.payloads.run import IntelReport
from execution.core.policy import Policy
from execution.core.types import Book
from execution.services import Executor

SUGGESTIONS_S = 900.0
ALLOCATION_S = 1800.0


def refresh(
    before: IntelReport | None, policy: Policy, book: Book, timers: Executor, now: float
) -> IntelReport:
    """Return the newest result of every stage, running those that are due."""
    if before is None:
        return unmeasured.intel(policy, book, now)
    intervals_s = {
        "router_health": timers.router_health_s,
        "scores": timers.intel_s,
        "expectancy": timers.intel_s,
        "router_suggestions": SUGGESTIONS_S,
        "allocation": ALLOCATION_S,
    }
    # A clock that was set back makes a stage due at once rather than much later.
    due = [
        stage
        for stage, interval_s in intervals_s.items()
        if not 0 <= now - getattr(before, stage).ts < interval_s
    ]
    if not due:
        return before
    fresh = unmeasured.intel(policy, book, now)
    return replace(before, **{stage: getattr(fresh, stage) for stage in due})
