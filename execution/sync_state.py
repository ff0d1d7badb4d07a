"""Service: the executor's files → exposures, drawdown → its own two files, and one day the mirror.

It never trades, reads nothing but the files of the telemetry contract, and writes its own only.
Whatever is missing, stale or garbage in them is said in `sync_health.json`, and the service goes on.
"""

from __future__ import annotations

import bisect
import logging
import sys
import threading
from array import array
from functools import partial
from typing import Final

from msgspec.structs import replace

from execution import guards, locks, service_loop
from execution import settings as settings_door
from execution.clock import Clock, Days
from execution.core import nav_series
from execution.core.payloads import sync_health
from execution.core.payloads.sync_health import Found, Mirror
from execution.guards import Publishing
from execution.jsonl_log import JsonlLogger, read_from, tail
from execution.log_lines import one_line
from execution.service_loop import Service, Timer
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.files import JournalPosition, NavSeries, Synced
from execution.state_schema.journals import Alert, FlagChange, FlagsStart
from execution.state_store import StateStore

log = logging.getLogger("sync_state")

NOT_BUILT: Final = "firestore writer not built in this version"
LOCK: Final = "run/sync.lock"
PRINT_S: Final = 60.0
NAV_MAX_AGE_S: Final = 180.0  # the journal has a point a minute
STARTS_READ: Final = 200
BATCH_BYTES: Final = 256 * 1024
BATCHES_A_CYCLE: Final = 64
POINTS_KEPT: Final = 200_000  # over four months of minutes


# ---------------------------------------------------------------- may it publish?


def _publishing() -> Publishing:
    """Decide afresh from environment and `.env` as they are now."""
    return guards.may_publish(settings_door.publish_values(), "sync_state")


def _firestore_enabled() -> bool:
    """Tell whether the guards let this process write to Firestore."""
    return _publishing().allowed


# ---------------------------------------------------------------- what it reads


class NavJournal:
    """The points of the NAV journal, read on from where the last look ended."""

    def __init__(
        self,
        settings: Settings,
        batches_a_cycle: int = BATCHES_A_CYCLE,
        points_kept: int = POINTS_KEPT,
    ) -> None:
        journal = registry.NAV_SERIES
        self._batches = batches_a_cycle
        self._points = points_kept
        self._path = settings.log_dir / journal.path
        self._decode = journal.decoder.decode
        self._iso_ts = settings.nav_cutoff_ts_iso
        self._secago = settings.nav_cutoff_secago
        self._day = Days(settings.policy.limits.book.day_time_zone).label
        self._position: JournalPosition | None = None
        self._ts = array("d")
        self._usd = array("d")

    def read(self) -> tuple[int, bool]:
        """Take in what is new; return the lines that are no record, and whether that was all.

        OSError where the journal cannot be read.
        """
        broken = 0
        for _ in range(self._batches):
            batch = read_from(self._path, self._position, self._decode, BATCH_BYTES)
            if batch.gap:  # another journal: what is kept of it is read from its beginning
                self._ts, self._usd = array("d"), array("d")
            for point in batch.records:
                self._add(point.ts, point.nav_usd)
            broken += batch.broken
            if batch.position == self._position:
                return broken, True
            self._position = batch.position
        return broken, False

    def series(self, now: float) -> NavSeries:
        """Summarize the points since the cutoff."""
        from_ts = nav_series.cutoff_ts(self._iso_ts, self._secago, now)
        return nav_series.summarize(self._ts, self._usd, from_ts, now, self._day)

    def newest_age_s(self, now: float) -> float | None:
        """Return the age of the newest point; None without one."""
        return now - self._ts[-1] if self._ts else None

    def _add(self, ts: float, nav_usd: float) -> None:
        if not nav_series.is_point(nav_usd):
            return
        place = bisect.bisect_right(self._ts, ts)  # the end, unless the clock was set back
        self._ts.insert(place, ts)
        self._usd.insert(place, nav_usd)
        if len(self._ts) > self._points:
            del self._ts[0], self._usd[0]


# ---------------------------------------------------------------- the service


class Sync:
    """One cycle after another: read, assess, write the two files and the heartbeat."""

    def __init__(self, settings: Settings, clock: Clock, nav: NavJournal | None = None) -> None:
        self._clock = clock
        self._store = StateStore(settings.log_dir, clock)
        self._nav = NavJournal(settings) if nav is None else nav
        self._said: Publishing | None = None
        self._printing = Timer(PRINT_S, clock)
        self._printed: object = None
        self.service = Service(
            registry.PROCESS_SYNC_STATE,
            settings,
            clock,
            self._store,
            partial(JsonlLogger, clock=clock, **service_loop.journal_limits(settings)),
        )

    def cycle(self) -> None:
        """Look at the local files and write what they amount to."""
        now = self._clock.now()
        found = self._look(now)
        mirror = self._mirror(now)
        self._print(found)
        service = self.service.info()
        heartbeat = sync_health.heartbeat(service, found, mirror, now)
        self.service.append(registry.SYNC_HEARTBEATS, heartbeat)
        self._store.write(registry.SYNC_HEALTH, sync_health.build(service, found, mirror, now))

    def _look(self, now: float) -> Found:
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

    def _mirror(self, now: float) -> Mirror:
        """Decide whether the mirror is on; say why not when that changes."""
        publishing = _publishing()
        reason = NOT_BUILT if publishing.allowed else publishing.reason
        if publishing != self._said:
            log.info("firestore off reason=%s", reason)
            for text in publishing.alerts:
                log.warning("publish guard: %s", text)
                self.service.append(registry.ALERTS, self._alert(one_line(text), now))
            self._said = publishing
        return Mirror(enabled=False, disabled_reason=reason)

    def _alert(self, text: str, now: float) -> Alert:
        return Alert(
            ts=now,
            run_id=self.service.run_id,
            severity="warning",
            kind="publish_guard",
            subject="sync_state",
            text=text,
        )

    def _print(self, found: Found) -> None:
        """Log the figures once a minute, and at once when the symbols or the problems change."""
        held = None if found.exposures is None else tuple(found.exposures.by_symbol)
        shown = (held, len(found.problems))
        if shown == self._printed and not self._printing.is_due():
            return
        self._printed = shown
        self._printing.done()
        for problem in found.problems:
            log.warning("input %s", problem)
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
        starts = partial(_read_starts, settings)
        sync.service.run(sync.cycle, starts, settings.services.sync.interval_s, stop)


def _read_starts(settings: Settings) -> tuple[FlagsStart | FlagChange, ...]:
    journal = registry.FLAGS
    return tail(settings.log_dir / journal.path, STARTS_READ, journal.decoder.decode).records


def main() -> int:
    """Run the service as a process; return its exit code."""
    return service_loop.start("sync_state", run)


if __name__ == "__main__":
    sys.exit(main())
