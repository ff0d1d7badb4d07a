from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.exposures import assess
from execution.state_schema.files import PositionRow


def leg(symbol, side, notional_usd):
    return PositionRow(
        symbol=symbol,
        position_side=side,
        qty=1.0,
        entry_price=1.0,
        mark_price=1.0,
        unrealized=0.0,
        leverage=4.0,
        notional_usd=notional_usd,
        opened_ts=None,
        exit=None,
    )


BOOK = [
    leg("BTCUSDT", "LONG", 30_000.0),
    leg("BTCUSDT", "SHORT", -10_000.0),
    leg("ETHUSDT", "SHORT", -25_000.0),
    leg("SOLUSDT", "BOTH", -5_000.0),
]


def test_a_hedged_book_in_numbers():
    found = assess(BOOK, 100_000.0)
    assert found is not None
    assert found.gross_usd == 70_000.0
    assert found.net_usd == -10_000.0
    assert found.by_symbol == {"BTCUSDT": 20_000.0, "ETHUSDT": -25_000.0, "SOLUSDT": -5_000.0}
    assert found.by_side == {"LONG": 30_000.0, "SHORT": 40_000.0}
    assert found.largest is not None
    assert (found.largest.symbol, found.largest.notional_usd) == ("ETHUSDT", -25_000.0)
    assert found.gross_pct == pytest.approx(70.0)


def test_a_flat_book_is_zero_and_not_unknown():
    found = assess([], 100_000.0)
    assert found is not None
    assert (found.gross_usd, found.net_usd, found.gross_pct) == (0.0, 0.0, 0.0)
    assert (found.largest, found.by_symbol) == (None, {})
    assert found.by_side == {"LONG": 0.0, "SHORT": 0.0}


def test_one_leg_without_a_mark_leaves_all_unknown():
    assert assess([*BOOK, leg("XRPUSDT", "LONG", None)], 100_000.0) is None


@pytest.mark.parametrize("nav_usd", [None, 0.0, -5.0, 5e-324])
def test_without_a_nav_that_can_divide_there_is_no_percentage(nav_usd):
    found = assess(BOOK, nav_usd)
    assert found is not None
    assert found.gross_pct is None
    assert found.gross_usd == 70_000.0


def test_numbers_beyond_floats_are_unknown():
    assert assess([leg("A", "LONG", 1e308), leg("B", "LONG", 1e308)], 1.0) is None


LEGS = st.builds(
    leg,
    st.sampled_from(["AUSDT", "BUSDT", "CUSDT"]),
    st.sampled_from(["LONG", "SHORT", "BOTH"]),
    st.integers(-(10**9), 10**9).map(float),
)


@given(st.lists(LEGS, max_size=12), st.randoms())
def test_sides_and_symbols_add_up_in_any_order(legs, random):
    found = assess(legs, 1_000.0)
    shuffled = [*legs]
    random.shuffle(shuffled)
    again = assess(shuffled, 1_000.0)
    assert found is not None
    assert again is not None
    assert found.gross_usd == sum(abs(each.notional_usd) for each in legs)
    assert found.net_usd == sum(each.notional_usd for each in legs)
    assert sum(found.by_symbol.values()) == found.net_usd
    assert found.gross_usd >= abs(found.net_usd)
    assert found.largest == again.largest
    if found.largest is not None:
        assert abs(found.largest.notional_usd) == max(map(abs, found.by_symbol.values()))
    assert found.gross_pct is not None
    assert math.isclose(found.gross_pct, found.gross_usd / 10)
