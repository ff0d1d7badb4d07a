"""The ledger's file: opened or refused, brought to the present schema, written all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from execution import small_files
from execution.disk_reserve import DiskReserve
from execution.errors import LedgerError, LedgerFull
from execution.ledger_rows import MIGRATIONS, SCHEMA, SCHEMA_VERSION

# A full disk shows as one of these: WAL frames that do not fit are an I/O error of a write.
DISK_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC})


class LedgerFile:
    """One SQLite file of one account in one mode, with one writer.

    `path` None keeps it in memory, beginning with `image` where that is given; `durable` False
    leaves out the fsyncs. `committed` is called after each commit that is durable.
    """

    def __init__(
        self,
        path: Path | None,
        mode: str,
        account: str,
        *,
        durable: bool = True,
        reserve: DiskReserve | None = None,
        image: bytes | None = None,
        committed: Callable[[], None] | None = None,
    ) -> None:
        self.name = ":memory:" if path is None else str(path)
        self.commits = 0
        self._reserve = reserve
        self._committed = committed
        meta = {"mode": mode, "account": account}
        if path is not None and (odd := small_files.odd_one(path)) is not None:
            raise LedgerError(f"ledger {odd} is not a regular file: move it away, or restore it")
        try:
            if path is not None and _can_be_read_only(path):
                # A connection that cannot write: a file that is refused keeps every byte.
                uri = f"{path.absolute().as_uri()}?mode=ro"
                with closing(sqlite3.connect(uri, uri=True)) as db:
                    self._check(db, meta)
            self.db = sqlite3.connect(self.name, isolation_level=None)
            if image is not None:
                self.db.deserialize(image)
            self._open(meta)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self.name} cannot be read: {error}") from error
        self.db.row_factory = sqlite3.Row

    def _open(self, meta: dict[str, str]) -> None:
        if self.db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
            with self.transaction():
                self._run(SCHEMA)
                rows = {**meta, "schema_version": str(SCHEMA_VERSION)}
                self.db.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        version = self._check(self.db, meta)
        with self.transaction():
            for older in range(version, SCHEMA_VERSION):
                self._run(MIGRATIONS[older])
            self.db.execute(
                "UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(SCHEMA_VERSION),)
            )

    def _run(self, script: str) -> None:
        # Not executescript, which would commit what came before it.
        for statement in script.split(";"):
            self.db.execute(statement)

    def _check(self, db: sqlite3.Connection, meta: dict[str, str]) -> int:
        """Refuse what cannot be trusted; return the schema version of what can."""
        checked = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if checked != "ok":
            raise LedgerError(f"ledger {self.name} is corrupt: {checked}; restore it from a backup")
        found = dict(db.execute("SELECT key, value FROM meta").fetchall())
        for key, value in meta.items():
            if found.get(key) != value:
                raise LedgerError(
                    f"ledger {self.name} has {key} {found.get(key)!r}, this process needs {value!r}"
                )
        version = found.get("schema_version", "")
        if not version.isdecimal() or not 1 <= int(version) <= SCHEMA_VERSION:
            raise LedgerError(
                f"ledger {self.name} has schema_version {version!r}, this version of the suite knows"
                f" up to {SCHEMA_VERSION}: run the version that wrote it"
            )
        return int(version)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside durable together, or nothing of it. Raises LedgerFull."""
        if self.db.in_transaction:
            yield
            return
        try:
            self.db.execute("BEGIN IMMEDIATE")
            with self.db:  # commits, or rolls back: also when the commit itself fails
                yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in DISK_FULL:
                raise
            if self._reserve is not None:
                self._reserve.free()
            raise LedgerFull(f"ledger {self.name} cannot be written: {error}") from error
        finally:
            self.commits += 1  # also after a failure: what was read before is read again
        if self._committed is not None:
            self._committed()

    def is_low_on_disk(self) -> bool:
        """Tell whether the disk has no room to spare, holding or freeing the reserve."""
        return self._reserve is not None and self._reserve.check()

    def image(self) -> bytes:
        """Return the file as a crash would leave it now."""
        return self.db.serialize()

    def close(self) -> None:
        """Close the file."""
        self.db.close()


def _can_be_read_only(path: Path) -> bool:
    """Tell whether the file has content, and nothing that only a writer can bring to an end."""
    return path.is_file() and path.stat().st_size > 0 and not Path(f"{path}-journal").exists()
