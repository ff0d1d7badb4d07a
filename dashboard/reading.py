"""Files → `Seen`, reading only what changed since the last look."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from dashboard.seen import Seen
from execution.clock import Clock
from execution.jsonl_log import tail
from execution.state_schema import registry
from execution.state_schema.envelope import Envelope
from execution.state_schema.journals import Record
from execution.state_schema.mirror_files import MIRROR, Mirror
from execution.state_schema.registry import Journal, StateFile
from execution.state_store import StateStore, Unreadable

T = TypeVar("T")
R = TypeVar("R", bound=Record)

NAV_POINTS: Final = 24 * 60  # one a minute
# How many of the newest records of a journal a page may want; whatever its size, no more are read.
COUNTS: Final = {
    registry.NAV_SERIES.name: NAV_POINTS,
    registry.ALERTS.name: 50,
    registry.ORDERS_ATTEMPTED.name: 500,
    registry.ORDERS_EXECUTED.name: 1_500,
    registry.ORDER_METRICS.name: 1_000,
    registry.RISK_VETOES.name: 2_000,
    registry.SIGNAL_METRICS.name: 1_000,
    registry.SHADOW.name: 500,
    registry.COMPARE.name: 100,
    registry.FLAGS.name: 50,
    registry.AUDIT.name: 50,
}
LOG_LINES: Final = 300
LOGS: Final = re.compile(r"hedge-[a-z_-]+\.log")

# Change time, inode, size. A replaced file, a grown one and one made readable each move one of them.
Signature = tuple[int, int, int]

_mirror = msgspec.json.Decoder(Mirror)


class Reader:
    """The log folder as one session of the page sees it; it belongs to that session's thread."""

    def __init__(self, log_dir: Path, clock: Clock) -> None:
        self._log_dir = log_dir
        self._store = StateStore(log_dir, clock)
        self._kept: dict[str, tuple[Signature | None, Any]] = {}

    def read(self, *journals: Journal[Any], logs: bool = False) -> Seen:
        """Look at every state file and at these journals; open those that moved."""
        return Seen(
            files={file.name: self._file(file) for file in registry.STATE_FILES},
            journals={
                journal.name: self._journal(journal, COUNTS[journal.name]) for journal in journals
            },
            logs={name: self._log(name) for name in self._log_names()} if logs else {},
            mirror=self._once(MIRROR, self._read_mirror),
        )

    def _file(self, file: StateFile[Any]) -> Envelope | Unreadable:
        return self._once(file.path, lambda: self._store.inspect(file))

    def _journal(self, journal: Journal[R], count: int) -> tuple[R, ...] | Unreadable:
        return self._once(
            journal.path, lambda: self._tail(journal.path, count, journal.decoder.decode)
        )

    def _log_names(self) -> list[str]:
        try:
            names = sorted(each.name for each in self._log_dir.iterdir())
        except OSError:
            return []
        return [name for name in names if LOGS.fullmatch(name)]

    def _log(self, name: str) -> tuple[str, ...] | Unreadable:
        return self._once(name, lambda: self._tail(name, LOG_LINES, _text))

    def _once(self, path: str, read: Callable[[], T]) -> T:
        """Return what `read` gave for the file as it is now."""
        # The signature is older than what is read: a file replaced in between is read again.
        signature = self._signature(path)
        kept = self._kept.get(path)
        if kept is not None and kept[0] == signature:
            found: T = kept[1]
            return found
        found = read()
        self._kept[path] = (signature, found)
        return found

    def _signature(self, path: str) -> Signature | None:
        try:
            found = (self._log_dir / path).stat()
        except OSError:
            return None
        return found.st_ctime_ns, found.st_ino, found.st_size

    def _tail(
        self, path: str, count: int, decode: Callable[[bytes], T]
    ) -> tuple[T, ...] | Unreadable:
        try:
            return tail(self._log_dir / path, count, decode).records
        except OSError as error:
            return Unreadable(path, "not_a_file", error.strerror or str(error))

    def _read_mirror(self) -> Mirror | Unreadable | None:
        content = self._store.read_bytes(MIRROR)
        if isinstance(content, Unreadable):
            return None if content.kind == "missing" else content
        try:
            return _mirror.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Unreadable(MIRROR, "wrong_shape", str(error))


def _text(line: bytes) -> str:
    return line.decode(errors="replace")
