"""A file that gives its room back when the disk is full, so that exits can still be journalled."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

FILE_MODE = 0o600
# A pipe planted in its place must not block: O_NONBLOCK.
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DiskReserve:
    """The reserve of the disk that `path` is on, `size_bytes` large.

    It is let go when less than that is free, and taken back when twice as much is free again.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self.is_low = False

    def check(self) -> bool:
        """Look at the disk, hold or free the reserve, and tell whether the disk is low."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return self.is_low
        free_bytes = disk.f_bavail * disk.f_frsize
        if self.is_low:
            if free_bytes >= 2 * self._size_bytes and self._hold():
                log.warning("disk has room again free_bytes=%d", free_bytes)
                self.is_low = False
        elif free_bytes < self._size_bytes or not self._hold():
            self.free()
        return self.is_low

    def free(self) -> None:
        """Give the room back; entries stop until there is enough again."""
        if not self.is_low:
            log.error("disk is full or nearly so: the reserve is freed file=%s", self._path)
        self.is_low = True
        with contextlib.suppress(OSError):  # gone, or a folder: then entries stay stopped
            self._path.unlink()

    def _hold(self) -> bool:
        """Make the file whole, if it is not; tell whether it is held."""
        try:
            fd = os.open(self._path, FLAGS, FILE_MODE)
            try:
                if os.fstat(fd).st_size < self._size_bytes:
                    os.posix_fallocate(fd, 0, self._size_bytes)
            finally:
                os.close(fd)
        except OSError:
            return False
        return True
