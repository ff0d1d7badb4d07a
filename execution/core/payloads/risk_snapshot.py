"""Limits and what is left of them, trading states and their reasons, today's vetoes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from execution.core import indicators, regimes, sizing
from execution.core.payloads.run import RunInfo
from execution.core.policy import Policy
from execution.core.risk import exposure
from execution.core.risk.exposure import Exposure
from execution.core.risk.trading_state import day_loss_pct
from execution.core.types import Book, EngineState, TickReport, Vetoed
from execution.state_schema.files import (
    LimitRow,
    RiskRow,
    RiskSnapshot,
    SymbolRisk,
    SymbolRouter,
    SymbolSizing,
    SymbolVol,
)


def build(report: TickReport, run: RunInfo) -> RiskSnapshot:
    """Build `state/risk_snapshot.json`; what cannot be computed is null, never 0."""
    trading = report.live.trading
    error = _error(report)
    engine = run.flags.RISK_ENGINE_V6_ENABLED and error is None
    return RiskSnapshot(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=report.now,
        source="engine" if engine else "fallback",
        error=error,
        trading_state=trading.name,
        trading_state_reasons=trading.reasons,
        limits=limits(report.state, run.policy),
        vetoes=dict(report.state.vetoes),
        symbols=tuple(_row(listing.symbol, report, run) for listing in run.policy.universe.listing),
    )


def limits(state: EngineState, policy: Policy) -> dict[str, LimitRow]:
    """Return each limit of the book by the name that a veto gives it.

    Exposure is prospective, as the checks count it: positions, orders and routes in flight.
    """
    book, held, rules = state.book, exposure.of(state, policy.universe), policy.limits.book
    gross_pct = _nav_pct(held.gross_usd, book)
    return {
        "gross_cap": _limit(rules.gross_cap_pct, gross_pct, "pct"),
        "net_cap": _limit(rules.net_cap_pct, _nav_pct(abs(held.net_usd), book), "pct"),
        "symbol_nav_cap": _tightest_symbol(held, book, policy),
        "leverage_cap": _limit(
            rules.leverage_cap, None if gross_pct is None else gross_pct / 100, "x"
        ),
        "nav_drawdown_limit": _limit(rules.nav_drawdown_limit_pct, book.drawdown_pct, "pct"),
        "day_loss_limit": _limit(
            rules.day_loss_limit_pct,
            None if book.day_pnl_usd is None else day_loss_pct(book),
            "pct",
        ),
        "max_concurrent": _limit(
            rules.max_concurrent, len(held.by_leg) if book.known else None, "legs"
        ),
    }


def _tightest_symbol(held: Exposure, book: Book, policy: Policy) -> LimitRow:
    """Show the symbol that has the least headroom."""
    rows = []
    for listing in policy.universe.listing:
        cap_pct = policy.limits.book.symbol_cap_pct
        own = policy.limits.symbols.get(listing.symbol)
        if own is not None and own.cap_pct is not None:
            cap_pct = min(cap_pct, own.cap_pct)
        rows.append(_limit(cap_pct, _nav_pct(held.symbol_usd(listing.symbol), book), "pct"))
    return min(
        rows,
        key=lambda row: row.limit if row.headroom is None else row.headroom,
        default=_limit(policy.limits.book.symbol_cap_pct, None, "pct"),
    )


def _limit(limit: float, used: float | None, unit: str) -> LimitRow:
    headroom = None if used is None else max(0.0, limit - used)
    return LimitRow(limit=limit, used=used, headroom=headroom, unit=unit)


def _nav_pct(usd: float, book: Book) -> float | None:
    known = book.known and 0 < book.nav_usd < math.inf
    return 100 * usd / book.nav_usd if known else None


def _row(symbol: str, report: TickReport, run: RunInfo) -> RiskRow:
    trading = report.live.symbol_trading.get(symbol, report.live.trading)
    router = run.policy.route_policy(symbol)
    regime = regimes.of_symbol(symbol, report.state.frames, run.policy)
    atr, factor = _volatility(symbol, report.state, run.policy)
    return RiskRow(
        symbol=symbol,
        trading_state=trading.name,
        trading_state_reasons=trading.reasons,
        router=SymbolRouter(
            maker_first=router.maker_first,
            taker_bias=router.taker_bias,
            offset_bps=router.offset_bps,
        ),
        risk=SymbolRisk(dd_today_pct=None, risk_flags=tuple(_flags(symbol, report.state.book))),
        vol=SymbolVol(atr_now=atr, atr_regime=regime),
        sizing=SymbolSizing(final_size_factor=factor),
        updated_ts=report.now,
    )


def _flags(symbol: str, book: Book) -> Iterator[str]:
    held = [position for position in book.positions if position.symbol == symbol]
    if any(position.unprotected_since_ts is not None for position in held):
        yield "unprotected"
    if any(position.mark_price is None for position in held):
        yield "no_mark"


def _volatility(
    symbol: str, state: EngineState, policy: Policy
) -> tuple[float | None, float | None]:
    """Return ATR and size factor on the bars of the first strategy that trades `symbol`."""
    found = regimes.frame_of(symbol, state.frames, policy)
    if found is None:
        return None, None
    strategy, frame = found
    atr = indicators.atr(frame.bars, strategy.exits.atr_bars)
    return atr, sizing.multiplier(policy.sizing, frame)


def _error(report: TickReport) -> str | None:
    """Return what a check of this tick raised; a check that raises has vetoed."""
    for decision in report.live.decisions:
        if isinstance(decision.verdict, Vetoed):
            for breach in decision.verdict.breaches:
                if breach.unit == "error":
                    return f"{breach.reason}: {breach.observed}"
    return None
