"""The trading process: one loop of see → record → remember → decide → act → publish."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from msgspec.structs import replace

from execution import alert_command, boot, locks, service_loop, state_publish
from execution import settings as settings_door
from execution.boot import Engine
from execution.clock import Clock
from execution.core import book, pipeline
from execution.core.guarded import Failed, guarded
from execution.core.payloads import alerts, day_figures, flag_starts, journals, minutes
from execution.core.payloads.run import RunInfo
from execution.core.risk import trading_state
from execution.core.types import Decided, EngineState, TickReport
from execution.jsonl_log import newest
from execution.service_loop import Timer
from execution.settings import Settings
from execution.state_publish import Outcome, Published
from execution.state_schema import registry
from execution.state_schema.journals import ShadowHeartbeat
from execution.state_schema.registry import Entry, StateFile
from execution.v6_flags import get_v6_flag_snapshot

__all__ = ["_maybe_write_v6_runtime_probe", "_pub_tick", "get_v6_flag_snapshot", "run_tick"]

log = logging.getLogger(__name__)

LOCK = "run/executor.lock"


def run_tick(engine: Engine, state: EngineState) -> TickReport:
    """See, record, remember, decide, act. Nothing here waits for a fill."""
    now = engine.clock.now()
    seen = engine.venue.observe(now)
    found = engine.desk.record(seen, now)
    state = book.observe(state, seen, found, engine.live_policy.limits.book)
    state = engine.sources.hear(seen, state, now)
    live = pipeline.decide(seen, state, engine.live_policy, now)
    results = engine.desk.act(live, seen, state, now)
    shadow = engine.shadow.decide(seen, state, now)
    return TickReport(now, seen, book.remember(state, live), live, shadow, results)


def beat(engine: Engine) -> tuple[Failed, ...]:
    """Run one tick and publish it; return what failed.

    The tick's state is kept before it is published: a full disk must not lose memory.
    """
    engine.loops += 1
    ticked = guarded("tick", partial(run_tick, engine, engine.state))
    if isinstance(ticked, Failed):
        return (ticked, *_pub_tick(engine).failures)
    engine.report, engine.state = ticked, ticked.state
    shadow = () if ticked.shadow is None else ticked.shadow.failures
    failures = (*ticked.state.outside.failures, *ticked.live.failures, *shadow)
    return (*failures, *_pub_tick(engine).failures)


# ---------------------------------------------------------------- publishing


def _pub_tick(engine: Engine | None = None) -> Published:
    """Publish the last tick: journals first, then every state file of the executor.

    Called bare, it publishes the default engine's last report, or sees, records and remembers once
    where there is none: it decides nothing and sends nothing. Raises LockHeld naming the executor
    that is running.
    """
    if engine is None:
        with _default_engine() as default:
            return _pub_tick(default)
    report = _look(engine) if engine.report is None else engine.report
    told = engine.telling
    told.run = _run_now(engine)
    refresh_intel(engine, report)
    write_journals(engine, report)
    published = engine.publisher.publish(report, told.run, told.intel)
    slow = (*_maybe_write_v6_runtime_probe(engine), *_maybe_write_pipeline_pair(engine, report))
    published = replace(
        published,
        outcomes=(*published.outcomes, *slow),
        unmade=(*published.unmade, *told.intel_failures),
    )
    told.run = replace(told.run, failed_writes=published.failed_writes)
    for missed in engine.pager.beat():
        engine.faults.report(alert_command.STAGE, missed.kind, missed.text)
    return published


def refresh_intel(engine: Engine, report: TickReport) -> None:
    """Let the slow cadence take its next step; the next tick routes by what it applied."""
    told = engine.telling
    step = partial(engine.intel.refresh, report.state, engine.live_policy, report.now)
    found = guarded("intel", step)
    if isinstance(found, Failed):
        told.intel_failures = (found,)
        return
    before, told.intel, told.intel_failures = told.intel, found.report, found.failures
    engine.live_policy = found.policy
    engine.shadow.follow(found.policy)
    told.run = replace(told.run, policy=found.policy)
    _append(engine, (*found.entries, *journals.health_records(before, found.report, told.run)))


def _maybe_write_v6_runtime_probe(engine: Engine | None = None) -> tuple[Outcome, ...]:
    """Write the runtime probe at start and every `probe_s`, whatever the flags say.

    Called bare it is the default engine's, as for `_pub_tick`.
    """
    if engine is None:
        with _default_engine() as default:
            return _maybe_write_v6_runtime_probe(default)
    told = engine.telling
    if not told.probe.is_due():
        return ()
    told.probe.done()
    return (state_publish.publish_probe(engine.store, told.run, engine.clock.now()),)


def _maybe_write_pipeline_pair(engine: Engine, report: TickReport) -> tuple[Outcome, ...]:
    """Write the shared pair: the head also after each shadow decision, both on their timers.

    One step of the journals is counted in a tick, and the next one in the next tick.
    """
    told, now = engine.telling, report.now
    decided = report.shadow is not None and report.shadow.decisions
    outcomes = []
    if decided:
        told.shadow_quiet.done()
    elif engine.shadow.policy is not None and told.shadow_quiet.is_due():
        told.shadow_quiet.done()
        quiet = ShadowHeartbeat(ts=now, run_id=told.run.run_id, reason="nothing was decided")
        _append(engine, ((registry.SHADOW, quiet),))
    if decided or told.shadow_head.is_due():
        refresh_head = partial(engine.pair.refresh_head, told.run.run_id, now)
        outcomes.append(_count_on(registry.SHADOW_HEAD, refresh_head, told.shadow_head))
    if told.compare.is_due():
        refresh = partial(engine.pair.refresh_compare, told.run.deciding, now)
        outcomes.append(_count_on(registry.COMPARE_SUMMARY, refresh, told.compare))
    return tuple(outcomes)


def _count_on(
    file: StateFile[Any], refresh: Callable[[], tuple[object, bool]], timer: Timer
) -> Outcome:
    """Count one step into a file of the pair; while there is more it stays due."""

    def step() -> None:
        timer.done()
        _, read_all = refresh()
        if not read_all:
            timer.restart()

    return state_publish.attempt(file, step)


def write_journals(engine: Engine, report: TickReport) -> None:
    """Write what this tick leaves in the journals; a report published again leaves nothing.

    What the day's figures need of it is remembered, and the operator's program told of its alerts.
    """
    told = engine.telling
    if told.journalled is report:
        return
    told.journalled = report
    follow = partial(day_figures.follow, told.run.day, report, engine.live_policy)
    day = guarded("day_figures", follow)
    if isinstance(day, Failed):
        engine.faults.note(day)
    elif day is not told.run.day:
        told.run = replace(told.run, day=day)
    spoken, told.alerts = alerts.alerts(report, told.run, told.alerts, told.intel_failures)
    engine.pager.tell(spoken)
    points, told.minute = minutes.records(report, told.run, told.minute)
    _append(
        engine,
        [
            *journals.records(report, told.run),
            *points,
            *((registry.ALERTS, alert) for alert in spoken),
            *engine.sources.answers(report, told.run.run_id),
        ],
    )


def _append(engine: Engine, entries: Iterable[Entry]) -> None:
    """Write records; those that are lost are counted."""
    for lost in engine.journals.append(entries):
        engine.faults.report(f"journal:{lost.journal}", "Lost", lost.reason)


def _write_start(engine: Engine) -> None:
    """Write this start into the journal of flags, with what changed since the last one."""
    before = newest(engine.settings.log_dir, registry.FLAGS, flag_starts.READ)
    starts = flag_starts.records("executor", engine.telling.run, before)
    _append(engine, ((registry.FLAGS, record) for record in starts))


def _run_now(engine: Engine) -> RunInfo:
    """Return the process as it is now; the figures of publishing are those of the last time."""
    times = engine.times.figures()
    return replace(
        engine.telling.run,
        loop_seq=engine.loops,
        loop_ms_last=times.last,
        loop_ms_p50=times.p50,
        loop_ms_p99=times.p99,
        rss_mb=service_loop.rss_mb(),
        errors=dict(engine.faults.errors),
        health=engine.venue.health(),
        shadow_ms=engine.shadow.figures(),
    )


def _look(engine: Engine) -> TickReport:
    """See, record and remember once; decide nothing and send nothing."""
    now = engine.clock.now()
    seen = engine.venue.observe(now)
    found = engine.desk.record(seen, now)
    engine.state = book.observe(engine.state, seen, found, engine.live_policy.limits.book)
    trading = trading_state.derive(seen, engine.state, engine.live_policy, now)
    engine.report = TickReport(now, seen, engine.state, Decided(trading), None, ())
    return engine.report


@contextmanager
def _default_engine() -> Iterator[Engine]:
    """Lend the default engine, under the executor's lock."""
    engine = boot.default_engine()
    with _alone(engine.settings, "executor, called bare"):
        yield engine


