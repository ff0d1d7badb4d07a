"""Many numbers in little room: an exact count and sum, and quantiles from bins of a fixed width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

from execution.state_schema.envelope import Count
from execution.state_schema.files import Stats


class Histogram(Struct, frozen=True):
    """Counts by bin; a number belongs to the bin whose middle is nearest to it, 0 to that of 0."""

    n: Count = 0
    total: float = 0.0
    bins: Mapping[int, Count] = {}


class Scale(Struct, frozen=True):
    """The bins of one quantity: how wide, and beyond which all count as that one."""

    width: float
    limit: float

    def add(self, histogram: Histogram, numbers: Iterable[float]) -> Histogram:
        """Count more numbers; what is not finite is not counted."""
        n, total, bins = histogram.n, histogram.total, dict(histogram.bins)
        for number in numbers:
            if not math.isfinite(number):
                continue
            bounded = max(-self.limit, min(self.limit, number))
            place = round(bounded / self.width)
            bins[place] = bins.get(place, 0) + 1
            n, total = n + 1, total + bounded
        return Histogram(n, total, bins)

    def stats(self, histogram: Histogram) -> Stats:
        """Summarize: the mean is exact, a percentile is the middle of its bin."""
        if histogram.n == 0:
            return Stats(n=0, mean=None, p50=None, p95=None)
        return Stats(
            n=histogram.n,
            mean=histogram.total / histogram.n,
            p50=self._quantile(histogram, 50),
            p95=self._quantile(histogram, 95),
        )

    def _quantile(self, histogram: Histogram, pct: int) -> float:
        rank, reached = math.ceil(pct * histogram.n / 100), 0
        places = sorted(histogram.bins)
        for place in places:
            reached += histogram.bins[place]
            if reached >= rank:
                return place * self.width
        return places[-1] * self.width
