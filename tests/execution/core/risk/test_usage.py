from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core.policy import SymbolLimits
from execution.core.risk import checks, usage
from execution.core.seam import Blind
from execution.core.types import Approved, Decided, Decision, TickReport
from tests.support import books, builders, policies

NOW = builders.NOW
ENTRY = builders.intent("10")


def report(*approved: Approved, seen=None, **fields) -> TickReport:
    decisions = tuple(Decision(each.intent, each, None) for each in approved)
    live = Decided(builders.ACTIVE, decisions=decisions)
    seen = builders.snapshot() if seen is None else seen
    return TickReport(NOW, seen, builders.state(**fields), live, None, ())


def used(*approved: Approved, policy=None, **fields) -> dict[str, float]:
    return usage.used(report(*approved, **fields), policy or policies.policy())


def test_what_is_held_in_flight_and_approved_is_used() -> None:
    found = used(
        Approved(ENTRY, Decimal(5)),
        book=builders.book(positions=(builders.position("ETHUSDT", "SHORT", -10.0),)),
        recorded=builders.recorded(routes={"r": builders.route("r", qty=Decimal(8))}),
    )
    assert found["gross_cap"] == pytest.approx(23.0)
    assert found["net_cap"] == pytest.approx(10.0)  # the entries may fill, and they may not
    assert found["leverage_cap"] == pytest.approx(0.23)
    assert found["margin_insufficient"] == pytest.approx(23.0 / 5)
    assert found["symbol_nav_cap.BTCUSDT"] == pytest.approx(13.0)
    assert found["symbol_nav_cap.ETHUSDT"] == pytest.approx(10.0)
    assert found["tier_cap.CORE"] == pytest.approx(23.0)
    assert found["tier_cap.ALT-EXT"] == 0.0
    assert (found["trade_nav_cap"], found["max_order_notional"]) == (pytest.approx(8.0), 800.0)
    assert (found["max_order_qty.BTCUSDT"], found["max_order_qty.ETHUSDT"]) == (8.0, 0.0)
    assert found["max_concurrent"] == 2
    assert found["order_rate.BTCUSDT"] == found["order_rate.second"] == 1


def test_every_limit_has_its_row_and_every_figure_its_limit() -> None:
    limits = policies.limits(symbols={"BTCUSDT": SymbolLimits(cap_pct=7.0, max_order_qty=3.0)})
    policy = policies.policy(limits=limits)
    rows = usage.limits(policy, 60.0)
    assert (rows["symbol_nav_cap.BTCUSDT"].limit, rows["symbol_nav_cap.ETHUSDT"].limit) == (7, 40)
    assert (rows["max_order_qty.BTCUSDT"].limit, rows["max_order_qty.ETHUSDT"].limit) == (3, 1000)
    assert rows["stale_market.BTCUSDT"].limit == 75.0
    assert set(used(policy=policy)) == set(rows)


# What no figure can be used up of: it holds or it does not.
SWITCHES = {
    *("trading_state", "symbol_not_allowed", "side_blocked", "leg_owned", "duplicate_intent"),
    *("bad_number", "exit_plan_missing", "below_min_notional", "reduce_only_enlarges"),
    "crosses_zero",
}


def test_every_check_that_has_a_limit_is_shown_by_its_name() -> None:
    checked = {check.__name__ for check in (*checks.ENTRY, *checks.VALIDITY)}
    shown = {name.partition(".")[0] for name in usage.limits(policies.policy())}
    assert checked - shown == SWITCHES & checked
    assert shown - checked == set()


def test_times_are_ages_and_what_is_left_of_a_pause() -> None:
    anchors = replace(builders.book().anchors, stopped=True)
    cooling = {"cooling_from_s": 100.0}
    for book, left_s in (
        ({}, 0.0),
        (cooling, policies.limits().book.cooldown_s - 50.0),
        ({**cooling, "anchors": anchors}, policies.limits().book.cooldown_s),
    ):
        found = used(
            book=builders.book(as_of_ts=NOW - 3, **book),
            recorded=builders.recorded(steady_s=150.0, reconciled_ts=NOW - 40),
            quotes={"BTCUSDT": builders.quote(ts=NOW - 7)},
        )
        assert found["cooldown"] == pytest.approx(left_s)
        assert (found["nav_stale"], found["reconciliation_stale"]) == (3.0, 40.0)
        assert found["stale_market.BTCUSDT"] == 7.0
        assert "stale_market.ETHUSDT" not in found


