"""What a tick leaves in the journals: pure, and quick where nothing happened."""

from __future__ import annotations

from execution.core.payloads import order_events, shadow_pairs
from execution.core.payloads.run import IntelReport, RunInfo
from execution.core.seam import MarketSnapshot
from execution.core.types import OrderIntent, Signal, TickReport, Vetoed
from execution.state_schema import registry
from execution.state_schema.journals import (
    Intent,
    MarkPoint,
    NavPoint,
    RouterHealthPoint,
    SignalMetric,
    Veto,
)
from execution.state_schema.registry import Entry

MINUTE_S = 60


def records(report: TickReport, run: RunInfo) -> list[Entry]:
    """Return every record of what happened in this tick, in the order in which it happened."""
    live, found = report.live, report.state.recorded
    shadow = None if report.shadow is None else report.shadow.decisions
    results = report.results
    if not (
        found.changes
        or found.trades
        or found.closed
        or live.signals
        or live.decisions
        or shadow
        or results
    ):
        return []
    now, run_id = report.now, run.run_id
    entries: list[Entry] = [*order_events.found_entries(found, now, run_id)]
    entries += ((registry.SIGNAL_METRICS, _signal(signal, now, run_id)) for signal in live.signals)
    for decision in live.decisions:
        entries.append((registry.ORDERS_ATTEMPTED, _intent(decision.intent, now, run_id)))
        if isinstance(decision.verdict, Vetoed):
            entries.append((registry.RISK_VETOES, _veto(decision.verdict, now, run_id)))
    for result in results:
        event = order_events.order_event(result.change, now, run_id)
        if event is not None:
            entries.append((registry.ORDERS_EXECUTED, event))
    if shadow is not None:
        entries += (
            (registry.SHADOW, pair)
            for pair in shadow_pairs.pairs(live.decisions, shadow, now, run_id)
        )
    return entries


def minute_records(report: TickReport, run: RunInfo, last_minute: int | None) -> list[Entry]:
    """Return the points of this minute's series; nothing where `last_minute` had them already.

    A minute in which NAV or a mark is not known, or is old, has no point: a gap says so.
    """
    if minute_of(report.now) == last_minute:
        return []
    now, run_id, book = report.now, run.run_id, report.state.book
    entries: list[Entry] = []
    if book.known and not book.stale:
        point = NavPoint(
            ts=now,
            run_id=run_id,
            nav_usd=book.nav_usd,
            wallet_usd=book.wallet_usd,
            unrealized_usd=book.unrealized_usd,
            gross_usd=book.gross_usd,
            net_usd=book.net_usd,
            peak_usd=None if book.anchors is None else book.anchors.peak_usd,
            drawdown_pct=book.drawdown_pct,
            mode=run.mode,
        )
        entries.append((registry.NAV_SERIES, point))
    if isinstance(report.seen, MarketSnapshot):
        oldest_ts = now - report.seen.lag_s - MINUTE_S
        for symbol, quote in report.seen.quotes.items():
            if quote.ts >= oldest_ts:
                mark = MarkPoint(
                    ts=now, run_id=run_id, symbol=symbol, mark_price=quote.mark, quote_ts=quote.ts
                )
                entries.append((registry.MARKS, mark))
    return entries


def health_records(before: IntelReport | None, after: IntelReport, run: RunInfo) -> list[Entry]:
    """Return each symbol's router health, where it was computed anew."""
    health = after.router_health
    if before is not None and before.router_health.ts == health.ts:
        return []
    return [
        (
            registry.ROUTER_HEALTH_SERIES,
            RouterHealthPoint(
                ts=health.ts,
                run_id=run.run_id,
                symbol=row.symbol,
                n=row.n,
                maker_fill_rate=row.maker_fill_rate,
                fallback_rate=row.fallback_rate,
                slippage_p50=row.slippage_p50,
                slippage_p95=row.slippage_p95,
                quality=row.policy.quality,
            ),
        )
        for row in health.value
    ]


def minute_of(now: float) -> int:
    """Return the minute since the epoch that `now` belongs to."""
    return int(now // MINUTE_S)


def _signal(signal: Signal, now: float, run_id: str) -> SignalMetric:
    return SignalMetric(
        ts=now,
        run_id=run_id,
        strategy=signal.strategy,
        symbol=signal.symbol,
        position_side=signal.position_side,
        action=signal.action,
        bar_open_ts=signal.bar_open_ts,
        strength=signal.strength,
        reason=signal.reason,
        atr=signal.atr,
    )


def _intent(intent: OrderIntent, now: float, run_id: str) -> Intent:
    plan, qty = intent.exit, float(intent.qty)
    return Intent(
        ts=now,
        run_id=run_id,
        decision_id=intent.decision_id,
        strategy=intent.strategy,
        symbol=intent.symbol,
        position_side=intent.position_side,
        side=intent.side,
        action=intent.action,
        qty=qty,
        mark_price=intent.mark_price,
        notional_usd=qty * intent.mark_price,
        reduce_only=intent.reduce_only,
        urgent=intent.urgent,
        reason=intent.reason,
        bar_open_ts=intent.bar_open_ts,
        size_factor=intent.size_factor,
        position_id=intent.position_id,
        stop_price=None if plan is None else plan.stop_price,
        take_profit_price=None if plan is None else plan.take_profit_price,
        deadline_ts=None if plan is None else plan.deadline_ts,
    )


def _veto(vetoed: Vetoed, now: float, run_id: str) -> Veto:
    intent, headline = vetoed.intent, vetoed.breaches[0]
    return Veto(
        ts=now,
        run_id=run_id,
        decision_id=intent.decision_id,
        strategy=intent.strategy,
        symbol=intent.symbol,
        position_side=intent.position_side,
        side=intent.side,
        action=intent.action,
        qty=float(intent.qty),
        reason=headline.reason,
        limit=headline.limit,
        observed=headline.observed,
        unit=headline.unit,
        reasons=tuple(breach.reason for breach in vetoed.breaches),
    )
