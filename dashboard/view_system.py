"""The machine → tiles and rows: loop, errors, files, flags, operators' acts, the ends of the logs."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from dashboard import records, trouble
from dashboard.seen import Seen, Viewer
from dashboard.shown import (
    UNKNOWN,
    Age,
    Column,
    Facts,
    Shown,
    Table,
    absent,
    clock_time,
    count,
    stamp,
)
from execution.state_schema import registry
from execution.state_schema.files import ExecutorHealth, ProcessHealth
from execution.state_schema.journals import FlagChange, FlagsStart
from execution.state_schema.registry import StateFile
from execution.state_store import Unreadable


def tiles(seen: Seen, now: float) -> tuple[Shown, ...]:
    """Show how the trading loop goes."""
    labels = ("Loop time", "Memory", "Orders", "Request weight", "Clock offset")
    health = seen.of(registry.EXECUTOR_HEALTH)
    if isinstance(health, Unreadable):
        return tuple(Shown(label, UNKNOWN, "", absent(health)) for label in labels)
    age = trouble.age(seen, registry.EXECUTOR_HEALTH, now)
    values = (
        (
            f"{_ms(health.loop_ms.p50)} p50",
            f"{_ms(health.loop_ms.p99)} p99, {_ms(health.loop_ms.last)} last",
        ),
        (f"{health.rss_mb:.0f} MB", f"of the executor, loop {count(health.loop_seq)}"),
        (f"{health.open_orders} open", f"{health.unknown_orders} in an unknown state"),
        (_measured(health.weight_used_1m, ""), _banned(health, now)),
        (_measured(health.clock_offset_ms, " ms"), "the venue's clock against this machine's"),
    )
    return tuple(Shown(label, *value, age) for label, value in zip(labels, values, strict=True))


def _ms(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:.1f} ms"


def _measured(number: float | None, unit: str) -> str:
    """Return a figure that only an exchange has; without one it is not measured, and not 0."""
    return "not measured" if number is None else f"{number:,.0f}{unit}"


def _banned(health: ExecutorHealth, now: float) -> str:
    if health.banned_until_ts is None or health.banned_until_ts <= now:
        return "in the last minute"
    return f"refused until {clock_time(health.banned_until_ts)}"


# ---------------------------------------------------------------- errors

ERROR_COLUMNS: Final = (
    Column("Process"),
    Column("Stage"),
    Column("Errors since its start", right=True),
    Column("Last error"),
)


def errors(seen: Seen, now: float) -> Table:
    """Count what failed in each process, by stage."""
    rows: list[tuple[str, ...]] = []
    health = seen.of(registry.EXECUTOR_HEALTH)
    if not isinstance(health, Unreadable):
        rows += [("executor", stage, count(n), "see its log") for stage, n in _most(health.errors)]
        rows += [("executor", "failed write", "", name) for name in health.failed_writes]
    for name, file in trouble.SERVICES:
        found = seen.of(file)
        if isinstance(found, ProcessHealth):
            last = found.last_error or UNKNOWN
            rows += [(name, stage, count(n), last) for stage, n in _most(found.errors)]
    age = trouble.age(seen, registry.EXECUTOR_HEALTH, now)
    return Table(ERROR_COLUMNS, tuple(rows), age, "None, in any process whose file is readable.")


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


# ---------------------------------------------------------------- files

FILE_COLUMNS: Final = (
    Column("File"),
    Column("Status"),
    Column("Computed"),
    Column("Limit"),
    Column("Sequence", right=True),
    Column("Version"),
    Column("Written UTC"),
)


def files(seen: Seen, now: float) -> Table:
    """List every state file with the age of what it says."""
    rows = tuple(_file(seen, file, now) for file in registry.STATE_FILES)
    return Table(FILE_COLUMNS, rows, Age("fresh", f"{len(rows)} files"), "")


def _file(seen: Seen, file: StateFile[Any], now: float) -> tuple[str, ...]:
    age, payload = trouble.age(seen, file, now), seen.of(file)
    limit = f"{file.max_age_s:,.0f} s"
    name = file.path.removeprefix("state/").removesuffix(".json")
    if isinstance(payload, Unreadable):
        return (name, age.text, UNKNOWN, limit, UNKNOWN, UNKNOWN, UNKNOWN)
    return (
        name,
        age.status,
        age.text,
        limit,
        str(payload.seq),
        payload.engine_version,
        stamp(payload.written_ts),
    )


# ---------------------------------------------------------------- versions, flags


def versions(seen: Seen, viewer: Viewer, now: float) -> Facts:
    """Name what runs: versions, switches, run."""
    probe = seen.of(registry.RUNTIME_PROBE)
    page = ("Page", viewer.engine_version)
    if isinstance(probe, Unreadable):
        return Facts((("Executor", UNKNOWN), page), absent(probe))
    flags = probe.v6_flags
    switches = [
        (name, "on" if on else "off")
        for name, on in ((each, getattr(flags, each)) for each in flags.__struct_fields__)
    ]
    rows = (
        ("Executor", probe.engine_version),
        page,
        ("Run", probe.run_id),
        ("Venue", probe.venue),
        ("Environment", probe.env),
        ("Dry run", "on" if probe.dry_run else "off"),
        ("Testnet", "on" if probe.testnet else "off"),
        *switches,
    )
    return Facts(rows, trouble.age(seen, registry.RUNTIME_PROBE, now))


CHANGE_COLUMNS: Final = (Column("Time UTC"), Column("Who"), Column("What"), Column("Details"))


def changes(seen: Seen, now: float) -> Table:
    """List starts, changed flags and operators' acts, newest first."""
    rows = [(each.ts, each.process, *_flag(each)) for each in seen.records(registry.FLAGS)]
    rows += [
        (each.ts, each.user, each.act, ": ".join(filter(None, (each.reason, each.outcome))))
        for each in seen.records(registry.AUDIT)
    ]
    rows.sort(key=lambda each: -each[0])
    return Table(
        CHANGE_COLUMNS,
        tuple((stamp(ts), *cells) for ts, *cells in rows),
        records.age(seen, registry.FLAGS, now),
        records.empty(seen, registry.FLAGS, "No start was recorded."),
    )


