"""Payloads → files, with an outcome for each; nothing raises into the tick."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from execution.clock import Clock
from execution.core.guarded import Failed, guarded
from execution.core.payloads import (
    intel,
    nav,
    positions,
    processes,
    risk_snapshot,
)
from execution.core.payloads.run import IntelReport, RunInfo
from execution.core.types import TickReport, TradingState
from execution.jsonl_log import JsonlLogger, Lost
from execution.state_schema import registry
from execution.state_schema.envelope import Envelope
from execution.state_schema.files import RiskSnapshot
from execution.state_schema.registry import Entry, Journal, StateFile
from execution.state_store import StateStore

P = TypeVar("P", bound=Envelope)
log = logging.getLogger(__name__)

REPEAT_S = 60.0


class Outcome(Struct, frozen=True):
    """What became of one state file; without `failed` it stands on disk as published."""

    path: str
    failed: Failed | None = None


class Published(Struct, frozen=True):
    """What became of every file of one publish, and what failed of what was to be in them."""

    outcomes: tuple[Outcome, ...]
    unmade: tuple[Failed, ...] = ()

    @property
    def failed_writes(self) -> tuple[str, ...]:
        """Name the files that were not written."""
        return tuple(each.path for each in self.outcomes if each.failed is not None)

    @property
    def failures(self) -> tuple[Failed, ...]:
        """Return what went wrong, for the count by stage."""
        failed = (each.failed for each in self.outcomes if each.failed is not None)
        return (*self.unmade, *failed)


def attempt(file: StateFile[Any], call: Callable[[], object]) -> Outcome:
    """Do what writes `file`, and say what became of it."""
    done = guarded(f"publish:{file.name}", call)
    return Outcome(file.path, done if isinstance(done, Failed) else None)


def publish_file(store: StateStore, file: StateFile[P], build: Callable[[], P]) -> Outcome:
    """Build one payload and write it."""
    return attempt(file, lambda: store.write(file, build()))


def publish_probe(store: StateStore, run: RunInfo, now: float) -> Outcome:
    """Write the runtime probe."""
    return publish_file(store, registry.RUNTIME_PROBE, lambda: processes.runtime_probe(run, now))


class TickPublisher:
    """Writes what the executor publishes every loop.

    The risk snapshot is recomputed every `risk_s`, and at once when a trading state or a reason
    changes; in between its content is written again as it was.
    """

    def __init__(self, store: StateStore, clock: Clock, risk_s: float) -> None:
        self._store = store
        self._clock = clock
        self._risk_s = risk_s
        self._risk: RiskSnapshot | None = None
        self._risk_of: _RiskKey | None = None
        self._risk_due_s = 0.0
        self._said = _Said()

    def publish(self, report: TickReport, run: RunInfo, slow: IntelReport | None) -> Published:
        """Write every file of the loop; one that fails leaves the others alone.

        Without `slow` the files of the slow cadence say that nothing was measured since the start.
        """
        found = slow or IntelReport()
        write = partial(publish_file, self._store)
        legs = cache(partial(positions.rows, report.state.book))
        unmade: list[Failed] = []
        outcomes = (
            write(registry.NAV, lambda: nav.build(report, run)),
            write(registry.POSITIONS, lambda: positions.build(report, run, legs())),
            write(registry.SYNCED, lambda: positions.build_synced(report, run, legs())),
            write(registry.RISK_SNAPSHOT, lambda: self._risk_snapshot(report, run, unmade)),
            write(registry.ROUTER_HEALTH, lambda: intel.router_health(found, run)),
            write(registry.SYMBOL_SCORES, lambda: intel.symbol_scores(found, run)),
            write(registry.EXPECTANCY, lambda: intel.expectancy(found, run)),
            write(
                registry.ROUTER_SUGGESTIONS,
                lambda: intel.router_suggestions(found, run),
            ),
            write(
                registry.ALLOCATION_SUGGESTIONS,
                lambda: intel.allocation_suggestions(found, run),
            ),
            write(registry.EXECUTOR_HEALTH, lambda: processes.executor_health(report, run)),
        )
        published = Published(outcomes, tuple(unmade))
        self._said = _say(published, self._said, self._clock.monotonic())
        return published

    def _risk_snapshot(
        self, report: TickReport, run: RunInfo, unmade: list[Failed]
    ) -> RiskSnapshot:
        key = _RiskKey(report.live.trading, dict(report.live.symbol_trading), run.day.error)
        now_s = self._clock.monotonic()
        if self._risk is None or key != self._risk_of or now_s >= self._risk_due_s:
            self._risk, failed = risk_snapshot.build(report, run)
            unmade += [] if failed is None else [failed]
            self._risk_of = key
            self._risk_due_s = now_s + self._risk_s
        return self._risk


class JournalSet:
    """The journals of one process, each opened when it is first written."""

    def __init__(
        self,
        log_dir: Path,
        clock: Clock,
        *,
        max_bytes: int,
        backups: int,
        max_age_s: float,
        buffered: bool = False,
    ) -> None:
        self._log_dir = log_dir
        self._open = partial(
            JsonlLogger,
            clock=clock,
            max_bytes=max_bytes,
            backups=backups,
            max_age_s=max_age_s,
            buffered=buffered,
        )
        self._loggers: dict[str, JsonlLogger] = {}

    def append(self, entries: Iterable[Entry]) -> tuple[Lost, ...]:
        """Write `entries` in their order; return what could not be written."""
        answers = [self._logger(journal).write(record) for journal, record in entries]
        return _lost(answers)

    def flush(self) -> tuple[Lost, ...]:
        """Write what is buffered."""
        return _lost([logger.flush() for logger in self._loggers.values()])

    def close(self) -> tuple[Lost, ...]:
        """Write what is buffered and let go of the files."""
        return _lost([logger.close() for logger in self._loggers.values()])

    def _logger(self, journal: Journal[Any]) -> JsonlLogger:
        logger = self._loggers.get(journal.path)
        if logger is None:
            logger = self._loggers[journal.path] = self._open(self._log_dir / journal.path)
        return logger


class _RiskKey(Struct, frozen=True):
    """What makes the risk snapshot due at once when it changes."""

    trading: TradingState
    symbols: dict[str, TradingState]
    error: str | None


class _Said(Struct, frozen=True):
    """Which failed files the log was last told of, and when."""

    failed: tuple[str, ...] = ()
    at_s: float = 0.0


def _say(published: Published, said: _Said, now_s: float) -> _Said:
    """Log what was written and what was not; a lasting failure once a minute."""
    failed = published.failed_writes
    wrote = len(published.outcomes) - len(failed)
    if not failed:
        if said.failed:
            log.info("state files written again wrote=%d files=%s", wrote, ",".join(said.failed))
        log.debug("state files written wrote=%d", wrote)
        return _Said() if said.failed else said
    if failed == said.failed and now_s - said.at_s < REPEAT_S:
        return said
    for failure in published.failures:
        error = failure.error
        log.error(
            "state file not written stage=%s error=%s: %s",
            failure.stage,
            type(error).__name__,
            error,
        )
    log.error("state files wrote=%d failed=%d files=%s", wrote, len(failed), ",".join(failed))
    return _Said(failed, now_s)


def _lost(answers: Iterable[Lost | None]) -> tuple[Lost, ...]:
    return tuple(answer for answer in answers if answer is not None)
