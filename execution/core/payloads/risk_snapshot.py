"""`risk_snapshot.json`: every limit with what is used and left, and each symbol as risk sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from msgspec.structs import replace

from execution.core import exits, indicators, regimes, sizing
from execution.core.guarded import Failed, guarded
from execution.core.payloads import day_figures
from execution.core.payloads.run import RunInfo
from execution.core.policy import Policy
from execution.core.risk import usage
from execution.core.risk.usage import Limit
from execution.core.seam import MarketSnapshot
from execution.core.types import EngineState, TickReport
from execution.state_schema.files import (
    LimitRow,
    RiskRow,
    RiskSnapshot,
    SymbolRisk,
    SymbolRouter,
    SymbolSizing,
    SymbolVol,
)

# What is wrong with a symbol where nothing could tell.
UNASSESSED = ("unassessed",)


def build(report: TickReport, run: RunInfo) -> tuple[RiskSnapshot, Failed | None]:
    """Build `state/risk_snapshot.json`, and say what failed where only the fallback could.

    What cannot be computed is null, never 0.
    """
    built = guarded("risk_snapshot", partial(collect, report, run))
    if isinstance(built, Failed):
        return collect_fallback(report, run, f"{type(built.error).__name__}: {built.error}"), built
    return built, None


def collect(report: TickReport, run: RunInfo) -> RiskSnapshot:
    """Collect the engine's figures; they are the gate's own too, where the engine is switched off."""
    lag_s = report.seen.lag_s if isinstance(report.seen, MarketSnapshot) else 0.0
    limits = _limits(usage.limits(run.policy, lag_s), usage.used(report, run.policy), run)
    rows = tuple(_row(listing.symbol, report, run) for listing in run.policy.universe.listing)
    return _snapshot(report, run, run.day.error, limits, rows)


def collect_fallback(report: TickReport, run: RunInfo, error: str) -> RiskSnapshot:
    """Collect what stands without the engine: the limits as configured, and what the book says."""
    limits = _limits(usage.limits(run.policy), usage.losses(report.state.book), run)
    listed = run.policy.universe.listing
    rows = tuple(_bare_row(listing.symbol, report, run, UNASSESSED) for listing in listed)
    return _snapshot(report, run, error, limits, rows)


def _snapshot(
    report: TickReport,
    run: RunInfo,
    error: str | None,
    limits: dict[str, LimitRow],
    rows: tuple[RiskRow, ...],
) -> RiskSnapshot:
    engine = run.flags.RISK_ENGINE_V6_ENABLED and error is None
    return RiskSnapshot(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=report.now,
        source="engine" if engine else "fallback",
        error=error,
        trading_state=report.live.trading.name,
        trading_state_reasons=report.live.trading.reasons,
        limits=limits,
        vetoes=dict(report.state.vetoes),
        symbols=rows,
        worst_since_ts=run.day.worst_since_ts,
    )


# ---------------------------------------------------------------- limits


def _limits(
    limits: Mapping[str, Limit], used: Mapping[str, float], run: RunInfo
) -> dict[str, LimitRow]:
    return {name: _limit(limit, used.get(name), run, name) for name, limit in limits.items()}


def _limit(limit: Limit, used: float | None, run: RunInfo, name: str) -> LimitRow:
    worst = run.day.worst.get(name)
    return LimitRow(
        limit=limit.limit,
        used=used,
        headroom=None if used is None else max(0.0, limit.limit - used),
        unit=limit.unit,
        worst=None if worst is None else worst.used,
        worst_ts=None if worst is None else worst.ts,
    )


# ---------------------------------------------------------------- symbols


def _row(symbol: str, report: TickReport, run: RunInfo) -> RiskRow:
    flags, book = tuple(_flags(symbol, report.state, run.policy)), report.state.book
    bare = _bare_row(symbol, report, run, flags)
    atr, factor = _volatility(symbol, report.state, run.policy)
    regime = regimes.of_symbol(symbol, report.state.frames, run.policy)
    return replace(
        bare,
        risk=replace(bare.risk, dd_today_pct=day_figures.dd_today_pct(run.day, symbol, book)),
        vol=SymbolVol(atr_now=atr, atr_regime=regime),
        sizing=SymbolSizing(final_size_factor=factor),
    )


def _bare_row(symbol: str, report: TickReport, run: RunInfo, flags: tuple[str, ...]) -> RiskRow:
    """Return what is told of a symbol without computing anything."""
    trading = report.live.symbol_trading.get(symbol, report.live.trading)
    router = run.policy.route_policy(symbol)
    return RiskRow(
        symbol=symbol,
        trading_state=trading.name,
        trading_state_reasons=trading.reasons,
        router=SymbolRouter(
            maker_first=router.maker_first,
            taker_bias=router.taker_bias,
            offset_bps=router.offset_bps,
        ),
        risk=SymbolRisk(dd_today_pct=None, risk_flags=flags),
        vol=SymbolVol(atr_now=None, atr_regime="unknown"),
        sizing=SymbolSizing(final_size_factor=None),
        updated_ts=report.now,
    )


def _flags(symbol: str, state: EngineState, policy: Policy) -> Iterator[str]:
    held = [position for position in state.book.positions if position.symbol == symbol]
    if any(position.unprotected_since_ts is not None for position in held):
        yield "unprotected"
    if any(position.mark_price is None for position in held):
        yield "no_mark"
    if any(exits.is_dust(position.qty, state.rules.get(symbol)) for position in held):
        yield "dust"
    orders = state.recorded.open_orders
    if any(order.symbol == symbol and order.state in ("UNKNOWN", "PREP") for order in orders):
        yield "unknown_order"
    own = policy.limits.symbols.get(symbol)
    for side in () if own is None else own.blocked_sides:
        yield f"{side.lower()}_blocked"


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
