"""`hedge risk`: what only a person can settle."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from execution.clock import Clock, SystemClock
from execution.state_schema.operator_files import Acknowledge, Command, ResetRisk
from scripts.cli import asking
from scripts.cli.asking import folder_option, json_option, reason_option, wait_option


@click.group()
def risk() -> None:
    """Tell the executor what a person has looked at."""


@risk.command("acknowledge")
@click.option("--order", "client_id", help="The order in doubt, by its client id.")
@reason_option
@wait_option
@folder_option
@json_option
@click.pass_obj
def acknowledge(
    clock: Clock | None,
    client_id: str | None,
    reason: str,
    wait_s: float,
    log_dir: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say that you have looked at what nothing can prove.

    That is one order, or every unknown one and the positions that the ledger does not know. Exits 0
    when the executor accepted it, 1 when it refused, 3 when it did not answer in time: the request
    then stands for five minutes.
    """
    clock = clock or SystemClock()
    command = Acknowledge(**asking.sign(clock, reason), client_id=client_id)
    _ask(clock, command, wait_s, log_dir, as_json=as_json)


@risk.command("reset")
@reason_option
@wait_option
@folder_option
@json_option
@click.pass_obj
def reset(
    clock: Clock | None, reason: str, wait_s: float, log_dir: Path | None, *, as_json: bool
) -> None:
    """Measure drawdown and day loss from the present NAV on.

    Cooldown and breakers end with it. Refused while the NAV is not known, is stale, or is in doubt.
    The limits themselves stay. Exits as `acknowledge` does.
    """
    clock = clock or SystemClock()
    command = ResetRisk(**asking.sign(clock, reason))
    _ask(clock, command, wait_s, log_dir, as_json=as_json)


def _ask(
    clock: Clock, command: Command, wait_s: float, log_dir: Path | None, *, as_json: bool
) -> None:
    asked = asking.ask(asking.find_place(log_dir), clock, command, wait_s)
    if as_json:
        click.echo(msgspec.json.encode(asked))
    else:
        asking.tell(asked)
    asking.end(asked)
