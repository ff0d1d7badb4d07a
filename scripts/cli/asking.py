"""How a command speaks to the executor: it appends a request, and waits for the answer."""

from __future__ import annotations

import contextlib
import math
import os
import pwd
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import click
import msgspec
from msgspec import Struct

from execution import settings as settings_door
from execution.clock import Clock
from execution.errors import ConfigError
from execution.jsonl_log import JsonlLogger, newest
from execution.log_lines import one_line
from execution.service_loop import JournalLimits, run_id
from execution.state_schema.journals import OperatorAct, Record
from execution.state_schema.operator_files import EXPIRES_S, Command, CommandResult, Outcome
from execution.state_schema.registry import (
    AUDIT,
    COMMAND_RESULTS,
    COMMANDS,
    EXECUTOR_HEALTH,
    Journal,
)
from execution.state_store import StateStore, Unreadable
from scripts.cli.terminal import say

EXIT_REFUSED = 1
EXIT_UNANSWERED = 3

WAIT_S = 15.0
POLL_S = 0.2
ANSWERS_READ = 200
RUN_MODE = 0o700
NEVER = threading.Event()
# Without settings nobody knows when a journal is full: a line is added, and the executor rotates.
UNROTATED = JournalLimits(max_bytes=1 << 62, backups=1_000, max_age_s=1e12)


# ---------------------------------------------------------------- what every such command is told


def _reason(_context: click.Context, _option: click.Parameter, text: str) -> str:
    reason = one_line(text.strip())
    if not reason:
        raise click.BadParameter("say why, in words: it goes into the audit")
    return reason


def _bounded(_context: click.Context, _option: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds):  # which no range keeps out
        raise click.BadParameter("nan is no number of seconds")
    return seconds


reason_option = click.option(
    "--reason", required=True, callback=_reason, help="Why, for the audit."
)
folder_option = click.option(
    "--log-dir", type=click.Path(path_type=Path), help="Log folder; read no settings."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, EXPIRES_S),
    default=WAIT_S,
    callback=_bounded,
    show_default=True,
    help="Seconds to wait for the executor's answer.",
)


class Place(Struct, frozen=True):
    """The log folder that a command works in, and how its journals are kept."""

    log_dir: Path
    limits: JournalLimits


def find_place(log_dir: Path | None) -> Place:
    """Take the folder that was named, or the suite's own; ConfigError where there is none.

    No other setting is read: a wrong one must not stand between an operator and the latch.
    """
    try:
        folder = log_dir or settings_door.log_dir()
    except ConfigError as error:  # an .env that cannot be read names no folder
        raise ConfigError(f"{error}; nothing was done: --log-dir needs no .env") from error
    place = Place(folder.resolve(), UNROTATED)
    settings_door.refuse_mirror(place.log_dir)  # nobody who trades would hear what is asked there
    try:
        # Only in a folder that is there: in a mistyped one nobody would ever read what was asked.
        (place.log_dir / "run").mkdir(mode=RUN_MODE, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"log folder {place.log_dir}: {error.strerror}: nothing was done; name the suite's own "
            "with --log-dir"
        ) from error
    return place


def user() -> str:
    """Name who types this, as the machine knows and no variable can say otherwise."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


# ---------------------------------------------------------------- writing


class Signed(TypedDict):
    """What every request carries besides what it asks for."""

    id: str
    ts: float
    run_id: str
    user: str
    reason: str


def sign(clock: Clock, reason: str) -> Signed:
    """Begin a request of now, under an id of its own."""
    now = clock.now()
    return Signed(id=secrets.token_hex(8), ts=now, run_id=run_id(now), user=user(), reason=reason)


def append(place: Place, clock: Clock, journal: Journal[Any], record: Record) -> str | None:
    """Add one line; return why it is not there where it is not."""
    logger = JsonlLogger(place.log_dir / journal.path, clock, **place.limits)
    lost = logger.write(record)
    logger.close()
    return None if lost is None else f"{journal.path}: {lost.reason}"


def audit(
    place: Place, clock: Clock, act: str, reason: str, command_id: str | None, outcome: str
) -> None:
    """Add an operator's act to the audit; one that does not get there is said, and stops nothing."""
    now = clock.now()
    record = OperatorAct(
        ts=now,
        run_id=run_id(now),
        act=act,
        user=user(),
        reason=reason,
        command_id=command_id,
        outcome=outcome,
    )
    problem = append(place, clock, AUDIT, record)
    if problem is not None:
        say(f"not in the audit: {problem}", err=True)


