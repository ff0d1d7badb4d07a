"""A disk small enough to be filled, where this machine lets one be mounted."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024
BALLAST = "ballast"


@contextmanager
def small_disk(at: Path, mib: int) -> Iterator[Path]:
    """Mount a disk of `mib` at a folder, or skip the test with the reason why it cannot be."""
    at.mkdir(parents=True, exist_ok=True)
    options = f"size={mib}m,mode=0755,uid={os.getuid()},gid={os.getgid()}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        # Lazily: a failed test may have left files of it open.
        subprocess.run(["umount", "-l", str(at)], check=True)


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """Let no file of this process be written beyond a size, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill(folder: Path) -> None:
    """Take all the room that is left on a folder's disk."""
    with (folder / BALLAST).open("ab", buffering=0) as file:
        for piece in (MIB, 4096):
            while _grow(file.fileno(), piece):
                pass
    assert free_bytes(folder) == 0


def empty(folder: Path) -> None:
    """Give back what `fill` took."""
    (folder / BALLAST).unlink()


def free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _grow(fd: int, size: int) -> bool:
    try:
        os.posix_fallocate(fd, os.fstat(fd).st_size, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True
