"""The slow cadence's results, as the five files that carry them.

Each keeps the time at which it was computed; one whose flag is off says so and lists nothing.
"""

from __future__ import annotations

from execution.core.payloads.run import IntelReport, RunInfo
from execution.state_schema.intel_files import (
    AllocationGlobal,
    AllocationSuggestions,
    Expectancy,
    RouterHealth,
    RouterSuggestions,
    SymbolScores,
)

SWITCHED_OFF = "switched off"


def router_health(intel: IntelReport, run: RunInfo) -> RouterHealth:
    """Build `state/router_health.json`; no flag gates it."""
    return RouterHealth(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=intel.router_health.ts,
        symbols=intel.router_health.value,
    )


def symbol_scores(intel: IntelReport, run: RunInfo) -> SymbolScores:
    """Build `state/symbol_scores_v6.json`, best first; equal scores by name."""
    enabled = run.flags.INTEL_V6_ENABLED
    rows = sorted(intel.scores.value, key=lambda row: (-row.score, row.symbol))
    return SymbolScores(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=intel.scores.ts,
        intel_enabled=enabled,
        symbols=tuple(rows) if enabled else (),
    )


def expectancy(intel: IntelReport, run: RunInfo) -> Expectancy:
    """Build `state/expectancy_v6.json`."""
    enabled = run.flags.INTEL_V6_ENABLED
    figures = intel.expectancy.value
    return Expectancy(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=intel.expectancy.ts,
        enabled=enabled,
        lookback_hours=figures.lookback_hours,
        sample_count=figures.sample_count if enabled else 0,
        symbols=dict(figures.symbols) if enabled else {},
        hours=dict(figures.hours) if enabled else {},
        regimes=dict(figures.regimes) if enabled else {},
    )


def router_suggestions(intel: IntelReport, run: RunInfo) -> RouterSuggestions:
    """Build `state/router_policy_suggestions_v6.json`."""
    enabled = run.flags.ROUTER_AUTOTUNE_V6_ENABLED
    figures = intel.router_suggestions.value
    return RouterSuggestions(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        generated_ts=intel.router_suggestions.ts,
        enabled=enabled,
        lookback_days=figures.lookback_days,
        symbols=figures.rows if enabled else (),
        note=figures.note if enabled else SWITCHED_OFF,
    )


def allocation_suggestions(intel: IntelReport, run: RunInfo) -> AllocationSuggestions:
    """Build `state/risk_allocation_suggestions_v6.json`; off, or without equity, is cautious."""
    enabled = run.flags.FEEDBACK_ALLOCATOR_V6_ENABLED
    figures = intel.allocation.value
    book = figures.book
    if not enabled or book.current_equity_usd is None:
        book = AllocationGlobal(
            current_equity_usd=book.current_equity_usd,
            current_drawdown_pct=book.current_drawdown_pct,
            risk_mode="cautious",
        )
    return AllocationSuggestions(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        generated_ts=intel.allocation.ts,
        enabled=enabled,
        book=book,
        symbols=figures.rows if enabled else (),
        note=figures.note if enabled else SWITCHED_OFF,
    )
