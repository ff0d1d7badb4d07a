"""`hedge sync`: one cycle of the mirror by hand, a look at what it would write, or a pulled copy."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from execution import settings as settings_door
from execution import sync_state
from execution.clock import SystemClock
from execution.core.mirror.differences import differences
from execution.core.mirror.documents import Document
from execution.core.mirror.values import size_bytes
from execution.errors import SyncError
from execution.mirror_writer import Preview
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_store import StateStore
from execution.sync_state import Sync
from scripts.cli import mirrored
from scripts.cli.terminal import say

VALUES_SHOWN = 12


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="Do one cycle, as the service does it all the time.")
@click.option(
    "--dry-run", is_flag=True, help="With --once: print what it would write, and write nothing."
)
@click.pass_context
def sync(ctx: click.Context, *, once: bool, dry_run: bool) -> None:
    """Mirror the book to Firestore once, or pull a mirrored book.

    What may be sent is decided as for the service: see "Publishing" in ops/RUNBOOK.md.
    """
    if ctx.invoked_subcommand is not None:
        if once or dry_run:
            raise click.UsageError("--once and --dry-run are for `hedge sync` alone")
        return
    if not once:
        raise click.UsageError("say --once, --once --dry-run, or pull; for ever is the service's")
    settings = settings_door.load()
    settings_door.refuse_mirror(settings.log_dir)
    settings_door.prepare_log_dir(settings)
    ok = _preview(settings) if dry_run else _cycle(settings)
    if not ok:
        raise SystemExit(1)


def _cycle(settings: Settings) -> bool:
    """Run the service for one cycle, under its lock; tell how it went."""
    clock = SystemClock()
    sync_state.run(replace(settings, max_loops=1), clock, threading.Event())
    health = StateStore(settings.log_dir, clock).read(registry.SYNC_HEALTH)
    if health is None:
        say("state/sync_health.json was not written")
        return False
    if not health.enabled:
        say(f"the mirror is off: {health.disabled_reason}")
        return False
    say(f"{health.target}: {health.writes} written, {health.skipped_unchanged} unchanged")
    if health.last_error is not None:
        say(health.last_error)
    return health.failures == 0 and health.last_error is None


# ---------------------------------------------------------------- the dry run


def _preview(settings: Settings) -> bool:
    """Print each document that a cycle would write, as a difference from what is there."""
    clock = SystemClock()
    service = Sync(settings, clock)
    found = service.look(clock.now())
    documents = service.documents(found, {})
    publishing = service.mirror.standing()
    if not publishing.allowed:
        say(f"the mirror is off, what is there was not looked at: {publishing.reason}")
        for document in documents:
            say(f"{document.name}: {size_bytes(document.fields)} bytes")
        return True
    try:
        seen = service.mirror.preview(documents)
    except SyncError as error:
        say(f"{service.mirror.target}: {error}")
        return False
    finally:
        service.mirror.close()
    say(str(service.mirror.target))
    writes = {write.name: write.document for write in seen.plan.writes}
    for document in documents:
        _tell(writes.get(document.name), document, seen)
    return True


def _tell(write: Document | None, document: Document, seen: Preview) -> None:
    name = document.name
    if write is None:
        say(f"{name}: {seen.plan.withheld.get(name, 'unchanged')}")
        return
    there = seen.there.get(name)
    size = size_bytes(write.fields)
    if there is None:
        say(f"{name}: new, {size} bytes")
        return
    found = differences(there, write.fields, write.moving)
    say(f"{name}: {len(found)} values differ, {size} bytes")
    for each in found[:VALUES_SHOWN]:
        say(f"    {each.path}: {_text(each.was)} -> {_text(each.now)}")
    if len(found) > VALUES_SHOWN:
        say(f"    and {len(found) - VALUES_SHOWN} more")


def _text(value: Any) -> str:  # noqa: ANN401  any JSON value
    return msgspec.json.encode(value).decode()


# ---------------------------------------------------------------- the pulled copy


@sync.command("pull")
@click.option("--into", required=True, type=click.Path(path_type=Path), help="Folder of the copy.")
@click.option("--days", default=2, show_default=True, type=click.IntRange(1, 366), help="Of NAV.")
def pull(into: Path, days: int) -> None:
    """Write the mirrored book into a folder of its own, in the form of a log folder.

    Set HEDGE_LOG_DIR to it for the page, `hedge status` and `hedge contract check`. It is a copy and
    says so, with its age; pull again to renew it. Reading needs no publish guard.
    """
    settings = settings_door.load()
    pulled = mirrored.pull(settings, into.resolve(), days, SystemClock())
    for problem in pulled.problems:
        say(problem, err=True)
    say(f"{into}: {pulled.files} files, {pulled.points} NAV points from {pulled.source}")
    if pulled.problems:
        raise SystemExit(1)