# ---------------------------------------------------------------- asking and waiting


class Heard(Struct, frozen=True):
    """When the executor last told of itself, and whether it then saw the kill latch.

    `alive` is no more than that: it was heard within the maximum age of its health file.
    """

    age_s: float | None
    alive: bool
    kill_latch: bool | None

    def __str__(self) -> str:
        if self.age_s is None:
            return "the executor cannot be heard in this log folder"
        verdict = "" if self.alive else ": it is dead or hung"
        return f"the executor was last heard {self.age_s:.0f} s ago{verdict}"


class Asking(Struct, frozen=True):
    """A request, and what became of it while the command waited; null is no answer."""

    command: Command
    outcome: Outcome | None
    detail: str
    executor: Heard
    expires_ts: float


def listen(place: Place, clock: Clock) -> Heard:
    """Read when the executor last told of itself."""
    health = StateStore(place.log_dir, clock).inspect(EXECUTOR_HEALTH)
    if isinstance(health, Unreadable):
        return Heard(None, alive=False, kill_latch=None)
    age_s = clock.now() - health.updated_ts
    return Heard(age_s, alive=abs(age_s) <= EXECUTOR_HEALTH.max_age_s, kill_latch=health.kill_latch)


def ask(place: Place, clock: Clock, command: Command, wait_s: float) -> Asking:
    """Write a request down and wait for its last answer; an interrupted wait takes nothing back."""
    try:
        COMMANDS.decoder.decode(msgspec.json.encode(command))
    except (msgspec.MsgspecError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    problem = append(place, clock, COMMANDS, command)
    if problem is not None:
        raise click.ClickException(f"nothing was asked: {problem}")
    act = str(command.__struct_config__.tag)
    audit(place, clock, act, command.reason, command.id, "asked")
    answer = _await(place, clock, command.id, wait_s)
    return Asking(
        command=command,
        outcome=None if answer is None else answer.outcome,
        detail="" if answer is None else answer.detail,
        executor=listen(place, clock),
        expires_ts=command.ts + EXPIRES_S,
    )


def _await(place: Place, clock: Clock, command_id: str, wait_s: float) -> CommandResult | None:
    until_s = clock.monotonic() + wait_s
    answer = None
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            answer = _newest(place, command_id)
            left_s = until_s - clock.monotonic()
            if left_s <= 0 or (answer is not None and answer.outcome != "accepted"):
                break
            clock.wait(min(POLL_S, left_s), NEVER)
    return answer


def _newest(place: Place, command_id: str) -> CommandResult | None:
    answers: list[CommandResult] = []
    with contextlib.suppress(OSError):  # no answer is what it comes to; the executor logs the rest
        results = newest(place.log_dir, COMMAND_RESULTS, ANSWERS_READ)
        answers = [answer for answer in results if answer.id == command_id]
    return answers[-1] if answers else None


def tell(asked: Asking) -> None:
    """Say in words what became of a request."""
    said = f": {asked.detail}" if asked.detail else ""
    if asked.outcome is None:
        until = datetime.fromtimestamp(asked.expires_ts, UTC).strftime("%H:%M:%S UTC")
        say(f"no answer: {asked.executor}")
        say(
            f"the request {asked.command.id} stands: carried out until {until}, then expired; "
            "look with `supervisorctl status` whether the executor runs"
        )
    elif asked.outcome == "accepted":
        say(f"accepted{said}; begun and not finished yet: `hedge status` shows the book")
    else:
        say(f"{asked.outcome}{said}")


def end(asked: Asking) -> None:
    """End the command: 0 accepted or done, 1 refused, 3 no answer."""
    if asked.outcome is None:
        raise SystemExit(EXIT_UNANSWERED)
    if asked.outcome == "refused":
        raise SystemExit(EXIT_REFUSED)
