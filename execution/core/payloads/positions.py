"""The open legs, as the two files that carry them."""

from __future__ import annotations

from execution.core.payloads.run import RunInfo
from execution.core.records import ExitPlan
from execution.core.types import Book, Position, TickReport
from execution.state_schema.files import ExitRow, PositionRow, Positions, Synced


def rows(book: Book) -> tuple[PositionRow, ...]:
    """Build the rows that both files carry."""
    return tuple(map(_row, book.positions))


def build(report: TickReport, run: RunInfo, legs: tuple[PositionRow, ...]) -> Positions:
    """Build `state/positions.json` of the rows of the report's book."""
    book = report.state.book
    return Positions(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        rows=legs,
        updated=report.now,
        as_of_ts=book.as_of_ts,
        known=book.known,
        stale=book.stale,
    )


def build_synced(report: TickReport, run: RunInfo, legs: tuple[PositionRow, ...]) -> Synced:
    """Build `synced_state.json`, which has the rows and the NAV in one file."""
    book = report.state.book
    return Synced(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        items=legs,
        nav=book.nav_usd if book.known else 0.0,
        as_of_ts=book.as_of_ts,
        updated_at=report.now,
        known=book.known,
        stale=book.stale,
    )


def _row(position: Position) -> PositionRow:
    return PositionRow(
        symbol=position.symbol,
        position_side=position.position_side,
        qty=position.qty,
        entry_price=position.entry_price,
        mark_price=position.mark_price,
        unrealized=position.unrealized_usd,
        leverage=position.leverage,
        notional_usd=position.notional_usd,
        opened_ts=position.opened_ts,
        exit=None if position.exit is None else _exit(position.exit),
        strategy=position.strategy,
        unprotected_since_ts=position.unprotected_since_ts,
        stop_resting=position.stop_resting,
    )


def _exit(plan: ExitPlan) -> ExitRow:
    return ExitRow(
        stop_price=plan.stop_price,
        take_profit_price=plan.take_profit_price,
        deadline_ts=plan.deadline_ts,
    )
