"""What is wrong, worst first: the one place that decides what the page's banner says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from dashboard.seen import Seen, Viewer
from dashboard.shown import Age, Level, absent, age_of, clock_time, duration, spaced, usd
from execution.state_schema import registry
from execution.state_schema.envelope import Envelope
from execution.state_schema.files import ExecutorHealth, Nav, PositionRow, Positions
from execution.state_schema.registry import StateFile
from execution.state_store import Unreadable

P = TypeVar("P", bound=Envelope)

ORDER: Final[tuple[Level, ...]] = ("critical", "warning", "note", "ok")
RECENT_ALERT_S: Final = 3_600.0
# A stop is placed just after its entry filled; the executor itself waits about as long.
PLACING_S: Final = 10.0
RESIDUAL_USD: Final = 0.01
EVERY: Final[tuple[StateFile[Any], ...]] = registry.STATE_FILES
SERVICES: Final = (
    ("sync_state", registry.PROCESS_SYNC_STATE),
    ("shadow heartbeat", registry.PROCESS_SHADOW_HEARTBEAT),
    ("compare", registry.PROCESS_COMPARE),
)


class Trouble(Struct, frozen=True):
    """One thing that a person should look at."""

    level: Level
    text: str


def find(seen: Seen, viewer: Viewer, now: float) -> tuple[Trouble, ...]:
    """Return every trouble, worst first; within a level in the order of what depends on what."""
    found = [
        *_executor(seen, viewer, now),
        *_account(seen, now),
        *_services(seen, now),
        *_files(seen, now),
        *_alerts(seen, now),
    ]
    return tuple(sorted(found, key=lambda each: ORDER.index(each.level)))


def age(seen: Seen, file: StateFile[P], now: float) -> Age:
    """Judge one state file by its own time of computation."""
    payload = seen.of(file)
    if isinstance(payload, Unreadable):
        return absent(payload)
    return age_of(file.computed_ts(payload), file.max_age_s, now)


def nav_age(nav: Nav, now: float) -> Age:
    """Judge NAV by when the account was read, which a rewrite of the file does not move."""
    held = nav.stale or now - nav.updated_ts > registry.NAV.max_age_s
    return age_of(nav.as_of_ts, registry.NAV.max_age_s, now, held=held)


def positions_age(positions: Positions, now: float) -> Age:
    """Judge the positions likewise."""
    held = positions.stale or now - positions.updated > registry.POSITIONS.max_age_s
    return age_of(positions.as_of_ts, registry.POSITIONS.max_age_s, now, held=held)


# ---------------------------------------------------------------- the executor


def _executor(seen: Seen, viewer: Viewer, now: float) -> Iterator[Trouble]:
    health = seen.of(registry.EXECUTOR_HEALTH)
    if isinstance(health, Unreadable):
        everything_missing = all(
            isinstance(each, Unreadable) and each.kind == "missing" for each in seen.files.values()
        )
        yield Trouble(
            "critical",
            "No state file exists yet: is the executor running?"
            if everything_missing
            else f"Executor unknown: {health}",
        )
        return
    seen_age = age(seen, registry.EXECUTOR_HEALTH, now)
    if seen_age.status != "fresh":
        yield Trouble("critical", _silence(seen, health, seen_age, now))
        return
    yield from _trading(seen, health, now)
    yield from _loop(health, now)
    if seen.mirror is None and health.mode != viewer.mode:
        text = f"This page is configured for {viewer.mode}, the executor says {health.mode}"
        yield Trouble("warning", text)


def _silence(seen: Seen, health: ExecutorHealth, seen_age: Age, now: float) -> str:
    if now < health.updated_ts:
        ahead = duration(health.updated_ts - now)
        return f"Executor's clock is {ahead} ahead; it last said {health.trading_state}"
    positions = seen.of(registry.POSITIONS)
    count = 0 if isinstance(positions, Unreadable) else len(positions.rows)
    held = "" if count == 0 else f", with {count} open position{'s' if count > 1 else ''}"
    silent = duration(seen_age.seconds or 0.0)
    return f"Executor silent for {silent}{held}; it last said {health.trading_state}"


def _trading(seen: Seen, health: ExecutorHealth, now: float) -> Iterator[Trouble]:
    reasons = trading_reasons(seen, health)
    because = ": " + ", ".join(map(spaced, reasons)) if reasons else ""
    if health.trading_state == "HALTED":
        yield Trouble("critical", f"HALTED{because}")
    if health.kill_latch:
        yield Trouble("critical", "Kill latch is on")
    if health.blind_since_ts is not None:
        blind = duration(now - health.blind_since_ts)
        yield Trouble("critical", f"Executor cannot read the venue for {blind}")
    if health.trading_state == "REDUCING":
        yield Trouble("warning", f"REDUCING{because}")
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return
    if snapshot.error is not None:
        yield Trouble("warning", f"Risk engine failed, the fallback decides: {snapshot.error}")
    for row in snapshot.symbols:
        if row.trading_state == "HALTED" and health.trading_state != "HALTED":
            why = ", ".join(map(spaced, row.trading_state_reasons))
            yield Trouble("warning", f"{row.symbol} HALTED: {why}")


def trading_reasons(seen: Seen, health: ExecutorHealth) -> tuple[str, ...]:
    """Return the reasons of the state the executor is in, where they were written for that state."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable) or snapshot.trading_state != health.trading_state:
        return ()
    return snapshot.trading_state_reasons


