"""A process's start in the journal of flags, and what changed since its last one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import asdict

from execution.core.payloads.run import RunInfo, ServiceInfo
from execution.state_schema.journals import FlagChange, FlagsStart

READ: Final = 200  # records among which every process finds its last start


def records(
    process: str, run: RunInfo | ServiceInfo, before: Iterable[FlagsStart | FlagChange]
) -> list[FlagsStart | FlagChange]:
    """Return what the start of `run` adds to the journal; `before` is its newest part."""
    start = FlagsStart(
        ts=run.started_ts,
        run_id=run.run_id,
        process=process,
        engine_version=run.engine_version,
        flags=run.flags,
    )
    last = start
    for record in before:
        if isinstance(record, FlagsStart) and record.process == process:
            last = record
    was, now = asdict(last.flags), asdict(run.flags)
    changes = [
        FlagChange(
            ts=run.started_ts,
            run_id=run.run_id,
            process=process,
            flag=name,
            was=was[name],
            now=now[name],
        )
        for name in now
        if was[name] != now[name]
    ]
    return [start, *changes]
