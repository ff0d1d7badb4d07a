"""What the mirror leaves under `run/`: how much may still be sent, and the mark of a pulled copy."""

from __future__ import annotations

from msgspec import Struct

from execution.state_schema.envelope import Envelope, Text, Ts
from execution.state_schema.registry import Process, StateFile

MIRROR = "run/mirror.json"


class Mirror(Struct, frozen=True):
    """`run/mirror.json`: this log folder is a copy, pulled from `source` at `pulled_ts`."""

    source: str
    pulled_ts: Ts


class Allowance(Envelope, frozen=True, kw_only=True):
    """`run/mirror_<service>.json`: what the service may still spend, and its name in the mirror."""

    moved_ts: Ts
    left: float
    writer: Text


def allowance_of(process: Process) -> StateFile[Allowance]:
    """Return the file of one service; it is no telemetry, and nobody else reads it."""
    return StateFile(
        name=f"mirror_{process}",
        path=f"run/mirror_{process}.json",
        struct=Allowance,
        time_field="moved_ts",
        max_age_s=float("inf"),
        owners=(process,),
    )
