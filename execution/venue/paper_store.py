"""`run/paper.sqlite`: the paper exchange's own truth, durable before the exchange answers.

Money, prices and quantities are stored as text and come back as the decimals they were.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from execution import small_files
from execution.core.records import CashTotals
from execution.core.seam import CashRow, NotFound, Trade, VenueOrder
from execution.errors import LedgerError, VenueUnavailable
from execution.venue.paper_account import Leg, PaperAccount, PaperOrder

SCHEMA_VERSION = 2
# What brings a file from this version to the next: shorts were kept by their size alone.
_MIGRATIONS = {
    1: "UPDATE legs SET qty = '-' || qty, cost_usd = '-' || cost_usd WHERE position_side = 'SHORT'"
}
# Orders that are done and older than this many ids are forgotten at start; trades never are.
KEPT_ORDERS = 20_000

# Columns stand in the order of the fields of the value that a row holds.
_SCHEMA = """
CREATE TABLE account (
    id INTEGER PRIMARY KEY CHECK (id = 1), last_id INTEGER NOT NULL, wallet_usd TEXT NOT NULL,
    start_usd TEXT NOT NULL, realized_usd TEXT NOT NULL, funding_usd TEXT NOT NULL,
    fees_usd TEXT NOT NULL, transfers_usd TEXT NOT NULL) STRICT;
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1), series TEXT NOT NULL, origin_ts REAL NOT NULL,
    matched_ts REAL NOT NULL) STRICT;
CREATE TABLE legs (
    symbol TEXT NOT NULL, position_side TEXT NOT NULL, qty TEXT NOT NULL, cost_usd TEXT NOT NULL,
    PRIMARY KEY (symbol, position_side)) STRICT;
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, takes INTEGER NOT NULL, client_id TEXT NOT NULL,
    venue_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    position_side TEXT NOT NULL, type TEXT NOT NULL, qty TEXT NOT NULL, price TEXT, stop_price TEXT,
    reduce_only INTEGER NOT NULL, close_position INTEGER NOT NULL, filled_qty TEXT NOT NULL,
    state TEXT NOT NULL, ts REAL NOT NULL) STRICT;
CREATE INDEX orders_client ON orders (client_id, symbol);
CREATE INDEX orders_open ON orders (id) WHERE state IN ('LIVE', 'PARTIAL');
CREATE TABLE trades (
    id INTEGER PRIMARY KEY, symbol TEXT NOT NULL, trade_id TEXT NOT NULL, client_id TEXT NOT NULL,
    venue_order_id TEXT NOT NULL, side TEXT NOT NULL, position_side TEXT NOT NULL,
    qty TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, fee_asset TEXT NOT NULL,
    fee_usd TEXT NOT NULL, realized_usd TEXT NOT NULL, maker INTEGER NOT NULL,
    ts REAL NOT NULL) STRICT;
CREATE INDEX trades_time ON trades (symbol, ts);
CREATE TABLE cash (
    cash_id TEXT PRIMARY KEY, kind TEXT NOT NULL, asset TEXT NOT NULL, amount TEXT NOT NULL,
    symbol TEXT, ts REAL NOT NULL) STRICT;
