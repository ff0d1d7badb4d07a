"""Small files that must outlive a power loss: replaced whole, and read with a bound.

Nothing here follows a planted pipe or leaves half a file. Errors are OSError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 16 * 1024
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe planted in its place must not block the reader: O_NONBLOCK.
READ_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def read(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return what is in a regular file of at most `max_bytes`."""
    fd = os.open(path, READ_FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("not a regular file")
        content = b""
        while len(content) <= max_bytes and (piece := os.read(fd, max_bytes + 1)):
            content += piece
    finally:
        os.close(fd)
    if len(content) > max_bytes:
        raise OSError(f"more than {max_bytes} bytes")
    return content


def replace(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Put `content` in the place of what is there, whole and durable, with exactly this mode."""
    path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(8)}.tmp")
    try:
        write(temporary, content, WRITE_FLAGS)
        temporary.chmod(mode)
        temporary.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write(path: Path, content: bytes, flags: int) -> None:
    """Write a file and wait for the disk; `flags` are those of open(2)."""
    fd = os.open(path, flags, FILE_MODE)
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def prove_folder(folder: Path, mode: int) -> None:
    """Make a folder where there is none; OSError where it cannot be written, or everybody may.

    A file is written in earnest: mode bits say nothing to root, and nothing about a read-only or
    full disk.
    """
    folder.mkdir(mode, parents=True, exist_ok=True)
    if folder.stat().st_mode & stat.S_IWOTH:
        raise OSError(errno.EPERM, f"every user may: type `chmod o-w {folder}`")
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as probe:
        probe.write(b"probe")
        probe.flush()
        os.fsync(probe.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def odd_one(database: Path) -> Path | None:
    """Return which of the files that SQLite opens for `database` is there, and is no regular file.

    SQLite waits for ever at a pipe and writes behind a link.
    """
    for suffix in ("", "-journal", "-wal", "-shm"):
        path = Path(f"{database}{suffix}")
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(path.lstat().st_mode):
                return path
    return None
