"""What the mirror costs on the shipped configuration: hours of a suite on a clock of our own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from msgspec import Struct

from execution.state_schema.mirror_files import Allowance, allowance_of
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import SHIPPED, Suite, allow, suite

HOURS = 2
STEP_S = 5  # the bars of the simulated market
SETTLED_S = 900  # the first documents are there
DAY_S = 86_400


class Followed(Struct):
    """Commits by the second they were done, and the age of the mirrored book second by second."""

    commits: list[tuple[int, int]]
    lags_s: list[float]
    most_legs: int


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("state", ["trading", "flat"])
def test_writes_a_day_bytes_and_lag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer, state: str
) -> None:
    allow(monkeypatch, server.address)
    with suite(tmp_path, SHIPPED) as book:
        if state == "flat":
            kill = '{"on": true, "ts": 1800000000.0, "user": "test", "reason": "flat"}'
            (book.log_dir / "run" / "kill.json").write_text(kill)
        begin_with_nothing_saved(book)
        followed = follow(book, server)
        health = book.sync_once()
    assert (health.failures, health.last_error) == (0, None)
    assert (followed.most_legs > 0) == (state == "trading")
    settled = sum(count for second, count in followed.commits if second > SETTLED_S)
    a_day = settled * DAY_S / (HOURS * 3600 - SETTLED_S)
    saved = 19_000 / 24  # what may come on top on the first day
    assert a_day + saved <= 19_000
    sizes = [size for commit in server.commits for size in commit.values()]
    ranked = sorted(followed.lags_s[SETTLED_S // STEP_S :])
    p50, p95 = (ranked[math.ceil(p * len(ranked) / 100) - 1] for p in (50, 95))
    print(
        f"\n{state}: {a_day:,.0f} writes a day (first day at most {a_day + saved:,.0f}), {server.reads} reads, "
        f"{len(server.commits)} commits, {sum(sizes) / len(sizes):,.0f} bytes a write (largest "
        f"{max(sizes):,}), lag p50 {p50:.0f} s, p95 {p95:.0f} s, most {ranked[-1]:.0f} s"
    )


def begin_with_nothing_saved(book: Suite) -> None:
    """Empty the bucket of sync_state, as it is after the first hours of a day."""
    info = book.sync.service.info()
    empty = Allowance(
        engine_version=info.engine_version,
        v6_flags=info.flags,
        moved_ts=book.clock.now(),
        left=0.0,
        writer="rates",
    )
    book.store.write(allowance_of("sync_state"), empty)
    book.start_services()


def follow(book: Suite, server: FirestoreServer) -> Followed:
    """Run for hours; the lag is how long ago the book was mirrored, at each step."""
    found = Followed([], [], 0)
    mirrored_s = seen = 0
    for second in range(STEP_S, HOURS * 3600 + 1, STEP_S):
        book.tick(1, seconds=STEP_S)
        if second % 10 == 0:
            book.sync_once()
        if second % 30 == 0:
            book.pipelines_once()
        for commit in server.commits[seen:]:
            found.commits.append((second, len(commit)))
            if any(name.endswith("telemetry/health") for name in commit):
                mirrored_s = second
        seen = len(server.commits)
        found.lags_s.append(second - mirrored_s)
        found.most_legs = max(found.most_legs, len(book.engine.state.book.positions))
    return found
