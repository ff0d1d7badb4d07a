"""May the candidate take the live policy's place? The gates, over what the comparison measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from execution.state_schema.files import CompareSummary

RESAMPLES = 1_000

Draw = Callable[[Sequence[float], int], list[float]]


class Promotion(Struct, frozen=True, forbid_unknown_fields=True):
    """What a shadow policy must show before it may take the live one's place."""

    min_pairs: Annotated[int, Meta(ge=200, le=1_000_000)]
    min_agreement_pct: Annotated[float, Meta(ge=0, le=100)]
    min_results: Annotated[int, Meta(ge=2, le=2_000)]
    confidence_pct: Annotated[float, Meta(ge=50, lt=100)]
    min_difference_usd: float
    max_new_breaches: Annotated[int, Meta(ge=0)]


class Interval(Struct, frozen=True):
    """Where the mean of a sample lies, with a confidence; USD a decision."""

    n: int
    low_usd: float
    high_usd: float


class Gate(Struct, frozen=True):
    """One demand, and whether it is met; `passed` is None while nothing can be said."""

    name: str
    passed: bool | None
    wanted: str
    found: str


def interval(sample: Sequence[float], confidence_pct: float, draw: Draw) -> Interval | None:
    """Return the bootstrap interval of the sample's mean, None of fewer than two numbers.

    `draw` takes that many numbers of the sample, with replacement.
    """
    n = len(sample)
    if n < 2:  # noqa: PLR2004 - one number has no spread
        return None
    means = sorted(sum(draw(sample, n)) / n for _ in range(RESAMPLES))
    beyond = int(len(means) * (100 - confidence_pct) / 200)
    return Interval(n, means[beyond], means[-1 - beyond])


def gates(summary: CompareSummary, terms: Promotion, mean: Interval | None) -> tuple[Gate, ...]:
    """Judge each demand by the summary and the interval of the newest results."""
    agreement_pct, results = summary.agreement_pct, summary.counterfactual.difference_usd
    return (
        Gate(
            "pairs",
            summary.sample_size >= max(terms.min_pairs, summary.min_sample_size),
            f"at least {max(terms.min_pairs, summary.min_sample_size)}",
            str(summary.sample_size),
        ),
        Gate(
            "agreement",
            None if agreement_pct is None else agreement_pct >= terms.min_agreement_pct,
            f"at least {terms.min_agreement_pct:g} %",
            "not measured" if agreement_pct is None else f"{agreement_pct:.1f} %",
        ),
        Gate(
            "results",
            results.n >= terms.min_results,
            f"at least {terms.min_results}",
            str(results.n),
        ),
        Gate(
            "difference",
            None if mean is None else mean.low_usd >= terms.min_difference_usd,
            f"mean above {terms.min_difference_usd:g} USD with {terms.confidence_pct:g} %",
            "not measured" if mean is None else _say(mean),
        ),
        Gate(
            "new breaches",
            summary.new_breaches <= terms.max_new_breaches,
            f"at most {terms.max_new_breaches}",
            str(summary.new_breaches),
        ),
    )


def _say(mean: Interval) -> str:
    return f"{mean.low_usd:+.4f} to {mean.high_usd:+.4f} USD (n {mean.n})"
