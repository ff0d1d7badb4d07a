"""A router that was made bad, and autotune that mends it, in a whole replay."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from scripts.benchmarks import autotune
from scripts.benchmarks import replay as made

SYMBOL = "BTCUSDT"


@pytest.mark.full
def test_an_offset_far_too_wide_comes_back_within_its_bounds(tmp_path: Path):
    made.make(tmp_path, (SYMBOL,), minutes=20_000)
    left = autotune.measure(tmp_path, (SYMBOL,), 12.0, tuned=False)
    tuned = autotune.measure(tmp_path, (SYMBOL,), 12.0, tuned=True)
    autotune.show([left, tuned])
    assert left.curves == {SYMBOL: ((0.0, 12.0),)}
    curve = tuned.curves[SYMBOL]
    assert all(0 < abs(after - before) <= 1 for (_, before), (_, after) in pairwise(curve))
    assert [bps for _, bps in curve][:5] == [12.0, 11.0, 10.0, 9.0, 8.0]
    assert all(0.5 <= bps <= 8 for _, bps in curve[4:])
    before, after = left.halves[1].maker_fill, tuned.halves[1].maker_fill
    assert before is not None
    assert after is not None
    assert after > before + 0.2
