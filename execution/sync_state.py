"""Service: the executor's files → exposures, drawdown → its own two files → the mirror in Firestore.

It never trades, reads nothing but the files of the telemetry contract, and writes its own only.
Whatever is missing, stale or garbage in them is said in `sync_health.json`, and the service goes on.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import Final

from msgspec.structs import replace

from execution import guards, locks, service_loop
from execution import settings as settings_door
from execution.clock import Clock
from execution.core.mirror import documents
from execution.core.mirror.documents import Document
from execution.core.payloads import flag_starts, sync_health
from execution.core.payloads.sync_health import Found, Mirror
from execution.jsonl_log import JsonlLogger, newest
from execution.log_lines import one_line
from execution.mirror_writer import MirrorWriter
from execution.nav_journal import NavJournal
from execution.service_loop import Service, Timer
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.envelope import Envelope
from execution.state_schema.files import Nav, NavSeries, Synced
from execution.state_store import StateStore, Unreadable

log = logging.getLogger("sync_state")

LOCK: Final = "run/sync.lock"
PRINT_S: Final = 60.0
NAV_MAX_AGE_S: Final = 180.0  # the journal has a point a minute
STARTING_S: Final = 30.0  # all programs start at once, and the executor reads its market first
LEASE_S: Final = 180.0  # a mirror that was silent for longer may be taken over by another host


# ---------------------------------------------------------------- may it publish?


def _firestore_enabled() -> bool:
    """Tell whether the guards, as they are now, let this process write to Firestore."""
    return guards.may_publish(settings_door.publish_values(), "sync_state").allowed


# ---------------------------------------------------------------- the service


class Sync:
    """One cycle after another: read, assess, write the two files, the mirror and the heartbeat."""

    def __init__(self, settings: Settings, clock: Clock, nav: NavJournal | None = None) -> None:
        self._clock = clock
        self._store = StateStore(settings.log_dir, clock)
        self._nav = NavJournal(settings, clock.now()) if nav is None else nav
        self._printing = Timer(PRINT_S, clock)
        self._printed: object = None
        self._begun_s = clock.monotonic() + STARTING_S
        self.service = Service(
            registry.PROCESS_SYNC_STATE,
            settings,
            clock,
            self._store,
            partial(JsonlLogger, clock=clock, **service_loop.journal_limits(settings)),
        )
        self.mirror = MirrorWriter(
            "sync_state", settings, clock, self._store, self.service, documents.HEALTH, LEASE_S
        )

    def cycle(self) -> None:
        """Look at the local files, write what they amount to, then mirror them.

        The local files come first: no server may be in their way.
        """
        now = self._clock.now()
        found = self.look(now)
        self._print(found)
        if self.mirror.is_on:
            self._write_health(found, self.mirror.report())
        mirror = self.mirror.cycle(partial(self.documents, found))
        self.mirror.forget(self._nav.settle(self.mirror.settled))
        heartbeat = sync_health.heartbeat(self.service.info(), found, mirror, now)
        self.service.append(registry.SYNC_HEARTBEATS, heartbeat)
        self._write_health(found, mirror)

    def _write_health(self, found: Found, mirror: Mirror) -> None:
        health = sync_health.build(self.service.info(), found, mirror, self._clock.now())
        self._store.write(registry.SYNC_HEALTH, health)

    def documents(self, found: Found, withheld: Mapping[str, str]) -> list[Document]:
        """Make every document that the files are good for; the others stay in the mirror as they are."""
        made = []
        missing = dict(withheld)
        for file in documents.BOOK:
            payload = self._store.inspect(file)
            if isinstance(payload, Unreadable):
                missing[documents.name_of(file)] = one_line(str(payload))
                continue
            made.append(documents.state(file, payload))
            if isinstance(payload, Nav):
                made.append(documents.peak_state(payload, found.nav_series))
        alive: dict[str, Envelope] = {}
        for file in documents.HEALTH_FILES:
            payload = self._store.inspect(file)
            if not isinstance(payload, Unreadable):
                alive[file.name] = payload
        return [*made, *self._nav.unsent(), documents.health(alive, missing)]

    def look(self, now: float) -> Found:
        """Assess the positions and the NAV series as their files have them."""
        found = self._positions(now)
        series, problem = self._nav_series(now)
        problems = found.problems if problem is None else (*found.problems, problem)
        return replace(found, nav_series=series, problems=problems)

    def _positions(self, now: float) -> Found:
        file = registry.SYNCED
        synced = self._store.inspect(file)
        if isinstance(synced, Synced):
            return sync_health.positions_found(synced, file.max_age_s, now)
        problem = one_line(str(synced))
        if synced.kind != "missing":  # the executor may simply not have begun
            self.service.faults.report(file.name, synced.kind, problem)
        return Found(problems=(problem,))

    def _nav_series(self, now: float) -> tuple[NavSeries | None, str | None]:
        path = registry.NAV_SERIES.path
        try:
            broken, complete = self._nav.read()
        except OSError as error:
            problem = f"{path}: {error.strerror}"
            self.service.faults.report("nav_journal", "unreadable", problem)
            return None, problem
        if broken:
            problem = f"{path}: {broken} lines are no record and are passed over"
            self.service.faults.report("nav_journal", "broken", problem)
            return (self._nav.series(now) if complete else None), problem
        if not complete:
            return None, f"{path}: still reading"
        age_s = self._nav.newest_age_s(now)
        late = age_s is not None and age_s > NAV_MAX_AGE_S
        return self._nav.series(now), f"{path}: no point for {age_s:.0f} s" if late else None

    def _print(self, found: Found) -> None:
        """Log the figures once a minute, and at once when the symbols or the problems change.

        What is missing while all programs start is no warning before it lasts.
        """
        held = None if found.exposures is None else tuple(found.exposures.by_symbol)
        begun = self._clock.monotonic() >= self._begun_s
        shown = (held, len(found.problems), begun and bool(found.problems))
        if shown == self._printed and not self._printing.is_due():
            return
        self._printed = shown
        self._printing.done()
        for problem in found.problems:
            log.log(logging.WARNING if begun else logging.INFO, "input %s", problem)
        log.info("%s", one_line(_figures(found)))


def _figures(found: Found) -> str:
    """Say exposures and drawdown in one line."""
    assessed, series = found.exposures, found.nav_series
    figures: dict[str, float | None] = {"nav_usd": found.nav_usd, "lag_s": found.lag_s}
    if assessed is not None:
        figures |= {name: getattr(assessed, name) for name in ("gross_usd", "net_usd", "gross_pct")}
        if assessed.largest is not None:
            figures[f"largest_{assessed.largest.symbol}_usd"] = assessed.largest.notional_usd
    else:
        figures["exposures"] = None
    if series is not None:
        figures |= {"n": series.n, "peak_usd": series.peak_usd}
        figures |= {"drawdown_pct": series.drawdown_pct, "day_pnl_usd": series.day_pnl_usd}
    else:
        figures["nav_series"] = None
    return " ".join(f"{name}={_show(number)}" for name, number in figures.items())


def _show(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.2f}".removesuffix(".00")


def run(settings: Settings, clock: Clock, stop: threading.Event) -> None:
    """Run cycles until `stop`, or MAX_LOOPS of them. Raises ConfigError and LockHeld."""
    with locks.hold(settings.log_dir / LOCK, "sync_state"):
        sync = Sync(settings, clock)
        starts = partial(newest, settings.log_dir, registry.FLAGS, flag_starts.READ)
        sync.service.run(sync.cycle, starts, settings.services.sync.interval_s, stop)


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("sync_state", run)


if __name__ == "__main__":
    sys.exit(main())
