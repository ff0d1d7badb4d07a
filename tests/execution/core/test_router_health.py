from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import router_health
from execution.core.records import RoutePolicy
from execution.state_schema.order_journals import RouteMetric
from tests.support import builders, policies

NOW = builders.NOW
POLICY = policies.policy()
TERMS = POLICY.router.health  # 48 h, at most 100 routes, at least 4 of them quoted
USED = RoutePolicy(True, 0.0, 0.0)


def metric(maker: float = 10.0, taker: float = 0.0, **fields) -> RouteMetric:
    """Return the record of a route for 10 that filled so much as maker and as taker."""
    filled = maker + taker
    known = {
        "ts": NOW,
        "run_id": "r1",
        "decision_id": "d1",
        "strategy": "fade",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "outcome": "filled" if filled == 10 else "partial" if filled else "unfilled",
        "qty": 10.0,
        "filled_qty": filled,
        "maker_qty": maker,
        "taker_qty": taker,
        "filled_usd": 100 * filled,
        "fees_usd": 0.02 * maker + 0.05 * taker,
        "decision_price": 100.0,
        "average_price": 100.0 if filled else None,
        "slippage_bps": 1.0 if filled else None,
        "fee_bps": 2.0 if filled else None,
        "cost_bps": 3.0 if filled else None,
        "opened_ts": NOW - 60,
        "time_to_fill_s": 60.0 if filled == 10 else None,
        "attempts": 1,
        "quoted": True,
        "requotes": 0,
        "rejects": {},
        "policy": USED,
        "policy_configured": USED,
    }
    return RouteMetric(**{**known, **fields})


def row(*records: RouteMetric, policy=POLICY, now: float = NOW, symbol: str = "BTCUSDT"):
    window = router_health.take_in({}, records, policy.router.health, now)
    found = router_health.rows(window, policy, {})
    return next(each for each in found if each.symbol == symbol)


# ---------------------------------------------------------------- figures


def test_the_rates_are_shares_of_what_was_wanted_on_average() -> None:
    found = row(metric(10), metric(4, 6), metric(0, 10), metric(0, 0))
    assert (found.n, found.n_quoted) == (4, 4)
    assert found.maker_fill_rate == pytest.approx(0.35)
    assert found.fallback_rate == pytest.approx(0.4)
    assert found.unfilled_rate == pytest.approx(0.25)


def test_what_was_never_quoted_is_no_makers_success_and_no_failure() -> None:
    crossed = metric(10, quoted=False, slippage_bps=7.0)
    found = row(crossed, metric(0, 10, quoted=False))
    assert (found.n, found.n_quoted, found.maker_fill_rate) == (2, 0, None)
    assert found.policy.quality == "unknown"
    assert found.slippage_p95 == 7.0


@pytest.mark.parametrize(
    "record",
    [metric(policy=None, policy_configured=None), metric(0, attempts=0, quoted=False)],
    ids=["no choice", "never sent"],
)
def test_what_the_router_did_not_choose_or_send_does_not_count(record: RouteMetric) -> None:
    assert row(record).n == 0


def test_slippages_and_fees_are_over_what_was_filled() -> None:
    slips = [1.0, 2.0, 3.0, 40.0]
    records = [metric(slippage_bps=slip, fee_bps=slip / 2) for slip in slips]
    found = row(*records, metric(0))
    assert (found.slippage_p50, found.slippage_p95) == (2.0, 40.0)
    assert (found.slippage_mean_bps, found.fee_mean_bps) == (11.5, 5.75)


def test_refusals_are_added_up_by_code() -> None:
    found = row(metric(rejects={"-5022": 2}), metric(0, rejects={"-5022": 1, "-2019": 1}))
    assert found.rejects == {"-5022": 3, "-2019": 1}


def test_a_symbol_without_routes_shows_its_policy_and_nulls() -> None:
    tuned = replace(POLICY, tuned={"ETHUSDT": RoutePolicy(False, 0.35, 4.0)})
    found = row(metric(), policy=tuned, symbol="ETHUSDT")
    assert (found.n, found.rejects, found.regime) == (0, {}, "unknown")
    measured = (found.maker_fill_rate, found.fallback_rate, found.unfilled_rate)
    assert {*measured, found.slippage_p50, found.slippage_p95, found.fee_mean_bps} == {None}
    assert (found.policy.maker_first, found.policy.taker_bias) == (False, 0.35)
    assert (found.policy.quality, found.policy.reason) == ("unknown", "0 of 4 quoted routes")
    assert found.maker_offset_bps == 4.0


# ---------------------------------------------------------------- quality


@pytest.mark.parametrize(
    ("maker", "slippage_bps", "wanted"),
    [
        (10.0, 1.0, "good"),
        (7.0, 10.0, "good"),
        (7.0, 10.1, "ok"),
        (6.9, 1.0, "ok"),
        (5.0, 20.0, "ok"),
        (4.9, 1.0, "degraded"),
        (2.0, 40.0, "degraded"),
        (1.9, 1.0, "broken"),
        (10.0, 40.1, "broken"),
    ],
)
def test_a_quality_needs_both_its_bounds(maker: float, slippage_bps: float, wanted: str) -> None:
    records = [metric(maker, 10 - maker, slippage_bps=slippage_bps)] * 4
    assert row(*records).policy.quality == wanted


def test_below_the_minimum_sample_nothing_is_judged_however_bad_it_looks() -> None:
    assert row(*[metric(0, 10)] * 3).policy.quality == "unknown"
    assert row(*[metric(0, 10)] * 4).policy.quality == "broken"


def test_quotes_that_never_fill_are_broken_and_not_unknown() -> None:
    found = row(*[metric(0)] * 4)
    assert (found.policy.quality, found.maker_fill_rate, found.slippage_p95) == ("broken", 0, None)


# ---------------------------------------------------------------- the window


def test_a_route_leaves_the_window_when_it_is_too_old() -> None:
    old, new = metric(0, 10, ts=NOW - 48 * 3600 - 1), metric(ts=NOW - 48 * 3600)
    window = router_health.take_in({}, [old, new], TERMS, NOW)
    assert [sample.maker_frac for sample in window["BTCUSDT"]] == [1.0]
    assert router_health.take_in(window, [], TERMS, NOW + 1) == {}


@given(
    st.lists(st.integers(min_value=0, max_value=10), max_size=300),
    st.lists(st.integers(min_value=1, max_value=40), max_size=20),
)
def test_taken_in_piece_by_piece_it_is_the_same_and_bounded(
    makers: list[int], cuts: list[int]
) -> None:
    records = [metric(float(maker), ts=NOW + i) for i, maker in enumerate(makers)]
    whole = router_health.take_in({}, records, TERMS, NOW + 300)
    window, rest = {}, records
    for cut in [*cuts, len(records)]:
        window = router_health.take_in(window, rest[:cut], TERMS, NOW + 300)
        rest = rest[cut:]
    assert window == whole
    kept = window.get("BTCUSDT", ())
    assert [sample.maker_frac for sample in kept] == [maker / 10 for maker in makers[-100:]]


@given(st.lists(st.floats(min_value=-100, max_value=100), min_size=1, max_size=60))
def test_a_quantile_is_one_of_the_numbers_and_has_its_share_below(numbers: list[float]) -> None:
    ordered = sorted(numbers)
    for share in (0.5, 0.95, 1.0):
        found = router_health.quantile(ordered, share)
        assert found in ordered
        assert sum(number <= found for number in ordered) >= share * len(ordered)
        assert sum(number < found for number in ordered) < share * len(ordered)
