"""What is true of the slow cadence before it has measured anything."""

from __future__ import annotations

from execution.core import router_health
from execution.core.payloads.run import (
    AllocationFigures,
    ExpectancyFigures,
    IntelReport,
    Measured,
    RouterSuggestionFigures,
)
from execution.core.policy import Policy
from execution.core.types import Book
from execution.state_schema.intel_files import (
    AllocationGlobal,
    ScoreRow,
)

NOT_MEASURED = "not measured yet"
NEUTRAL_SCORE = 0.45
LOOKBACK_HOURS = 168.0
LOOKBACK_DAYS = 7.0


def intel(policy: Policy, book: Book, now: float) -> IntelReport:
    """Report that nothing is measured yet, for every symbol of the universe."""
    return IntelReport(
        router_health=Measured(now, router_health.rows({}, policy, {})),
        scores=Measured(now, scores(policy)),
        expectancy=Measured(now, expectancy()),
        router_suggestions=Measured(
            now, RouterSuggestionFigures(LOOKBACK_DAYS, (), note=NOT_MEASURED)
        ),
        allocation=Measured(now, allocation(book)),
    )


def scores(policy: Policy) -> tuple[ScoreRow, ...]:
    """Give each symbol the neutral score, of no components."""
    return tuple(
        ScoreRow(symbol=listing.symbol, score=NEUTRAL_SCORE, components={}, inputs={})
        for listing in policy.universe.listing
    )


def expectancy() -> ExpectancyFigures:
    """Show a lookback in which no trade was counted."""
    return ExpectancyFigures(LOOKBACK_HOURS, 0, {}, {}, {})


def allocation(book: Book) -> AllocationFigures:
    """Be cautious, with the equity and drawdown that the book knows."""
    return AllocationFigures(
        AllocationGlobal(
            current_equity_usd=book.nav_usd if book.known else None,
            current_drawdown_pct=book.drawdown_pct,
            risk_mode="cautious",
        ),
        (),
        note=NOT_MEASURED,
    )
