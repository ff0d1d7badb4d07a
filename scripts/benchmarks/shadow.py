"""What a candidate costs: its decision beside the live one, and a step of counting both."""

from __future__ import annotations

import math
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from execution import boot
from execution import settings as settings_door
from execution.boot import Engine, Replay
from execution.clock import ManualClock, SystemClock
from execution.core import pipeline
from execution.executor_live import run_tick, write_journals
from execution.jsonl_log import JsonlLogger
from execution.service_loop import rss_mb
from execution.shadow_runner import ShadowRunner
from execution.state_schema import registry
from scripts.benchmarks import sample, table
from scripts.benchmarks.replay import RECORDED, SYMBOLS, make

GOAL_RATIO = 1.2
GOAL_STEP_MS = 20.0
MADE_MINUTES = 6_000
LINES_TOLD = 200_000


class DecisionCost(Struct, frozen=True):
    """Deciding in one tick, by either policy, over the ticks in which a bar of a strategy closed."""

    source: str
    ticks: int
    live_us_mean: float
    shadow_us_mean: float
    ratio_to_live: float
    goal_ratio: float = GOAL_RATIO


class CountingCost(Struct, frozen=True):
    """Catching up with the journals of those ticks as the executor does, one step of both files a tick."""

    records: int
    steps: int
    step_ms_p50: float
    step_ms_p99: float
    step_ms_max: float
    goal_ms: float = GOAL_STEP_MS


class Growth(Struct, frozen=True):
    """Counting many shadow lines over rotations: whether all were counted, and what it took."""

    lines: int
    counted: int
    archives: int
    wall_s: float
    rss_grown_mb: float


def decisions(folder: Path, source: str, minutes: int) -> tuple[DecisionCost, CountingCost]:
    """Tick through a recording with a candidate equal to live; time both, then count both."""
    with tempfile.TemporaryDirectory(prefix="hedge-bench-") as out:
        replayed = _built(folder, Path(out))
        engine = replayed.engine
        live_s, shadow_s = _tick(replayed, minutes)
        engine.journals.flush()
        cost = DecisionCost(
            source=source,
            ticks=len(live_s),
            live_us_mean=1e6 * statistics.fmean(live_s),
            shadow_us_mean=1e6 * statistics.fmean(shadow_s),
            ratio_to_live=sum(shadow_s) / sum(live_s),
        )
        counting = _count(engine)
        engine.close()
    return cost, counting


def _built(folder: Path, out: Path) -> Replay:
    over = {"MARKET": f"replay:{folder.resolve()}", "HEDGE_LOG_DIR": str(out)}
    settings = settings_door.load(over={**over, "PIPELINE_V6_SHADOW_ENABLED": "1"})
    settings_door.prepare_log_dir(settings)
    return boot.build_replay(settings, folder, SYMBOLS)


def _tick(replayed: Replay, minutes: int) -> tuple[list[float], list[float]]:
    """Tick as the replay does; decide once more by either policy, in turns, on the same state."""
    engine, watch = replayed.engine, SystemClock()
    terms = engine.settings.services.executor
    times: tuple[list[float], list[float]] = ([], [])
    for tick in range(minutes):
        close_ts = replayed.market.next_close_ts()
        if close_ts is None:
            break
        replayed.clock.set(close_ts)
        decided = {**engine.state.decided}
        report = engine.report = run_tick(engine, engine.state)
        engine.state = report.state
        write_journals(engine, report)
        if not report.state.closed:
            continue
        # As the tick found it: nothing of these bars was answered yet.
        state = msgspec.structs.replace(report.state, decided=decided)
        shadow = ShadowRunner(engine.shadow.policy, watch, terms.shadow_budget_ms, math.inf)
        calls: list[Any] = [
            partial(pipeline.decide, report.seen, state, engine.live_policy, report.now),
            partial(shadow.decide, report.seen, state, report.now),
        ]
        for which in (0, 1) if tick % 2 else (1, 0):
            begun_s = watch.monotonic()
            calls[which]()
            times[which].append(watch.monotonic() - begun_s)
    return times


def _count(engine: Engine) -> CountingCost:
    run, now, watch = engine.telling.run, engine.clock.now(), SystemClock()
    steps_ms: list[float] = []
    read_all = False
    while not read_all:
        begun_s = watch.monotonic()
        _, heads = engine.pair.refresh_head(run.run_id, now)
        summary, both = engine.pair.refresh_compare(run.deciding, now)
        steps_ms.append(1000 * (watch.monotonic() - begun_s))
        read_all = heads and both
    steps_ms.sort()
    return CountingCost(
        records=summary.sample_size,
        steps=len(steps_ms),
        step_ms_p50=steps_ms[len(steps_ms) // 2],
        step_ms_p99=steps_ms[len(steps_ms) * 99 // 100],
        step_ms_max=steps_ms[-1],
    )


def growth(engine_dir: Path, lines: int) -> Growth:
    """Write so many decisions over rotations, and count them as the executor does."""
    replayed = _built(engine_dir, engine_dir / "out")
    engine, watch = replayed.engine, SystemClock()
    path = engine.settings.log_dir / registry.SHADOW.path
    record = _one_decision()
    size = len(msgspec.json.encode(record)) + 1
    journal = JsonlLogger(
        path,
        ManualClock(sample.NOW),
        max_bytes=lines * size // 4,
        backups=99,
        max_age_s=math.inf,
        buffered=True,
    )
    for number in range(lines):
        journal.write(msgspec.structs.replace(record, decision_id=f"d{number}"))
    journal.close()
    run, before_mb, begun_s = engine.telling.run, rss_mb(), watch.monotonic()
    read_all = False
    while not read_all:
        summary, read_all = engine.pair.refresh_compare(run.deciding, sample.NOW)
    wall_s = watch.monotonic() - begun_s
    engine.close()
    archives = len([*path.parent.glob(f"{path.stem}.*.jsonl")])
    return Growth(lines, summary.sample_size, archives, wall_s, rss_mb() - before_mb)


def _one_decision() -> Any:  # noqa: ANN401 - a record of the shadow's journal
    judged = {"approved": False, "reason": "gross_cap", "qty": 0.0, "notional_usd": 0.0}
    return registry.SHADOW.decoder.decode(
        msgspec.json.encode(
            {
                "event": "decision",
                "ts": sample.NOW,
                "run_id": "run-1",
                "decision_id": "d",
                "strategy": "trend",
                "symbol": "BTCUSDT",
                "position_side": "LONG",
                "side": "BUY",
                "action": "entry",
                "mark_price": 100.0,
                "touch": None,
                "live": judged,
                "shadow": judged,
            }
        )
    )


@click.command()
@click.option("--minutes", default=10_000, show_default=True, help="Recorded minutes to tick.")
@click.option("--lines", default=LINES_TOLD, show_default=True, help="Shadow lines to count.")
@table.json_option
def main(minutes: int, lines: int, *, as_json: bool) -> None:
    """Measure on the recorded month beside the checkout, or on a made market where there is none."""
    with tempfile.TemporaryDirectory(prefix="hedge-made-") as made:
        make(Path(made), SYMBOLS, MADE_MINUTES)
        recorded = RECORDED.is_dir()
        folder = RECORDED if recorded else Path(made)
        cost, counting = decisions(folder, "recorded" if recorded else "random walk", minutes)
        grown = growth(Path(made), lines)
    if as_json:
        click.echo(msgspec.json.encode([cost, counting, grown]).decode())
        return
    table.show("deciding, live and shadow", [cost])
    table.show("counting", [counting])
    table.show("a long journal", [grown])


if __name__ == "__main__":
    main()
