"""A clock that somebody sets."""

from __future__ import annotations

from execution.clock import ManualClock


class SteppedClock(ManualClock):
    """A clock whose wall time can be set without any time going by."""

    def step(self, seconds: float) -> None:
        self._now += seconds
