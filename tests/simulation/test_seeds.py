"""The simulation over many seeds: no invariant is violated, and the storm is worth its name."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.__main__ import replay_line
from tests.simulation.node import Parts
from tests.simulation.world import run

QUICK = 1_500
FULL = 10_000
STEP = 250
FULL_STEP = 1_000
# Every place where a process can die; a new point belongs here.
POINTS = {
    *(f"before {call}" for call in ("observe", "submit", "cancel", "find_order", "trades", "cash")),
    *("after observe", "taken", "after submit", "after cancel", "after the tick"),
    *("before the commit", "in the commit", "after the commit"),
}


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def run_all(seeds: range, folder: Path) -> Counter[str]:
    """Run seeds up to the first violation, which fails with the line that replays it."""
    totals: Counter[str] = Counter()
    for seed in seeds:
        verdict = run(seed, Parts(), folder)
        assert verdict.violation is None, replay_line(verdict, Parts())
        totals.update(verdict.counts)
    return totals


@pytest.mark.parametrize("first", range(0, QUICK, STEP))
def test_no_invariant_is_violated(first: int, tmp_path: Path) -> None:
    totals = run_all(range(first, first + STEP), tmp_path)
    assert totals["fills"] > 5 * STEP
    assert totals["entries"] > 5 * STEP
    assert totals["crashes"] > 2 * STEP
    assert totals["blind"] > STEP
    assert totals["refused"] > STEP / 4  # second executors


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(0, FULL, FULL_STEP))
def test_no_invariant_is_violated_in_ten_thousand_seeds(first: int, tmp_path: Path) -> None:
    run_all(range(first, first + FULL_STEP), tmp_path)


def test_a_process_dies_at_every_point(tmp_path: Path) -> None:
    died: set[str] = set()
    for seed in range(150):
        counts = run(seed, Parts(), tmp_path).counts
        died |= {name.removeprefix("died ") for name in counts if name.startswith("died ")}
        if died >= POINTS:
            break
    assert died == POINTS


def test_a_seed_is_the_same_story_every_time(tmp_path: Path) -> None:
    stories = [run(7, Parts(), tmp_path, told=True) for _ in range(2)]
    assert stories[0] == stories[1]
    assert len(stories[0].story) > 50
