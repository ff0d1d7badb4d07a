from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import orders, routing
from execution.core.records import RouteLeg, RoutePolicy, Tuning
from execution.core.seam import Quote
from execution.core.types import Approved, Decided, TradingState
from tests.support import builders, policies

NOW = builders.NOW
RULES = builders.rules()
QUOTE = builders.quote()
LIVE = Decided(builders.ACTIVE)
HALTED = Decided(TradingState("HALTED", ("kill_switch",)))
REDUCING = Decided(TradingState("REDUCING", ("day_loss_limit",)))
STATES = {"ACTIVE": LIVE, "REDUCING": REDUCING, "HALTED": HALTED}


def step(
    route, live=LIVE, *, needed: bool = True, rules=RULES, quote=QUOTE, now: float = NOW
) -> str:
    return routing.step(route, live, needed, rules, quote, now)


def legs_of(wanted, **router) -> list[tuple[str, bool]]:
    approved = Approved(wanted, wanted.qty)
    found = routing.plan(approved, policies.policy(router=policies.router(**router)), 60)
    return [(leg.type, leg.post_only) for leg in found.legs]


MAKER, BOUNDED, TAKER = ("LIMIT", True), ("LIMIT", False), ("MARKET", False)


# ---------------------------------------------------------------- the plan


def test_an_entry_is_quoted_and_requoted_and_then_crosses_where_it_may() -> None:
    entry = builders.intent()
    assert legs_of(entry) == [MAKER, MAKER, BOUNDED]
    assert legs_of(entry, requotes=0) == [MAKER, BOUNDED]
    assert legs_of(entry, entry_taker_fallback=False) == [MAKER, MAKER]
    assert legs_of(entry, maker_first=False) == [BOUNDED]


def test_what_is_urgent_crosses_at_once() -> None:
    assert legs_of(builders.leaving(urgent=True)) == [TAKER]
    assert legs_of(builders.leaving(urgent=False)) == [MAKER, MAKER, TAKER]
    assert legs_of(builders.leaving(urgent=False), exit_taker_fallback=False) == [MAKER, MAKER]


def test_a_protection_is_one_stop_that_is_tried_again() -> None:
    wanted = builders.leaving(action="protect")
    found = routing.plan(Approved(wanted, wanted.qty), policies.policy(), 60)
    assert found.legs == (builders.STOP,)
    assert found.retry_s == 2.0


def test_only_what_reduces_is_tried_for_ever() -> None:
    entry, leave = builders.intent(), builders.leaving()
    assert routing.plan(Approved(entry, entry.qty), policies.policy(), 60).retry_s is None
    assert routing.plan(Approved(leave, leave.qty), policies.policy(), 60).retry_s == 2.0


def test_a_rest_is_counted_in_bars_of_the_market() -> None:
    entry = builders.intent()
    found = routing.plan(Approved(entry, entry.qty), policies.policy(), 5)
    assert found.legs[0].rest_s == 10.0


def quotes_of(bias: float, requotes: int = 1, *, fallback: bool = True):
    router = policies.router(
        taker_bias=bias, requotes=requotes, rest_bars=1.5, entry_taker_fallback=fallback
    )
    entry = builders.intent()
    found = routing.plan(Approved(entry, entry.qty), policies.policy(router=router), 60)
    return [leg for leg in found.legs if leg.post_only], found.legs[-1]


@given(st.floats(min_value=0, max_value=1), st.integers(min_value=0, max_value=10))
def test_the_bias_takes_its_share_of_the_makers_patience(bias: float, requotes: int) -> None:
    quotes, last = quotes_of(bias, requotes)
    patience_s = 1.5 * 60 * (1 + requotes) * (1 - bias)
    assert sum(leg.rest_s for leg in quotes) == pytest.approx(patience_s)
    assert all(0 < leg.rest_s <= 1.5 * 60 * (1 + 1e-9) for leg in quotes)
    assert len(quotes) <= 1 + requotes
    assert last.budget_bps == 50.0


@pytest.mark.parametrize("bias", [i / 20 for i in range(20)])
def test_every_step_of_the_bias_shortens_what_is_sent(bias: float) -> None:
    (before, _), (after, _) = quotes_of(bias), quotes_of(bias + 0.05)
    assert sum(leg.rest_s for leg in after) < sum(leg.rest_s for leg in before) - 8.9


def test_a_full_bias_crosses_at_once_and_without_a_crossing_leg_it_hurries_nothing() -> None:
    assert quotes_of(1.0)[0] == []
    assert quotes_of(1.0, fallback=False) == quotes_of(0.0, fallback=False)


def test_a_tuned_symbol_is_worked_by_its_own_policy_and_says_so() -> None:
    policy = policies.policy(tuned={"BTCUSDT": RoutePolicy(True, 0.25, 3.5)})
    tuned, plain = builders.intent(), builders.intent(decision_id="d2", symbol="ETHUSDT")
    found = [routing.plan(Approved(each, each.qty), policy, 60) for each in (tuned, plain)]
    assert [plan.legs[0].offset_bps for plan in found] == [3.5, 0.0]
    assert [plan.legs[0].rest_s for plan in found] == [90.0, 120.0]
    assert found[0].tuning == Tuning(policy.router.default, RoutePolicy(True, 0.25, 3.5))
    assert found[1].tuning == Tuning(policy.router.default, policy.router.default)
    flipped = policies.policy(tuned={"BTCUSDT": RoutePolicy(False, 0.0, 0.0)})
    (only,) = routing.plan(Approved(tuned, tuned.qty), flipped, 60).legs
    assert (only.type, only.post_only, only.budget_bps) == ("LIMIT", False, 50.0)


