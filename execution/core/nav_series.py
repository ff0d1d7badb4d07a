"""The NAV journal in five numbers; sync_state publishes them and the page shows them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from execution.state_schema.files import NavSeries


def is_point(nav_usd: float) -> bool:
    """Tell whether a NAV is a number to count; an outage of old was written as 0."""
    return math.isfinite(nav_usd) and nav_usd != 0


def cutoff_ts(iso_ts: float | None, secago: float | None, now: float) -> float:
    """Return the time before which points are ignored: the later of both cutoffs."""
    return max(
        -math.inf if iso_ts is None else iso_ts,
        -math.inf if secago is None else now - secago,
    )


def summarize(
    ts: Sequence[float],
    nav_usd: Sequence[float],
    from_ts: float,
    now: float,
    day: Callable[[float], str],
) -> NavSeries:
    """Summarize the points from `from_ts` to `now`.

    `ts` is ascending, `nav_usd` has the NAV of each. `day` labels a time with its calendar day, in
    an order that sorts: today's profit counts from today's first point and is None without one.
    """
    first = bisect_left(ts, from_ts)
    end = bisect_right(ts, now)  # a clock that was set back leaves points in the future
    if first >= end:
        return NavSeries(from_ts=None, n=0, peak_usd=None, drawdown_pct=None, day_pnl_usd=None)
    last = nav_usd[end - 1]
    peak = max(nav_usd[first:end])
    today = bisect_left(ts, day(now), first, end, key=day)
    return NavSeries(
        from_ts=ts[first],
        n=end - first,
        peak_usd=peak,
        drawdown_pct=_known(100 * (1 - last / peak)) if peak > 0 else None,
        day_pnl_usd=_known(last - nav_usd[today]) if today < end else None,
    )


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