@contextmanager
def _alone(settings: Settings, owner: str) -> Iterator[None]:
    """Be the only executor of this log folder and, at an exchange, of this machine's account."""
    with ExitStack() as held:
        held.enter_context(locks.hold(settings.log_dir / LOCK, owner))
        if settings.machine_dir is not None:
            path = locks.of_account(settings.machine_dir, settings.mode, settings.account)
            held.enter_context(locks.hold(path, f"{owner} of {settings.log_dir}"))
        yield


# ---------------------------------------------------------------- the process


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Trade until `stop`, or for MAX_LOOPS loops. Raises ConfigError and LockHeld."""
    with _alone(settings, "executor"):
        engine = boot.build(settings, clock)
        engine.store.sweep("executor")
        _write_start(engine)
        service_loop.loop(
            partial(beat, engine),
            interval_s=settings.services.executor.loop_s,
            clock=clock,
            stop=stop,
            faults=engine.faults,
            max_loops=settings.max_loops,
            times=engine.times,
        )
        _stand_down(engine)
        engine.close()


def _stand_down(engine: Engine) -> None:
    """End well: cancel the entries that rest, look once more, and publish what stands."""
    if engine.settings.services.executor.resting_entries_on_stop == "cancel":
        log.info("stand down canceled_entries=%d", engine.desk.stand_down())
    looked = guarded("stand_down", partial(_look, engine))
    engine.faults.note(looked if isinstance(looked, Failed) else None)
    engine.faults.note(_pub_tick(engine).failures)


def main() -> int:
    """Run the executor as a process; return its exit code."""
    return service_loop.start("executor", run)


def __getattr__(name: str) -> str:
    # Read at the call and never at import: an empty VERSION is a start-up error with a name.
    if name == "_ENGINE_VERSION":
        return settings_door.engine_version()
    raise AttributeError(name)


if __name__ == "__main__":
    sys.exit(main())