def _loop(health: ExecutorHealth, now: float) -> Iterator[Trouble]:
    if health.failed_writes:
        yield Trouble("warning", f"Failed writes: {', '.join(health.failed_writes)}")
    if health.unknown_orders:
        yield Trouble("warning", f"Orders in an unknown state: {health.unknown_orders}")
    if health.banned_until_ts is not None and health.banned_until_ts > now:
        until = clock_time(health.banned_until_ts)
        yield Trouble("warning", f"The exchange refuses requests until {until}")
    if health.errors:
        yield Trouble("warning", f"Executor errors since its start: {counted(health.errors)}")


# ---------------------------------------------------------------- the account


def _account(seen: Seen, now: float) -> Iterator[Trouble]:
    if age(seen, registry.EXECUTOR_HEALTH, now).status != "fresh":
        return  # said once, by the executor's own trouble
    nav = seen.of(registry.NAV)
    if not isinstance(nav, Unreadable):
        found = nav_age(nav, now)
        if not nav.known:
            yield Trouble("critical", "NAV unknown: the account was not read yet")
        elif found.status != "fresh":
            yield Trouble("critical", f"NAV: {found.text}")
        if nav.identity_residual_usd is not None and abs(nav.identity_residual_usd) >= RESIDUAL_USD:
            residual = usd(nav.identity_residual_usd, signed=True)
            yield Trouble("warning", f"Wallet and ledger differ by {residual}")
    positions = seen.of(registry.POSITIONS)
    if not isinstance(positions, Unreadable) and positions.known:
        for row in positions.rows:
            yield from _unprotected(row, now)


def _unprotected(row: PositionRow, now: float) -> Iterator[Trouble]:
    leg = f"{row.symbol} {row.position_side}"
    if row.exit is None:
        yield Trouble("critical", f"No exit plan: {leg}")
    elif row.unprotected_since_ts is not None:
        lasting_s = now - row.unprotected_since_ts
        level: Level = "critical" if lasting_s > PLACING_S else "note"
        yield Trouble(level, f"No stop resting for {duration(lasting_s)}: {leg}")


# ---------------------------------------------------------------- services, files, alerts


def _services(seen: Seen, now: float) -> Iterator[Trouble]:
    for name, file in SERVICES:
        health = seen.of(file)
        if isinstance(health, Unreadable):
            continue  # said with the other files
        found = age(seen, file, now)
        if found.status != "fresh":
            yield Trouble("warning", f"{name} silent: {found.text}")
        elif health.errors:
            said = "" if health.last_error is None else f"; last: {health.last_error}"
            yield Trouble("warning", f"{name} errors: {counted(health.errors)}{said}")
    sync = seen.of(registry.SYNC_HEALTH)
    if not isinstance(sync, Unreadable) and sync.enabled and sync.last_error is not None:
        yield Trouble("warning", f"sync_state: {sync.last_error}")


def _files(seen: Seen, now: float) -> Iterator[Trouble]:
    lives = age(seen, registry.EXECUTOR_HEALTH, now).status == "fresh"
    services = [file for _, file in SERVICES]
    missing, old = [], []
    for file in EVERY:
        payload = seen.of(file)
        if isinstance(payload, Unreadable):
            if file is registry.EXECUTOR_HEALTH:
                continue  # said first of all
            if payload.kind == "missing":
                missing.append(file.path)
            else:
                yield Trouble("warning", f"Unreadable: {payload}")
        elif lives and file not in services and age(seen, file, now).status != "fresh":
            old.append(f"{file.path} ({age(seen, file, now).text})")
    if missing and len(missing) < len(EVERY) - 1:
        yield Trouble("warning", f"Missing: {', '.join(missing)}")
    if old:
        yield Trouble("warning", f"Out of date: {', '.join(old)}")
    for unread in seen.journals.values():
        if isinstance(unread, Unreadable):
            yield Trouble("warning", f"Unreadable: {unread}")


def _alerts(seen: Seen, now: float) -> Iterator[Trouble]:
    recent = [
        each for each in seen.records(registry.ALERTS) if 0 <= now - each.ts <= RECENT_ALERT_S
    ]
    urgent = [each for each in recent if each.severity == "critical"]
    if urgent:
        newest = max(urgent, key=lambda each: each.ts)
        text = f"Alert {duration(now - newest.ts)} ago: {newest.kind}: {newest.text}"
        yield Trouble("warning", text)


def counted(counts: Mapping[str, int]) -> str:
    """Return stages and their counts, most frequent first."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)
