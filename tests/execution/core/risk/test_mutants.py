"""Whether these tests notice that a rule of risk is gone: each is taken out once, in its own run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support import risk_mutants
from tests.support.replays import ROOT

# The quickest to notice first; a file is collected once.
NEAR = (
    "tests/execution/core/risk/test_each_check.py",
    "tests/execution/core/risk/test_exposure.py",
    "tests/execution/test_entry_gates.py",
    "tests/execution/core/risk",
    "tests/execution/core/test_position_mode.py",
    "tests/execution/core/test_pipeline.py",
)
DEADLINE_S = 240

pytestmark = pytest.mark.full


def run(mutant: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of risk with one rule taken out, until the first that fails."""
    words = ["-x", "-q", "-n", "0", "-p", "tests.support.risk_mutants", "--hypothesis-seed=7"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words, *NEAR],
        cwd=ROOT,
        env={**os.environ, risk_mutants.VARIABLE: mutant},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_with_every_rule_in_its_place_all_of_them_pass() -> None:
    done = run("none")
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("mutant", risk_mutants.names())
def test_a_rule_that_is_gone_is_noticed(mutant: str) -> None:
    done = run(mutant)
    failed = [*risk_mutants.told(done.stdout.splitlines())]
    assert done.returncode == 1, f"nothing notices that {mutant} is gone:\n{done.stdout[-1000:]}"
    print(f"\n{mutant:45} {failed[0]}")
