"""The slow cadence over a long history of routes: time and memory, loop by loop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import replace

from execution import settings as settings_door
from execution.clock import ManualClock, SystemClock
from execution.core.records import RoutePolicy
from execution.core.types import EngineState
from execution.intel_cycle import IntelCycle
from execution.jsonl_log import JsonlLogger
from execution.service_loop import rss_mb
from execution.state_schema import registry
from execution.state_schema.order_journals import Close, RouteMetric
from execution.state_store import StateStore
from scripts.benchmarks import sample, table

RECORDS = (1_000, 10_000, 100_000)
STEP_S = 10.0
MIB = 1 << 20
BACKUPS = 1000


class IntelCost(Struct, frozen=True):
    """A start on so many order records, and the loops after it, in which only a few are new."""

    records: int
    journal_mb: float
    loops_to_read: int
    read_s: float
    slowest_loop_ms: float
    due_loop_ms: float
    idle_loop_us: float
    rss_before_mb: float
    rss_after_mb: float


def measure(folder: Path, records: int) -> IntelCost:
    """Journal `records` routes with a closed trade for every fourth, and run the cadence over them."""
    variables = {"HEDGE_LOG_DIR": str(folder), "INTEL_V6_ENABLED": "1"}
    settings = settings_door.load({**variables, "ROUTER_AUTOTUNE_V6_ENABLED": "1"})
    policy, watch = settings.policy, SystemClock()
    clock = ManualClock(sample.NOW)
    symbols = [listing.symbol for listing in policy.universe.listing]
    metrics = JsonlLogger(
        folder / registry.ORDER_METRICS.path,
        clock,
        max_bytes=32 * MIB,
        backups=BACKUPS,
        max_age_s=1e9,
        buffered=True,
    )
    events = JsonlLogger(
        folder / registry.ORDERS_EXECUTED.path,
        clock,
        max_bytes=32 * MIB,
        backups=BACKUPS,
        max_age_s=1e9,
        buffered=True,
    )
    for n, route in enumerate(_routes(records, symbols, policy.router.default)):
        metrics.write(route)
        if n % 4 == 0:
            events.write(_close(route))
    metrics.close()
    events.close()
    cycle = IntelCycle(settings, StateStore(folder, clock), "bench")
    state, before_mb, loops_ms = EngineState(), rss_mb(), []
    while True:
        started_s = watch.monotonic()
        found = cycle.refresh(state, policy, clock.now())
        loops_ms.append(1e3 * (watch.monotonic() - started_s))
        clock.advance(1)
        if found.report.router_health is not None and found.report.router_health.value[0].n:
            break
    due_ms = idle_ms = 0.0
    for _ in range(200):
        started_s = watch.monotonic()
        cycle.refresh(state, policy, clock.now())
        idle_ms += 1e3 * (watch.monotonic() - started_s) / 200
    for _ in range(20):
        clock.advance(settings.intel.allocator.every_s)
        started_s = watch.monotonic()
        cycle.refresh(state, policy, clock.now())
        due_ms = max(due_ms, 1e3 * (watch.monotonic() - started_s))
    journal_bytes = sum(file.stat().st_size for file in (folder / "execution").iterdir())
    return IntelCost(
        records=records,
        journal_mb=round(journal_bytes / MIB, 1),
        loops_to_read=len(loops_ms),
        read_s=round(sum(loops_ms) / 1e3, 3),
        slowest_loop_ms=round(max(loops_ms), 1),
        due_loop_ms=round(due_ms, 1),
        idle_loop_us=round(1e3 * idle_ms, 1),
        rss_before_mb=round(before_mb, 1),
        rss_after_mb=round(rss_mb(), 1),
    )


def _routes(count: int, symbols: list[str], policy: RoutePolicy) -> Iterator[RouteMetric]:
    """Return routes `STEP_S` apart that end now, of all symbols in turn; every third goes unfilled."""
    route = RouteMetric(
        ts=sample.NOW,
        run_id="bench",
        decision_id="0123456789abcdef0123",
        strategy="trend-sim",
        symbol=symbols[0],
        position_side="LONG",
        side="BUY",
        action="entry",
        outcome="filled",
        qty=0.125,
        filled_qty=0.125,
        maker_qty=0.125,
        taker_qty=0.0,
        filled_usd=12_500.0,
        fees_usd=2.5,
        decision_price=100_000.0,
        average_price=99_990.0,
        slippage_bps=-1.0,
        fee_bps=2.0,
        cost_bps=1.0,
        opened_ts=sample.NOW - 60,
        time_to_fill_s=42.0,
        attempts=1,
        quoted=True,
        requotes=0,
        rejects={},
        policy=policy,
        policy_configured=policy,
    )
    unfilled = replace(route, outcome="unfilled", filled_qty=0.0, maker_qty=0.0, filled_usd=0.0)
    for n in range(count):
        ts = sample.NOW - STEP_S * (count - n)
        yield replace(
            unfilled if n % 3 == 0 else route,
            ts=ts,
            opened_ts=ts - 60,
            symbol=symbols[n % len(symbols)],
        )


def _close(route: RouteMetric) -> Close:
    return Close(
        ts=route.ts,
        run_id=route.run_id,
        position_id=f"{route.decision_id}:{route.ts}",
        strategy=route.strategy,
        symbol=route.symbol,
        position_side=route.position_side,
        opened_ts=route.opened_ts,
        closed_ts=route.ts,
        qty=route.qty,
        realized_usd=7.5 if int(route.ts) % 20 else -6.0,
        fees_usd=2.5,
        entry_usd=12_500.0,
        risk_usd=100.0,
        regime="normal",
    )


@click.command()
@table.json_option
def main(*, as_json: bool) -> None:
    """Measure over growing histories: time grows with what is read, memory does not."""
    rows = []
    for records in RECORDS:
        with tempfile.TemporaryDirectory(prefix="hedge-intel-") as folder:
            rows.append(measure(Path(folder), records))
    table.tell("the slow cadence", rows, as_json=as_json)


if __name__ == "__main__":
    main()
