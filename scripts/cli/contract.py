"""`hedge contract`: compare the files under the log folder with the telemetry contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct
from rich.table import Table

from execution import settings
from execution.clock import Clock, SystemClock
from execution.jsonl_log import tail
from execution.state_schema import export
from execution.state_schema.registry import JOURNALS, STATE_FILES, Journal, StateFile
from execution.state_store import StateStore, Unreadable
from scripts.cli.terminal import Terminal

JOURNAL_LINES = 200
TWIN_TRIES = 20
TABLE_WIDTH = 140


class FileFinding(Struct, frozen=True):
    """One state file: `problem` says what is against the contract; old content is `stale`."""

    path: str
    problem: str | None
    stale: bool
    age_s: float | None
    max_age_s: float
    seq: int | None


class JournalFinding(Struct, frozen=True):
    """The newest lines of one journal; one that was never written has none.

    `torn` lines were cut off by a kill and are no fault; `wrong` ones are not of the agreed shape.
    """

    path: str
    records: int
    torn: int
    wrong: tuple[str, ...]


class Findings(Struct, frozen=True):
    """Everything looked at, and the one answer."""

    ok: bool
    log_dir: str
    files: tuple[FileFinding, ...]
    journals: tuple[JournalFinding, ...]


@click.group()
def contract() -> None:
    """Check the telemetry contract, or print it."""


@contract.command("check")
@click.option("--log-dir", type=click.Path(path_type=Path), help="Folder to look into.")
@click.option("--fresh", is_flag=True, help="Old content fails too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(log_dir: Path | None, fresh: bool, as_json: bool) -> None:
    """Read every state file and journal; exit 1 where one is missing or not as agreed."""
    folder = log_dir or settings.log_dir()
    findings = inspect(folder, SystemClock(), fresh=fresh)
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        _show(findings)
    if not findings.ok:
        raise SystemExit(1)


@contract.command("export")
@click.option("--json", "as_json", is_flag=True, help="Print it in one line.")
def export_schema(as_json: bool) -> None:
    """Print the JSON Schema of every state file and journal."""
    text = msgspec.json.encode(export.document())
    click.echo(text if as_json else msgspec.json.format(text, indent=2))


def inspect(log_dir: Path, clock: Clock, *, fresh: bool) -> Findings:
    """Look at every file of the contract under `log_dir`."""
    store = StateStore(log_dir, clock)
    files = tuple(found for file in STATE_FILES for found in _files(store, file, clock.now()))
    journals = tuple(_journal(log_dir, journal) for journal in JOURNALS)
    bad = any(each.problem is not None or (fresh and each.stale) for each in files)
    return Findings(
        ok=not bad and not any(each.wrong for each in journals),
        log_dir=str(log_dir),
        files=files,
        journals=journals,
    )


def _files(store: StateStore, file: StateFile[Any], now: float) -> Iterator[FileFinding]:
    found = store.inspect(file)
    if isinstance(found, Unreadable):
        yield FileFinding(
            file.path, f"{found.kind}: {found.detail}", False, None, file.max_age_s, None
        )
    else:
        age_s = now - file.computed_ts(found)
        yield FileFinding(file.path, None, age_s > file.max_age_s, age_s, file.max_age_s, found.seq)
    if file.twin is not None:
        problem = _twin_problem(store, file.path, file.twin)
        yield FileFinding(file.twin, problem, False, None, file.max_age_s, None)


def _twin_problem(store: StateStore, path: str, twin: str) -> str | None:
    """Compare two files that are renamed one after the other: look until no rename is between."""
    for _ in range(TWIN_TRIES):
        first, second, again = (store.read_bytes(each) for each in (path, twin, path))
        if isinstance(second, Unreadable):
            return f"{second.kind}: {second.detail}"
        if first == second:
            return None
        if first == again:
            break
    return f"differs from {path}"


def _journal(log_dir: Path, journal: Journal[Any]) -> JournalFinding:
    wrong: list[str] = []

    def decode(line: bytes) -> Any:  # noqa: ANN401  whatever record this journal holds
        try:
            return journal.decoder.decode(line)
        except msgspec.ValidationError as error:
            msgspec.json.decode(line)  # raises for a torn line, which is no record at all
            wrong.append(str(error))
            raise

    try:
        batch = tail(log_dir / journal.path, JOURNAL_LINES, decode)
    except OSError as error:
        return JournalFinding(journal.path, 0, 0, (f"cannot be read: {error.strerror}",))
    torn = batch.broken - len(wrong)
    return JournalFinding(journal.path, len(batch.records), torn, tuple(wrong))


def _show(findings: Findings) -> None:
    console = Terminal(piped_width=TABLE_WIDTH)
    table = Table(title=f"Contract of {findings.log_dir}")
    for name in ("file", "state", "age s", "limit s"):
        table.add_column(name, overflow="fold")
    for each in findings.files:
        state = each.problem or ("stale" if each.stale else "ok")
        age = "" if each.age_s is None else f"{each.age_s:.1f}"
        table.add_row(each.path, state, age, f"{each.max_age_s:.0f}")
    for line in findings.journals:
        state = f"{line.records} records read" + (f", {line.torn} torn" if line.torn else "")
        if line.wrong:
            state += f", {len(line.wrong)} wrong: {line.wrong[0]}"
        table.add_row(line.path, state, "", "")
    console.print(table)
    console.print("contract holds" if findings.ok else "contract does not hold")
