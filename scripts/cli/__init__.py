"""The `hedge` command: one verb per file, each loaded when it is asked for."""

from __future__ import annotations

import importlib
import sys

import click

from execution.errors import EXIT_CONFIG, EXIT_LOCKED, ConfigError, LockHeld
from scripts.cli.terminal import say

VERBS = {
    "contract": "Check the published files, or print their schema.",
    "flatten": "Ask the executor to close positions.",
    "kill": "Stop trading, with the executor alive or dead.",
    "replay": "Run recorded bars through the trading tick.",
    "risk": "Tell the executor what a person has looked at.",
    "shadow": "Look at the candidate policy, and put it in the live one's place.",
    "sync": "Mirror the book once, look at what would be mirrored, or pull the mirror.",
    "status": "Show the book, the processes, and what the next start would refuse.",
}


class Verbs(click.Group):
    """The verbs by name; a replay need not load what a status needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"scripts.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=Verbs)
def hedge() -> None:
    """Look at the suite, replay recorded markets, and check what is published."""


def main() -> None:
    """Run the command; what a person must mend is one line, with its exit code."""
    try:
        hedge(prog_name="hedge")
    except ConfigError as error:
        _refuse(error, EXIT_CONFIG)
    except LockHeld as error:
        _refuse(error, EXIT_LOCKED)


def _refuse(error: Exception, code: int) -> None:
    for line in f"hedge: {error}".split("\n"):
        say(line, err=True)
    sys.exit(code)