def test_what_has_no_choice_names_no_policy() -> None:
    for wanted in (builders.leaving(urgent=True), builders.leaving(action="protect")):
        assert routing.plan(Approved(wanted, wanted.qty), policies.policy(), 60).tuning is None


# ---------------------------------------------------------------- an order in flight


@pytest.mark.parametrize("live", STATES.values(), ids=STATES)
@pytest.mark.parametrize("state", ["PREP", "UNKNOWN"])
@pytest.mark.parametrize("needed", [True, False])
def test_an_order_in_doubt_is_waited_for_whatever_happens(state, live, needed) -> None:
    route = builders.worked(state)
    assert step(route, live, needed=needed, now=NOW + 10_000) == "wait"


@pytest.mark.parametrize("state", ["LIVE", "PARTIAL"])
def test_a_resting_order_is_canceled_at_its_deadline(state: str) -> None:
    route = builders.worked(state)
    assert step(route, now=NOW + 119.9) == "wait"
    assert step(route, now=NOW + 120.0) == "cancel"


def test_a_resting_order_is_canceled_when_the_clock_falls_behind_its_signature() -> None:
    assert step(builders.worked("LIVE"), now=NOW - 1.0) == "cancel"


def test_an_order_whose_purpose_is_gone_is_canceled() -> None:
    assert step(builders.worked("LIVE"), needed=False) == "cancel"


def test_a_stop_rests_without_a_deadline() -> None:
    route = builders.worked("LIVE", action="protect", reduce_only=True, legs=(builders.STOP,))
    stop = replace(route, order=replace(route.order, type="STOP_MARKET", deadline_ts=NOW))
    assert step(stop, now=NOW + 10_000) == "wait"


# ---------------------------------------------------------------- the next attempt


def test_a_route_begins_by_sending() -> None:
    assert step(builders.route()) == "send"


@pytest.mark.parametrize("state", ["CANCELED", "EXPIRED", "REJECTED", "NEVER"])
def test_the_next_leg_follows_at_once_when_the_one_before_has_ended(state: str) -> None:
    assert step(builders.worked(state)) == "send"


def test_an_entry_is_over_after_its_last_leg() -> None:
    spent = replace(builders.worked("CANCELED"), attempts=2)
    assert step(spent) == "done"


@pytest.mark.parametrize(("after_s", "wanted"), [(0.0, "wait"), (1.9, "wait"), (2.0, "send")])
def test_a_reducing_route_is_tried_again_after_a_pause(after_s: float, wanted: str) -> None:
    exit_route = builders.worked("REJECTED", action="exit", reduce_only=True, retry_s=2.0)
    assert step(replace(exit_route, attempts=2), now=NOW + after_s) == wanted


def test_a_clock_that_steps_back_does_not_hold_up_a_stop() -> None:
    stop = builders.worked(
        "REJECTED", action="protect", reduce_only=True, retry_s=2.0, legs=(builders.STOP,)
    )
    assert step(stop, now=NOW - 3600) == "send"


@pytest.mark.parametrize(
    ("filled", "wanted"), [("0.998", "send"), ("0.9991", "done"), ("1", "done")]
)
def test_a_route_is_over_when_less_than_an_order_is_lacking(filled: str, wanted: str) -> None:
    route = replace(builders.worked("CANCELED"), filled_qty=Decimal(filled))
    assert step(route) == wanted


def test_a_stop_is_over_when_the_leg_is_gone_and_not_by_quantity() -> None:
    stop = builders.worked(
        "EXPIRED",
        action="protect",
        reduce_only=True,
        retry_s=2.0,
        legs=(builders.STOP,),
        filled_qty=Decimal(1),
    )
    assert step(stop, now=NOW + 2) == "send"
    assert step(stop, needed=False) == "done"


# ---------------------------------------------------------------- the budget

CROSSING = RouteLeg("LIMIT", post_only=False, offset_bps=0.0, rest_s=60.0, budget_bps=20.0)


@pytest.mark.parametrize(
    ("side", "mark", "wanted"),
    # Decided at 100, half a spread is 0.1: the touch is at the budget's last tick, or beyond it.
    [
        ("BUY", 100.1, "send"),
        ("BUY", 100.2, "done"),
        ("SELL", 99.9, "send"),
        ("SELL", 99.8, "done"),
    ],
)
def test_an_entry_that_would_cost_more_than_its_budget_is_not_sent(side, mark, wanted) -> None:
    route = builders.route(side=side, legs=(CROSSING,))
    assert step(route, quote=builders.quote(mark)) == wanted


