"""How the router has done: finished routes by symbol over a window, and what to think of them.

Only routes that a policy chose count: what is urgent, and stops, had no choice. The rates are over
those of them that quoted at all, so that a market order is never a maker's success, and an unfilled
quote always a maker's failure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from execution.core import regimes
from execution.core.policy import Grade, Health, Policy
from execution.core.types import Frame, FrameKey
from execution.state_schema.intel_files import Quality, RouterHealthRow, RouterVerdict
from execution.state_schema.order_journals import FillMetric, RouteMetric

HOUR_S = 3600.0


class Sample(Struct, frozen=True, gc=False):
    """What one finished route says; the shares are of the quantity that was wanted."""

    ts: float
    quoted: bool
    maker_frac: float
    taker_frac: float
    slippage_bps: float | None
    fee_bps: float | None
    rejects: tuple[tuple[str, int], ...]


Window = Mapping[str, tuple[Sample, ...]]


def take_in(
    window: Window, records: Iterable[FillMetric | RouteMetric], terms: Health, now: float
) -> Window:
    """Return the window with `records` in it and without what is too old or too many.

    It costs what is new and what is kept, and holds at most `max_routes` of a symbol.
    """
    new: dict[str, list[Sample]] = {}
    for record in records:
        if isinstance(record, RouteMetric) and record.policy is not None and record.attempts > 0:
            new.setdefault(record.symbol, []).append(_sample(record))
    oldest_ts = now - terms.window_hours * HOUR_S
    kept: dict[str, tuple[Sample, ...]] = {}
    for symbol in {**window, **new}:
        samples = [*window.get(symbol, ()), *new.get(symbol, ())]
        recent = [sample for sample in samples if sample.ts >= oldest_ts]
        if recent:
            kept[symbol] = tuple(recent[-terms.max_routes :])
    return kept


def _sample(metric: RouteMetric) -> Sample:
    whole = metric.qty if metric.qty > 0 else math.inf
    return Sample(
        ts=metric.ts,
        quoted=metric.quoted,
        maker_frac=min(1.0, metric.maker_qty / whole),
        taker_frac=min(1.0, metric.taker_qty / whole),
        slippage_bps=metric.slippage_bps,
        fee_bps=metric.fee_bps,
        rejects=tuple(metric.rejects.items()),
    )


def rows(
    window: Window, policy: Policy, frames: Mapping[FrameKey, Frame]
) -> tuple[RouterHealthRow, ...]:
    """Return one row per symbol of the universe; a symbol without routes has nothing but its policy."""
    return tuple(
        _row(listing.symbol, window.get(listing.symbol, ()), policy, frames)
        for listing in policy.universe.listing
    )


def _row(
    symbol: str, samples: Sequence[Sample], policy: Policy, frames: Mapping[FrameKey, Frame]
) -> RouterHealthRow:
    used = policy.route_policy(symbol)
    quoted = [sample for sample in samples if sample.quoted]
    slippages = sorted(s.slippage_bps for s in samples if s.slippage_bps is not None)
    fees = [sample.fee_bps for sample in samples if sample.fee_bps is not None]
    maker, fallback = _mean([s.maker_frac for s in quoted]), _mean([s.taker_frac for s in quoted])
    p95 = quantile(slippages, 0.95)
    quality, reason = judge(len(quoted), maker, p95, policy.router.health)
    rejects: Counter[str] = Counter()
    for sample in samples:
        if sample.rejects:
            rejects.update(dict(sample.rejects))
    return RouterHealthRow(
        symbol=symbol,
        n=len(samples),
        n_quoted=len(quoted),
        maker_fill_rate=maker,
        fallback_rate=fallback,
        unfilled_rate=None if maker is None or fallback is None else max(0.0, 1 - maker - fallback),
        slippage_p50=quantile(slippages, 0.5),
        slippage_p95=p95,
        slippage_mean_bps=_mean(slippages),
        fee_mean_bps=_mean(fees),
        rejects=dict(rejects),
        policy=RouterVerdict(
            maker_first=used.maker_first, taker_bias=used.taker_bias, quality=quality, reason=reason
        ),
        maker_offset_bps=used.offset_bps,
        regime=regimes.of_symbol(symbol, frames, policy),
    )


def judge(
    n: int, maker_fill_rate: float | None, slippage_p95: float | None, terms: Health
) -> tuple[Quality, str]:
    """Return the best grade whose bounds both hold, and why; unknown below the minimum sample.

    A quote that never fills has no slippage to hold against it: its fill rate is what says so.
    """
    if maker_fill_rate is None or n < terms.min_routes:
        return "unknown", f"{n} of {terms.min_routes} quoted routes"
    says = f"maker {maker_fill_rate:.2f}"
    if slippage_p95 is not None:
        says += f", slippage p95 {slippage_p95:.1f} bps"
    grades: tuple[tuple[Quality, Grade], ...] = (
        ("good", terms.good),
        ("ok", terms.ok),
        ("degraded", terms.degraded),
    )
    for quality, grade in grades:
        dear = slippage_p95 is not None and slippage_p95 > grade.slippage_p95_bps
        if maker_fill_rate >= grade.maker_fill_frac and not dear:
            return quality, says
    return "broken", says


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest of `ordered` that at least `share` of them do not exceed."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
