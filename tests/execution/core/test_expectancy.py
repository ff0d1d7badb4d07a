from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import expectancy
from tests.support.builders import NOW
from tests.support.intel import HOUR_S, closed


def test_a_known_sample_in_numbers():
    nets = (30.0, -10.0, -20.0, 40.0)
    row = expectancy.summarize([closed(NOW + n, net) for n, net in enumerate(nets)])
    assert (row.n, row.hit_rate, row.avg_win_usd, row.avg_loss_usd) == (4, 0.5, 35.0, -15.0)
    assert row.expectancy_usd == 10.0
    assert row.expectancy_bps == pytest.approx(100.0)  # 40 USD on 4,000
    assert row.expectancy_per_risk == pytest.approx(0.5)  # 10 USD on a risk of 20
    assert row.max_drawdown_usd == 30.0


def test_nothing_closed_is_null_and_never_zero():
    row = expectancy.summarize([])
    assert (row.n, row.hit_rate, row.expectancy_usd, row.max_drawdown_usd) == (0, None, None, None)
    found = expectancy.measure((), 48.0, NOW)
    assert (found.sample_count, found.symbols, found.hours, found.regimes) == (0, {}, {}, {})


def test_what_the_trade_does_not_tell_is_not_invented():
    row = expectancy.summarize([closed(NOW, 5.0, entry_usd=None, risk_usd=None)])
    assert (row.expectancy_usd, row.expectancy_bps, row.expectancy_per_risk) == (5.0, None, None)
    half = [closed(NOW, 5.0, entry_usd=None), closed(NOW + 1, 10.0, risk_usd=None)]
    row = expectancy.summarize(half)
    assert row.expectancy_bps == pytest.approx(100.0)  # of the one whose size is known
    assert row.expectancy_per_risk == pytest.approx(0.25)


def test_only_the_window_counts_and_the_future_does_not():
    edge = NOW - 48 * HOUR_S
    trades = [closed(ts, 1.0) for ts in (edge - 1, edge, NOW, NOW + 1)]
    assert expectancy.measure(trades, 48.0, NOW).sample_count == 2


def test_groups_are_by_symbol_hour_and_regime():
    noon = NOW - NOW % 86_400 + 12 * HOUR_S
    trades = [
        closed(noon, 1.0, regime="wild"),
        closed(noon + 60, 3.0, symbol="ETHUSDT", regime=None),
        closed(noon + HOUR_S, -2.0),
    ]
    found = expectancy.measure(trades, 48.0, noon + 2 * HOUR_S)
    assert {name: row.n for name, row in found.symbols.items()} == {"BTCUSDT": 2, "ETHUSDT": 1}
    assert {name: row.expectancy_usd for name, row in found.hours.items()} == {
        "12": 2.0,
        "13": -2.0,
    }
    assert {name: row.n for name, row in found.regimes.items()} == {
        "calm": 1,
        "unknown": 1,
        "wild": 1,
    }


@given(st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_every_number_is_finite_and_consistent(nets):
    row = expectancy.summarize([closed(NOW + n, net) for n, net in enumerate(nets)])
    assert row.n == len(nets)
    if not nets:
        return
    assert row.expectancy_usd is not None
    assert min(nets) - 1e-6 <= row.expectancy_usd <= max(nets) + 1e-6
    assert row.max_drawdown_usd is not None
    assert row.max_drawdown_usd >= max(0.0, -row.expectancy_usd * row.n) - 1e-3
    assert row.avg_win_usd is None or row.avg_win_usd > 0
    assert row.avg_loss_usd is None or row.avg_loss_usd < 0
    assert math.isfinite(row.max_drawdown_usd)
