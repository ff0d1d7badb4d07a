"""The kill latch on disk: written whole and durable, read so that every doubt counts as on.

Whoever stops trading writes this file himself, so that it works with the executor dead or hung.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from pathlib import Path

import msgspec
from msgspec import Struct

from execution.core.records import KillLatch
from execution.state_schema.operator_files import KillFile

KILL_FILE = "run/kill.json"
MAX_BYTES = 16 * 1024
FILE_MODE = 0o600
FOLDER_MODE = 0o700
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
EMPTY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# A pipe planted in its place must not block the reader: O_NONBLOCK.
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK

Signature = tuple[int, int, int, int]


class Doubtful(Struct, frozen=True):
    """Something is there and it is no latch, for this reason."""

    problem: str


def read(log_dir: Path) -> KillFile | Doubtful | None:
    """Return what is written, why it cannot be read, or None where nothing is; never raises."""
    path = log_dir / KILL_FILE
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Doubtful(error.strerror or str(error))
    try:
        return _decode(_read_bytes(path))
    except OSError as error:  # also where a link leads nowhere: something is there
        return Doubtful(error.strerror or str(error))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Doubtful(str(error))


def as_seen(found: KillFile | Doubtful | None) -> KillLatch | None:
    """Return what trading goes by: doubt is on, None is off."""
    if found is None:
        return None
    if isinstance(found, Doubtful):
        return KillLatch(on=True, reason=f"{KILL_FILE} cannot be read: {found.problem}")
    return KillLatch(on=found.on, reason=found.reason, ts=found.ts)


def signature(log_dir: Path) -> Signature | None:
    """Return what changes with the file; None where only reading tells."""
    try:
        here = os.lstat(log_dir / KILL_FILE)
    except OSError:
        return None
    return here.st_ino, here.st_size, here.st_mtime_ns, here.st_ctime_ns


def write(log_dir: Path, latch: KillFile) -> None:
    """Replace the latch so that it outlives a power loss; OSError where that cannot be promised."""
    path = log_dir / KILL_FILE
    path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        _write_bytes(temporary, msgspec.json.encode(latch) + b"\n", WRITE_FLAGS)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)
    _sync_folder(log_dir)


def write_empty(log_dir: Path) -> None:
    """Leave an empty latch, which counts as on: a full disk has room for it where it has no other.

    Raise OSError where there is not even that.
    """
    path = log_dir / KILL_FILE
    path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    _write_bytes(path, b"", EMPTY_FLAGS)
    _sync_folder(path.parent)


def _decode(content: bytes) -> KillFile:
    latch = msgspec.json.decode(content, type=KillFile)
    # A key that stands twice says two things, and the decoder would take the last one.
    json.loads(content, object_pairs_hook=_refuse_repeats)
    return latch


def _refuse_repeats(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key stands twice")


def _read_bytes(path: Path) -> bytes:
    fd = os.open(path, READ_FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("not a regular file")
        content = b""
        while len(content) <= MAX_BYTES and (piece := os.read(fd, MAX_BYTES + 1)):
            content += piece
    finally:
        os.close(fd)
    if len(content) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return content


def _write_bytes(path: Path, content: bytes, flags: int) -> None:
    fd = os.open(path, flags, FILE_MODE)
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
