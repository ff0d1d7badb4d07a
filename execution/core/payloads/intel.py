"""The slow cadence's results, as the five files that carry them.

Each keeps the time at which it was computed, or the start's where nothing was; one whose flag is off
says so and lists nothing.
"""

from __future__ import annotations

from typing import Any

from execution.core.payloads.run import IntelReport, Measured, RunInfo
from execution.state_schema.intel_files import (
    AllocationGlobal,
    AllocationSuggestions,
    Expectancy,
    RouterHealth,
    RouterSuggestions,
    SymbolScores,
)

SWITCHED_OFF = "switched off"
NOT_MEASURED = "not measured"


def router_health(intel: IntelReport, run: RunInfo) -> RouterHealth:
    """Build `state/router_health.json`; no flag gates it."""
    found = intel.router_health
    return RouterHealth(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=_computed_ts(found, run),
        symbols=() if found is None else found.value,
    )


def symbol_scores(intel: IntelReport, run: RunInfo) -> SymbolScores:
    """Build `state/symbol_scores_v6.json`, best first; equal scores by name."""
    enabled, found = run.flags.INTEL_V6_ENABLED, intel.scores
    rows = () if found is None or not enabled else found.value
    return SymbolScores(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=_computed_ts(found, run),
        intel_enabled=enabled,
        symbols=tuple(sorted(rows, key=lambda row: (-row.score, row.symbol))),
    )


def expectancy(intel: IntelReport, run: RunInfo) -> Expectancy:
    """Build `state/expectancy_v6.json`; what was never measured looked back over no time at all."""
    enabled, found = run.flags.INTEL_V6_ENABLED, intel.expectancy
    figures = found.value if found is not None and enabled else None
    return Expectancy(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=_computed_ts(found, run),
        enabled=enabled,
        lookback_hours=0.0 if found is None else found.value.lookback_hours,
        sample_count=0 if figures is None else figures.sample_count,
        symbols={} if figures is None else dict(figures.symbols),
        hours={} if figures is None else dict(figures.hours),
        regimes={} if figures is None else dict(figures.regimes),
    )


def router_suggestions(intel: IntelReport, run: RunInfo) -> RouterSuggestions:
    """Build `state/router_policy_suggestions_v6.json`."""
    enabled, found = run.flags.ROUTER_AUTOTUNE_V6_ENABLED, intel.router_suggestions
    return RouterSuggestions(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        generated_ts=_computed_ts(found, run),
        enabled=enabled,
        lookback_days=0.0 if found is None else found.value.lookback_days,
        symbols=found.value.rows if found is not None and enabled else (),
        note=_note(None if found is None else found.value.note, found, enabled=enabled),
        configured=run.policy.router.default,
        in_force=dict(run.policy.tuned),
    )


def allocation_suggestions(intel: IntelReport, run: RunInfo) -> AllocationSuggestions:
    """Build `state/risk_allocation_suggestions_v6.json`; off, or without equity, is cautious."""
    enabled, found = run.flags.FEEDBACK_ALLOCATOR_V6_ENABLED, intel.allocation
    book = None if found is None else found.value.book
    equity_usd = None if book is None else book.current_equity_usd
    mode = book.risk_mode if enabled and book is not None and equity_usd is not None else "cautious"
    return AllocationSuggestions(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        generated_ts=_computed_ts(found, run),
        enabled=enabled,
        book=AllocationGlobal(
            current_equity_usd=equity_usd,
            current_drawdown_pct=None if book is None else book.current_drawdown_pct,
            risk_mode=mode,
        ),
        symbols=found.value.rows if found is not None and enabled else (),
        note=_note(None if found is None else found.value.note, found, enabled=enabled),
    )


def _computed_ts(found: Measured[Any] | None, run: RunInfo) -> float:
    return run.started_ts if found is None else found.ts


def _note(note: str | None, found: object, *, enabled: bool) -> str | None:
    if not enabled:
        return SWITCHED_OFF
    return NOT_MEASURED if found is None else note
