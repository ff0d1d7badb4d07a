"""The files that one journal consists of, and places in them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

from execution.small_files import READ_FLAGS
from execution.state_schema.files import JournalPosition

Listing = list[tuple[int, Path]]

MARK_BYTES = 64
BLOCK_BYTES = 64 * 1024
RELISTINGS = 20


def list_archives(path: Path) -> list[tuple[int, Path]]:
    """List the archives of `path`, oldest first, with their numbers."""
    pattern = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{6,}}){re.escape(path.suffix)}")
    try:
        names = os.listdir(path.parent)  # noqa: PTH208  names are all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return []
    numbered = ((pattern.fullmatch(name), name) for name in names)
    return sorted((int(found[1]), path.with_name(name)) for found, name in numbered if found)


def list_files(path: Path) -> Listing:
    """List archives and file with their inodes, oldest first, as they were at one moment."""
    for _ in range(RELISTINGS):
        archives = list_archives(path)
        listed = []
        for file in [*(archive for _, archive in archives), path]:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                listed.append((file.stat().st_ino, file))
        if archives == list_archives(path):
            break
    return listed


def locate(path: Path, position: JournalPosition | None) -> tuple[Listing, int, int]:
    """List the files, with the index and offset of `position` in them; index -1 where it is gone.

    An inode number may be given to a new file, so the bytes before the offset must agree as well.
    """
    for _ in range(RELISTINGS):
        files = list_files(path)
        if position is None:
            return files, 0, 0
        for index, (inode, file) in enumerate(files):
            if inode == position.inode:
                with opened(file, inode) as fd:
                    if fd < 0:
                        break  # renamed since it was listed: list again
                    if sum_before(fd, position.offset) == position.mark:
                        return files, index, position.offset
        else:
            break
    return files, -1, 0


def sum_before(fd: int, offset: int) -> int:
    """Sum the bytes before `offset`; -1 where the file does not reach there."""
    length = min(offset, MARK_BYTES)
    before = os.pread(fd, length, offset - length)
    return zlib.crc32(before) if len(before) == length else -1


@contextlib.contextmanager
def opened(file: Path, inode: int | None = None) -> Iterator[int]:
    """Open for reading; -1 where the file is gone, or is no longer the one with `inode`; or OSError."""
    try:
        fd = os.open(file, READ_FLAGS)
    except FileNotFoundError:
        yield -1
        return
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield fd if inode in (None, found.st_ino) else -1
    finally:
        os.close(fd)


def find_end(path: Path) -> JournalPosition | None:
    """Return the place after the newest whole line, None where nothing was written; or OSError."""
    for inode, file in reversed(list_files(path)):
        with opened(file, inode) as fd:
            if fd < 0:
                continue
            offset = _last_end(fd)
            return JournalPosition(inode=inode, offset=offset, mark=sum_before(fd, offset))
    return None


def _last_end(fd: int) -> int:
    """Return the offset after the last newline, 0 where there is none."""
    at = os.fstat(fd).st_size
    while at > 0:
        start = max(0, at - BLOCK_BYTES)
        found = os.pread(fd, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0
