"""The shadow pipeline's head: counts and the newest decision, the same from either writer.

The head itself says how far the shadow journal is counted, so a writer needs no memory of its own:
under the lock of the pair it reads the head, folds in what the journal has since, and writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import JournalPosition, ShadowHead
from execution.state_schema.journals import ShadowDecision, ShadowHeartbeat

NO_DECISION = "no shadow decision yet"


class ShadowFacts(Struct, frozen=True):
    """What the shadow journal says up to `journal`."""

    total: int = 0
    allowed: int = 0
    vetoed: int = 0
    last_decision: ShadowDecision | None = None
    heartbeat_ts: float | None = None
    journal: JournalPosition | None = None


def refresh(
    head: ShadowHead | None,
    records: Iterable[ShadowDecision | ShadowHeartbeat],
    journal: JournalPosition | None,
    engine_version: str,
    flags: V6Flags,
    run_id: str,
    now: float,
) -> ShadowHead:
    """Build the next head out of the present one and the journal's `records` after it."""
    facts = fold(recall(head), records, journal)
    return build(facts, engine_version, flags, run_id, now)


def recall(head: ShadowHead | None) -> ShadowFacts:
    """Read the facts back from the head; without one, all that the journal keeps is counted."""
    if head is None:
        return ShadowFacts()
    last = head.last_decision
    return ShadowFacts(
        total=head.total,
        allowed=head.allowed,
        vetoed=head.vetoed,
        last_decision=last if isinstance(last, ShadowDecision) else None,
        heartbeat_ts=head.heartbeat_ts,
        journal=head.journal,
    )


def fold(
    facts: ShadowFacts,
    records: Iterable[ShadowDecision | ShadowHeartbeat],
    journal: JournalPosition | None,
) -> ShadowFacts:
    """Count the journal's next records; a decision that the shadow did not make counts nothing."""
    total, allowed = facts.total, facts.allowed
    last, heartbeat_ts = facts.last_decision, facts.heartbeat_ts
    for record in records:
        if isinstance(record, ShadowHeartbeat):
            heartbeat_ts = record.ts
        elif record.shadow is not None:
            total += 1
            allowed += record.shadow.approved
            last = record
    return ShadowFacts(total, allowed, total - allowed, last, heartbeat_ts, journal)


def build(
    facts: ShadowFacts, engine_version: str, flags: V6Flags, run_id: str, now: float
) -> ShadowHead:
    """Build `state/pipeline_v6_shadow_head.json`."""
    last = facts.last_decision
    return ShadowHead(
        engine_version=engine_version,
        v6_flags=flags,
        generated_ts=now,
        enabled=flags.PIPELINE_V6_SHADOW_ENABLED,
        total=facts.total,
        allowed=facts.allowed,
        vetoed=facts.vetoed,
        last_decision=last or ShadowHeartbeat(ts=now, run_id=run_id, reason=NO_DECISION),
        heartbeat_ts=facts.heartbeat_ts,
        last_decision_age_s=None if last is None else max(0.0, now - last.ts),
        journal=facts.journal,
    )
