"""How the book should lean: a risk mode by drawdown, and a share and caps for each symbol."""

from __future__ import annotations

import math
from collections.abc import Sequence

from execution.core.intel_terms import AllocatorTerms
from execution.core.payloads.run import AllocationFigures
from execution.core.policy import RiskLimits
from execution.core.symbol_scores import NEUTRAL
from execution.core.types import Book
from execution.state_schema.intel_files import (
    AllocationGlobal,
    AllocationRow,
    Caps,
    RiskMode,
    ScoreRow,
)

NO_HISTORY = "no history yet"
NO_EQUITY = "the equity is not known"


def suggest(
    book: Book, scores: Sequence[ScoreRow], limits: RiskLimits, terms: AllocatorTerms
) -> AllocationFigures:
    """Suggest weights and caps; nothing where no score stands on data, or equity is not known.

    Suggested caps are the configured ones or less.
    """
    equity_usd = book.nav_usd if _is_known(book) else None
    drawdown_pct = book.drawdown_pct if _is_known(book) else None
    mode = risk_mode(drawdown_pct, terms)
    found = AllocationGlobal(
        current_equity_usd=equity_usd, current_drawdown_pct=drawdown_pct, risk_mode=mode
    )
    if equity_usd is None:
        return AllocationFigures(found, (), note=NO_EQUITY)
    if not any(row.components for row in scores):
        return AllocationFigures(found, (), note=NO_HISTORY)
    return AllocationFigures(found, _rows(scores, mode, limits, terms))


def risk_mode(drawdown_pct: float | None, terms: AllocatorTerms) -> RiskMode:
    """Return the mode of a drawdown; one that is not known, or no number, is cautious."""
    if drawdown_pct is None or not math.isfinite(drawdown_pct):
        return "cautious"
    if drawdown_pct >= terms.defensive_drawdown_pct:
        return "defensive"
    return "cautious" if drawdown_pct >= terms.cautious_drawdown_pct else "normal"


def _is_known(book: Book) -> bool:
    return book.known and not book.stale and 0 < book.nav_usd < math.inf


def _rows(
    scores: Sequence[ScoreRow], mode: RiskMode, limits: RiskLimits, terms: AllocatorTerms
) -> tuple[AllocationRow, ...]:
    mode_frac = {
        "normal": 1.0,
        "cautious": terms.cautious_caps_frac,
        "defensive": terms.defensive_caps_frac,
    }[mode]
    total = sum(row.score for row in scores)
    rows = []
    for row in sorted(scores, key=lambda row: (-row.score, row.symbol)):
        caps = _caps(row.symbol, limits)
        # Only a score below neutral takes from the caps: a good one must not loosen them.
        frac = mode_frac * min(1.0, row.score / NEUTRAL)
        rows.append(
            AllocationRow(
                symbol=row.symbol,
                score=row.score,
                caps=caps,
                suggested_caps=Caps(
                    symbol_cap_pct=caps.symbol_cap_pct * frac,
                    trade_cap_pct=caps.trade_cap_pct * frac,
                ),
                suggested_weight=row.score / total if total > 0 else 0.0,
                rationale=(
                    f"risk mode {mode}: {mode_frac:g} of the caps",
                    f"score {row.score:.2f} beside a neutral {NEUTRAL:g}: {frac:.2f} of the caps",
                ),
            )
        )
    return tuple(rows)


def _caps(symbol: str, limits: RiskLimits) -> Caps:
    own = limits.symbols.get(symbol)
    symbol_pct = limits.book.symbol_cap_pct
    if own is not None and own.cap_pct is not None:
        symbol_pct = min(symbol_pct, own.cap_pct)
    return Caps(symbol_cap_pct=symbol_pct, trade_cap_pct=min(symbol_pct, limits.book.trade_cap_pct))
