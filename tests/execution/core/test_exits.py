from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import exits
from execution.core.records import ExitPlan, FlattenRequest
from tests.support import builders, policies

LONG = ("BTCUSDT", "LONG")
NOW = builders.NOW
ANY = st.floats(allow_nan=True, allow_infinity=True)


def due(*positions, now: float = NOW, **recorded) -> list[tuple[str, str]]:
    state = builders.state(
        book=builders.book(positions=positions), recorded=builders.recorded(**recorded)
    )
    return [(wanted.action, wanted.reason) for wanted in exits.due(state, "main", now)]


# ---------------------------------------------------------------- the plan


def test_a_long_plan_is_a_stop_below_a_target_above_and_a_deadline() -> None:
    # ATR 2, stop 2 of them, target 3, ten bars after the bar that closed at NOW.
    found = exits.plan(builders.signal(), 100.0, policies.EXITS, 60)
    assert found == ExitPlan(96.0, 106.0, NOW + 600)


def test_a_short_plan_is_its_mirror() -> None:
    found = exits.plan(builders.signal(position_side="SHORT"), 100.0, policies.EXITS, 60)
    assert found == ExitPlan(104.0, 94.0, NOW + 600)


@given(st.sampled_from(["LONG", "SHORT"]), ANY, ANY, st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_plan_has_stop_and_target_on_their_sides_or_is_none(
    side: str, mark: float, atr: float, stop_atr: float, target_atr: float
) -> None:
    rules = replace(policies.EXITS, stop_atr=stop_atr, take_profit_atr=target_atr)
    found = exits.plan(builders.signal(position_side=side, atr=atr), mark, rules, 60)
    if found is not None:
        low, high = found.stop_price, found.take_profit_price
        if side == "SHORT":
            low, high = high, low
        assert 0 < low < mark < high < math.inf


@pytest.mark.parametrize("unknown", ["atr", "bar_open_ts"])
def test_without_a_range_or_a_bar_there_is_no_plan(unknown: str) -> None:
    assert exits.plan(builders.signal(**{unknown: None}), 100.0, policies.EXITS, 60) is None


def test_a_range_too_small_to_move_the_price_makes_no_plan() -> None:
    assert exits.plan(builders.signal(atr=1e-20), 100.0, policies.EXITS, 60) is None


def test_a_range_so_wide_that_a_price_would_be_negative_makes_no_plan() -> None:
    assert exits.plan(builders.signal(atr=60.0), 100.0, policies.EXITS, 60) is None
    short = builders.signal(position_side="SHORT", atr=40.0)
    assert exits.plan(short, 100.0, policies.EXITS, 60) is None


# ---------------------------------------------------------------- what falls due


def test_a_position_without_its_stop_gets_one() -> None:
    assert due(builders.position()) == [("protect", "stop")]


def test_a_protected_position_within_its_plan_wants_nothing() -> None:
    assert due(builders.position(), protected=frozenset({LONG})) == []


def test_a_position_without_a_plan_has_no_exit_to_fall_due() -> None:
    assert due(builders.position(exit=None)) == []
    assert due(builders.position(position_id=None)) == []


@pytest.mark.parametrize(
    ("mark", "now", "wanted"),
    [
        (119.9, NOW, []),
        (120.0, NOW, [("exit", "take_profit")]),
        (90.0, NOW, []),  # its stop rests at the venue
        (100.0, NOW + 3599.9, []),
        (100.0, NOW + 3600, [("exit", "deadline")]),
        (None, NOW + 3600, [("exit", "deadline")]),
        (None, NOW, []),
    ],
)
def test_a_long_position_is_left_at_its_target_and_its_deadline(mark, now, wanted) -> None:
    position = builders.position(mark_price=mark)
    assert due(position, now=now, protected=frozenset({LONG})) == wanted


@pytest.mark.parametrize(("mark", "left"), [(90.1, False), (90.0, True), (50.0, True)])
def test_without_a_resting_stop_the_plan_is_the_stop(mark: float, left: bool) -> None:
    wanted = [("protect", "stop")] + ([("exit", "stop_crossed")] if left else [])
    assert due(builders.position(mark_price=mark)) == wanted


@pytest.mark.parametrize(
    ("mark", "reason"), [(80.0, "take_profit"), (110.0, "stop_crossed"), (100.0, None)]
)
def test_a_short_position_mirrors(mark: float, reason: str | None) -> None:
    short = builders.position(side="SHORT", qty=-1.0, mark_price=mark)
    wanted = [("protect", "stop")] + ([] if reason is None else [("exit", reason)])
    assert due(short) == wanted


def test_what_is_being_worked_is_not_wanted_again() -> None:
    worked = {"position_id": "p-BTCUSDT-LONG", "reduce_only": True}
    routes = {
        "s": builders.route("s", action="protect", **worked),
        "x": builders.route("x", action="exit", **worked),
    }
    assert due(builders.position(mark_price=130.0), routes=routes) == []


def test_what_works_for_the_position_before_this_one_does_not_count() -> None:
    worked = {"position_id": "an-older-one", "reduce_only": True}
    routes = {
        "s": builders.route("s", action="protect", **worked),
        "x": builders.route("x", action="exit", **worked),
    }
    wanted = [("protect", "stop"), ("exit", "take_profit")]
    assert due(builders.position(mark_price=130.0), routes=routes) == wanted


@pytest.mark.parametrize("symbol", [None, "BTCUSDT"])
def test_a_flatten_comes_before_every_other_exit_and_is_wanted_once(symbol: str | None) -> None:
    asked = {"protected": frozenset({LONG}), "flatten": (FlattenRequest("r1", symbol),)}
    past = builders.position(mark_price=130.0)
    assert due(past, now=NOW + 9999, **asked) == [("flatten", "flatten:r1")]
    worked = {"position_id": past.position_id, "reduce_only": True, "legs": (builders.TAKER,)}
    routes = {"x": builders.route("x", action="exit", **worked)}
    assert due(past, routes=routes, **asked) == [("flatten", "flatten:r1")]
    routes = {"f": builders.route("f", action="flatten", **worked)}
    assert due(past, routes=routes, **asked) == []


def test_a_flatten_of_another_symbol_leaves_this_one_alone() -> None:
    asked = {"protected": frozenset({LONG}), "flatten": (FlattenRequest("r1", "ETHUSDT"),)}
    assert due(builders.position(), **asked) == []


# ---------------------------------------------------------------- the intent


@given(st.integers(min_value=1, max_value=10**12), st.integers(min_value=0, max_value=8))
def test_an_exit_is_for_all_of_the_leg_to_the_last_digit(units: int, places: int) -> None:
    qty = Decimal(units).scaleb(-places)
    position = builders.position(qty=float(qty))
    assert exits.leave(position, "main", "exit", "deadline").qty == qty


@pytest.mark.parametrize(
    ("side", "qty", "order_side"), [("LONG", 2.0, "SELL"), ("SHORT", -2.0, "BUY")]
)
def test_an_exit_is_reduce_only_on_the_other_side(side: str, qty: float, order_side: str) -> None:
    wanted = exits.leave(builders.position(side=side, qty=qty), "main", "exit", "deadline")
    assert (wanted.side, wanted.position_side) == (order_side, side)
    assert wanted.reduce_only
    assert wanted.qty == 2


def test_an_exit_is_named_after_the_position_and_its_trigger() -> None:
    position = builders.position()
    names = {
        exits.leave(position, "main", "exit", "deadline").decision_id,
        exits.leave(position, "main", "exit", "signal").decision_id,
        exits.leave(position, "main", "protect", "stop").decision_id,
        exits.leave(replace(position, position_id="other"), "main", "exit", "signal").decision_id,
    }
    assert len(names) == 4
    again = exits.leave(replace(position, mark_price=50.0, qty=0.5), "main", "exit", "signal")
    assert again.decision_id in names


def test_a_take_profit_and_a_signal_can_wait_and_nothing_else() -> None:
    urgent = {
        trigger: exits.leave(builders.position(), "main", "exit", trigger).urgent
        for trigger in ("take_profit", "deadline", "stop_crossed", "signal")
    }
    assert urgent == {"take_profit": False, "deadline": True, "stop_crossed": True, "signal": False}


@pytest.mark.parametrize(
    ("mark", "at", "wanted"),
    [(121.0, 0, []), (121.0, 4000, ["deadline"]), (89.0, 0, ["stop_crossed"]), (100.0, 0, [])],
)
def test_a_leisurely_exit_does_not_keep_an_urgent_one_waiting(mark, at, wanted) -> None:
    held = builders.position(mark_price=mark, exit=builders.PLAN)
    maker = builders.route(
        "x1", action="exit", reduce_only=True, position_id=held.position_id, legs=(builders.MAKER,)
    )
    state = builders.state(
        book=builders.book(positions=(held,)),
        recorded=builders.recorded(routes={"x1": maker}),
    )
    due = [i.reason for i in exits.due(state, "main", builders.NOW + at) if i.action == "exit"]
    assert due == wanted
    hurried = replace(maker, legs=(builders.TAKER,))
    state = replace(state, recorded=builders.recorded(routes={"x1": hurried}))
    assert [i for i in exits.due(state, "main", builders.NOW + at) if i.action == "exit"] == []
