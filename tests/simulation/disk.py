"""The disk that survives a crash, and the ledger's file on it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

from msgspec import Struct

from execution.errors import LedgerFull
from execution.ledger_file import LedgerFile
from tests.simulation.weather import Weather

FULL_FRAC = 0.7
FULL = 2  # what PRAGMA synchronous says of a file whose commits are on the disk when they return


class Crash(BaseException):
    """The process ends here; no `except Exception` may hold it."""


class CrashPlan:
    """When the process dies: at the n-th of the points that it passes."""

    def __init__(self, seed: int, mean_points: float) -> None:
        self._rng = random.Random(f"{seed} crash")
        self._mean = mean_points
        self._left = 0
        self.is_on = True
        self._draw()

    def _draw(self) -> None:
        self._left = 1 + int(self._rng.expovariate(1 / self._mean))

    def point(self, where: str) -> None:
        """Pass a point; raise Crash where this is the one."""
        if not self.is_on:
            return
        self._left -= 1
        if self._left <= 0:
            self._draw()
            raise Crash(where)


class Durable(Struct, frozen=True):
    """One order as the disk has it, with what its intent says."""

    symbol: str
    side: str
    position_side: str
    type: str
    qty: Decimal
    state: str
    action: str
    intended_qty: Decimal


class Disk:
    """The last durable image of the ledger; `is_low` and `is_full` are the disk's weather."""

    def __init__(self, image: bytes | None = None) -> None:
        self.image = image
        self.is_low = False
        self._weather: Weather | None = None
        self._is_full = False
        self._read_of: bytes | None = None
        self._orders: dict[str, Durable] = {}

    def feel(self, weather: Weather, now: float) -> None:
        """Be as low or full as the weather has it."""
        self.is_low = weather.holds("disk_low", now)
        self._is_full = weather.holds("disk_full", now)
        self._weather = weather

    def takes_nothing(self) -> bool:
        """Tell whether this commit finds no room; somebody else's file may go at any moment."""
        if not self._is_full or self._weather is None:
            return False
        return self._weather.rng.random() < FULL_FRAC

    def order(self, client_id: str) -> Durable | None:
        """Return an order as a crash would leave it now, None where the disk has none."""
        if self._read_of is not self.image and self.image is not None:
            self._read_of, self._orders = self.image, _orders(self.image)
        return self._orders.get(client_id)


def _orders(image: bytes) -> dict[str, Durable]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(image)
        rows = db.execute(
            "SELECT o.client_id, o.symbol, o.side, o.position_side, o.type, o.qty, o.state,"
            " i.action, i.qty FROM orders o JOIN intents i USING (decision_id)"
        )
        return {
            row[0]: Durable(*row[1:5], Decimal(row[5]), row[6], row[7], Decimal(row[8]))
            for row in rows
        }


class SimulatedFile(LedgerFile):
    """The production file in memory; each commit that is durable leaves its image on the disk."""

    def __init__(self, disk: Disk, crash: CrashPlan, *, durable: bool = True) -> None:
        self._disk = disk
        self._crash = crash
        super().__init__(
            None, "paper", "main", durable=durable, image=disk.image, committed=self._written
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.db.in_transaction:
            with super().transaction():
                yield
            return
        self._crash.point("before the commit")
        if self._disk.takes_nothing():
            raise LedgerFull("the disk is full")
        with super().transaction():
            yield
            self._crash.point("in the commit")

    def _written(self) -> None:
        if self.db.execute("PRAGMA synchronous").fetchone()[0] >= FULL:
            self._disk.image = self.image()
        self._crash.point("after the commit")

    def is_low_on_disk(self) -> bool:
        return self._disk.is_low
