"""What the limits remember beyond a tick: rebuilt from the ledger, aged by the clock nobody sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from execution.clock import Ages, Clock
from execution.core import anchors, exits
from execution.core.policy import RiskLimits
from execution.core.records import Anchors, Recorded, RejectKey
from execution.core.types import Book
from execution.errors import LedgerFull
from execution.ledger import Ledger
from execution.state_schema.operator_files import Outcome, ResetRisk

# The longest base bar of any market: what a window counted in bars may reach back.
BASE_BAR_S = 60.0
MINUTE_S = 60.0
# A maker's order that would have taken, and a stop that was reached already: only prices moved.
PRICES_MOVED = frozenset({"-5022", exits.WOULD_TRIGGER})


class LimitMemory:
    """Entries, rejects and anchors of one account.

    What a former process did is as old as the wall clock says at the first look. What comes after is
    heard of once, at the next look, whatever the wall clock has done in between.
    """

    def __init__(self, ledger: Ledger, clock: Clock, limits: RiskLimits) -> None:
        book = limits.book
        self._ledger = ledger
        self._clock = clock
        self._nav_max_age_s = limits.freshness.nav_max_age_s
        self._entries: Ages[str] = Ages(clock, max(MINUTE_S, book.entries_window_bars * BASE_BAR_S))
        self._rejects: Ages[RejectKey] = Ages(clock, book.repeat_window_s + book.repeat_pause_s)
        self._heard: tuple[int, int] | None = None
        self._kept: Anchors | None = None

    def recall(
        self, now: float
    ) -> tuple[Mapping[str, tuple[float, ...]], Mapping[RejectKey, tuple[float, ...]]]:
        """Return the recent entries and rejects, on the steady clock."""
        ledger, newest = self._ledger, self._ledger.newest_rows()
        if self._heard is None:
            for symbol, ts in ledger.entries(now - self._entries.window_s):
                self._entries.hear(symbol, now - ts)
            for key, ts in _faults(ledger.rejects(now - self._rejects.window_s)):
                self._rejects.hear(key, now - ts)
        elif newest != self._heard:
            for symbol, _ in ledger.entries(-math.inf, self._heard[0]):
                self._entries.hear(symbol)
            for key, _ in _faults(ledger.rejects(-math.inf, self._heard[1])):
                self._rejects.hear(key)
        self._heard = newest
        return self._entries.recent(), self._rejects.recent()

    def keep(self, after: Anchors | None) -> None:
        """Record the anchors where they moved; those from before a reset are not."""
        kept = self._kept
        if after is None or after == kept or (kept is not None and after.resets < kept.resets):
            return
        self._ledger.keep_anchors(after)
        self._kept = after

    def reset(
        self, command: ResetRisk, book: Book, found: Recorded, lag_s: float, now: float
    ) -> tuple[Outcome, str]:
        """Begin anew with the present NAV, on a person's word; the same request counts once."""
        if self._ledger.reset_by() == command.id:
            return "done", "it was carried out, and the answer was lost"
        after = anchors.reset(book, found, self._nav_max_age_s + lag_s, now)
        if not isinstance(after, Anchors):
            return "refused", after
        try:
            self._ledger.reset_limits(after, command.id)
        except LedgerFull as error:
            return "refused", str(error)
        self._kept = after
        self._rejects = Ages(self._clock, self._rejects.window_s)
        nav = f"{after.peak_usd:,.2f} USD"
        return "done", f"peak and day start are {nav} now; cooldown and breakers have ended"


def _faults(rejects: Iterable[tuple[RejectKey, float]]) -> Iterator[tuple[RejectKey, float]]:
    return ((key, ts) for key, ts in rejects if key[1] not in PRICES_MOVED)
