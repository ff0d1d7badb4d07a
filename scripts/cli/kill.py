"""`hedge kill`: stop trading, whether or not the executor lives."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from execution import kill_latch
from execution.clock import Clock, SystemClock
from execution.kill_latch import KILL_FILE, Doubtful
from execution.state_schema.operator_files import KillFile
from scripts.cli import asking, open_legs
from scripts.cli.asking import Heard, Place, folder_option, json_option, reason_option
from scripts.cli.open_legs import OpenLegs
from scripts.cli.terminal import Terminal, say

EXIT_NOT_DONE = 1
EXIT_OFF = 1


class Latch(Struct, frozen=True):
    """The latch as it stands; `problem` where it is on because it cannot be read."""

    on: bool
    path: str
    reason: str | None
    user: str | None
    ts: float | None
    problem: str | None
    executor: Heard
    positions: OpenLegs


@click.group()
def kill() -> None:
    """Stop trading at once, take it up again, or ask how it stands.

    While the latch is on no order is sent, own entries are canceled, and protective stops rest on.
    It is a file: it works with the executor dead or hung, and outlives restarts. A latch that
    cannot be read is on.
    """


@kill.command("on")
@reason_option
@folder_option
@json_option
@click.pass_obj
def turn_on(clock: Clock | None, reason: str, log_dir: Path | None, *, as_json: bool) -> None:
    """Stop trading, and show the positions that stay open.

    Those without a stop are named. Exits 0 when the latch is on, 1 when it could not be set.
    """
    clock = clock or SystemClock()
    place = asking.find_place(log_dir)
    try:
        kill_latch.write(place.log_dir, _file(clock, reason, on=True))
    except OSError as error:
        say(f"{KILL_FILE} not written: {error.strerror or error}", err=True)
        with contextlib.suppress(OSError):  # read back below
            kill_latch.write_empty(place.log_dir)
    latch = _read(place, clock)
    asking.audit(place, clock, "kill_on", reason, None, "on" if latch.on else "not set")
    _show(latch, as_json=as_json)
    if not latch.on:
        click.echo("NOT STOPPED: type `supervisorctl stop hedge:hedge-executor`", err=True)
        raise SystemExit(EXIT_NOT_DONE)


@kill.command("off")
@reason_option
@folder_option
@json_option
@click.pass_obj
def turn_off(clock: Clock | None, reason: str, log_dir: Path | None, *, as_json: bool) -> None:
    """Let trading go on at the executor's next loop.

    Exits 0 when the latch is off, 1 when it could not be taken off.
    """
    clock = clock or SystemClock()
    place = asking.find_place(log_dir)
    try:
        kill_latch.write(place.log_dir, _file(clock, reason, on=False))
    except OSError as error:
        say(f"{KILL_FILE} not written: {error.strerror or error}", err=True)
    latch = _read(place, clock)
    asking.audit(place, clock, "kill_off", reason, None, "still on" if latch.on else "off")
    _show(latch, as_json=as_json)
    if latch.on:
        raise SystemExit(EXIT_NOT_DONE)


@kill.command("status")
@folder_option
@json_option
@click.pass_obj
def status(clock: Clock | None, log_dir: Path | None, *, as_json: bool) -> None:
    """Show the latch. Exits 0 when it is on, 1 when it is off."""
    clock = clock or SystemClock()
    latch = _read(asking.find_place(log_dir), clock)
    _show(latch, as_json=as_json)
    if not latch.on:
        raise SystemExit(EXIT_OFF)


def _file(clock: Clock, reason: str, *, on: bool) -> KillFile:
    return KillFile(on=on, ts=clock.now(), user=asking.user(), reason=reason)


def _read(place: Place, clock: Clock) -> Latch:
    found = kill_latch.read(place.log_dir)
    seen = kill_latch.as_seen(found)
    return Latch(
        on=seen is not None and seen.on,
        path=str(place.log_dir / KILL_FILE),
        reason=found.reason if isinstance(found, KillFile) else None,
        user=found.user if isinstance(found, KillFile) else None,
        ts=found.ts if isinstance(found, KillFile) else None,
        problem=found.problem if isinstance(found, Doubtful) else None,
        executor=asking.listen(place, clock),
        positions=open_legs.read(place, clock),
    )


def _show(latch: Latch, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(latch))
        return
    console = Terminal(soft_wrap=True)
    why = "" if latch.user is None else f": {latch.reason} ({latch.user})"
    if latch.problem is not None:
        why = f": the file cannot be read ({latch.problem})"
    console.print(f"kill latch {'ON' if latch.on else 'OFF'}{why}")
    console.print(f"  {latch.path}")
    taken = ""
    if latch.executor.alive and latch.executor.kill_latch != latch.on:
        taken = ": it takes this up at its next loop"
    console.print(f"{latch.executor}{taken}")
    if not latch.on:
        return
    open_legs.show(console, latch.positions)
    left = latch.positions.unprotected
    if left:
        names = ", ".join(f"{leg.symbol} {leg.position_side}" for leg in left)
        console.print(f"WITHOUT PROTECTION while the latch is on: {names}")
