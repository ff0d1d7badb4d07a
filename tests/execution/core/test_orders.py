from __future__ import annotations

import itertools
import re
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import orders
from execution.core.seam import OrderState, Quote
from tests.support import builders

STATES: tuple[OrderState, ...] = get_args(OrderState)
ALLOWED = {
    "PREP": {"LIVE", "PARTIAL", "FILLED", "CANCELED", "EXPIRED", "REJECTED", "UNKNOWN"},
    "LIVE": {"PARTIAL", "FILLED", "CANCELED", "EXPIRED", "UNKNOWN"},
    "PARTIAL": {"FILLED", "CANCELED", "EXPIRED", "UNKNOWN"},
    "UNKNOWN": {
        *("LIVE", "PARTIAL", "FILLED", "CANCELED", "EXPIRED"),
        *("REJECTED", "NEVER", "ABANDONED"),
    },
}
TERMINAL = {"FILLED", "CANCELED", "EXPIRED", "REJECTED", "NEVER", "ABANDONED"}
TICKS = st.sampled_from([Decimal(t) for t in ("0.0001", "0.01", "0.05", "0.1", "0.5", "1", "10")])


# ---------------------------------------------------------------- the state machine


@pytest.mark.parametrize(("before", "after"), [*itertools.product(STATES, STATES)])
def test_every_transition_is_the_tables_and_no_other(before: str, after: str) -> None:
    wanted = after if after in ALLOWED.get(before, ()) else before
    assert orders.moved(before, after) == wanted


@given(st.sampled_from(sorted(TERMINAL)), st.lists(st.sampled_from(STATES)))
def test_a_terminal_state_is_never_left(state: OrderState, heard: list[OrderState]) -> None:
    after = state
    for said in heard:
        after = orders.moved(after, said)
    assert after == state


def test_open_and_terminal_are_all_states() -> None:
    assert orders.TERMINAL == TERMINAL
    assert {"PREP", "LIVE", "PARTIAL", "UNKNOWN"} == orders.OPEN
    assert set(STATES) == orders.OPEN | orders.TERMINAL


# ---------------------------------------------------------------- names


@given(
    st.from_regex(r"\A[a-z0-9-]{1,16}\Z"),
    st.from_regex(r"\A[a-z0-9-]{1,24}\Z"),
    st.from_regex(r"\A[A-Z0-9]{2,20}\Z"),
    st.floats(min_value=0, max_value=4e9).map(repr),
    st.sampled_from(["paper", "testnet", "live"]),
    st.integers(min_value=1, max_value=10**9),
)
def test_a_client_id_has_the_exchanges_form(
    account: str, strategy: str, symbol: str, occasion: str, mode: str, attempt: int
) -> None:
    decision = orders.decision_id(account, strategy, symbol, occasion, "entry")
    name = orders.client_id(mode, decision, attempt)
    assert re.fullmatch(r"[.A-Z:/a-z0-9_-]{1,36}", name)
    assert orders.is_own(name, mode)
    assert [m for m in ("paper", "testnet", "live") if orders.is_own(name, m)] == [mode]


def test_a_name_is_the_same_after_a_restart() -> None:
    # Written down: a change of the formula makes an open order a stranger.
    decision = orders.decision_id("main", "fade", "BTCUSDT", "1700006340.0", "entry")
    assert orders.client_id("paper", decision, 2) == "hgp-39a17a4a34df4892b59e-2"


@given(st.lists(st.tuples(*[st.sampled_from("abc|") for _ in range(5)]), unique=True, max_size=40))
def test_different_decisions_have_different_names(parts: list[tuple[str, ...]]) -> None:
    plain = [part for part in parts if "|" not in "".join(part)]
    assert len({orders.decision_id(*part) for part in plain}) == len(plain)


def test_attempts_have_different_names() -> None:
    assert len({orders.client_id("paper", "d", attempt) for attempt in range(1, 100)}) == 99


# ---------------------------------------------------------------- prices


@given(
    st.sampled_from(["BUY", "SELL"]),
    st.floats(min_value=0.01, max_value=200_000),
    st.floats(min_value=0, max_value=50),
    st.floats(min_value=0, max_value=50),
    TICKS,
)
def test_a_post_only_price_never_crosses_the_touch(
    side: str, bid: float, spread_bps: float, offset_bps: float, tick: Decimal
) -> None:
    quote = Quote(builders.NOW, bid=bid, ask=bid * (1 + spread_bps / 1e4), mark=bid)
    leg = builders.RouteLeg("LIMIT", post_only=True, offset_bps=offset_bps, rest_s=60.0)
    price = orders.limit_price(side, leg, quote, tick)
    assert price % tick == 0
    if side == "BUY":
        assert price <= Decimal(repr(quote.bid))
        assert price > Decimal(repr(quote.bid)) * Decimal("0.99499") - tick
    else:
        assert price >= Decimal(repr(quote.ask))
        assert price < Decimal(repr(quote.ask)) * Decimal("1.00501") + tick


