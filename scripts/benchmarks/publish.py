"""What publishing a whole tick costs, beside writing the same bytes with bare calls.

Every variant writes the same files on the same disk, in turns, so that a busy disk slows all alike.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from execution import settings
from execution.clock import SystemClock
from execution.state_publish import TickPublisher
from execution.state_schema.registry import STATE_FILES
from execution.state_store import StateStore
from scripts.benchmarks import sample, table

POSITIONS = (10, 200)
GOAL_RATIO = 1.5
RISK_S = 5.0


class PublishCost(Struct, frozen=True):
    """The median cost of one tick's files, in milliseconds, and the ratios of the medians."""

    positions: int
    files: int
    kilobytes: float
    publish_ms: float
    bare_ms: float
    json_ms: float
    ratio_to_bare: float
    ratio_to_json: float
    goal_ratio: float = GOAL_RATIO


def measure(folder: Path, positions: int, rounds: int) -> PublishCost:
    """Publish one tick `rounds` times, in turn with the same bytes written bare and by `json`."""
    clock = SystemClock()
    publisher = TickPublisher(StateStore(folder, clock), clock, RISK_S)
    report, run = sample.tick(positions, clock.now()), sample.run_info(clock.now())
    publisher.publish(report, run, None)
    written = _written(folder)
    decoded = {path: json.loads(content) for path, content in written.items()}
    bare, plain = folder / "bare", folder / "json"
    bare.mkdir()
    plain.mkdir()
    costs: dict[str, list[float]] = {"publish": [], "bare": [], "json": []}
    variants: dict[str, Callable[[], object]] = {
        "publish": lambda: publisher.publish(report, run, None),
        "bare": lambda: _write_bare(bare, written),
        "json": lambda: _write_json(plain, decoded),
    }
    for _ in range(rounds):
        for name, call in variants.items():
            begun = clock.monotonic()
            call()
            costs[name].append(1000 * (clock.monotonic() - begun))
    medians = {name: statistics.median(sample_ms) for name, sample_ms in costs.items()}
    return PublishCost(
        positions=positions,
        files=len(written),
        kilobytes=sum(map(len, written.values())) / 1024,
        publish_ms=medians["publish"],
        bare_ms=medians["bare"],
        json_ms=medians["json"],
        ratio_to_bare=medians["publish"] / medians["bare"],
        ratio_to_json=medians["publish"] / medians["json"],
    )


def _written(folder: Path) -> dict[str, bytes]:
    """Read back what was published, by path."""
    paths = [path for file in STATE_FILES for path in (file.path, file.twin) if path is not None]
    return {path: (folder / path).read_bytes() for path in paths if (folder / path).exists()}


def _write_bare(folder: Path, contents: dict[str, bytes]) -> None:
    for path, content in contents.items():
        _replace(folder / path.replace("/", "-"), content)


def _write_json(folder: Path, contents: dict[str, Any]) -> None:
    for path, content in contents.items():
        _replace(folder / path.replace("/", "-"), json.dumps(content).encode())


def _replace(target: Path, content: bytes) -> None:
    temporary = f"{target}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    os.write(fd, content)
    os.fsync(fd)
    os.close(fd)
    os.rename(temporary, target)  # noqa: PTH104  the bare call is what is measured


@click.command()
@click.option("--rounds", default=100, show_default=True, help="Ticks per figure.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to measure; default the log folder."
)
@table.json_option
def main(rounds: int, folder: Path | None, as_json: bool) -> None:
    """Measure the publishing of a tick."""
    disk = settings.load().log_dir if folder is None else folder
    costs = []
    for positions in POSITIONS:
        with tempfile.TemporaryDirectory(dir=disk) as scratch:
            costs.append(measure(Path(scratch), positions, rounds))
    table.tell("Publishing one tick", costs, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
