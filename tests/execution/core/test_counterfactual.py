from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from msgspec.structs import replace

from execution.core import counterfactual
from execution.core.counterfactual import Outcome, Pending, Terms
from execution.core.records import RouteLeg
from execution.state_schema.journals import BarPoint, Judgement, ShadowDecision, Touch
from execution.state_schema.order_journals import Fill

NOW = 1_800_000_000.0
TERMS = Terms(
    maker_fee_bps=Decimal(2),
    taker_fee_bps=Decimal(5),
    slippage_bps=Decimal(0),
    volume_share_frac=Decimal("0.5"),
    horizon_s=300.0,
)
TOUCH = Touch(bid=99.9, ask=100.1, tick_size=Decimal("0.1"), step_size=Decimal("0.1"))
MAKER = RouteLeg("LIMIT", post_only=True, offset_bps=0.0, rest_s=120.0)
WIDE = RouteLeg("LIMIT", post_only=True, offset_bps=100.0, rest_s=120.0)
WITHIN = RouteLeg("LIMIT", post_only=False, offset_bps=0.0, rest_s=60.0, budget_bps=31.0)
TAKER = RouteLeg("MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)
VETOED = Judgement(approved=False, reason="gross_cap", qty=0.0, notional_usd=0.0)


def wants(qty: float, *legs: RouteLeg) -> Judgement:
    return Judgement(approved=True, reason=None, qty=qty, notional_usd=100 * qty, legs=legs)


def decision(live: Judgement | None, shadow: Judgement | None, **fields) -> ShadowDecision:
    known = {
        "ts": NOW,
        "run_id": "r",
        "decision_id": "d",
        "strategy": "s",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "mark_price": 100.0,
        "touch": TOUCH,
        "live": live,
        "shadow": shadow,
    }
    return ShadowDecision(**{**known, **fields})


def bars(*closes: float, first: int = 0, low: float = 0.05, volume: float = 1e6) -> list[BarPoint]:
    """Return one bar a minute from NOW on, opening where the one before closed."""
    opens = (100.0, *closes)
    return [
        BarPoint(
            NOW + 60 * (first + n), open_, max(open_, close), min(open_, close) - low, close, volume
        )
        for n, (open_, close) in enumerate(zip(opens, closes, strict=False))
    ]


def fill(
    decision_id: str, price: float, at_s: float = 60.0, qty: float = 2.0, trade: str = "1"
) -> Fill:
    return Fill(
        ts=NOW + at_s,
        run_id="r",
        decision_id=decision_id,
        client_id=f"hgp-{decision_id}-1",
        trade_id=trade,
        venue_order_id="1",
        symbol="BTCUSDT",
        side="BUY",
        position_side="LONG",
        qty=qty,
        price=price,
        fee_usd=0.1,
        realized_usd=0.0,
        maker=False,
        trade_ts=NOW + at_s,
    )


def begun(live: Judgement | None, shadow: Judgement | None, **fields) -> Pending:
    pending = counterfactual.begin(decision(live, shadow, **fields))
    assert pending is not None
    return pending


def outcome(pending: Pending, told: list[BarPoint]) -> Outcome:
    met = counterfactual.on_bars(pending, told, 60, TERMS)
    assert isinstance(met, Outcome)
    return met


UP = bars(100.0, 101.0, 102.0, 103.0, 104.0)


def test_a_taker_pays_the_touch_on_the_next_bar_and_both_fees():
    found = outcome(begun(None, wants(2.0, TAKER)), UP)
    # Half-spread of 10 bps on an open of 100 is 100.1, bounded by the bar's high of 100.
    assert found.live_usd is None
    assert found.shadow_usd == pytest.approx(2 * (104 - 100.0) - (200 + 208) * 5e-4)


def test_a_resting_order_that_is_never_traded_through_comes_to_nothing():
    found = outcome(begun(wants(2.0, WIDE), wants(2.0, TAKER)), UP)
    assert found.live_usd == 0.0
    assert found.shadow_usd == pytest.approx(8 - 0.204)


def test_a_resting_order_fills_at_its_price_with_the_makers_fee():
    falls = bars(99.0, 100.0, 101.0, 102.0, 104.0)
    found = outcome(begun(wants(2.0, MAKER), None), falls)
    assert found.live_usd == pytest.approx(2 * (104 - 99.9) - 199.8 * 2e-4 - 208 * 5e-4)


def test_a_bar_that_gaps_past_a_resting_order_fills_it_at_its_own_price():
    told = [replace(each, open=97.0, high=98.0, low=96.0) for each in bars(97.0, 97.0, 97.0)]
    found = outcome(begun(wants(2.0, MAKER), None), [*told, *bars(97.0, 97.0, first=3)])
    assert found.live_usd == pytest.approx(2 * (97 - 99.9) - 199.8 * 2e-4 - 194 * 5e-4)


def test_after_its_deadline_the_next_leg_goes_on():
    found = outcome(begun(wants(2.0, WIDE, TAKER), None), UP)
    # Two minutes of rest; the third bar opens at 101 and the half-spread of 10 bps is 0.101.
    assert found.live_usd == pytest.approx(2 * (104 - 101.2) - (202.4 + 208) * 5e-4)


def test_a_share_of_the_volume_is_all_that_fills():
    thin = bars(99.0, 101.0, 102.0, 103.0, 104.0, volume=1.0)
    found = outcome(begun(wants(2.0, MAKER), None), thin)  # half a contract on each of two bars
    assert found.live_usd == pytest.approx(1 * (104 - 99.9) - 99.9 * 2e-4 - 104 * 5e-4)


def test_an_exit_is_measured_against_leaving_at_the_horizon():
    found = outcome(begun(None, wants(2.0, TAKER), side="SELL", action="exit"), UP)
    # Sold at 100, the lowest tick that the bar has, and a taker's fee at the horizon is saved.
    assert found.shadow_usd == pytest.approx(2 * (100 - 104) - 200 * 5e-4 + 208 * 5e-4)


def test_the_same_order_needs_no_ghost_and_differs_in_nothing():
    pending = begun(wants(2.0, MAKER, TAKER), wants(2.0, MAKER, TAKER))
    assert (pending.live, pending.shadow) == (None, None)
    assert outcome(pending, UP) == Outcome(None, None, None)
    filled = counterfactual.filled(pending, fill("d", 99.9))
    assert outcome(filled, UP) == Outcome(None, None, 0.0)


def test_a_leg_with_a_budget_crosses_within_it_as_a_taker():
    found = outcome(begun(None, wants(2.0, WITHIN)), UP)
    assert found == outcome(begun(None, wants(2.0, TAKER)), UP)


def test_what_does_not_cross_on_its_first_bar_rests_from_then_on():
    # The limit is 100.3; the first bar opens beyond it at 101, the second trades through it.
    told = [
        replace(each, open=101.0, high=102.0) for each in bars(101.0, 100.2, 104.0, 104.0, 104.0)
    ]
    told[0] = replace(told[0], low=100.9)
    found = outcome(begun(None, wants(2.0, replace(WITHIN, rest_s=120.0))), told)
    assert found.shadow_usd == pytest.approx(2 * (104 - 100.3) - 200.6 * 2e-4 - 208 * 5e-4)


def test_nothing_crosses_beyond_its_budget():
    waits = begun(None, wants(2.0, WIDE, WITHIN))
    assert outcome(waits, UP).shadow_usd == 0.0  # after two bars the touch is near 101
    tight = replace(WITHIN, budget_bps=5.0)
    assert outcome(begun(None, wants(2.0, tight)), UP).shadow_usd == 0.0  # 100.05 is below the ask


def test_slippage_is_measured_against_the_live_fill_where_there_is_one():
    pending = begun(wants(2.0, MAKER), wants(2.0, TAKER))
    assert outcome(pending, UP).slippage_diff_bps is None
    filled = pending
    for told in (fill("d", 99.8, qty=1.0), fill("d", 100.0, qty=1.0, trade="2")) * 2:
        filled = counterfactual.filled(filled, told)
    assert outcome(filled, UP).slippage_diff_bps == pytest.approx(10.0)  # 100.0 against 99.9
    smaller = counterfactual.filled(begun(wants(2.0, MAKER), wants(1.0, MAKER)), fill("d", 99.9))
    assert outcome(smaller, UP).slippage_diff_bps == 0.0  # the same route


@pytest.mark.parametrize(
    ("live", "shadow", "fields"),
    [
        (VETOED, VETOED, {}),
        (None, VETOED, {}),
        (wants(1.0, TAKER), None, {"touch": None}),
        (wants(1.0, TAKER), None, {"action": "protect"}),
        (wants(0.0, TAKER), None, {}),
        (wants(1.0), None, {}),
    ],
)
def test_what_nothing_was_sent_for_has_no_outcome(live, shadow, fields):
    assert counterfactual.begin(decision(live, shadow, **fields)) is None


# ---------------------------------------------------------------- what the series lacks


def test_bars_come_in_parts_twice_and_late():
    pending = begun(None, wants(2.0, TAKER))
    for told in (UP[:2], UP[:3], [], UP[1:4]):
        met = counterfactual.on_bars(pending, told, 60, TERMS)
        assert isinstance(met, Pending)
        pending = met
    assert outcome(pending, UP) == outcome(begun(None, wants(2.0, TAKER)), UP)


def test_a_gap_while_an_order_works_leaves_nothing_to_measure_by():
    pending = begun(None, wants(2.0, WIDE))
    assert counterfactual.on_bars(pending, [UP[0], *UP[2:]], 60, TERMS) is None
    assert counterfactual.on_bars(pending, UP[1:], 60, TERMS) is None


def test_a_gap_after_the_order_is_done_matters_only_at_the_horizon():
    pending = begun(None, wants(2.0, TAKER))
    assert outcome(pending, [UP[0], UP[4]]).shadow_usd == outcome(pending, UP).shadow_usd
    late = bars(*[104.0] * 20)
    assert counterfactual.on_bars(pending, [UP[0], late[9]], 60, TERMS) == outcome(
        pending, [UP[0], late[9]]
    )
    assert counterfactual.on_bars(pending, [UP[0], late[10]], 60, TERMS) is None


def test_a_pending_decision_survives_its_checkpoint():
    pending = counterfactual.filled(
        begun(wants(2.0, WIDE, TAKER), wants(1.5, TAKER)), fill("d", 99.0)
    )
    text = msgspec.json.encode(pending)
    assert msgspec.json.decode(text, type=Pending) == pending
    assert replace(pending, told_ts=0.0) != pending