def test_without_an_offset_a_touch_on_the_grid_is_joined() -> None:
    quote = Quote(builders.NOW, bid=99.9, ask=100.1, mark=100.0)
    assert orders.limit_price("BUY", builders.MAKER, quote, Decimal("0.1")) == Decimal("99.9")
    assert orders.limit_price("SELL", builders.MAKER, quote, Decimal("0.1")) == Decimal("100.1")


@given(
    st.sampled_from(["BUY", "SELL"]),
    st.floats(min_value=20, max_value=200_000),
    st.floats(min_value=0.1, max_value=200),
    TICKS,
)
def test_a_crossing_limit_is_on_the_grid_and_within_its_budget(
    side: str, decided: float, budget_bps: float, tick: Decimal
) -> None:
    route = builders.route(side=side, mark_price=decided)
    price = orders.budget_price(route.side, route.mark_price, budget_bps, tick)
    assert price % tick == 0
    worse = 1 if side == "BUY" else -1
    bound = Decimal(repr(decided * (1 + worse * budget_bps / 1e4)))
    assert 0 <= worse * (bound - price) < tick


def test_a_crossing_leg_is_a_limit_at_the_budget_wherever_the_touch_is() -> None:
    leg = builders.RouteLeg("LIMIT", post_only=False, offset_bps=0, rest_s=60, budget_bps=25.0)
    order = build(builders.route(legs=(leg,), mark_price=100.0))
    assert (order.type, order.post_only, order.price) == ("LIMIT", False, Decimal("100.2"))
    order = build(builders.route(legs=(leg,), mark_price=100.0, side="SELL"))
    assert order.price == Decimal("99.8")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"state": "REJECTED", "code": "-5022"}, True),
        ({"state": "REJECTED", "code": "-2019"}, False),
        ({"state": "REJECTED", "code": "-5022", "post_only": False}, False),
        ({"state": "EXPIRED"}, True),
        ({"state": "EXPIRED", "filled_qty": Decimal("0.1")}, False),
        ({"state": "EXPIRED", "post_only": False}, False),
        ({"state": "CANCELED"}, False),
    ],
)
def test_a_refused_quote_is_told_by_its_code_or_by_expiring_at_once(fields, wanted) -> None:
    assert orders.is_refused_quote(builders.order_record(**fields)) is wanted


# ---------------------------------------------------------------- the builder


def build(route, **rules):
    return orders.build(route, builders.quote(), builders.rules(**rules), "paper", builders.NOW)


def test_a_maker_leg_is_a_post_only_limit_for_what_is_lacking() -> None:
    order = build(builders.route(qty=Decimal("1.2345"), filled_qty=Decimal("0.2"), attempts=0))
    assert order.client_id == "hgp-d1-1"
    assert (order.type, order.post_only, order.qty) == ("LIMIT", True, Decimal("1.034"))
    assert order.price == Decimal("99.9")
    assert order.stop_price is None
    assert not order.close_position
    assert order.signed_ts == builders.NOW


def test_legs_are_taken_in_order_and_the_last_one_again() -> None:
    types = [build(builders.route(attempts=n)).type for n in range(4)]
    assert types == ["LIMIT", "MARKET", "MARKET", "MARKET"]
    names = [build(builders.route(attempts=n)).client_id for n in range(4)]
    assert names == ["hgp-d1-1", "hgp-d1-2", "hgp-d1-3", "hgp-d1-4"]


def test_a_market_leg_has_no_price() -> None:
    order = build(builders.route(attempts=1))
    assert (order.price, order.stop_price, order.post_only) == (None, None, False)


def test_reduce_only_is_never_dropped() -> None:
    for attempts in range(3):
        assert build(builders.route(reduce_only=True, attempts=attempts)).reduce_only


@pytest.mark.parametrize(("side", "wanted"), [("SELL", "95.2"), ("BUY", "95.1")])
def test_a_stop_closes_the_position_and_fires_early_rather_than_late(
    side: str, wanted: str
) -> None:
    route = builders.route(action="protect", side=side, legs=(builders.STOP,), stop_price=95.14)
    order = build(route)
    assert (order.type, order.close_position) == ("STOP_MARKET", True)
    assert order.stop_price == Decimal(wanted)
    assert order.price is None


def test_an_order_is_not_larger_than_the_exchange_takes() -> None:
    assert build(builders.route(qty=Decimal(50)), max_qty=Decimal(20)).qty == 20


@pytest.mark.parametrize(("most", "asked"), [("30", 30), ("60", 50), (None, 50)])
def test_a_market_order_is_not_larger_than_the_market_s_own_bound(most, asked) -> None:
    bound = {"market_max_qty": None if most is None else Decimal(most)}
    assert build(builders.route(qty=Decimal(50), attempts=1), **bound).qty == asked
    assert build(builders.route(qty=Decimal(50)), **bound).qty == 50  # a limit order is free of it


def test_nothing_is_lacking_of_what_was_overfilled() -> None:
    over = builders.route(qty=Decimal(1), filled_qty=Decimal(2))
    assert orders.remaining_qty(over) == 0
