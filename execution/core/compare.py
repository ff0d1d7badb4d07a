"""Live against shadow, pair by pair, as the shadow journal tells it; either writer goes on from here.

A checkpoint remembers what was counted and how far the journal was read; it is read and moved under
the lock of the shared pair, together with the summary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from msgspec import field
from msgspec.structs import replace

from execution.core.payloads.compare_summary import CompareFacts
from execution.core.payloads.shadow_head import Batch
from execution.state_schema.envelope import Count, Envelope, Ts, V6Flags
from execution.state_schema.files import CompareSummary, JournalPosition
from execution.state_schema.journals import (
    ComparePoint,
    Judgement,
    ShadowHeartbeat,
)
from execution.state_schema.registry import StateFile

# Percentiles are of the newest pairs, so that the checkpoint stays small.
SIZE_DIFFS_KEPT = 2_000
REASONS_KEPT = 64
OTHER = "other"


class Checkpoint(Envelope, frozen=True, kw_only=True):
    """`run/compare.ckpt`: pairs counted for one engine version and one set of flags.

    `engine_version` and `v6_flags` are those of the engine that decided, whoever wrote this.
    """

    moved_ts: Ts
    journal: JournalPosition | None = None
    pairs: Count = 0
    agreed: Count = 0
    by_reason: dict[str, Count] = field(default_factory=dict)
    size_diffs: tuple[float, ...] = ()


CHECKPOINT = StateFile(
    name="compare_checkpoint",
    path="run/compare.ckpt",
    struct=Checkpoint,
    time_field="moved_ts",
    max_age_s=2_700.0,
    owners=("executor", "pipeline_compare"),
)


def advance(
    before: Checkpoint | None,
    read: Callable[[JournalPosition | None], Iterable[Batch]],
    engine_version: str,
    flags: V6Flags,
    now: float,
) -> Checkpoint:
    """Count on from `before`, for the engine that decides now.

    `read` may give a part at a time. Without a checkpoint all that the journal keeps is counted.
    What another version or other flags decided is passed over, so the warm-up begins again.
    """
    fresh = Checkpoint(engine_version=engine_version, v6_flags=flags, moved_ts=now)
    point = before or fresh
    if (point.engine_version, point.v6_flags) != (engine_version, flags):
        return replace(fresh, journal=_end(point.journal, read))
    for batch in read(point.journal):
        point = _count(point, batch)
    return replace(point, moved_ts=now)


def facts(point: Checkpoint) -> CompareFacts:
    """Return what is counted, as the summary takes it; slippage is not measured yet."""
    return CompareFacts(
        pairs=point.pairs,
        agreed=point.agreed,
        size_diffs=point.size_diffs,
        by_reason=point.by_reason,
    )


def journal_point(summary: CompareSummary, run_id: str) -> ComparePoint:
    """Build the journal's record of one comparison."""
    return ComparePoint(
        ts=summary.generated_ts,
        run_id=run_id,
        sample_size=summary.sample_size,
        veto_mismatch_pct=summary.veto_mismatch_pct,
        agreement_pct=summary.agreement_pct,
        size_diff_mean=summary.size_diff_stats.mean,
        slippage_diff_mean_bps=summary.slippage_diff_bps.mean,
        is_warmup=summary.is_warmup,
        shadow_enabled=summary.shadow_enabled,
    )


def _end(
    position: JournalPosition | None,
    read: Callable[[JournalPosition | None], Iterable[Batch]],
) -> JournalPosition | None:
    """Find the journal's end."""
    while True:
        reached = position
        for batch in read(position):
            position = batch.position
        if position == reached:
            return position


def _count(point: Checkpoint, batch: Batch) -> Checkpoint:
    pairs, agreed = point.pairs, point.agreed
    by_reason = dict(point.by_reason)
    size_diffs = list(point.size_diffs)
    for record in batch.records:
        if isinstance(record, ShadowHeartbeat) or record.live is None or record.shadow is None:
            continue
        pairs += 1
        if record.live.approved != record.shadow.approved:
            reason = _room_for(_disagreement(record.live, record.shadow), by_reason)
            by_reason[reason] = by_reason.get(reason, 0) + 1
            continue
        agreed += 1
        if record.live.approved and record.live.qty != 0:
            size_diffs.append(record.shadow.qty / record.live.qty - 1)
    finite = [diff for diff in size_diffs if math.isfinite(diff)]
    return replace(
        point,
        journal=batch.position,
        pairs=pairs,
        agreed=agreed,
        by_reason=by_reason,
        size_diffs=tuple(finite[-SIZE_DIFFS_KEPT:]),
    )


def _disagreement(live: Judgement, shadow: Judgement) -> str:
    """Name who refused, and why."""
    who, reason = ("shadow", shadow.reason) if live.approved else ("live", live.reason)
    return f"{who}:{reason or OTHER}"


def _room_for(reason: str, by_reason: Mapping[str, int]) -> str:
    """Return `reason`, or the common one where a journal holds more than there can be."""
    return reason if reason in by_reason or len(by_reason) < REASONS_KEPT else OTHER
