"""Atomic write and bounded read of one state file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from execution.clock import Clock
from execution.errors import StateWriteError
from execution.small_files import READ_FLAGS, WRITE_FLAGS
from execution.state_schema.envelope import Envelope, Header
from execution.state_schema.registry import STATE_FILES, Process, StateFile

P = TypeVar("P", bound=Envelope)

MAX_BYTES = 8 * 1024 * 1024
FILE_MODE = 0o640
COPY_MODE = 0o444
FOLDER_MODE = 0o750
RUN_MODE = 0o700
SHARED_LOCK = "run/shared.lock"
LOCK_TRIES = 500
LOCK_PAUSE_S = 0.001

TEMPORARY = re.compile(r"^\.(?P<name>.+)\.(?P<pid>[0-9]+)-[0-9a-f]{16}\.tmp$")

_encoder = msgspec.json.Encoder()
_header = msgspec.json.Decoder(Header)


class Unreadable(Struct, frozen=True):
    """Why a state file gave no payload; `detail` names the key where there is one."""

    path: str
    kind: Literal["missing", "not_a_file", "too_big", "not_json", "wrong_version", "wrong_shape"]
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.detail}"


class StateStore:
    """The state files under one log folder.

    A store belongs to one thread. Any number of processes may read; each file has one writing
    process, and the shared pair is written under one advisory lock.
    """

    def __init__(self, log_dir: Path, clock: Clock) -> None:
        self._log_dir = log_dir
        self._clock = clock
        self._last_seq: dict[str, int] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        self._lock_depth = 0

    def write(self, file: StateFile[P], payload: P) -> P:
        """Replace `file` by `payload` and return it as written, with its `seq` and `written_ts`.

        Raise StateWriteError, naming file and field; the previous content then stands.
        """
        if file.shared:
            with self.locked():
                return self._replace(file, payload)
        return self._replace(file, payload)

    def read(self, file: StateFile[P]) -> P | None:
        """Return the payload, or None where `inspect` would say why not."""
        found = self.inspect(file)
        return None if isinstance(found, Unreadable) else found

    def inspect(self, file: StateFile[P]) -> P | Unreadable:
        """Return the payload, or what keeps it from being one."""
        content = self.read_bytes(file.path)
        if isinstance(content, Unreadable):
            return content
        try:
            header = _header.decode(content)
        except msgspec.ValidationError as error:
            return Unreadable(file.path, "wrong_shape", str(error))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Unreadable(file.path, "not_json", str(error))
        if header.schema_version != file.version:
            detail = f"schema_version {header.schema_version}, this program reads {file.version}"
            return Unreadable(file.path, "wrong_version", detail)
        try:
            return self._decoder(file).decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Unreadable(file.path, "wrong_shape", str(error))

    def read_bytes(self, path: str) -> bytes | Unreadable:
        """Return the bytes at `path` (relative to the log folder), at most MAX_BYTES of them."""
        try:
            fd = os.open(self._log_dir / path, READ_FLAGS)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return Unreadable(path, "not_a_file", "not a regular file")
                content = _read_all(fd)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return Unreadable(path, "missing", "no such file")
        except OSError as error:
            return Unreadable(path, "not_a_file", error.strerror or str(error))
        if len(content) > MAX_BYTES:
            return Unreadable(path, "too_big", f"more than {MAX_BYTES} bytes")
        return content

    def sweep(self, process: Process) -> int:
        """Remove the temporaries that dead writers of `process`'s files left; return how many.

        Call at the start of that process, before its first write.
        """
        own = [file for file in STATE_FILES if process in file.owners]
        paths = [path for file in own for path in _paths(file)]
        swept = 0
        for folder in sorted({(self._log_dir / path).parent for path in paths}):
            names = {Path(path).name for path in paths}
            for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
                found = TEMPORARY.match(entry.name)
                if found and found["name"] in names and not _is_other_alive(int(found["pid"])):
                    entry.unlink(missing_ok=True)
                    swept += 1
        return swept

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the shared pair; may be nested.

        Raise StateWriteError when another process keeps it: a stopped service must not stop a tick.
        """
        fd = None if self._lock_depth > 0 else self._take_lock()
        self._lock_depth += 1
        try:
            yield
        finally:
            self._lock_depth -= 1
            if fd is not None:
                os.close(fd)

    def _take_lock(self) -> int:
        path = self._log_dir / SHARED_LOCK
        never = threading.Event()
        try:
            path.parent.mkdir(mode=RUN_MODE, parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StateWriteError(f"{SHARED_LOCK}: {error.strerror}") from error
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._clock.wait(LOCK_PAUSE_S, never)
            else:
                return fd
        os.close(fd)
        raise StateWriteError(f"{SHARED_LOCK}: held by another process for too long")

    def _replace(self, file: StateFile[P], payload: P) -> P:
        now = self._clock.now()
        seq = max(self._next_seq(file), int(now * 1000))
        stamped = msgspec.structs.replace(payload, seq=seq, written_ts=now)
        content = self._encode(file, stamped)
        self._last_seq[file.path] = seq  # also when the write fails: one of two twins may stand
        for path in _paths(file):
            try:
                _replace_bytes(f"{self._log_dir}/{path}", content)
            except OSError as error:
                raise StateWriteError(f"{path}: {error.strerror or error}") from error
        return stamped

    def _encode(self, file: StateFile[P], payload: P) -> bytes:
        # The encoder turns NaN and Infinity into null without a word; reading the bytes back into
        # the same type is what notices one in a field that may not be null.
        try:
            content = _encoder.encode(payload)
            self._decoder(file).decode(content)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise StateWriteError(f"{file.path}: {error}") from error
        if len(content) > MAX_BYTES:
            raise StateWriteError(f"{file.path}: {len(content)} bytes, limit {MAX_BYTES}")
        return content

    def _next_seq(self, file: StateFile[P]) -> int:
        last = self._last_seq.get(file.path)
        if last is None or file.shared:
            last = self._seq_on_disk(file)
        return last + 1

    def _seq_on_disk(self, file: StateFile[P]) -> int:
        highest = self._last_seq.get(file.path, 0)
        for path in _paths(file):
            content = self.read_bytes(path)
            if isinstance(content, Unreadable):
                continue
            # A file that cannot be read has no number to go on from; the clock's is used.
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                highest = max(highest, _header.decode(content).seq)
        return highest

    def _decoder(self, file: StateFile[P]) -> msgspec.json.Decoder[P]:
        decoder = self._decoders.get(file.path)
        if decoder is None:
            decoder = self._decoders[file.path] = msgspec.json.Decoder(file.struct)
        return decoder


def write_copy(path: Path, content: bytes) -> None:
    """Replace a file by bytes that another machine wrote, read-only; or StateWriteError."""
    try:
        _replace_bytes(str(path), content, COPY_MODE)
    except OSError as error:
        raise StateWriteError(f"{path}: {error.strerror or error}") from error


def _paths(file: StateFile[Any]) -> tuple[str, ...]:
    return (file.path,) if file.twin is None else (file.path, file.twin)


def _replace_bytes(target: str, content: bytes, mode: int = FILE_MODE) -> None:
    """Write `content` beside `target` under a name of its own, make it durable, and rename.

    The folder is not synced: after a power loss the old file may be there instead of the new one,
    and either is whole. The next loop rewrites it, so the second wait for the disk buys nothing.
    Paths are text here: this runs a dozen times a loop, and Path would cost more than the encoding.
    """
    folder, _, name = target.rpartition("/")
    temporary = f"{folder}/.{name}.{os.getpid()}-{secrets.token_hex(8)}.tmp"
    try:
        fd = os.open(temporary, WRITE_FLAGS, FILE_MODE)
    except FileNotFoundError:
        Path(folder).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        fd = os.open(temporary, WRITE_FLAGS, FILE_MODE)
    try:
        try:
            _write_all(fd, content)
            if mode != FILE_MODE:
                os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, target)  # noqa: PTH104  see above
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108  see above
        raise


def _read_all(fd: int) -> bytes:
    chunks = []
    left = MAX_BYTES + 1
    while left > 0 and (chunk := os.read(fd, left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _is_other_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # at our start: a predecessor under the same number
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
