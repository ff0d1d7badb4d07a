"""The project's one door to time: wall seconds for records, monotonic seconds for durations."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar
from zoneinfo import ZoneInfo

K = TypeVar("K", bound=Hashable)


class Clock(Protocol):
    """What a process needs of time."""

    def now(self) -> float:
        """Return the wall time in epoch seconds, UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def wait(self, seconds: float, wake: threading.Event) -> None:
        """Wait for `seconds`, or until `wake` is set."""


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float, wake: threading.Event) -> None:
        wake.wait(seconds)


class ManualClock:
    """Time that stands still until it is set; replay and tests run on it."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, seconds: float, wake: threading.Event) -> None:
        if not wake.is_set():
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, on both scales."""
        self._now += seconds
        self._monotonic += seconds

    def set(self, now: float) -> None:
        """Move to `now`; the monotonic scale follows forward steps only."""
        self._monotonic += max(0.0, now - self._now)
        self._now = now


class Ages(Generic[K]):
    """When things happened on the clock that nobody sets, for as long as the window is."""

    def __init__(self, clock: Clock, window_s: float) -> None:
        self.window_s = window_s
        self._clock = clock
        self._at_s: dict[K, list[float]] = {}

    def hear(self, key: K, age_s: float = 0.0) -> None:
        """Remember that it happened, so long ago."""
        self._at_s.setdefault(key, []).append(self._clock.monotonic() - max(0.0, age_s))

    def recent(self) -> dict[K, tuple[float, ...]]:
        """Return what happened within the window, on the monotonic scale."""
        oldest_s = self._clock.monotonic() - self.window_s
        kept = (
            (key, [at_s for at_s in times if at_s > oldest_s]) for key, times in self._at_s.items()
        )
        self._at_s = {key: times for key, times in kept if times}
        return {key: tuple(times) for key, times in self._at_s.items()}


class Days:
    """The calendar days of one time zone, as labels that sort by time."""

    def __init__(self, time_zone: str) -> None:
        self._zone = ZoneInfo(time_zone)
        self._label = ""
        self._from_ts = self._until_ts = 0.0

    def label(self, now: float) -> str:
        """Return the day that `now` belongs to, as yyyy-mm-dd."""
        if not self._from_ts <= now < self._until_ts:
            # Asked every tick, so the answer is kept until it changes.
            local = datetime.fromtimestamp(now, self._zone)
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
            self._from_ts = midnight.timestamp()
            self._until_ts = (midnight + timedelta(days=1)).timestamp()
            self._label = midnight.date().isoformat()
        return self._label