def _flag(record: FlagsStart | FlagChange) -> tuple[str, str]:
    if isinstance(record, FlagsStart):
        flags = record.flags
        names = flags.__struct_fields__
        on = sum(getattr(flags, name) for name in names)
        return f"start {record.engine_version}", f"{on} of {len(names)} flags on"
    words = {True: "on", False: "off"}
    return f"flag {record.flag}", f"{words[record.was]} to {words[record.now]}"


# ---------------------------------------------------------------- logs

LINES_SHOWN: Final = 120
LINE_CHARS: Final = 400


class Log(Struct, frozen=True):
    """The end of the logs that were asked for; `note` says what was left out or why there is none."""

    text: str
    note: str


def log(seen: Seen, wanted: str, text: str) -> Log:
    """Return the lines of the log `wanted` in which `text` occurs, the newest last."""
    name = next((each for each in seen.logs if wanted and wanted in each), None)
    if name is None:
        known = ", ".join(seen.logs) or "none; this folder holds no log of a process"
        return Log("", f"No such log. There are: {known}.")
    lines = seen.logs[name]
    if isinstance(lines, Unreadable):
        return Log("", str(lines))
    found = [line for line in lines if text.casefold() in line.casefold()]
    kept = [_short(line) for line in found[-LINES_SHOWN:]]
    words = f"{name}: {len(kept)} of the last {len(lines)} lines"
    return Log("\n".join(kept), words if not text else f"{words} contain what was asked for")


def _short(line: str) -> str:
    return line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]} ..."
