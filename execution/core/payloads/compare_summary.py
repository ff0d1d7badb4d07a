"""Live against shadow in numbers, the same from either writer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import CompareSummary, Stats

MIN_SAMPLE_SIZE = 200


class CompareFacts(Struct, frozen=True):
    """Pairs of one decision id, of this engine version and these flags.

    `agreed` pairs have the same verdict. `size_diffs` are shadow over live minus 1, and
    `slippage_diffs_bps` shadow minus live: each has only the pairs in which both were measured.
    `by_reason` counts pairs by what they disagree on.
    """

    pairs: int = 0
    agreed: int = 0
    size_diffs: Sequence[float] = ()
    slippage_diffs_bps: Sequence[float] = ()
    by_reason: Mapping[str, int] = {}


def build(facts: CompareFacts, engine_version: str, flags: V6Flags, now: float) -> CompareSummary:
    """Build `state/pipeline_v6_compare_summary.json`."""
    agreement_pct = None if facts.pairs == 0 else 100 * facts.agreed / facts.pairs
    return CompareSummary(
        engine_version=engine_version,
        v6_flags=flags,
        generated_ts=now,
        shadow_enabled=flags.PIPELINE_V6_SHADOW_ENABLED,
        sample_size=facts.pairs,
        min_sample_size=MIN_SAMPLE_SIZE,
        veto_mismatch_pct=None if agreement_pct is None else 100 - agreement_pct,
        agreement_pct=agreement_pct,
        size_diff_stats=stats(facts.size_diffs),
        slippage_diff_bps=stats(facts.slippage_diffs_bps),
        by_reason=dict(facts.by_reason),
        is_warmup=facts.pairs < MIN_SAMPLE_SIZE,
        warmup_reason=_warmup_reason(facts.pairs, flags),
    )


def stats(sample: Sequence[float]) -> Stats:
    """Summarize the finite numbers of `sample`; percentiles are of the nearest rank."""
    numbers = sorted(number for number in sample if math.isfinite(number))
    if not numbers:
        return Stats(n=0, mean=None, p50=None, p95=None)
    return Stats(
        n=len(numbers),
        mean=math.fsum(number / len(numbers) for number in numbers),
        p50=_rank(numbers, 50),
        p95=_rank(numbers, 95),
    )


def _rank(numbers: Sequence[float], pct: int) -> float:
    return numbers[math.ceil(pct * len(numbers) / 100) - 1]


def _warmup_reason(pairs: int, flags: V6Flags) -> str | None:
    if pairs >= MIN_SAMPLE_SIZE:
        return None
    off = "" if flags.PIPELINE_V6_SHADOW_ENABLED else ", the shadow is switched off"
    return f"{pairs} of {MIN_SAMPLE_SIZE} pairs{off}"
