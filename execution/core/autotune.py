"""What a symbol's routing should become, one bounded step at a time, and why.

The evidence is of the present policy alone: after a step its sample begins anew, so that the next
step answers what this one did. An attempt counts whether or not it filled: an offset so wide that
nothing fills is evidence too.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from execution.core.intel_terms import AutotuneTerms
from execution.core.records import RoutePolicy
from execution.state_schema.intel_files import (
    ExpectancyRow,
    RouterHealthRow,
    RouterSuggestionRow,
    ScoreRow,
)

FAR = 0.8  # of the lowest share: what fills less than that takes a whole step
DIGITS = 6  # of a bps or a share, so that steps do not gather the dust of floats


class Evidence(Struct, frozen=True):
    """What is known of one symbol; `routed` is of the routes under the present policy alone.

    `earned` and `scored` are None where they are not measured, or not enough.
    """

    routed: RouterHealthRow
    earned: ExpectancyRow | None
    scored: ScoreRow | None


def suggest(
    evidence: Evidence, current: RoutePolicy, terms: AutotuneTerms
) -> RouterSuggestionRow | None:
    """Propose the next step; None below the minimum sample, and where nothing should change."""
    routed = evidence.routed
    # Without a quote no quality is known, and without a quote it never would be.
    unjudged = routed.policy.quality == "unknown" and routed.maker_fill_rate is not None
    if routed.n < terms.min_attempts or unjudged:
        return None
    offset_bps, why_offset = _offset(evidence, current, terms)
    bias_votes = tuple(_bias_votes(evidence, current, offset_bps, terms))
    lean = sum(vote for vote, _ in bias_votes)
    step = terms.bias_step if lean > 0 else -terms.bias_step if lean < 0 else 0.0
    proposed = RoutePolicy(
        # Crossing for ever is never proposed: a symbol that does not quote is asked to try again.
        maker_first=True,
        taker_bias=_bias(current.taker_bias, step, terms),
        offset_bps=offset_bps,
    )
    if proposed == current:
        return None
    flip = () if current.maker_first else ("quotes were not tried: try them again",)
    moved = proposed.taker_bias != current.taker_bias
    why_bias = tuple(why for vote, why in bias_votes if moved and vote * step > 0)
    return RouterSuggestionRow(
        symbol=routed.symbol,
        regime=routed.regime,
        quality=routed.policy.quality,
        metrics=_metrics(evidence),
        current_policy=current,
        proposed_policy=proposed,
        rationale=(*flip, *why_offset, *why_bias),
    )


def _offset(
    evidence: Evidence, current: RoutePolicy, terms: AutotuneTerms
) -> tuple[float, tuple[str, ...]]:
    """Narrow what does not fill, widen what always does."""
    filled, now_bps = evidence.routed.maker_fill_rate, current.offset_bps
    if not current.maker_first or filled is None:
        return now_bps, ()
    lack = _lack(evidence.routed, terms)
    if lack is not None:
        share = 1.0 if filled < FAR * terms.fill_low_frac else 0.5
        floor_bps = min(now_bps, terms.offset_min_bps)
        narrowed = max(floor_bps, round(now_bps - share * terms.offset_step_bps, DIGITS))
        return narrowed, (f"{lack} at {now_bps:g} bps: narrower",) * (narrowed < now_bps)
    if filled > terms.fill_high_frac and evidence.routed.policy.quality in ("good", "ok"):
        share = 1.0 if evidence.routed.regime == "wild" else 0.5
        widened = round(now_bps + share * terms.offset_step_bps, DIGITS)
        widened = max(widened, terms.offset_min_bps)
        if widened <= min(terms.offset_max_bps, now_bps + terms.offset_step_bps):
            why = f"quotes filled {filled:.2f} of {evidence.routed.n} attempts at {now_bps:g} bps"
            return widened, (f"{why}, above {terms.fill_high_frac:g}: wider",)
    return now_bps, ()


def _lack(routed: RouterHealthRow, terms: AutotuneTerms) -> str | None:
    """Say what quotes lack: fills of their own, or any at all; None where they do well enough."""
    filled, missed = routed.maker_fill_rate, routed.unfilled_rate
    if filled is not None and filled < terms.fill_low_frac:
        said = f"quotes filled {filled:.2f} of {routed.n} attempts"
        return f"{said}, below {terms.fill_low_frac:g},"
    if missed is not None and missed > terms.missed_max_frac:
        return f"nobody filled {missed:.2f} of {routed.n} attempts"
    return None


def _bias(now: float, step: float, terms: AutotuneTerms) -> float:
    """Move the bias within 0..1; it never rises so far that nothing is quoted any more."""
    if step > 0:
        return max(now, min(round(now + step, DIGITS), 1 - terms.bias_step))
    return now if step == 0 else max(0.0, round(now + step, DIGITS))


def _bias_votes(
    evidence: Evidence, current: RoutePolicy, offset_bps: float, terms: AutotuneTerms
) -> Iterator[tuple[int, str]]:
    """Vote for less patience where quotes fail and trades pay, for more where they do not."""
    filled, lack = evidence.routed.maker_fill_rate, _lack(evidence.routed, terms)
    earned_bps = None if evidence.earned is None else evidence.earned.expectancy_bps
    if filled is None:
        yield -1, f"no quote among {evidence.routed.n} attempts: quote longer, to know"
    elif lack is not None and offset_bps == current.offset_bps:
        yield 1, f"{lack} as near as quotes may stand: cross sooner"
    elif lack is None and evidence.routed.policy.quality == "good":
        yield -1, f"quotes filled {filled:.2f}: keep quoting"
    if earned_bps is not None and earned_bps < -terms.bias_expectancy_bps:
        yield -1, f"trades bring {earned_bps:.1f} bps: not worth a taker's fee"
    elif (
        earned_bps is not None
        and earned_bps > terms.bias_expectancy_bps
        and evidence.routed.regime == "wild"
    ):
        yield 1, f"trades bring {earned_bps:.1f} bps in a wild market: a missed one costs"
    if evidence.scored is not None and evidence.scored.score < terms.poor_score:
        yield -1, f"score {evidence.scored.score:.2f} is poor: not worth a taker's fee"


def _metrics(evidence: Evidence) -> dict[str, float | None]:
    routed, earned = evidence.routed, evidence.earned
    return {
        "attempts": float(routed.n),
        "maker_fill_rate": routed.maker_fill_rate,
        "fallback_rate": routed.fallback_rate,
        "unfilled_rate": routed.unfilled_rate,
        "slippage_p50": routed.slippage_p50,
        "fee_bps": routed.fee_mean_bps,
        "expectancy_bps": None if earned is None else earned.expectancy_bps,
        "score": None if evidence.scored is None else evidence.scored.score,
    }
