"""What a tick leaves in the journals: pure, and quick where nothing happened."""

from __future__ import annotations

from execution.core import regimes
from execution.core.payloads import order_events, route_metrics, shadow_pairs
from execution.core.payloads.run import IntelReport, RunInfo
from execution.core.records import RouteEnd
from execution.core.types import OrderIntent, Signal, TickReport, Vetoed
from execution.state_schema import registry
from execution.state_schema.cycle_journals import RouterHealthPoint
from execution.state_schema.journals import SignalMetric, Veto
from execution.state_schema.order_journals import Intent
from execution.state_schema.registry import Entry


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
    for closed in found.closed:
        regime = regimes.of_symbol(closed.symbol, report.state.frames, run.policy)
        entries.append((registry.ORDERS_EXECUTED, order_events.close(closed, regime, now, run_id)))
    entries += ((registry.SIGNAL_METRICS, _signal(signal, now, run_id)) for signal in live.signals)
    for decision in live.decisions:
        entries.append((registry.ORDERS_ATTEMPTED, _intent(decision.intent, now, run_id)))
        if isinstance(decision.verdict, Vetoed):
            entries.append((registry.RISK_VETOES, _veto(decision.verdict, now, run_id)))
    for result in results:
        if isinstance(result, RouteEnd):
            metric = route_metrics.route_metric(result, now, run_id)
            entries.append((registry.ORDER_METRICS, metric))
            continue
        event = order_events.order_event(result.change, now, run_id)
        if event is not None:
            entries.append((registry.ORDERS_EXECUTED, event))
    if shadow is not None:
        entries += ((registry.SHADOW, pair) for pair in shadow_pairs.pairs(report, run))
    return entries


def health_records(before: IntelReport | None, after: IntelReport, run: RunInfo) -> list[Entry]:
    """Return each symbol's router health, where it was computed anew."""
    health = after.router_health
    if health is None or (before is not None and before.router_health == health):
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
                regime=row.regime,
                taker_bias=row.policy.taker_bias,
                maker_offset_bps=row.maker_offset_bps,
            ),
        )
        for row in health.value
    ]


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
