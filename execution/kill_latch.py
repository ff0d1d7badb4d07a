"""The kill latch on disk: written whole and durable, read so that every doubt counts as on.

Whoever stops trading writes this file himself, so that it works with the executor dead or hung.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from execution import small_files
from execution.core.records import KillLatch
from execution.state_schema.operator_files import KillFile

KILL_FILE = "run/kill.json"
EMPTY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

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
        return _decode(small_files.read(path))
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
    small_files.replace(log_dir / KILL_FILE, msgspec.json.encode(latch) + b"\n")
    small_files.sync_folder(log_dir)


def write_empty(log_dir: Path) -> None:
    """Leave an empty latch, which counts as on: a full disk has room for it where it has no other.

    Raise OSError where there is not even that.
    """
    path = log_dir / KILL_FILE
    path.parent.mkdir(mode=small_files.FOLDER_MODE, exist_ok=True)
    small_files.write(path, b"", EMPTY_FLAGS)
    small_files.sync_folder(path.parent)


def _decode(content: bytes) -> KillFile:
    latch = msgspec.json.decode(content, type=KillFile)
    # A key that stands twice says two things, and the decoder would take the last one.
    json.loads(content, object_pairs_hook=_refuse_repeats)
    return latch


def _refuse_repeats(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key stands twice")