def test_the_budget_holds_for_the_crossing_leg_alone() -> None:
    dear = builders.quote(120.0)
    route = builders.route(legs=(builders.MAKER, CROSSING))
    assert step(route, quote=dear) == "send"
    assert step(replace(builders.worked("CANCELED"), legs=route.legs), quote=dear) == "done"
    assert step(builders.route(legs=(builders.TAKER,), reduce_only=True), quote=dear) == "send"


@pytest.mark.parametrize(
    "quote",
    [
        None,
        builders.quote(100.0, ask=float("nan")),
        builders.quote(100.0, ask=float("inf")),
        builders.quote(0.0),
    ],
)
def test_a_touch_that_is_not_known_is_waited_for_and_not_given_up(quote: Quote | None) -> None:
    route = builders.route(legs=(CROSSING,))
    assert step(route, quote=quote) == "send"
    assert quote is None or not routing.is_priced(route, quote)


def test_without_rules_no_price_is_too_dear() -> None:
    assert step(builders.route(legs=(CROSSING,)), rules=None, quote=builders.quote(120.0)) == "send"


# ---------------------------------------------------------------- refused quotes


@pytest.mark.parametrize(("refused", "wanted"), [(1, 0), (2, 0), (3, 1), (4, 2)])
def test_so_many_refusals_use_up_no_quote_and_the_next_ones_do(refused: int, wanted: int) -> None:
    quote = replace(builders.MAKER, refusals=2)
    route = builders.route(legs=(quote, builders.TAKER), attempts=refused, refused=refused)
    assert orders.quotes_spent(route) == wanted


# ---------------------------------------------------------------- the trading state

TABLE = [
    # action, state, resting order, next attempt
    ("entry", "ACTIVE", "wait", "send"),
    ("entry", "REDUCING", "cancel", "done"),
    ("entry", "HALTED", "cancel", "done"),
    ("exit", "ACTIVE", "wait", "send"),
    ("exit", "REDUCING", "wait", "send"),
    ("exit", "HALTED", "cancel", "done"),
    ("protect", "ACTIVE", "wait", "send"),
    ("protect", "REDUCING", "wait", "send"),
    ("protect", "HALTED", "wait", "wait"),
    ("flatten", "ACTIVE", "wait", "send"),
    ("flatten", "REDUCING", "wait", "send"),
    ("flatten", "HALTED", "wait", "send"),
]


@pytest.mark.parametrize(("action", "state", "resting", "following"), TABLE)
def test_the_trading_state_stops_routes(action, state, resting, following) -> None:
    fields = {"action": action, "reduce_only": action != "entry"}
    assert step(builders.worked("LIVE", **fields), STATES[state]) == resting
    assert step(builders.route(**fields), STATES[state]) == following


def test_a_halted_symbol_stops_its_routes_and_no_others() -> None:
    halt = TradingState("HALTED", ("position_mismatch",))
    live = Decided(builders.ACTIVE, symbol_trading={"BTCUSDT": halt})
    assert step(builders.worked("LIVE"), live) == "cancel"
    assert step(builders.worked("LIVE", symbol="ETHUSDT"), live) == "wait"


@given(
    st.sampled_from(["entry", "exit", "protect", "flatten"]),
    st.sampled_from(["LIVE", "PARTIAL", "PREP", "UNKNOWN"]),
    st.sampled_from(sorted(STATES)),
    st.booleans(),
    st.integers(min_value=1, max_value=9),
    st.floats(min_value=0, max_value=1e6),
)
def test_nothing_is_sent_while_the_attempt_before_is_open(
    action, order, state, needed, attempts, after_s
) -> None:
    route = builders.worked(order, action=action, reduce_only=action != "entry", retry_s=2.0)
    found = step(replace(route, attempts=attempts), STATES[state], needed=needed, now=NOW + after_s)
    assert found in {"wait", "cancel"}


# ---------------------------------------------------------------- a symbol that is not shown


def test_without_rules_an_order_is_still_canceled_and_a_filled_route_ends() -> None:
    assert step(builders.worked("LIVE"), HALTED, rules=None) == "cancel"
    filled = replace(builders.worked("FILLED"), filled_qty=Decimal(1))
    assert step(filled, rules=None) == "done"


@pytest.mark.parametrize(
    "quote",
    [
        Quote(NOW, bid=float("nan"), ask=100.1, mark=100.0),
        Quote(NOW, bid=99.9, ask=float("inf"), mark=100.0),
        Quote(NOW, bid=0.0, ask=100.1, mark=100.0),
        Quote(NOW, bid=100.2, ask=100.1, mark=100.0),
        Quote(NOW, bid=99.9, ask=100.1, mark=1000.0),
        Quote(NOW, bid=99.9, ask=100.1, mark=float("nan")),
    ],
)
def test_on_an_unsound_quote_only_a_reducing_market_order_is_priced(quote: Quote) -> None:
    assert not routing.is_priced(builders.route(), quote)
    assert not routing.is_priced(builders.route(attempts=1), quote)
    assert not routing.is_priced(builders.route(reduce_only=True), quote)
    assert routing.is_priced(builders.route(reduce_only=True, attempts=1), quote)
    assert routing.is_priced(builders.route(), builders.quote())