def test_entries_and_rejects_count_within_their_windows() -> None:
    policy = policies.policy(limits=policies.limits(entries_window_bars=5))
    recorded = builders.recorded(
        steady_s=1000.0,
        entries={"BTCUSDT": (699.9, 700.1, 950.0), "ETHUSDT": (999.5,)},
        rejects={("BTCUSDT", "-2019"): (990.0, 995.0), ("BTCUSDT", "-1111"): (999.0,)},
    )
    found = used(policy=policy, recorded=recorded)
    assert (found["order_rate.BTCUSDT"], found["order_rate.ETHUSDT"]) == (2, 1)
    assert (found["order_rate.second"], found["order_rate.minute"]) == (1, 2)
    assert (found["repeat_throttle.BTCUSDT"], found["repeat_throttle.ETHUSDT"]) == (2, 0)


def test_while_blind_the_window_of_bars_is_not_known() -> None:
    found = used(seen=Blind(NOW, "timeout"))
    assert "order_rate.BTCUSDT" not in found
    assert found["order_rate.second"] == 0


def test_an_order_in_doubt_counts() -> None:
    orders = tuple(
        builders.order_record(f"o{n}", decision_id=f"o{n}", state=state)
        for n, state in enumerate(("UNKNOWN", "PREP", "LIVE"))
    )
    assert used(recorded=builders.recorded(open_orders=orders))["unknown_order_open"] == 2


def test_a_leg_of_no_listed_symbol_counts_in_the_whole_book() -> None:
    foreign = builders.position("XYZUSDT", qty=10.0)
    found = used(book=builders.book(positions=(foreign,)))
    assert (found["gross_cap"], found["tier_cap.CORE"]) == (pytest.approx(10.0), 0.0)


def test_margin_is_not_shown_while_nothing_can_be_carried() -> None:
    assert "margin_insufficient" not in used(book=builders.book(wallet_usd=None))
    assert "margin_insufficient" not in used(book=builders.book(wallet_usd=-1.0))


def test_a_touch_that_cannot_be_has_an_age_and_no_distance_from_the_mark() -> None:
    found = used(quotes={"BTCUSDT": builders.quote(half=-0.1, ts=NOW - 3)})
    assert found["stale_market.BTCUSDT"] == 3.0
    assert "price_collar.BTCUSDT" not in found


def test_what_is_not_finite_is_not_shown() -> None:
    found = used(
        quotes={"BTCUSDT": builders.quote(ts=math.nan)}, book=builders.book(as_of_ts=math.inf)
    )
    assert all(map(math.isfinite, found.values()))
    assert "nav_stale" not in found


# ---------------------------------------------------------------- the same figures as the checks

CAPS = {
    "gross_cap": "gross_cap",
    "leverage_cap": "leverage_cap",
    "margin_insufficient": "margin_insufficient",
    "trade_nav_cap": "trade_nav_cap",
    "max_order_notional": "max_order_notional",
    "max_concurrent": "max_concurrent",
    "symbol_nav_cap": "symbol_nav_cap.{symbol}",
    "tier_cap": "tier_cap.{tier}",
    "order_rate": "order_rate.{symbol}",
}
COUNTS = ("legs", "entries")
EDGE = 1e-6  # nearer to a limit than this, rounding decides


@settings(max_examples=150)
@given(books.states(), books.policies(), books.QTY, st.sampled_from(books.LEGS))
def test_a_cap_is_overrun_by_an_approval_exactly_where_its_check_refuses(
    state, policy, qty, leg
) -> None:
    symbol, (side, order) = leg
    # Routes are entries of their own that were judged before: without them the order is the largest.
    state = replace(state, recorded=replace(state.recorded, routes={}))
    mark = state.quotes[symbol].mark
    wanted = builders.intent(
        str(qty), symbol=symbol, position_side=side, side=order, mark_price=mark
    )
    context = builders.context(wanted, state=state, policy=policy)
    tick = TickReport(
        *(NOW, builders.snapshot(), state),
        Decided(builders.ACTIVE, decisions=(Decision(wanted, Approved(wanted, qty), None),)),
        *(None, ()),
    )
    found, limits = usage.used(tick, policy), usage.limits(policy)
    for check, told in CAPS.items():
        name = told.format(symbol=symbol, tier=books.TIERS[symbol])
        if abs(found[name] / limits[name].limit - 1) > EDGE or limits[name].unit in COUNTS:
            refused = getattr(checks, check)(context) is not None
            assert refused == (found[name] > limits[name].limit), name
