"""What operators leave under `run/`: the kill latch, their requests, and the executor's answers.

A request is a record of its own; a new kind is one more class here and one more name in `Command`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from execution.state_schema.envelope import Ts
from execution.state_schema.journals import Record

# How long a request may wait for an executor; afterwards the book is another one.
EXPIRES_S = 300.0

CommandId = Annotated[str, Meta(pattern="^[0-9a-z]{8,64}$")]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Said = Annotated[str, Meta(min_length=1, max_length=300)]
Outcome = Literal["accepted", "done", "refused"]


class KillFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`run/kill.json`: whether an operator stopped trading, who, when and why."""

    on: bool
    ts: Ts
    user: Said
    reason: Said


class Request(Record, frozen=True, kw_only=True):
    """What every request carries besides what it asks for."""

    id: CommandId
    user: Said
    reason: Said


class Flatten(Request, frozen=True, kw_only=True, tag="flatten"):
    """Close own positions reduce-only: those of `symbol`, or all of them."""

    symbol: Word | None


class Acknowledge(Request, frozen=True, kw_only=True, tag="acknowledge"):
    """A person has looked: at the order `client_id`, or at the state of the ledger."""

    client_id: Word | None


class ResetRisk(Request, frozen=True, kw_only=True, tag="risk_reset"):
    """Measure drawdown and day loss from the present NAV on; end cooldown and breakers."""


Command = Flatten | Acknowledge | ResetRisk


class CommandResult(Record, frozen=True, kw_only=True, tag="result"):
    """The executor's answer to the request `id`: begun, finished, or not carried out."""

    id: CommandId
    outcome: Outcome
    detail: str
