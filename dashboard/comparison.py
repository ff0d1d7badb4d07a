"""What the compare summary may say beyond its minimum; absent is None."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from execution.state_schema.files import CompareSummary, Stats


class Agreement(Struct, frozen=True):
    """Pairs of one kind, and the share of them that agrees."""

    n: int
    agreement_pct: float | None


class Result(Struct, frozen=True):
    """What decisions of one kind came to at the horizon, net of fees."""

    n: int
    total_usd: float | None
    mean_usd: float | None


class Counterfactual(Struct, frozen=True):
    """What the policies' different orders came to; `difference_usd` is shadow minus live."""

    horizon_s: float
    pending: int
    unmeasured: int
    live_only: Result
    shadow_only: Result
    difference_usd: Stats


class Beyond(Struct, frozen=True):
    """The rest of one summary."""

    by_symbol: Mapping[str, Agreement] | None = None
    by_strategy: Mapping[str, Agreement] | None = None
    routes: Agreement | None = None
    live_alone: int | None = None
    shadow_alone: int | None = None
    new_breaches: int | None = None
    counterfactual: Counterfactual | None = None
    live_policy: str | None = None
    shadow_policy: str | None = None


def beyond(summary: CompareSummary) -> Beyond:
    """Read those of the summary's fields that its version has."""
    return msgspec.convert(summary, Beyond, from_attributes=True)
