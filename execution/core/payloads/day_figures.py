"""What is remembered of the day so that it can be shown; no decision reads it.

It is the worst use of each limit, and each symbol's own profit and loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core import anchors
from execution.core.policy import Policy
from execution.core.risk import usage
from execution.core.seam import LegKey, Side
from execution.core.types import Book, EngineState, TickReport, Vetoed
from execution.state_schema.order_journals import Fill

# Less than any grid's step: what is left of floats that were added up.
NOTHING = 1e-9


class Worst(Struct, frozen=True, gc=False):
    """The most that was used of one limit, and when."""

    used: float
    ts: float


class DayFigures(Struct, frozen=True):
    """The day so far; `day` is the book's own, "" before there is one.

    `worst` counts since `worst_since_ts`: a start in mid-day does not know what was before it.
    `traded_usd` is what each symbol's fills of the day realized, less their fees. `began_usd` is
    what a symbol's legs had not realized when the day began, None where that is not known; `moved`
    what fills changed since then, until it is. All three are of use only where they are `whole`.
    `error` is what a check raised when risk was last asked.
    """

    day: str = ""
    worst: Mapping[str, Worst] = {}
    worst_since_ts: float | None = None
    traded_usd: Mapping[str, float] = {}
    began_usd: Mapping[str, float | None] | None = None
    moved: Mapping[LegKey, float] = {}
    whole: bool = True
    error: str | None = None


def resume(day: str, fills: Iterable[Fill], *, whole: bool) -> DayFigures:
    """Begin in mid-day, with the fills that the journal has of it: all, or only the newest."""
    figures = DayFigures(day=day, whole=whole)
    for fill in fills:
        key, earned_usd = (fill.symbol, fill.position_side), fill.realized_usd - fill.fee_usd
        figures = _with_fill(figures, key, fill.side, fill.qty, earned_usd)
    return figures


def follow(before: DayFigures, report: TickReport, policy: Policy) -> DayFigures:
    """Return the figures after one more tick; each tick is followed once."""
    state, after = report.state, before
    for trade in state.recorded.trades:
        key, earned_usd = (trade.symbol, trade.position_side), trade.realized_usd - trade.fee_usd
        after = _with_fill(after, key, trade.side, float(trade.qty), float(earned_usd))
    book = state.book
    if book.known and not book.stale and book.anchors is not None:
        if book.anchors.day > after.day:
            after = DayFigures(book.anchors.day, began_usd=_unrealized(book), error=after.error)
        elif after.began_usd is None:
            after = replace(after, began_usd=_began(state, after.moved), moved={})
    if report.live.decisions:
        error = _error(report)
        after = after if error == after.error else replace(after, error=error)
    return _with_worst(after, report, policy)


def dd_today_pct(figures: DayFigures, symbol: str, book: Book) -> float | None:
    """Return what `symbol` lost today in percent of the NAV the day began with; 0 for a gain.

    That is realized less fees, and what became of the unrealized since the day began. Funding is the
    book's and not in it. None while a part is not known: a leg without a mark, or one that was open
    when the day began and was not seen then.
    """
    began_usd = None if figures.began_usd is None else figures.began_usd.get(symbol, 0.0)
    now_usd = _unrealized(book).get(symbol, 0.0)
    if not (book.known and figures.whole) or book.anchors is None:
        return None
    if began_usd is None or now_usd is None:
        return None
    pnl_usd = figures.traded_usd.get(symbol, 0.0) + now_usd - began_usd
    return anchors.loss_pct(pnl_usd, book.anchors.day_start_usd)


def worst_of(before: Mapping[str, Worst], found: Mapping[str, Worst]) -> dict[str, Worst]:
    """Return the worse of both, limit by limit; the earlier where they are equal."""
    worse = {
        name: worst
        for name, worst in found.items()
        if name not in before or worst.used > before[name].used
    }
    return {**before, **worse}


# ---------------------------------------------------------------- the worst use


def _with_worst(figures: DayFigures, report: TickReport, policy: Policy) -> DayFigures:
    state, worst = report.state, figures.worst
    if not (state.book.known and not state.book.stale):
        return figures
    found = usage.losses(state.book)
    if not worst:
        found |= usage.unused_caps(policy)
    in_flight = state.recorded.routes or state.recorded.open_orders or report.live.decisions
    if state.book.positions or in_flight or not worst:
        approved = usage.approvals(report)
        held = usage.prospective(report, policy, approved)
        found |= usage.used_of_caps(state, policy, held)
        if approved or not worst:
            # One order is measured when it is approved; later NAV moves, and the order does not.
            found |= usage.used_of_orders(approved, (), state.book)
            found |= usage.used_of_rates(report, policy, held)
    worse = {
        name: Worst(used, report.now)
        for name, used in found.items()
        if (name not in worst or used > worst[name].used) and math.isfinite(used)
    }
    if not worse:
        return figures
    since_ts = report.now if figures.worst_since_ts is None else figures.worst_since_ts
    return replace(figures, worst={**worst, **worse}, worst_since_ts=since_ts)


def _error(report: TickReport) -> str | None:
    """Return what a check of this tick raised; a check that raises has vetoed."""
    for decision in report.live.decisions:
        if isinstance(decision.verdict, Vetoed):
            for breach in decision.verdict.breaches:
                if breach.unit == "error":
                    return f"{breach.reason}: {breach.observed}"
    return None


# ---------------------------------------------------------------- profit and loss by symbol


def _with_fill(
    figures: DayFigures, key: LegKey, side: Side, qty: float, earned_usd: float
) -> DayFigures:
    traded = figures.traded_usd
    traded = {**traded, key[0]: traded.get(key[0], 0.0) + earned_usd}
    if figures.began_usd is not None:
        return replace(figures, traded_usd=traded)
    moved = figures.moved.get(key, 0.0) + (qty if side == "BUY" else -qty)
    return replace(figures, traded_usd=traded, moved={**figures.moved, key: moved})


def _unrealized(book: Book) -> dict[str, float | None]:
    """Sum the legs of each symbol that is held; None for one that has a leg without a mark."""
    sums: dict[str, float | None] = {}
    for position in book.positions:
        before, own = sums.get(position.symbol, 0.0), position.unrealized_usd
        sums[position.symbol] = None if before is None or own is None else before + own
    return sums


def _began(state: EngineState, moved: Mapping[LegKey, float]) -> dict[str, float | None]:
    """Name the symbols of which a leg was open when the day began: nobody saw its worth then."""
    held = {key: leg.qty for key, leg in state.recorded.legs.items()}
    return {
        key[0]: None
        for key in {**held, **moved}
        if abs(float(held.get(key, Decimal(0))) - moved.get(key, 0.0)) > NOTHING
    }
