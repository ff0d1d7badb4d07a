"""The numbers of the slow cadence, typed as `ops/intel.toml` states them.

A step or a bound is at most what the suite allows at all; the file can only be tighter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from execution.core.policy import Symbol, Universe

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Sample = Annotated[int, Meta(ge=1, le=10_000)]
Percent = Annotated[float, Meta(gt=0, le=100)]

LOOP_KB_MAX = 65_536
# The widest that a tuned offset may ever be, and the most that one step may move.
OffsetBps = Annotated[float, Meta(ge=0.5, le=8)]
OffsetStep = Annotated[float, Meta(gt=0, le=1)]
BiasStep = Annotated[float, Meta(gt=0, le=0.05)]


class Reading(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the journals is read in one loop, and how many closed trades are kept."""

    loop_kb: Annotated[int, Meta(ge=16, le=LOOP_KB_MAX)]
    trades_kept: Annotated[int, Meta(ge=100, le=100_000)]


class ExpectancyTerms(Struct, frozen=True, forbid_unknown_fields=True):
    """The window over closed trades, and how many of them are worth a number."""

    window_hours: Annotated[float, Meta(gt=0, le=8760)]
    min_trades: Sample


class ScoreTerms(Struct, frozen=True, forbid_unknown_fields=True):
    """What a score loses per bps of cost, and at most."""

    slippage_penalty_per_bps: Share
    fee_penalty_per_bps: Share
    penalty_max: Share


class AutotuneTerms(Struct, frozen=True, forbid_unknown_fields=True):
    """When a change of routing is proposed, and how far it goes."""

    every_s: Annotated[float, Meta(ge=900, le=1800)]
    lookback_days: Annotated[float, Meta(gt=0, le=90)]
    min_attempts: Sample
    fill_low_frac: Share
    fill_high_frac: Share
    missed_max_frac: Share
    offset_step_bps: OffsetStep
    offset_min_bps: OffsetBps
    offset_max_bps: OffsetBps
    bias_step: BiasStep
    bias_expectancy_bps: NonNegative
    poor_score: Share

    def __post_init__(self) -> None:
        _require_below(self, "fill_low_frac", "fill_high_frac")
        _require_below(self, "offset_min_bps", "offset_max_bps")


class ApplyTerms(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose routing may be changed, and on what evidence; nobody's where `symbols` is empty."""

    symbols: tuple[Symbol, ...]
    qualities: tuple[Literal["good", "ok", "degraded", "broken"], ...]
    maker_flip: bool
    allocator_max_age_s: Annotated[float, Meta(ge=60, le=86_400)]
    resume_within_s: Annotated[float, Meta(ge=0, le=86_400)]


class AllocatorTerms(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the risk mode changes, and what share of the configured caps each mode suggests."""

    every_s: Annotated[float, Meta(ge=1800, le=3600)]
    cautious_drawdown_pct: Percent
    defensive_drawdown_pct: Percent
    cautious_caps_frac: Share
    defensive_caps_frac: Share

    def __post_init__(self) -> None:
        _require_below(self, "cautious_drawdown_pct", "defensive_drawdown_pct")
        if self.defensive_caps_frac > self.cautious_caps_frac:
            raise ValueError(
                f"defensive_caps_frac {self.defensive_caps_frac:g} must not be above "
                f"cautious_caps_frac {self.cautious_caps_frac:g}"
            )


class Intel(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/intel.toml`."""

    reading: Reading
    expectancy: ExpectancyTerms
    scores: ScoreTerms
    autotune: AutotuneTerms
    apply: ApplyTerms
    allocator: AllocatorTerms


def contradictions(intel: Intel, universe: Universe) -> Iterator[str]:
    """Name what `intel.toml` says against the universe."""
    listed = {listing.symbol for listing in universe.listing}
    for symbol in intel.apply.symbols:
        if symbol not in listed:
            yield f"intel.toml: apply.symbols: {symbol} is not listed in universe.toml"


def _require_below(terms: Struct, low: str, high: str) -> None:
    least, most = getattr(terms, low), getattr(terms, high)
    if not least < most:
        raise ValueError(f"{low} {least:g} must be below {high} {most:g}")
