"""The NAV journal in memory: read on from where the last look ended, summarized, and by days."""

from __future__ import annotations

import bisect
from array import array
from typing import Final

from execution.clock import Days
from execution.core import nav_series
from execution.core.mirror import documents
from execution.core.mirror.documents import Document
from execution.jsonl_log import read_from
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.files import JournalPosition, NavSeries
from execution.state_schema.journals import NavPoint

BATCH_BYTES: Final = 256 * 1024
BATCHES_A_CYCLE: Final = 64
POINTS_KEPT: Final = 200_000  # over four months of minutes
DAYS_AT_ONCE: Final = 10


class NavJournal:
    """The points of this mode in the NAV journal.

    `from_ts` is where the mirrored series begins: the cutoff as it was at the start, so that days do
    not shrink while an age moves on.
    """

    def __init__(
        self,
        settings: Settings,
        started_ts: float,
        batches_a_cycle: int = BATCHES_A_CYCLE,
        points_kept: int = POINTS_KEPT,
    ) -> None:
        journal = registry.NAV_SERIES
        self._batches = batches_a_cycle
        self._points = points_kept
        self._path = settings.log_dir / journal.path
        self._decode = journal.decoder.decode
        self._iso_ts = settings.nav_cutoff_ts_iso
        self._secago = settings.nav_cutoff_secago
        self._day = Days(settings.policy.limits.book.day_time_zone).label
        self._mode = settings.mode
        self._position: JournalPosition | None = None
        self._from_ts = nav_series.cutoff_ts(self._iso_ts, self._secago, started_ts)
        self._unsent: set[int] = set()
        self._ts = array("d")
        self._usd = array("d")

    def read(self) -> tuple[int, bool]:
        """Take in what is new; return the lines that are no record, and whether that was all.

        OSError where the journal cannot be read.
        """
        broken = 0
        for _ in range(self._batches):
            batch = read_from(self._path, self._position, self._decode, BATCH_BYTES)
            if batch.gap:  # another journal: what is kept of it is read from its beginning
                self._ts, self._usd = array("d"), array("d")
            for point in batch.records:
                self._add(point)
            broken += batch.broken
            if batch.position == self._position:
                return broken, True
            self._position = batch.position
        return broken, False

    def series(self, now: float) -> NavSeries:
        """Summarize the points since the cutoff."""
        from_ts = nav_series.cutoff_ts(self._iso_ts, self._secago, now)
        return nav_series.summarize(self._ts, self._usd, from_ts, now, self._day)

    def newest_age_s(self, now: float) -> float | None:
        """Return the age of the newest point; None without one."""
        return now - self._ts[-1] if self._ts else None

    def unsent(self) -> list[Document]:
        """Make the documents of the newest days that have points which are not mirrored yet."""
        days = sorted(self._unsent, reverse=True)[:DAYS_AT_ONCE]
        return [document for day in days for document in self._day_documents(day)]

    def settle(self, names: frozenset[str]) -> list[str]:
        """Take note of what is mirrored; name the documents of days that are over with it."""
        over: list[str] = []
        newest = documents.day_number(self._ts[-1]) if self._ts else 0
        for day in sorted(self._unsent, reverse=True)[:DAYS_AT_ONCE]:
            chunks = [document.name for document in self._day_documents(day)]
            if names.issuperset(chunks):
                self._unsent.discard(day)
                over += chunks if day < newest else []
        return over

    def _day_documents(self, day: int) -> tuple[Document, ...]:
        begin = bisect.bisect_left(self._ts, max(self._from_ts, day * documents.DAY_S))
        end = bisect.bisect_left(self._ts, (day + 1) * documents.DAY_S)
        points = zip(self._ts[begin:end], self._usd[begin:end], strict=True)
        return documents.series(day, points)

    def _add(self, point: NavPoint) -> None:
        # Before points said their mode, there was paper alone.
        if (point.mode or "paper") != self._mode or not nav_series.is_point(point.nav_usd):
            return
        place = bisect.bisect_right(self._ts, point.ts)  # the end, unless the clock was set back
        self._ts.insert(place, point.ts)
        self._usd.insert(place, point.nav_usd)
        if point.ts >= self._from_ts:
            self._unsent.add(documents.day_number(point.ts))
        if len(self._ts) > self._points:
            del self._ts[0], self._usd[0]
