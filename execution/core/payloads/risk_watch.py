"""When risk is worth a word, as `ops/services.toml` states it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class RiskWatch(Struct, frozen=True, forbid_unknown_fields=True):
    """When risk is worth a word."""

    veto_everything_s: Annotated[float, Meta(gt=0, le=604_800)]
