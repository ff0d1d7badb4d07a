from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import sizing
from tests.support import builders, policies

CASES = Path(__file__).resolve().parents[4] / "shared/venue/precision_cases.json"
RULES = builders.rules()
SIZING = policies.sizing(base_trade_pct=10.0, multiplier_min=0.25, multiplier_max=1.5)
PRICES = st.floats(min_value=0.01, max_value=1e6)


@given(st.lists(PRICES, max_size=30))
def test_multiplier_stays_within_its_bounds(closes: list[float]) -> None:
    assert 0.25 <= sizing.multiplier(SIZING, builders.frame(closes)) <= 1.5


@given(st.lists(PRICES, max_size=5))
def test_missing_history_gives_the_lower_bound_and_never_raises_a_size(
    closes: list[float],
) -> None:
    factor = sizing.multiplier(SIZING, builders.frame(closes))
    assert factor == SIZING.multiplier_min
    assert factor <= 1


def test_a_market_that_did_not_move_has_no_volatility_to_size_by() -> None:
    assert sizing.multiplier(SIZING, builders.frame([100.0] * 20)) == 0.25


@pytest.mark.parametrize(("target_pct", "wanted"), [(1e-6, 0.25), (50.0, 0.5), (1e9, 1.5)])
def test_multiplier_is_target_over_realized_volatility(target_pct: float, wanted: float) -> None:
    # Returns of +r and -r in turn: their deviation is r, here 100 % a year.
    r = 1 / math.sqrt(365 * 86_400 / 60)
    closes = [100 * math.exp(r * (i % 2)) for i in range(7)]
    vol_pct_6_returns = 100.0
    rules = policies.sizing(target_vol_pct=target_pct, vol_bars=6)
    found = sizing.multiplier(rules, builders.frame(closes))
    assert found == pytest.approx(max(0.25, min(1.5, target_pct / vol_pct_6_returns)))
    assert found == pytest.approx(wanted)


def test_size_is_the_share_of_nav_in_contracts_rounded_down() -> None:
    # 10 % of 10,000 USD is 1,000 USD; half of it at 70 USD is 7.142857.
    assert sizing.size(10_000.0, 0.5, 70.0, SIZING, RULES) == Decimal("7.142")


@given(
    st.floats(min_value=1, max_value=1e9),
    st.floats(min_value=0.25, max_value=1.5),
    st.floats(min_value=1e-4, max_value=1e6),
)
def test_size_is_never_worth_more_than_its_share(nav: float, factor: float, mark: float) -> None:
    qty = sizing.size(nav, factor, mark, SIZING, RULES)
    assert float(qty) * mark <= nav * 0.10 * factor * (1 + 1e-12)


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=8))
def test_a_snapped_quantity_is_on_the_grid_and_not_larger(qty: Decimal) -> None:
    rules = builders.rules(step_size=Decimal("0.025"), max_qty=Decimal("1000.01"))
    snapped = sizing.snap_qty(qty, rules)
    assert snapped % Decimal("0.025") == 0
    assert snapped <= min(qty, Decimal("1000.01"))
    assert snapped > min(qty, Decimal("1000.01")) - Decimal("0.025")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, 0.0, -0.0, 1e-30])
def test_what_is_no_positive_quantity_becomes_zero(bad: float) -> None:
    assert sizing.snap_qty(bad, RULES) == 0
    assert sizing.snap_qty(Decimal(repr(bad)), RULES) == 0


@pytest.mark.parametrize("absurd", [1e30, 1e300, 1.7e308])
def test_an_absurd_quantity_is_the_largest_allowed_and_no_error(absurd: float) -> None:
    assert sizing.snap_qty(absurd, RULES) == RULES.max_qty


def precision_cases() -> list[dict[str, str]]:
    if not CASES.exists():
        pytest.skip("the reference folder `shared` is not beside this checkout")
    return json.loads(CASES.read_text())


def test_every_recorded_amount_is_truncated_as_the_exchange_does() -> None:
    wrong = []
    for case in precision_cases():
        rules = builders.rules(step_size=Decimal(case["step"]), max_qty=Decimal(10**12))
        snapped = sizing.snap_qty(Decimal(case["amount_in"]), rules)
        by_float = sizing.snap_qty(float(case["amount_in"]), rules)
        if not snapped == by_float == Decimal(case["amount_out"]):
            wrong.append((case, snapped, by_float))
    assert wrong == []


def test_every_recorded_price_is_on_the_grid_and_within_a_tick_of_the_exchange() -> None:
    cases = precision_cases()
    assert len(cases) == 360
    for case in cases:
        price, tick = float(case["price_in"]), Decimal(case["tick"])
        theirs = Decimal(case["price_out"])
        down = sizing.snap_price(price, tick, "ROUND_FLOOR")
        up = sizing.snap_price(price, tick, "ROUND_CEILING")
        for ours in (down, up):
            assert ours % tick == 0
            assert abs(ours - theirs) <= tick
        # ccxt rounds to the nearer of the two; a passive price takes the one on its own side.
        assert theirs in {down, up}
        assert down <= Decimal(case["price_in"]) <= up
