"""Rotating JSONL journals: one `write` per line, and readers that never hold a whole file.

A line is appended under an advisory lock on the file itself. A full file is renamed to
`<stem>.<number>.jsonl`; numbers only grow, so no archive is ever renamed or overwritten, and the
oldest go when there are more than `backups` of them or when they are older than `max_age_s`.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from execution.clock import Clock
from execution.jsonl_files import BLOCK_BYTES, list_archives, locate, opened, sum_before
from execution.state_schema.files import JournalPosition
from execution.state_schema.journals import Record
from execution.state_schema.registry import Journal

R = TypeVar("R")
J = TypeVar("J", bound=Record)
log = logging.getLogger(__name__)

MAX_LINE_BYTES = 256 * 1024
BUFFER_BYTES = 256 * 1024
BATCH_BYTES = 4 * 1024 * 1024
TAIL_BYTES = 8 * 1024 * 1024
LEAST_BYTES = 8 * 1024
WHOLE_BYTES = MAX_LINE_BYTES + BLOCK_BYTES  # holds a whole line, whatever it is
FILE_MODE = 0o640
FOLDER_MODE = 0o750
# A pipe planted in its place must not block the writer once it is full: O_NONBLOCK.
OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
LOCK_SPINS = 50
LOCK_TRIES = 300
LOCK_PAUSE_S = 0.001
REOPENS = 20
NEVER = threading.Event()
_encoder = msgspec.json.Encoder()


class Lost(Struct, frozen=True):
    """Records that are not in the journal, and why."""

    journal: str
    reason: str
    records: int = 1


class JsonlLogger:
    """One writer of one journal; any number of processes may each have their own.

    Nothing raises here: what could not be written comes back as `Lost`. `buffered` keeps lines in
    memory and writes them in large pieces: for a process whose journals nobody reads meanwhile.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        max_bytes: int,
        backups: int,
        max_age_s: float,
        buffered: bool = False,
    ) -> None:
        self._path = path
        self._location = os.fspath(path)
        self._clock = clock
        self._max_bytes = max_bytes
        self._backups = backups
        self._max_age_s = max_age_s
        self._buffered = buffered
        self._pending = bytearray()
        self._fd = -1
        self._inode = (0, 0)
        self._end = -1
        self._patient = True
        self._decoders: dict[type[Record], msgspec.json.Decoder[Any]] = {}

    def write(self, record: Record) -> Lost | None:
        """Append `record`; a NaN in a field that may not be null is refused, not written as null."""
        try:
            line = _encoder.encode(record) + b"\n"
            if b"null" in line:  # what a NaN is encoded as: is it allowed where it stands?
                self._decoder(type(record)).decode(line)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            return Lost(self._path.name, str(error))
        if len(line) > MAX_LINE_BYTES:
            return Lost(self._path.name, f"{len(line)} bytes in one line, limit {MAX_LINE_BYTES}")
        if not self._buffered:
            return self._append(line)
        self._pending += line
        return self.flush() if len(self._pending) >= BUFFER_BYTES else None

    def flush(self) -> Lost | None:
        """Write what is buffered."""
        if not self._pending:
            return None
        lines, self._pending = bytes(self._pending), bytearray()
        return self._append(lines)

    def close(self) -> Lost | None:
        """Write what is buffered and let go of the file."""
        lost = self.flush()
        self._let_go()
        return lost

    def _append(self, lines: bytes) -> Lost | None:
        written = 0
        try:
            size, locked = self._reach_end()
            if locked and size > 0 and size + len(lines) > self._max_bytes and self._rotate():
                size, locked = self._reach_end()
            try:
                if size not in (0, self._end) and os.pread(self._fd, 1, size - 1) != b"\n":
                    size += os.write(self._fd, b"\n")  # close what a killed writer left open
                while written < len(lines):
                    self._end = -1
                    written += os.write(self._fd, lines[written:] if written else lines)
                self._end = size + written
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as error:
            self._let_go()  # nothing is assumed of the descriptor: the next write opens anew
            return Lost(self._path.name, error.strerror or str(error), lines.count(b"\n", written))
        return None

    def _reach_end(self) -> tuple[int, bool]:
        """Open and lock the file that is at the path now; return its size and whether it is locked.

        Another process may rename the file between the open and the lock; then it is not the one.
        """
        for _ in range(REOPENS):
            if self._fd < 0:
                self._open()
            locked = self._lock()
            try:
                here = os.stat(self._location)  # noqa: PTH116  per record, half of what Path.stat costs
            except FileNotFoundError:
                self._let_go()
                continue
            if (here.st_dev, here.st_ino) == self._inode:
                return here.st_size, locked
            self._let_go()
        raise OSError(f"{self._path.name} is replaced faster than it can be opened")

    def _open(self) -> None:
        try:
            self._fd = os.open(self._path, OPEN_FLAGS, FILE_MODE)
        except FileNotFoundError:
            self._path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._fd = os.open(self._path, OPEN_FLAGS, FILE_MODE)
        opened = os.fstat(self._fd)
        if not stat.S_ISREG(opened.st_mode):
            raise OSError("not a regular file")
        self._inode = (opened.st_dev, opened.st_ino)
        self._end = -1

    def _lock(self) -> bool:
        """Lock the open file, or give up: a writer stopped in the middle must not stop this one.

        Without the lock a line is still appended whole (O_APPEND); only rotation must wait.
        """
        for attempt in range(LOCK_TRIES if self._patient else 1):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt >= LOCK_SPINS:
                    self._clock.wait(LOCK_PAUSE_S, NEVER)
            else:
                self._patient = True
                return True
        self._patient = False
        return False

    def _rotate(self) -> bool:
        """Rename the file to the next archive and remove archives past their limit."""
        archives = list_archives(self._path)
        number = archives[-1][0] + 1 if archives else 1
        target = self._path.with_name(f"{self._path.stem}.{number:06d}{self._path.suffix}")
        try:
            self._path.rename(target)
        except OSError as error:
            log.warning("journal not rotated journal=%s error=%s", self._path.name, error)
            self._max_bytes *= 2  # tried again then, so that the log is told seldom
            return False
        self._let_go()
        self._prune([*(path for _, path in archives), target])
        return True

    def _prune(self, archives: list[Path]) -> None:
        oldest_ts = self._clock.now() - self._max_age_s
        for age, archive in enumerate(reversed(archives)):
            try:
                if age >= self._backups or archive.stat().st_mtime < oldest_ts:
                    archive.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("journal archive not removed file=%s error=%s", archive.name, error)

    def _let_go(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def _decoder(self, shape: type[Record]) -> msgspec.json.Decoder[Any]:
        if shape not in self._decoders:
            self._decoders[shape] = msgspec.json.Decoder(shape)
        return self._decoders[shape]


# ---------------------------------------------------------------- readers


class Batch(Struct, Generic[R], frozen=True):
    """Records in the order of writing.

    `broken` counts lines that are no record. `gap` says that records after the asked position are
    gone. `position` is where to go on; None where nothing was ever written.
    """

    records: tuple[R, ...] = ()
    broken: int = 0
    gap: bool = False
    position: JournalPosition | None = None


def tail(path: Path, count: int, decode: Callable[[bytes], R]) -> Batch[R]:
    """Read the newest `count` lines, from the archives too where the file has fewer; or OSError."""
    with opened(path) as fd:
        lines = _last_lines(fd, count)
        inode = os.fstat(fd).st_ino if fd >= 0 else -1
    for _, archive in reversed(list_archives(path)):
        if len(lines) >= count:
            break
        with opened(archive) as fd:
            if fd >= 0 and os.fstat(fd).st_ino != inode:  # not the file itself, renamed meanwhile
                lines = _last_lines(fd, count - len(lines)) + lines
    records, broken = _decode(lines, decode)
    return Batch(tuple(records), broken)


def newest(log_dir: Path, journal: Journal[J], count: int) -> tuple[J, ...]:
    """Read the newest records of a journal, oldest first, at most `count`; or OSError."""
    return tail(log_dir / journal.path, count, journal.decoder.decode).records


def read_from(
    path: Path,
    position: JournalPosition | None,
    decode: Callable[[bytes], R],
    limit_bytes: int = BATCH_BYTES,
) -> Batch[R]:
    """Read what was written after `position` (None: all that is kept), up to about `limit_bytes`.

    Goes on through archives in the order of writing; a last line without its end is left for later.
    OSError where a file is there and cannot be read.
    """
    files, start, offset = locate(path, position)
    gap = start < 0
    records: list[R] = []
    broken = 0
    for index in range(max(start, 0), len(files)):
        inode, file = files[index]
        is_live = index == len(files) - 1
        with opened(file, inode) as fd:
            if fd < 0:
                break  # the next read finds it under its new name
            while limit_bytes > 0:
                lines, used = _next_lines(fd, offset, limit_bytes, is_live=is_live)
                if used == 0:
                    break
                found, bad = _decode(lines, decode)
                records += found
                broken += bad
                offset += used
                limit_bytes -= used
            position = JournalPosition(inode=inode, offset=offset, mark=sum_before(fd, offset))
        if limit_bytes <= 0:
            break
        offset = 0
    return Batch(tuple(records), broken, gap, position)


def read_batches(
    path: Path, position: JournalPosition | None, decode: Callable[[bytes], R]
) -> Iterator[Batch[R]]:
    """Yield batches from `position` until nothing new is left."""
    while (batch := read_from(path, position, decode)).position != position:
        yield batch
        position = batch.position


def _decode(lines: list[bytes], decode: Callable[[bytes], R]) -> tuple[list[R], int]:
    records: list[R] = []
    for line in lines:
        if len(line) <= MAX_LINE_BYTES:
            # A line that is no record is counted by its absence; the journal goes on after it.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                records.append(decode(line))
    return records, len(lines) - len(records)


def _next_lines(
    fd: int, offset: int, limit_bytes: int, *, is_live: bool
) -> tuple[list[bytes], int]:
    """Read a block of whole lines at `offset`; return them and how many bytes they are."""
    block = os.pread(fd, min(max(limit_bytes, LEAST_BYTES), WHOLE_BYTES), offset)
    if b"\n" not in block:  # one line may be longer than what was asked for
        block = os.pread(fd, WHOLE_BYTES, offset)
    end = block.rfind(b"\n") + 1
    if end > 0:
        return block[: end - 1].split(b"\n"), end
    # No line ends here: too long to be a record, or the rest of an archive that nobody will close.
    if len(block) > MAX_LINE_BYTES or (block and not is_live):
        return [block], len(block)
    return [], 0


def _last_lines(fd: int, count: int) -> list[bytes]:
    """Read the last `count` whole lines, seeking from the end, within TAIL_BYTES."""
    if fd < 0:
        return []
    at = size = os.fstat(fd).st_size
    blocks: list[bytes] = []
    ends = 0
    while at > 0 and ends <= count and size - at < TAIL_BYTES:
        step = min(BLOCK_BYTES, at)
        at -= step
        block = os.pread(fd, step, at)
        ends += block.count(b"\n")
        blocks.append(block)
    lines = b"".join(reversed(blocks)).split(b"\n")[:-1]
    return (lines if at == 0 else lines[1:])[-count:]
