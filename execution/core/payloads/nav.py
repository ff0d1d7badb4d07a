"""The account's numbers, with `known` and `stale` beside them."""

from __future__ import annotations

from execution.core.payloads.run import RunInfo
from execution.core.types import TickReport
from execution.state_schema.files import Nav


def build(report: TickReport, run: RunInfo) -> Nav:
    """Build `state/nav.json`; before the first good read the required floats are 0.0."""
    book = report.state.book
    nav_usd = book.nav_usd if book.known else 0.0
    anchors, residual = book.anchors, book.identity_residual_usd
    return Nav(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        nav=nav_usd,
        nav_usd=nav_usd,
        updated_ts=report.now,
        as_of_ts=book.as_of_ts,
        known=book.known,
        stale=book.stale,
        wallet_usd=book.wallet_usd,
        unrealized_usd=book.unrealized_usd,
        gross_usd=book.gross_usd,
        net_usd=book.net_usd,
        peak_usd=None if anchors is None else anchors.peak_usd,
        drawdown_pct=book.drawdown_pct,
        day_start_usd=None if anchors is None else anchors.day_start_usd,
        day_pnl_usd=book.day_pnl_usd,
        identity_residual_usd=None if residual is None else float(residual),
    )
