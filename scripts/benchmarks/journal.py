"""What one journal record costs, beside a bare O_APPEND write, in an empty and in a large file."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from execution import settings
from execution.clock import Clock, SystemClock
from execution.jsonl_log import JsonlLogger
from execution.state_schema.journals import Veto
from scripts.benchmarks import sample, table

SIZES_MB = (0, 100)
GOAL_US = 10.0
BLOCK = 2_000
NO_ROTATION_BYTES = 1 << 40
RECORD = Veto(
    ts=sample.NOW,
    run_id="run-1",
    decision_id="0123456789abcdef0123",
    strategy="trend-sim",
    symbol="BTCUSDT",
    position_side="LONG",
    side="BUY",
    action="entry",
    qty=0.125,
    reason="gross_cap",
    limit=150_000.0,
    observed=151_234.5,
    unit="usd",
    reasons=("gross_cap", "symbol_nav_cap"),
)


class JournalCost(Struct, frozen=True):
    """The cost of one record, in microseconds: the best block of each, taken in turns."""

    file_mb: int
    line_bytes: int
    record_us: float
    buffered_us: float
    bare_us: float
    ratio_to_bare: float
    goal_us: float = GOAL_US


def measure(folder: Path, file_mb: int, rounds: int) -> JournalCost:
    """Write blocks of records in turns: through the logger, buffered, and bare."""
    clock = SystemClock()
    line = msgspec.json.encode(RECORD) + b"\n"
    paths = [folder / f"{name}.jsonl" for name in ("logger", "buffered", "bare")]
    for path in paths:
        _fill(path, line, file_mb << 20)
    logger, buffered = (
        JsonlLogger(
            path,
            clock,
            max_bytes=NO_ROTATION_BYTES,
            backups=1,
            max_age_s=86_400,
            buffered=path.stem == "buffered",
        )
        for path in paths[:2]
    )
    fd = os.open(paths[2], os.O_WRONLY | os.O_APPEND)
    best: dict[str, float] = {}
    calls: dict[str, Callable[[], object]] = {
        "record": lambda: logger.write(RECORD),
        "buffered": lambda: buffered.write(RECORD),
        "bare": lambda: os.write(fd, line),
    }
    for _ in range(rounds):
        for name, call in calls.items():
            best[name] = min(best.get(name, float("inf")), _block_us(call, clock))
    os.close(fd)
    logger.close()
    buffered.close()
    return JournalCost(
        file_mb=file_mb,
        line_bytes=len(line),
        record_us=best["record"],
        buffered_us=best["buffered"],
        bare_us=best["bare"],
        ratio_to_bare=best["record"] / best["bare"],
    )


def _fill(path: Path, line: bytes, size: int) -> None:
    with path.open("wb") as file:
        file.writelines(line for _ in range(size // len(line)))


def _block_us(call: Callable[[], object], clock: Clock) -> float:
    begun = clock.monotonic()
    for _ in range(BLOCK):
        call()
    return 1e6 * (clock.monotonic() - begun) / BLOCK


@click.command()
@click.option("--rounds", default=15, show_default=True, help=f"Blocks of {BLOCK} records each.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to measure; default the log folder."
)
@table.json_option
def main(rounds: int, folder: Path | None, as_json: bool) -> None:
    """Measure one record of a journal."""
    disk = settings.load().log_dir if folder is None else folder
    costs = []
    for file_mb in SIZES_MB:
        with tempfile.TemporaryDirectory(dir=disk) as scratch:
            costs.append(measure(Path(scratch), file_mb, rounds))
    table.tell("One journal record", costs, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
