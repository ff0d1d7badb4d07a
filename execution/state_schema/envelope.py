"""What every state file carries besides its content."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

# Before 2001 a time is a bug; beyond 2**53 an integer is not the same in every JSON reader.
Ts = Annotated[float, Meta(ge=1_000_000_000)]
Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]
Frac = Annotated[float, Meta(ge=0, le=1)]
Mode = Literal["paper", "testnet", "live"]


class V6Flags(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The six feature flags, by the names that the environment uses."""

    INTEL_V6_ENABLED: bool
    RISK_ENGINE_V6_ENABLED: bool
    PIPELINE_V6_SHADOW_ENABLED: bool
    ROUTER_AUTOTUNE_V6_ENABLED: bool
    FEEDBACK_ALLOCATOR_V6_ENABLED: bool
    ROUTER_AUTOTUNE_V6_APPLY_ENABLED: bool


class Envelope(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of every state file; `seq` and `written_ts` are set by the store alone."""

    engine_version: Text
    v6_flags: V6Flags
    schema_version: int = 1
    seq: Seq = 0
    written_ts: Ts = 0.0


class Header(Struct, frozen=True):
    """The part of a state file that is readable whatever its version."""

    schema_version: int
    seq: Seq
    engine_version: Text
    written_ts: Ts


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a state file."""
