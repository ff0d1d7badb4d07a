"""How much is sent in a day, and how long to wait after a failure; numbers in, numbers out."""

from __future__ import annotations

import math
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

DAY_S: Final = 86_400.0
# What may be spent at once is an hour's worth; the rest of a day's allowance flows in evenly.
BURST_FRAC: Final = 1 / 24

SHARE_FRAC: Final = {
    "sync_state": 0.90,
    "pipeline_shadow_heartbeat": 0.05,
    "pipeline_compare": 0.05,
}

Kind = Literal["conflict", "invalid", "refused", "unreachable"]

BACKOFF_S: Final = 10.0
OPEN_AFTER: Final = 5


class Budget(Struct, frozen=True):
    """Operations that one service may still spend, of `a_day` in any 24 hours.

    A bucket that holds an hour's worth and is filled with the rest in the course of a day: no
    24 hours, wherever they begin, see more than `a_day`, whatever day the server counts by.
    """

    a_day: float
    left: float

    @property
    def most(self) -> float:
        """Return what the bucket holds."""
        return self.a_day * BURST_FRAC

    def after(self, seconds: float) -> Budget:
        """Let time pass; a clock that was set back gives nothing, one set forward an hour's worth."""
        gained = max(0.0, seconds) * (self.a_day - self.most) / DAY_S
        return replace(self, left=min(self.most, self.left + gained))

    def spend(self, count: int) -> Budget | None:
        """Take `count` out; None where there is not enough."""
        return replace(self, left=self.left - count) if count <= self.left else None


class Breaker(Struct, frozen=True):
    """Failures in a row, and until when nothing is tried; `_s` is the monotonic clock."""

    ceiling_s: float
    failures: int = 0
    until_s: float = -math.inf

    @property
    def is_open(self) -> bool:
        """Tell whether only a try now and then is left."""
        return self.failures >= OPEN_AFTER

    def may_try(self, now_s: float) -> bool:
        """Tell whether it is time."""
        return now_s >= self.until_s

    def failed(self, kind: Kind, now_s: float) -> Breaker:
        """Wait twice as long as the last time; the longest where only a person or a day can help."""
        failures = self.failures + 1
        wait_s = BACKOFF_S * 2 ** min(failures - 1, 30)
        if kind == "refused" or failures >= OPEN_AFTER:
            wait_s = self.ceiling_s
        return replace(self, failures=failures, until_s=now_s + min(wait_s, self.ceiling_s))

    def succeeded(self) -> Breaker:
        """Forget the failures."""
        return Breaker(self.ceiling_s)
