"""What journalling one order costs, beside a bare append and fdatasync of the same bytes.

Both write on the same disk, in turns, so that a busy disk slows both alike.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import click
from msgspec import Struct

from execution import settings
from execution.clock import SystemClock
from execution.core.seam import NewOrder
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from scripts.benchmarks import sample, table

WARM_UP = 20


class LedgerCost(Struct, frozen=True):
    """One PREP from the call until it is durable, and the bare append, in microseconds."""

    orders: int
    bytes_per_prep: int
    prep_us_p50: float
    prep_us_p99: float
    bare_us_p50: float
    bare_us_p99: float
    ratio_p50: float
    ratio_p99: float


def measure(folder: Path, orders: int) -> LedgerCost:
    """Journal `orders` orders, in turn with appends of as many bytes as each put into the log."""
    file = folder / "ledger.sqlite"
    ledger = Ledger(LedgerFile(file, "paper", "bench"))
    size = _bytes_per_prep(ledger, Path(f"{file}-wal"))
    block = b"\xa5" * size
    fd = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    prep_us, bare_us = [], []
    for number in range(WARM_UP, orders + WARM_UP):
        prep_us.append(_time_us(lambda: _prepare(ledger, number)))  # noqa: B023 - called at once
        bare_us.append(_time_us(lambda: _append(fd, block)))
    os.close(fd)
    ledger.close()
    prep_p50, prep_p99 = _percentile(prep_us, 50), _percentile(prep_us, 99)
    bare_p50, bare_p99 = _percentile(bare_us, 50), _percentile(bare_us, 99)
    return LedgerCost(
        orders=orders,
        bytes_per_prep=size,
        prep_us_p50=prep_p50,
        prep_us_p99=prep_p99,
        bare_us_p50=bare_p50,
        bare_us_p99=bare_p99,
        ratio_p50=prep_p50 / bare_p50,
        ratio_p99=prep_p99 / bare_p99,
    )


def _bytes_per_prep(ledger: Ledger, log: Path) -> int:
    """Return how much the write-ahead log grows by one order."""
    before = log.stat().st_size
    for number in range(WARM_UP):
        _prepare(ledger, number)
    return (log.stat().st_size - before) // WARM_UP


def _prepare(ledger: Ledger, number: int) -> None:
    decision = f"{number:020x}"
    order = NewOrder(
        client_id=f"hgp-{decision}-1",
        symbol="BTCUSDT",
        side="BUY",
        position_side="LONG",
        type="LIMIT",
        qty=Decimal("0.125"),
        price=Decimal("100123.4"),
        stop_price=None,
        reduce_only=False,
        close_position=False,
        post_only=True,
        signed_ts=sample.NOW + number,
    )
    ledger.prepare(order, decision, 1, sample.NOW + number + 120)


def _append(fd: int, block: bytes) -> None:
    os.write(fd, block)
    os.fdatasync(fd)


def _time_us(call: Callable[[], None]) -> float:
    clock = SystemClock()
    begun_s = clock.monotonic()
    call()
    return 1e6 * (clock.monotonic() - begun_s)


def _percentile(sample_us: list[float], pct: int) -> float:
    ranked = sorted(sample_us)
    return ranked[max(0, -(-pct * len(ranked) // 100) - 1)]


@click.command()
@click.option("--orders", default=1000, show_default=True, help="Orders to journal.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to measure; default the log folder."
)
@table.json_option
def main(orders: int, folder: Path | None, *, as_json: bool) -> None:
    """Measure the journalling of one order before it is sent."""
    disk = settings.load().log_dir if folder is None else folder
    with tempfile.TemporaryDirectory(dir=disk) as scratch:
        costs = [measure(Path(scratch), orders)]
    table.tell("Journalling one order", costs, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main())
