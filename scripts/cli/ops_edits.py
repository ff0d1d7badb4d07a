"""Moves the candidate's keys into the live toml files, with a way back.

Comments and order of the files stay. Everything is tried in a copy first; then a backup is complete
before the first live file is replaced, so that a rollback is possible whatever happens in between.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
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
        _replace(ops_dir / name, text, backup / name)
    return backup


def roll_back(ops_dir: Path, *, force: bool) -> tuple[Path, Manifest]:
    """Put back what the newest promotion replaced; ConfigError where a file is not as it left it."""
    backups = sorted(path for path in (ops_dir / BACKUPS).glob("*") if (path / MANIFEST).is_file())
    if not backups:
        raise ConfigError(f"{ops_dir / BACKUPS}: there is no promotion to roll back")
    backup = backups[-1]
    manifest = _read_manifest(backup / MANIFEST)
    before = {name: _read(backup / name) for name in manifest.left}
    if not force:
        for name, left in manifest.left.items():
            _refuse_edits(ops_dir / name, left, before[name], backup)
    for name, text in before.items():
        _replace(ops_dir / name, text, backup / name)
    rolled = backup.with_name(f"{backup.name}-rolled-back")
    (backup / MANIFEST).rename(backup / f"rolled-back-{MANIFEST}")
    backup.rename(rolled)
    return rolled, manifest


def _refuse_edits(path: Path, left: str, before: str, backup: Path) -> None:
    """Raise ConfigError where a file is neither as the promotion left it nor as it was before."""
    text = _read(path) if path.exists() else None
    if text is None or (_sum(text) != left and text != before):
        raise ConfigError(
            f"{path}: was {'removed' if text is None else 'edited'} since the promotion: what it was"
            f" is in {backup}; put it back by hand, or give --force to have every file as it was"
        )


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
        small_files.sync_folder(backup.parent)
        for name in edited:
            live = ops_dir / name
            small_files.replace(backup / name, live.read_bytes(), _mode(live))
        # Last: a backup without it is one that was never completed.
        small_files.replace(backup / MANIFEST, msgspec.json.encode(manifest))
    except OSError as error:
        raise ConfigError(f"{backup}: cannot be written ({error.strerror})") from error
    return backup


def _replace(path: Path, text: str, like: Path) -> None:
    """Replace a live file, with the mode that its backup has."""
    try:
        small_files.replace(path, text.encode(), _mode(like))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _read(path: Path) -> str:
    try:
        return small_files.read(path, toml_files.MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode(_read(path), type=Manifest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError(f"{path}: is damaged: {error}: put its files back by hand") from error
    for name in manifest.left:
        if name not in FILES:
            raise ConfigError(f"{path}: {name!r} is no file that a promotion replaces")
    return manifest


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
