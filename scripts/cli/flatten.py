"""`hedge flatten`: ask the executor to close positions."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from execution.clock import Clock, SystemClock
from execution.state_schema.operator_files import Flatten
from scripts.cli import asking, open_legs
from scripts.cli.asking import (
    EXIT_REFUSED,
    Asking,
    folder_option,
    json_option,
    reason_option,
    wait_option,
)
from scripts.cli.open_legs import OpenLegs
from scripts.cli.terminal import Terminal


class Flattening(Asking, frozen=True):
    """The request with the positions it was made for."""

    positions: OpenLegs


@click.command()
@click.option("--symbol", help="Close the positions of this symbol only.")
@reason_option
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal.")
@wait_option
@folder_option
@json_option
@click.pass_obj
def flatten(
    clock: Clock | None,
    symbol: str | None,
    reason: str,
    wait_s: float,
    log_dir: Path | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Close own positions with reduce-only orders, also while the kill latch is on.

    The executor carries it out. Exits 0 when it accepted or has done it, 1 when it or you refused,
    3 when it did not answer in time: the request then stands for five minutes.
    """
    clock = clock or SystemClock()
    place = asking.find_place(log_dir)
    symbol = symbol and symbol.upper()
    legs = open_legs.read(place, clock, symbol)
    if not as_json or not yes:
        open_legs.show(Terminal(stderr=as_json, soft_wrap=True), legs)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this is no terminal to ask at: add --yes")
        if not click.confirm(f"Close {_what(legs, symbol)}?", err=True):
            click.echo("nothing was asked", err=True)
            raise SystemExit(EXIT_REFUSED)
    command = Flatten(**asking.sign(clock, reason), symbol=symbol)
    asked = asking.ask(place, clock, command, wait_s)
    if as_json:
        told = Flattening(**msgspec.structs.asdict(asked), positions=legs)
        click.echo(msgspec.json.encode(told))
    else:
        asking.tell(asked)
    asking.end(asked)


def _what(legs: OpenLegs, symbol: str | None) -> str:
    whose = "" if symbol is None else f" of {symbol}"
    if legs.age_s is None or not legs.legs:
        return f"every position{whose} that the executor finds"
    count = len(legs.legs)
    return f"{count} position{'s' * (count != 1)}{whose}"
