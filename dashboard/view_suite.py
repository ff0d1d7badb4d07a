"""The suite itself → rows: the five processes, the mirror in Firestore, alerts, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from dashboard import trouble
from dashboard.seen import Seen, Viewer
from dashboard.shown import (
    UNKNOWN,
    Age,
    Facts,
    Level,
    absent,
    age_of,
    date_time,
    duration,
    pct,
    spaced,
    usd,
)
from execution.state_schema import registry
from execution.state_schema.files import Exposures, NavSeries, ProcessHealth, SyncHealth
from execution.state_schema.journals import Alert
from execution.state_store import Unreadable

ALERTS_WINDOW_S: Final = 86_400.0
ALERTS_SHOWN: Final = 8
SEVERITIES: Final[dict[str, Level]] = {
    "critical": "critical",
    "warning": "warning",
    "info": "note",
}


# ---------------------------------------------------------------- the processes


class Process(Struct, frozen=True):
    """One supervised process: a word for its state, and its own figures."""

    name: str
    level: Level
    state: str
    detail: str
    age: Age


def processes(seen: Seen, viewer: Viewer, now: float) -> tuple[Process, ...]:
    """Show the five processes."""
    return (
        _executor(seen, now),
        *(_service(name, seen.of(file), file.max_age_s, now) for name, file in trouble.SERVICES),
        Process(
            name="dashboard",
            level="ok",
            state="running",
            detail=f"up {duration(now - viewer.started_ts)}, redraws every {viewer.refresh_s:g} s",
            age=Age("fresh", "now"),
        ),
    )


def _executor(seen: Seen, now: float) -> Process:
    health = seen.of(registry.EXECUTOR_HEALTH)
    if isinstance(health, Unreadable):
        return Process("executor", "critical", UNKNOWN, str(health), absent(health))
    age = trouble.age(seen, registry.EXECUTOR_HEALTH, now)
    loop = "" if health.loop_ms.p50 is None else f", {health.loop_ms.p50:.1f} ms p50"
    slow = "" if health.loop_ms.p99 is None else f", {health.loop_ms.p99:.1f} ms p99"
    parts = (
        f"loop {health.loop_seq:,}{loop}{slow}",
        f"open orders {health.open_orders}",
        f"{health.rss_mb:.0f} MB",
        f"errors {trouble.counted(health.errors) or 'none'}",
    )
    return _process("executor", ", ".join(parts), age, failing=bool(health.errors))


def _service(
    name: str, health: ProcessHealth | Unreadable, max_age_s: float, now: float
) -> Process:
    if isinstance(health, Unreadable):
        return Process(name, "warning", UNKNOWN, str(health), absent(health))
    age = age_of(health.updated_ts, max_age_s, now)
    parts = (
        f"up {duration(health.updated_ts - health.started_ts)}",
        f"cycles {health.cycles:,}",
        f"{health.rss_mb:.0f} MB",
        f"errors {trouble.counted(health.errors) or 'none'}",
    )
    return _process(name, ", ".join(parts), age, failing=bool(health.errors))


def _process(name: str, detail: str, age: Age, *, failing: bool) -> Process:
    if age.status != "fresh":
        ahead = age.seconds is not None and age.seconds < 0
        return Process(name, "critical", "clock ahead" if ahead else "silent", detail, age)
    if failing:
        return Process(name, "warning", "running, with errors", detail, age)
    return Process(name, "ok", "running", detail, age)


# ---------------------------------------------------------------- the mirror in Firestore


def sync(seen: Seen, now: float) -> Facts:
    """Show whether the mirror is on, why not, and what sync_state made of the files."""
    found = seen.of(registry.SYNC_HEALTH)
    if isinstance(found, Unreadable):
        return Facts((("Firestore", UNKNOWN),), absent(found))
    rows = (*_mirroring(found), *_measured(found.exposures, found.nav_series))
    return Facts(rows, trouble.age(seen, registry.SYNC_HEALTH, now))


def _mirroring(found: SyncHealth) -> Iterator[tuple[str, str]]:
    yield "Firestore", "on" if found.enabled else "off"
    if found.enabled:
        yield "Target", found.target or UNKNOWN
        yield "Last success", date_time(found.last_success_ts)
    else:
        for place, why in enumerate((found.disabled_reason or "no reason written").split("; ")):
            yield "" if place else "Off because", why
    yield "Writes", f"{found.writes:,} done, {found.skipped_unchanged:,} unchanged"
    yield "Failures", f"{found.failures:,}"
    if found.last_error is not None:
        yield "Last error", found.last_error


def _measured(exposures: Exposures | None, series: NavSeries | None) -> Iterator[tuple[str, str]]:
    if exposures is None:
        yield "Exposures", UNKNOWN
    else:
        yield "Gross", f"{usd(exposures.gross_usd)}, {pct(exposures.gross_pct)} of NAV"
        yield "Net", usd(exposures.net_usd, signed=True)
        largest = exposures.largest
        if largest is not None:
            yield "Largest", f"{largest.symbol} {usd(largest.notional_usd, signed=True)}"
    if series is None:
        yield "NAV series", UNKNOWN
    else:
        yield "Drawdown", pct(series.drawdown_pct)
        since = "" if series.from_ts is None else f" since {date_time(series.from_ts)}"
        yield "NAV series", f"{series.n:,} points{since}"


# ---------------------------------------------------------------- alerts


class AlertLine(Struct, frozen=True):
    """One alert: how urgent, what about, since when, and its text."""

    level: Level
    title: str
    when: str
    text: str


class Alerts(Struct, frozen=True):
    """The newest alerts of the last day; `more` counts those left out."""

    rows: tuple[AlertLine, ...]
    more: int
    age: Age | None
    empty: str


def alerts(seen: Seen, now: float) -> Alerts:
    """List the alerts of the last day, newest first."""
    unread = seen.unread(registry.ALERTS)
    if unread is not None:
        return Alerts((), 0, absent(unread), "Alerts are unknown.")
    recent = [each for each in seen.records(registry.ALERTS) if now - each.ts <= ALERTS_WINDOW_S]
    recent.sort(key=lambda alert: -alert.ts)
    rows = tuple(_alert(each, now) for each in recent[:ALERTS_SHOWN])
    return Alerts(rows, len(recent) - len(rows), None, "None in 24 hours.")


def _alert(alert: Alert, now: float) -> AlertLine:
    return AlertLine(
        level=SEVERITIES[alert.severity],
        title=f"{alert.severity}  {spaced(alert.kind)}  {alert.subject}",
        when=f"{duration(now - alert.ts)} ago, {date_time(alert.ts)}",
        text=alert.text,
    )


def footer(seen: Seen, viewer: Viewer) -> str:
    """Name the versions and flags in force."""
    health = seen.of(registry.EXECUTOR_HEALTH)
    page = f"page {viewer.engine_version}"
    if isinstance(health, Unreadable):
        return f"executor {UNKNOWN}, {page}"
    flags = health.v6_flags
    on = [name for name in flags.__struct_fields__ if getattr(flags, name)]
    return f"executor {health.engine_version}, {page}, flags on: {', '.join(on) or 'none'}"
