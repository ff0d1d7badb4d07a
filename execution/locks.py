"""One process at a time: a lock file that says who holds it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from execution.errors import ConfigError, LockHeld

FILE_MODE = 0o640
FOLDER_MODE = 0o700
FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
HOLDER_BYTES = 1024


class Lock:
    """A held lock; it ends with `release()`, with its `with` block, or with the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let the next process have it; the file stays, because removing it would race."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def hold(path: Path, owner: str) -> Lock:
    """Take the lock at `path` for `owner`, at once or not at all.

    Raises LockHeld naming the holder, or ConfigError where there can be no such file.
    """
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        fd = os.open(path, FLAGS, FILE_MODE)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be locked: {error.strerror}: mend it") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{owner} (pid {os.getpid()})".encode(), 0)
    except BlockingIOError as error:
        holder = _holder(fd)
        os.close(fd)
        raise LockHeld(f"{path}: held by {holder}: stop that one first") from error
    except OSError as error:
        os.close(fd)
        raise ConfigError(f"{path}: cannot be locked: {error.strerror}: mend it") from error
    return Lock(fd)


def of_account(machine_dir: Path, mode: str, account: str) -> Path:
    """Return where the lock of an account at an exchange is: one on this machine, for every folder."""
    return machine_dir / f"{mode}-{account}.lock"


def _holder(fd: int) -> str:
    """Read who holds it; nothing is written between its lock and its name."""
    text = os.pread(fd, HOLDER_BYTES, 0).decode("ascii", "replace")
    return text if text and text.isprintable() else "another process"
