"""A simulation that catches no mutant proves nothing: it must catch each of them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.__main__ import replay_line, say
from tests.simulation.mutants import MUTANTS, mutant
from tests.simulation.node import Parts
from tests.simulation.world import Verdict, run

ROOT = Path(__file__).resolve().parents[2]
QUICK = 60
FULL = 2_000


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def first_caught(name: str, seeds: int, folder: Path) -> Verdict | None:
    """Return the verdict on the first seed that catches a mutant."""
    verdicts = (run(seed, mutant(name), folder) for seed in range(seeds))
    return next((verdict for verdict in verdicts if verdict.violation is not None), None)


def test_there_are_thirteen() -> None:
    assert len(MUTANTS) == 13


@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_is_caught(name: str, tmp_path: Path) -> None:
    caught = first_caught(name, QUICK, tmp_path)
    assert caught is not None
    # It is the mistake that is caught: without it the same seed is clean.
    assert run(caught.seed, Parts(), tmp_path).violation is None


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_is_caught_within_two_thousand_seeds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caught = first_caught(name, FULL, tmp_path)
    assert caught is not None
    with capsys.disabled():
        say(f"\n{name}: {replay_line(caught, mutant(name))}")


def test_a_failing_seed_is_replayed_by_its_line(tmp_path: Path) -> None:
    caught = first_caught("not-found-is-never", QUICK, tmp_path)
    assert caught is not None
    line = replay_line(caught, mutant("not-found-is-never"))
    command = line.partition("replay: ")[2].split()
    assert command[:3] == ["python", "-m", "tests.simulation"]
    again = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 1
    assert line in again.stdout.splitlines()
