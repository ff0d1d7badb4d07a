"""An order in doubt while the wall clock steps: its age is not what the clock says."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.core.reconcile import VISIBLE_AFTER_S
from execution.core.seam import Ambiguous
from tests.support import builders
from tests.support.rig import Rig

HOUR_S = 3600.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path / "paper-main.sqlite")
    rig.tick()
    rig.venue.answers.append(Ambiguous("no answer"))
    rig.tick(builders.plan(builders.intent("10", "d1")))
    assert rig.orders == {"hgp-d1-1": "UNKNOWN"}
    return rig


def ticks_until_given_up(rig: Rig) -> int:
    for ticks in range(100):
        rig.tick()
        if "hgp-d1-1" not in rig.orders:
            return ticks
    return 100


def test_an_order_is_given_up_when_it_can_no_longer_arrive(rig: Rig) -> None:
    # Its age counts from the look after the request.
    assert ticks_until_given_up(rig) == VISIBLE_AFTER_S + 1


@pytest.mark.parametrize("step_s", [HOUR_S, 19.0, 5.0, -5.0, -HOUR_S])
@pytest.mark.parametrize("looks", [0, 1, 10])
def test_a_step_of_the_clock_neither_ages_an_order_nor_keeps_it_for_ever(
    rig: Rig, step_s: float, looks: int
) -> None:
    for _ in range(looks):
        rig.tick()
    rig.clock.step(step_s)
    assert looks + ticks_until_given_up(rig) == VISIBLE_AFTER_S + 1


def test_a_restart_counts_from_its_own_beginning(rig: Rig) -> None:
    assert ticks_until_given_up(rig.restart(after_s=HOUR_S)) >= VISIBLE_AFTER_S
