"""What the exchange lets through: its request weight of a minute, and its bans, kept on disk."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from execution import small_files
from execution.clock import Clock
from execution.state_schema.venue_files import BanFile

log = logging.getLogger(__name__)

BAN_FILE: Final = "run/exchange_ban.json"
USED_HEADER: Final = "x-mbx-used-weight-1m"
MINUTE_S: Final = 60.0
# Until exchangeInfo has told it.
FIRST_LIMIT: Final = 2_400
# A ban file that cannot be read may have said anything; so long after the start nothing is asked.
UNREADABLE_S: Final = 120.0

Urgency = Literal["routine", "needed", "order"]
# Of the limit, what each may use up: looking around stops first, then questions that the ledger
# waits for; orders and cancels always have the last part for themselves.
SHARES: Final[dict[Urgency, float]] = {"routine": 0.75, "needed": 0.9, "order": 1.0}


class Limits:
    """Weight used and bans of one address; every request is asked about here first."""

    def __init__(self, log_dir: Path, clock: Clock) -> None:
        self.limit_1m = FIRST_LIMIT
        self.banned_until_ts: float | None = None
        self._path = log_dir / BAN_FILE
        self._clock = clock
        self._own: deque[tuple[float, int]] = deque()
        self._told: tuple[float, int] | None = None
        self._load()

    # ------------------------------------------------------------ weight

    @property
    def used_1m(self) -> int:
        """Return the weight of the last minute: what was sent, or the exchange's count if it is more.

        Others at this address count there too.
        """
        now_s = self._clock.monotonic()
        while self._own and self._own[0][0] <= now_s - MINUTE_S:
            self._own.popleft()
        own = sum(weight for _, weight in self._own)
        if self._told is None or self._told[0] <= now_s - MINUTE_S:
            return own
        since = sum(weight for at_s, weight in self._own if at_s > self._told[0])
        return max(own, self._told[1] + since)

    def has_room(self, weight: int, urgency: Urgency) -> bool:
        """Tell whether a request of `weight` stays within its share of the limit."""
        return self.used_1m + weight <= SHARES[urgency] * self.limit_1m

    def spend(self, weight: int) -> None:
        """Count a request that is about to be sent."""
        self._own.append((self._clock.monotonic(), weight))

    def hear(self, headers: Mapping[str, str]) -> None:
        """Take in what the exchange says it has counted."""
        told = headers.get(USED_HEADER, "")
        if told.isdecimal():
            self._told = (self._clock.monotonic(), int(told))

    # ------------------------------------------------------------ bans

    def is_banned(self, now: float) -> bool:
        """Tell whether the exchange wants to be left alone; `now` is its time."""
        return self.banned_until_ts is not None and now < self.banned_until_ts

    def ban(self, until_ts: float, now: float, reason: str) -> None:
        """Keep away until then, also after a restart."""
        self.banned_until_ts = max(until_ts, self.banned_until_ts or 0.0)
        log.error("banned until_ts=%.0f for_s=%.0f: %s", until_ts, until_ts - now, reason)
        kept = BanFile(until_ts=self.banned_until_ts, told_ts=now, reason=reason[:300])
        try:
            small_files.replace(self._path, msgspec.json.encode(kept) + b"\n")
        except OSError as error:
            log.error("the ban is not on disk: %s: %s", BAN_FILE, error)  # noqa: TRY400  no traceback: a full disk

    def _load(self) -> None:
        try:
            content = small_files.read(self._path)
        except FileNotFoundError:
            return
        except OSError as error:
            self._doubt(error)
            return
        try:
            self.banned_until_ts = msgspec.json.decode(content, type=BanFile).until_ts
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._doubt(error)

    def _doubt(self, error: Exception) -> None:
        log.error(
            "%s cannot be read, so nothing is asked for %g s: %s", BAN_FILE, UNREADABLE_S, error
        )
        self.banned_until_ts = self._clock.now() + UNREADABLE_S


class Pace:
    """When something may be asked again, so that it uses no more than its share of the limit."""

    def __init__(self, limits: Limits, clock: Clock, share_frac: float) -> None:
        self._limits = limits
        self._clock = clock
        self._share_frac = share_frac
        self._due_s = -math.inf

    def is_due(self) -> bool:
        """Tell whether it may be asked now."""
        return self._clock.monotonic() >= self._due_s

    def done(self, weight: int, least_s: float = 0.0) -> None:
        """Begin to wait, for at least `least_s`: a request of `weight` was made."""
        share_s = MINUTE_S * weight / (self._limits.limit_1m * self._share_frac)
        self._due_s = self._clock.monotonic() + max(least_s, share_s)

    def hurry(self) -> None:
        """Make it due at once."""
        self._due_s = -math.inf
