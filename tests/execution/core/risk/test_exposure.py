from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.core.policy import Universe
from execution.core.risk import exposure
from execution.core.types import Approved
from tests.support import builders, policies

UNIVERSE = Universe(
    listing=(
        policies.listing("BTCUSDT", "CORE"),
        policies.listing("ETHUSDT", "SATELLITE"),
    )
)
BTC_LONG, BTC_SHORT = ("BTCUSDT", "LONG"), ("BTCUSDT", "SHORT")


def measured(positions=(), **recorded) -> exposure.Exposure:
    state = builders.state(
        book=builders.book(positions=positions), recorded=builders.recorded(**recorded)
    )
    return exposure.of(state, UNIVERSE)


def approved(qty: str, **fields) -> Approved:
    wanted = builders.intent(qty, **fields)
    return Approved(wanted, wanted.qty)


def test_a_flat_book_is_exposed_to_nothing() -> None:
    found = measured()
    assert (found.gross_usd, found.net_usd, dict(found.by_leg)) == (0.0, 0.0, {})


def test_gross_counts_both_legs_and_net_their_difference() -> None:
    found = measured((builders.position(qty=3.0), builders.position("BTCUSDT", "SHORT", -1.0)))
    assert found.gross_usd == 400.0
    assert found.symbol_usd("BTCUSDT") == 400.0
    assert found.net_towards_usd("BUY") == 200.0
    assert found.net_towards_usd("SELL") == -200.0


def test_tiers_add_up_their_symbols() -> None:
    found = measured((builders.position(), builders.position("ETHUSDT", qty=2.0)))
    assert found.tier_usd("CORE") == 100.0
    assert found.tier_usd("SATELLITE") == 200.0


def test_a_one_way_leg_leans_the_way_of_its_quantity() -> None:
    found = measured((builders.position("BTCUSDT", "BOTH", -2.0),))
    assert found.net_towards_usd("SELL") == 200.0
    assert found.gross_usd == 200.0


def test_a_position_without_a_mark_counts_at_its_entry() -> None:
    assert measured((builders.position(mark_price=None),)).gross_usd == 100.0


def test_a_route_counts_what_it_still_lacks_whatever_its_order_has_sent() -> None:
    route = builders.route(qty=Decimal(5), filled_qty=Decimal(2))
    assert measured(routes={"d1": route}).gross_usd == 300.0


def test_a_route_counts_at_the_higher_of_its_price_and_the_mark() -> None:
    assert measured(routes={"d1": builders.route(mark_price=130.0)}).gross_usd == 130.0
    assert measured(routes={"d1": builders.route(mark_price=70.0)}).gross_usd == 100.0


def test_an_order_of_a_route_is_not_counted_twice() -> None:
    order = builders.order_record(decision_id="d1", qty=Decimal(1))
    found = measured(routes={"d1": builders.route("d1")}, open_orders=(order,))
    assert found.gross_usd == 100.0


@pytest.mark.parametrize("state", ["LIVE", "PARTIAL", "UNKNOWN", "PREP"])
def test_an_order_without_a_route_counts_at_full_remaining_size(state: str) -> None:
    order = builders.order_record(qty=Decimal(4), filled_qty=Decimal(1), state=state)
    found = measured(open_orders=(order,))
    assert found.by_leg == {BTC_LONG: 300.0}
    assert ("BTCUSDT" in found.unknown) == (state in {"UNKNOWN", "PREP"})


def test_what_reduces_counts_nothing() -> None:
    stop = builders.order_record("s", close_position=True, decision_id="s")
    leave = builders.order_record("x", reduce_only=True, decision_id="x")
    route = builders.route(reduce_only=True, action="exit")
    found = measured(routes={"r": route}, open_orders=(stop, leave))
    assert found.gross_usd == 0.0


def test_an_order_that_may_never_fill_is_no_hedge() -> None:
    # Long 1,000 USD held, short 800 USD only ordered: the net may still become 1,000 and more.
    route = builders.route(side="SELL", position_side="SHORT", qty=Decimal(8))
    found = measured((builders.position(qty=10.0),), routes={"d1": route})
    assert found.net_towards_usd("BUY") == 1000.0
    assert found.net_towards_usd("SELL") == -200.0
    assert found.net_usd == 1000.0


def test_a_fill_that_only_the_ledger_has_seen_is_held() -> None:
    # The route has shrunk by the fill, and the venue's position has not grown by it yet.
    legs = {BTC_LONG: builders.leg(qty="3")}
    route = builders.route(qty=Decimal(5), filled_qty=Decimal(3))
    assert measured(legs=legs, routes={"d1": route}).gross_usd == 500.0
    shown = measured((builders.position(qty=1.0),), legs=legs, routes={"d1": route})
    assert shown.gross_usd == 500.0
    assert shown.net_towards_usd("BUY") == 500.0


def test_what_venue_and_ledger_agree_on_counts_once() -> None:
    legs = {BTC_LONG: builders.leg(qty="3"), BTC_SHORT: builders.leg(side="SHORT", qty="-2")}
    positions = (builders.position(qty=3.0), builders.position("BTCUSDT", "SHORT", -2.0))
    found = measured(positions, legs=legs)
    assert found.gross_usd == 500.0
    assert found.net_towards_usd("BUY") == 100.0


def test_an_approval_is_charged_with_its_own_size_and_owner() -> None:
    wanted = builders.intent("10", strategy="follow")
    clamped = Approved(wanted, Decimal(4), clamped_by="gross_cap")
    before = measured()
    after = before.charged(clamped)
    assert (after.gross_usd, after.net_towards_usd("BUY")) == (400.0, 400.0)
    assert after.owners[BTC_LONG] == "follow"
    assert after.entries == {"BTCUSDT": 1}
    assert before.gross_usd == 0.0


def test_charges_add_up() -> None:
    found = measured((builders.position(qty=1.0),))
    found = found.charged(approved("2")).charged(approved("3"))
    found = found.charged(approved("4", side="SELL", position_side="SHORT"))
    assert found.by_leg == {BTC_LONG: 600.0, BTC_SHORT: 400.0}
    assert (found.net_towards_usd("BUY"), found.net_towards_usd("SELL")) == (600.0, 300.0)
    assert found.entries == {"BTCUSDT": 3}


def test_an_exit_is_not_charged() -> None:
    before = measured((builders.position(),))
    leave = builders.leaving()
    after = before.charged(Approved(leave, leave.qty))
    assert after.leaving == {("BTCUSDT", "LONG")}
    assert replace(after, leaving=frozenset()) == before


def test_a_leg_is_owned_by_its_holder_before_anybody_who_opens() -> None:
    route = replace(builders.route(), strategy="follow")
    found = measured((builders.position(strategy="fade"),), routes={"d1": route})
    assert found.owners[BTC_LONG] == "fade"
    assert measured(routes={"d1": route}).owners[BTC_LONG] == "follow"
    assert measured((builders.position(strategy=None),)).owners[BTC_LONG] == "foreign"
