"""Moves the candidate's keys into the live toml files, with a way back.

Comments and order of the files stay. Everything is tried in a copy first; then a backup is complete
before the first live file is replaced, so that a rollback is possible whatever happens in between.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import tomlkit
from msgspec import Struct
from tomlkit.items import AoT

from execution import overlay, small_files, toml_files
from execution.errors import ConfigError
from execution.overlay import Change

BACKUPS: Final = "backups"
MANIFEST: Final = "manifest.json"
TABLES: Final = ("risk", "router", "sizing", "strategy")
FILES: Final = ("risk.toml", "router.toml", "strategy.toml", overlay.FILE)


class Manifest(Struct, frozen=True):
    """What one promotion replaced: the checksum of each file as it left it."""

    ts: float
    live_policy: str
    shadow_policy: str
    left: dict[str, str]


def promote(
    ops_dir: Path,
    changes: Iterable[Change],
    live_policy: str,
    shadow_policy: str,
    fingerprint: Callable[[Path], str],
    now: float,
) -> Path:
    """Write the changes into the live files and empty the overlay; return the backup's folder.

    `fingerprint` names the live policy that a folder's files state: a copy with the changes must
    state the candidate's. ConfigError where something keeps it from that; the live files then stand.
    """
    edited = _edit(ops_dir, tuple(changes))
    with tempfile.TemporaryDirectory(prefix="hedge-ops-") as copied:
        folder = Path(copied)
        for file in ops_dir.glob("*.toml"):
            shutil.copy2(file, folder)
        for name, text in edited.items():
            (folder / name).write_text(text, encoding="utf-8")
        if fingerprint(folder) != shadow_policy:
            raise ConfigError(f"{ops_dir}: the edited files would not state the candidate's policy")
    manifest = Manifest(now, live_policy, shadow_policy, {n: _sum(t) for n, t in edited.items()})
    backup = _back_up(ops_dir, edited, manifest)
    for name, text in edited.items():
        _replace(ops_dir / name, text)
    return backup


def roll_back(ops_dir: Path, *, force: bool) -> tuple[Path, Manifest]:
    """Put back what the newest promotion replaced; ConfigError where a file was edited since."""
    backups = sorted(path for path in (ops_dir / BACKUPS).glob("*") if (path / MANIFEST).is_file())
    if not backups:
        raise ConfigError(f"{ops_dir / BACKUPS}: there is no promotion to roll back")
    backup = backups[-1]
    manifest = _read_manifest(backup / MANIFEST)
    before = {name: _read(backup / name) for name in manifest.left}
    for name, left in manifest.left.items():
        text = _read(ops_dir / name)
        if _sum(text) != left and text != before[name] and not force:
            raise ConfigError(
                f"{ops_dir / name}: was edited since the promotion: what it was is in {backup};"
                " put it back by hand, or give --force to lose the edits"
            )
    for name, text in before.items():
        _replace(ops_dir / name, text)
    rolled = backup.with_name(f"{backup.name}-rolled-back")
    (backup / MANIFEST).rename(backup / f"rolled-back-{MANIFEST}")
    backup.rename(rolled)
    return rolled, manifest


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(small_files.read(path), type=Manifest)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    for name in manifest.left:
        if name not in FILES:
            raise ConfigError(f"{path}: {name!r} is no file that a promotion replaces")
    return manifest


def _read(path: Path) -> str:
    try:
        return small_files.read(path, toml_files.MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _edit(ops_dir: Path, changes: tuple[Change, ...]) -> dict[str, str]:
    edited: dict[str, str] = {}
    for name in dict.fromkeys(change.file for change in changes):
        document = tomlkit.parse(_read(ops_dir / name))
        for change in changes:
            if change.file == name:
                _put(document, change.place, change.becomes)
        edited[name] = tomlkit.dumps(document)
    document = tomlkit.parse(_read(ops_dir / overlay.FILE))
    for table in TABLES:
        document.pop(table, None)
    edited[overlay.FILE] = tomlkit.dumps(document)
    return edited


def _put(document: tomlkit.TOMLDocument, place: tuple[str, ...], value: object) -> None:
    table: Any = document
    for step in place[:-1]:
        if isinstance(table, AoT):
            table = next(entry for entry in table if entry.get("name") == step)
        else:
            if step not in table:
                table[step] = tomlkit.table()
            table = table[step]
    table[place[-1]] = value


def _back_up(ops_dir: Path, edited: Mapping[str, str], manifest: Manifest) -> Path:
    moment = datetime.fromtimestamp(manifest.ts, UTC).strftime("%Y%m%dT%H%M%SZ")
    backup = ops_dir / BACKUPS / f"{moment}-{manifest.shadow_policy}"
    try:
        backup.mkdir(parents=True)
        for name in edited:
            shutil.copy2(ops_dir / name, backup)
        # Last: a backup without it is one that was never completed.
        (backup / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    except OSError as error:
        raise ConfigError(f"{backup}: cannot be written ({error.strerror})") from error
    return backup


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        small_files.write(beside, text.encode(), small_files.WRITE_FLAGS)
        shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
