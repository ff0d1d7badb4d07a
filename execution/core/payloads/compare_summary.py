"""Live against shadow in numbers, the same from either writer."""

from __future__ import annotations

from execution.core.compare import (
    RESULTS,
    SIZES,
    SLIPPAGES,
    Agreement,
    Checkpoint,
    Results,
    Tally,
)
from execution.state_schema.cycle_journals import ComparePoint
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import (
    AgreementRow,
    CompareSummary,
    Counterfactual,
    ResultRow,
)

MIN_SAMPLE_SIZE = 200


def build(
    point: Checkpoint, horizon_s: float, engine_version: str, flags: V6Flags, now: float
) -> CompareSummary:
    """Build `state/pipeline_v6_compare_summary.json`; what was not measured is null."""
    tally = point.tally
    pairs = tally.pairs
    agreement_pct = _pct(pairs)
    return CompareSummary(
        engine_version=engine_version,
        v6_flags=flags,
        generated_ts=now,
        shadow_enabled=flags.PIPELINE_V6_SHADOW_ENABLED,
        sample_size=pairs.n,
        min_sample_size=MIN_SAMPLE_SIZE,
        veto_mismatch_pct=None if agreement_pct is None else 100 - agreement_pct,
        agreement_pct=agreement_pct,
        size_diff_stats=SIZES.stats(tally.sizes),
        slippage_diff_bps=SLIPPAGES.stats(tally.slippages),
        by_reason=dict(tally.by_reason),
        by_symbol={name: _agreement(each) for name, each in tally.by_symbol.items()},
        by_strategy={name: _agreement(each) for name, each in tally.by_strategy.items()},
        routes=_agreement(tally.routes),
        live_alone=tally.live_alone,
        shadow_alone=tally.shadow_alone,
        new_breaches=tally.new_breaches,
        counterfactual=_counterfactual(tally, len(point.pending), horizon_s),
        live_policy=point.live_policy,
        shadow_policy=point.shadow_policy,
        is_warmup=pairs.n < MIN_SAMPLE_SIZE,
        warmup_reason=_warmup_reason(pairs.n, flags),
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
        difference_mean_usd=summary.counterfactual.difference_usd.mean,
        is_warmup=summary.is_warmup,
        shadow_enabled=summary.shadow_enabled,
    )


def _counterfactual(tally: Tally, pending: int, horizon_s: float) -> Counterfactual:
    return Counterfactual(
        horizon_s=horizon_s,
        pending=pending,
        unmeasured=tally.unmeasured,
        live_only=_results(tally.live_only),
        shadow_only=_results(tally.shadow_only),
        difference_usd=RESULTS.stats(tally.differences),
    )


def _agreement(agreement: Agreement) -> AgreementRow:
    return AgreementRow(n=agreement.n, agreement_pct=_pct(agreement))


def _pct(agreement: Agreement) -> float | None:
    return None if agreement.n == 0 else 100 * agreement.agreed / agreement.n


def _results(results: Results) -> ResultRow:
    if results.n == 0:
        return ResultRow(n=0, total_usd=None, mean_usd=None)
    total_usd = results.total_usd
    return ResultRow(n=results.n, total_usd=total_usd, mean_usd=total_usd / results.n)


def _warmup_reason(pairs: int, flags: V6Flags) -> str | None:
    if pairs >= MIN_SAMPLE_SIZE:
        return None
    off = "" if flags.PIPELINE_V6_SHADOW_ENABLED else ", the shadow is switched off"
    return f"{pairs} of {MIN_SAMPLE_SIZE} pairs{off}"
