"""What each process says of itself: the executor's probe and health, a service's health."""

from __future__ import annotations

from execution.core.payloads.run import RunInfo, ServiceInfo
from execution.core.types import TickReport
from execution.state_schema.files import ExecutorHealth, LoopMs, ProcessHealth, RuntimeProbe


def runtime_probe(run: RunInfo, now: float) -> RuntimeProbe:
    """Build `state/v6_runtime_probe.json`."""
    flags = run.flags
    return RuntimeProbe(
        engine_version=run.engine_version,
        v6_flags=flags,
        INTEL_V6_ENABLED=flags.INTEL_V6_ENABLED,
        RISK_ENGINE_V6_ENABLED=flags.RISK_ENGINE_V6_ENABLED,
        PIPELINE_V6_SHADOW_ENABLED=flags.PIPELINE_V6_SHADOW_ENABLED,
        ROUTER_AUTOTUNE_V6_ENABLED=flags.ROUTER_AUTOTUNE_V6_ENABLED,
        FEEDBACK_ALLOCATOR_V6_ENABLED=flags.FEEDBACK_ALLOCATOR_V6_ENABLED,
        ROUTER_AUTOTUNE_V6_APPLY_ENABLED=flags.ROUTER_AUTOTUNE_V6_APPLY_ENABLED,
        env=run.env,
        dry_run=run.dry_run,
        testnet=run.testnet,
        venue=run.venue,
        run_id=run.run_id,
        live_policy=run.live_policy,
        shadow_policy=run.shadow_policy,
        ts=now,
    )


def executor_health(report: TickReport, run: RunInfo) -> ExecutorHealth:
    """Build `state/executor_health.json`; figures about publishing are those of the last time."""
    orders = report.state.recorded.open_orders
    kill = report.state.recorded.kill
    return ExecutorHealth(
        engine_version=run.engine_version,
        v6_flags=run.flags,
        updated_ts=report.now,
        loop_seq=run.loop_seq,
        loop_ms=LoopMs(last=run.loop_ms_last, p50=run.loop_ms_p50, p99=run.loop_ms_p99),
        trading_state=report.live.trading.name,
        mode=run.mode,
        kill_latch=kill is not None and kill.on,
        blind_since_ts=report.state.book.blind_since_ts,
        errors=dict(run.errors),
        failed_writes=run.failed_writes,
        clock_offset_ms=run.health.clock_offset_ms,
        weight_used_1m=run.health.weight_used_1m,
        banned_until_ts=run.health.banned_until_ts,
        rss_mb=run.rss_mb,
        open_orders=len(orders),
        unknown_orders=sum(order.state == "UNKNOWN" for order in orders),
        shadow_ms=run.shadow_ms,
        strategies_off=dict(report.state.outside.off),
    )


def process_health(service: ServiceInfo, now: float) -> ProcessHealth:
    """Build one of `state/process_*.json`."""
    return ProcessHealth(
        engine_version=service.engine_version,
        v6_flags=service.flags,
        updated_ts=now,
        started_ts=service.started_ts,
        pid=service.pid,
        cycles=service.cycles,
        errors=dict(service.errors),
        last_error=service.last_error,
        rss_mb=service.rss_mb,
    )
