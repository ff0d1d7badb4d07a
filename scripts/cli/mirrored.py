"""The mirror → a log folder that is a copy: read-only files and a mark of where they are from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from execution.clock import Clock
from execution.core.mirror import documents
from execution.core.mirror.documents import BOOK, HEALTH_FILES, PAIR
from execution.core.mirror.plan import MARKS
from execution.errors import ConfigError, StateWriteError, SyncError
from execution.firestore_utils import Firestore, Found, Target, credentials_problem
from execution.mirror_standing import target_of
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.journals import NavPoint
from execution.state_schema.mirror_files import MIRROR, Mirror
from execution.state_schema.registry import StateFile
from execution.state_store import write_copy

RUN_MODE = 0o700
RUN_ID = "mirror"
LOCK = "run/executor.lock"


class Pulled(Struct, frozen=True):
    """What a pull came to; `problems` name the documents that gave no file."""

    source: str
    files: int
    points: int
    problems: tuple[str, ...]


def pull(settings: Settings, folder: Path, days: int, clock: Clock) -> Pulled:
    """Copy the mirror of this environment and account into `folder`, with `days` of the NAV series.

    ConfigError where the folder is anybody's own, or where there is nothing to read from.
    """
    refuse_a_suites_own(folder)
    target = _target(settings)
    now = clock.now()
    series = [documents.series_name(documents.day_number(now) - ago) for ago in range(days)]
    names = [documents.HEALTH, *map(documents.name_of, (*BOOK, *PAIR)), *series]
    try:
        client = Firestore(target, settings.services.mirror.deadline_s)
        found = client.read(names)
        client.close()
    except SyncError as error:
        raise ConfigError(f"{target}: {error}") from error
    _require_account(found, settings.account)
    # Marked before anything else is in it: a pull that is cut off leaves no folder without a mark.
    _make(folder)
    _write(folder, MIRROR, msgspec.json.encode(Mirror(str(target), now)))
    contents = {file.path: _content(file, found) for file in (*BOOK, *PAIR, *HEALTH_FILES)}
    twins = {file.path: file.twin for file in (*BOOK, *PAIR) if file.twin is not None}
    problems = []
    for path, content in contents.items():
        if isinstance(content, str):
            problems.append(content)
            continue
        for place in filter(None, (path, twins.get(path))):
            _write(folder, place, content)
    points = sorted(_points(found, series))
    lines = b"".join(msgspec.json.encode(_nav_point(*point)) + b"\n" for point in points)
    _write(folder, registry.NAV_SERIES.path, lines)
    return Pulled(str(target), len(contents) - len(problems), len(points), tuple(problems))


def refuse_a_suites_own(folder: Path) -> None:
    """Raise ConfigError unless `folder` is new, empty, or an earlier copy."""
    if (folder / LOCK).exists():
        raise ConfigError(f"{folder}: is an executor's log folder ({LOCK}): name another")
    if not (folder / MIRROR).exists() and folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty, and not a copy of a mirror: name another")


def _target(settings: Settings) -> Target:
    if settings.firestore_emulator is None:
        problem = credentials_problem(settings.firestore_credentials)
        if settings.firestore_project is None:
            problem = "FIRESTORE_PROJECT_ID is not set: name the project in .env"
        if problem is not None:
            raise ConfigError(f"nothing to pull from: {problem}")
    return target_of(settings)


def _require_account(found: Mapping[str, Found | None], account: str) -> None:
    there = {each.fields.get("account") for each in found.values() if each is not None}
    if there - {account}:
        raise ConfigError(f"the mirror is of account {', '.join(map(str, there))}, not {account}")


def _content(file: StateFile[Any], found: Mapping[str, Found | None]) -> bytes | str:
    """Return the bytes of one file as its owner wrote them, or what is wrong with its document."""
    name = documents.HEALTH if file in HEALTH_FILES else documents.name_of(file)
    document = found[name]
    if document is None:
        return f"{file.path}: {name} is not in the mirror"
    fields: object = {k: v for k, v in document.fields.items() if k not in MARKS}
    if file in HEALTH_FILES:
        fields = document.fields.get(file.name)
    try:
        return msgspec.json.encode(
            msgspec.json.decode(msgspec.json.encode(fields), type=file.struct)
        )
    except msgspec.DecodeError as error:
        return f"{file.path}: {name}: {error}"


def _points(found: Mapping[str, Found | None], series: list[str]) -> Iterator[tuple[float, float]]:
    for name in series:
        document = found[name]
        if document is not None:
            yield from documents.points_of(document.fields)


def _nav_point(ts: float, nav_usd: float) -> NavPoint:
    return NavPoint(
        ts=ts,
        run_id=RUN_ID,
        nav_usd=nav_usd,
        wallet_usd=None,
        unrealized_usd=None,
        gross_usd=None,
        net_usd=None,
        peak_usd=None,
        drawdown_pct=None,
    )


def _make(folder: Path) -> None:
    try:
        (folder / "run").mkdir(mode=RUN_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}: name another") from error


def _write(folder: Path, path: str, content: bytes) -> None:
    try:
        write_copy(folder / path, content)
    except StateWriteError as error:
        raise ConfigError(f"{error}: mend it, and pull again") from error
