from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from execution import settings
from execution.clock import ManualClock
from execution.core.mirror import documents
from execution.jsonl_log import JsonlLogger
from execution.nav_journal import DAYS_AT_ONCE, NavJournal
from execution.state_schema import journals, registry
from tests.support import journalled

NOW = 1_790_078_400.0  # 2026-09-22T12:00:00Z
DAY_S = 86_400.0


def point(ts: float, nav_usd: float, mode: journals.Mode | None = "paper") -> journals.NavPoint:
    return journalled.nav_point(ts, nav_usd, mode=mode)


def write(folder: Path, points: Iterable[journals.NavPoint]) -> None:
    logger = JsonlLogger(
        folder / registry.NAV_SERIES.path,
        ManualClock(NOW),
        max_bytes=10**9,
        backups=100,
        max_age_s=1e9,
    )
    for each in points:
        assert logger.write(each) is None
    logger.close()


def journal(folder: Path, points_kept: int = 1_000, **environ: str) -> NavJournal:
    loaded = settings.load({"HEDGE_LOG_DIR": str(folder), **environ})
    made = NavJournal(loaded, NOW, points_kept=points_kept)
    assert made.read() == (0, True)
    return made


def offered(made: NavJournal) -> list[list[float]]:
    return [document.fields["nav_usd"] for document in made.unsent()]


def test_points_kept_are_bounded(tmp_path):
    write(tmp_path, (point(NOW - 60 * n, 100.0 + n) for n in range(30, 0, -1)))
    found = journal(tmp_path, points_kept=10).series(NOW)
    assert (found.n, found.peak_usd, found.from_ts) == (10, 110.0, NOW - 600)


def test_points_of_another_mode_are_not_this_ones(tmp_path):
    """One journal holds paper's points and, after a change of mode, another's."""
    modes = ("live", "paper", None, "testnet")  # None: written before points said their mode
    write(tmp_path, (point(NOW - 60 * (4 - n), 100.0 + n, mode) for n, mode in enumerate(modes)))
    made = journal(tmp_path)
    assert (made.series(NOW).n, made.series(NOW).peak_usd) == (2, 102.0)
    assert offered(made) == [[101.0, 102.0]]


@pytest.mark.parametrize(
    "environ", [{"NAV_CUTOFF_SECAGO": "300"}, {"NAV_CUTOFF_ISO": "2026-09-22T11:55:00Z"}]
)
def test_what_is_mirrored_begins_at_the_cutoff_of_the_start(tmp_path, environ):
    write(tmp_path, (point(NOW - ago, ago) for ago in (90_000, 360, 300, 60)))
    made = journal(tmp_path, **environ)
    assert offered(made) == [[300.0, 60.0]]
    made.series(NOW + 600)  # an age moves on, and what is mirrored does not shrink
    assert offered(made) == [[300.0, 60.0]]


def test_days_are_offered_newest_first_until_they_are_settled(tmp_path):
    days = 15
    write(tmp_path, (point(NOW - DAY_S * n, 100.0 + n) for n in range(days, -1, -1)))
    made = journal(tmp_path)
    assert len(made.unsent()) == DAYS_AT_ONCE
    assert offered(made)[:2] == [[100.0], [101.0]]
    assert made.settle(frozenset()) == []
    names = frozenset(document.name for document in made.unsent())
    today = documents.series_name(documents.day_number(NOW))
    assert set(made.settle(names)) == names - {today}
    assert offered(made) == [[100.0 + n] for n in range(DAYS_AT_ONCE, days + 1)]


def test_a_day_is_offered_again_for_a_point_that_comes_late(tmp_path):
    write(tmp_path, [point(NOW - DAY_S, 1.0), point(NOW, 2.0)])
    made = journal(tmp_path)
    made.settle(frozenset(document.name for document in made.unsent()))
    assert offered(made) == []
    write(tmp_path, [point(NOW - DAY_S - 60, 3.0), replace(point(NOW, 4.0), ts=NOW)])
    assert made.read() == (0, True)
    assert offered(made) == [[4.0], [3.0, 1.0]]  # of one time, the later written