CREATE INDEX cash_time ON cash (ts);
"""

T = TypeVar("T")


class SeriesClock(Struct, frozen=True, gc=False):
    """Where an account is on its market: the series, its origin, and the last bar that was met."""

    series: str
    origin_ts: float
    matched_ts: float


class Changes(Struct, frozen=True):
    """What one step did to the account, to be made durable together."""

    account: PaperAccount
    clock: SeriesClock
    orders: tuple[PaperOrder, ...] = ()
    trades: tuple[Trade, ...] = ()
    cash: tuple[CashRow, ...] = ()


class PaperStore:
    """The file of one paper account; `saved` is what stood in it when it was opened.

    `path` None keeps it in memory; `durable` False leaves out the fsyncs (replay). Raises
    LedgerError for a file that cannot be trusted, VenueUnavailable when the disk fails later.
    """

    def __init__(self, path: Path | None, *, durable: bool = True) -> None:
        self._name = ":memory:" if path is None else str(path)
        self.durable = durable and path is not None
        if path is not None and (odd := small_files.odd_one(path)) is not None:
            raise self._distrust(f"cannot be opened: {odd} is not a regular file")
        try:
            self._db = sqlite3.connect(self._name, isolation_level=None)
        except sqlite3.Error as error:
            raise LedgerError(f"{self._name} cannot be opened: {error}") from error
        try:
            self.saved = self._load()
            # Only now, because this writes: a file that is refused stays as it is.
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._distrust(f"cannot be read: {error}") from error
        except LedgerError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _distrust(self, why: str) -> LedgerError:
        return LedgerError(
            f"{self._name} {why}; it was left as it is: restore it, or move it away to begin a new"
            " paper account"
        )

    # ------------------------------------------------------------ opening

    def _load(self) -> tuple[PaperAccount, SeriesClock] | None:
        self._db.row_factory = sqlite3.Row
        checked = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if checked != "ok":
            raise self._distrust(f"is corrupt: {checked}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and self._db.execute("SELECT 1 FROM sqlite_schema").fetchone() is None:
            return None
        if not 1 <= version <= SCHEMA_VERSION:
            raise self._distrust(
                f"is no paper account of version {SCHEMA_VERSION} (it says {version})"
            )
        try:
            with self._db:  # an older file stays as it is where its account is refused
                for older in range(version, SCHEMA_VERSION):
                    self._db.execute("BEGIN IMMEDIATE")
                    self._db.execute(_MIGRATIONS[older])
                    self._db.execute(f"PRAGMA user_version = {older + 1}")
                return self._load_account()
        except (msgspec.ValidationError, ArithmeticError) as error:
            raise self._distrust(f"is corrupt: {error}") from error

    def _load_account(self) -> tuple[PaperAccount, SeriesClock] | None:
        totals = self._db.execute("SELECT * FROM account").fetchone()
        clock = self._db.execute("SELECT * FROM clock").fetchone()
        if totals is None or clock is None:
            return None
        legs = [_value(row, Leg) for row in self._db.execute("SELECT * FROM legs ORDER BY rowid")]
        orders = self._db.execute(
            "SELECT * FROM orders WHERE state IN ('LIVE', 'PARTIAL') ORDER BY id"
        )
        account = PaperAccount(
            wallet_usd=Decimal(totals["wallet_usd"]),
            cash=_value(totals, CashTotals),
            legs={(leg.symbol, leg.position_side): leg for leg in legs},
            orders={
                row["venue_order_id"]: PaperOrder(_value(row, VenueOrder), bool(row["takes"]))
                for row in orders
            },
            last_id=totals["last_id"],
        )
        if account.wallet_usd != account.cash.wallet_usd:
            raise self._distrust(
                f"is corrupt: its wallet of {account.wallet_usd} is not the sum"
                f" {account.cash.wallet_usd} of what it has booked"
            )
        return account, _value(clock, SeriesClock)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self.durable else 'OFF'}")
        # Leaving the block commits, an error rolls back.
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if self._db.execute("SELECT 1 FROM sqlite_schema").fetchone() is None:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._db.execute(
                "DELETE FROM orders WHERE state NOT IN ('LIVE', 'PARTIAL')"
                " AND id < (SELECT last_id FROM account) - ?",
                (KEPT_ORDERS,),
            )

    # ------------------------------------------------------------ writing

    def commit(self, changes: Changes) -> None:
        """Make one step durable, all of it or nothing; raises VenueUnavailable for nothing."""
        account = changes.account
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                totals = (1, account.last_id, str(account.wallet_usd), *_row(account.cash))
                self._put("account", totals)
                self._put("clock", (1, *_row(changes.clock)))
                for order in changes.orders:
                    number = int(order.seen.venue_order_id)
                    self._put("orders", (number, order.takes, *_row(order.seen)))
                for trade in changes.trades:
                    self._put("trades", (int(trade.trade_id), *_row(trade)))
                for row in changes.cash:
                    self._put("cash", _row(row))
                # Only a trade changes a leg, and there are few of them.
                if changes.trades:
                    self._db.execute("DELETE FROM legs")
                    for leg in account.legs.values():
                        self._put("legs", _row(leg))
        except sqlite3.Error as error:
            raise VenueUnavailable(f"{self._name} cannot be written: {error}") from error

    def _put(self, table: str, row: tuple[object, ...]) -> None:
        marks = ", ".join("?" * len(row))
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row)  # noqa: S608 - constants of this file

    # ------------------------------------------------------------ reading

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound:
        """Return the newest order of that id; the open one where there is one."""
        found = self._select(
            VenueOrder,
            "orders WHERE client_id = ? AND symbol = ? ORDER BY id DESC LIMIT 1",
            (client_id, symbol),
        )
        return found[0] if found else NotFound()

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...]:
        """List the trades of `symbol` at or after `since_ts`, oldest first."""
        return self._select(
            Trade, "trades WHERE symbol = ? AND ts >= ? ORDER BY id", (symbol, since_ts)
        )

    def cash(self, since_ts: float) -> tuple[CashRow, ...]:
        """List the movements of cash at or after `since_ts`, oldest first."""
        return self._select(CashRow, "cash WHERE ts >= ? ORDER BY ts, rowid", (since_ts,))

    def _select(self, kind: type[T], where: str, values: tuple[object, ...]) -> tuple[T, ...]:
        try:
            rows = self._db.execute(f"SELECT * FROM {where}", values).fetchall()  # noqa: S608 - constants of this file
            return tuple(_value(row, kind) for row in rows)
        except (sqlite3.Error, msgspec.ValidationError) as error:
            raise VenueUnavailable(f"{self._name} cannot be read: {error}") from error


def _row(value: Struct) -> tuple[object, ...]:
    return tuple(
        str(field) if isinstance(field, Decimal) else field
        for field in msgspec.structs.astuple(value)
    )


def _value(row: sqlite3.Row, kind: type[T]) -> T:
    return msgspec.convert(dict(row), kind, strict=False)
