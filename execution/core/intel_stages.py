"""The stages of the slow cadence: what is given, and what each makes of it and of those before it.

A stage whose flag is off is given nothing, and says what it says of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar

from msgspec import Struct

from execution.core import allocator, autotune, expectancy, regimes, router_health, symbol_scores
from execution.core.autotune import Evidence
from execution.core.intel_terms import Intel
from execution.core.payloads.run import (
    AllocationFigures,
    ExpectancyFigures,
    IntelReport,
    Measured,
    RouterSuggestionFigures,
)
from execution.core.policy import Policy
from execution.core.router_health import Window
from execution.core.types import Book, EngineState
from execution.state_schema.envelope import V6Flags
from execution.state_schema.intel_files import ExpectancyRow, RouterHealthRow, ScoreRow
from execution.state_schema.order_journals import Close

T = TypeVar("T")
StageName = Literal["router_health", "expectancy", "scores", "router_suggestions", "allocation"]

NO_CHANGE = "nothing to change"


class Given(Struct, frozen=True):
    """What a stage reads; the journals' part is empty at the start's self-test.

    `present` holds the routes under the policy that each symbol has now.
    """

    flags: V6Flags
    terms: Intel
    policy: Policy
    now: float
    state: EngineState = EngineState()
    closes: Iterable[Close] = ()
    routes: Window = {}
    present: Window = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """Name the universe."""
        return tuple(listing.symbol for listing in self.policy.universe.listing)


Stage = Callable[[Given, IntelReport], object]


def health(given: Given, _: IntelReport) -> tuple[RouterHealthRow, ...]:
    """Measure routing, symbol by symbol."""
    return router_health.rows(given.routes, given.policy, given.state.frames)


def earnings(given: Given, _: IntelReport) -> ExpectancyFigures:
    """Measure what closed trades brought."""
    closes = given.closes if given.flags.INTEL_V6_ENABLED else ()
    return expectancy.measure(closes, given.terms.expectancy.window_hours, given.now)


def scores(given: Given, so_far: IntelReport) -> tuple[ScoreRow, ...]:
    """Score every symbol on its trades, its routing and its market."""
    on = given.flags.INTEL_V6_ENABLED
    earned = _value(so_far.expectancy) if on else None
    routed = {row.symbol: row for row in _value(so_far.router_health) or ()} if on else {}
    return tuple(
        symbol_scores.score(
            symbol,
            None if earned is None else earned.symbols.get(symbol),
            routed.get(symbol),
            _volatility(symbol, given),
            given.terms,
        )
        for symbol in given.symbols
    )


def suggestions(given: Given, so_far: IntelReport) -> RouterSuggestionFigures:
    """Propose the next step of every symbol's routing that has one."""
    terms = given.terms.autotune
    present = given.present if given.flags.ROUTER_AUTOTUNE_V6_ENABLED else {}
    routed = router_health.rows(present, given.policy, given.state.frames)
    proposed = (
        autotune.suggest(
            _evidence(row, given, so_far), given.policy.route_policy(row.symbol), terms
        )
        for row in routed
    )
    rows = tuple(row for row in proposed if row is not None)
    note = None if rows else NO_CHANGE
    if all(row.n < terms.min_attempts for row in routed):
        note = f"no symbol has {terms.min_attempts} attempts under its present policy yet"
    return RouterSuggestionFigures(terms.lookback_days, rows, note)


def allocation(given: Given, so_far: IntelReport) -> AllocationFigures:
    """Suggest how the book should lean."""
    on = given.flags.FEEDBACK_ALLOCATOR_V6_ENABLED
    rows = (_value(so_far.scores) or ()) if on else ()
    terms, limits = given.terms.allocator, given.policy.limits
    return allocator.suggest(given.state.book if on else Book(), rows, limits, terms)


STAGES: Mapping[StageName, Stage] = {
    "router_health": health,
    "expectancy": earnings,
    "scores": scores,
    "router_suggestions": suggestions,
    "allocation": allocation,
}


def _evidence(row: RouterHealthRow, given: Given, so_far: IntelReport) -> Evidence:
    earned = _value(so_far.expectancy)
    trades: ExpectancyRow | None = None if earned is None else earned.symbols.get(row.symbol)
    if trades is not None and trades.n < given.terms.expectancy.min_trades:
        trades = None
    scored = (each for each in _value(so_far.scores) or () if each.symbol == row.symbol)
    return Evidence(row, trades, next((each for each in scored if each.components), None))


def _volatility(symbol: str, given: Given) -> float | None:
    read = regimes.frame_of(symbol, given.state.frames, given.policy)
    return None if read is None else symbol_scores.volatility_excess(read[1], given.policy.sizing)


def _value(measured: Measured[T] | None) -> T | None:
    return None if measured is None else measured.value
