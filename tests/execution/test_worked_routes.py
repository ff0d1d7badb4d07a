"""Routes from plan to end on the real desk and ledger, and the record that each one leaves."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.core import routing
from execution.core.payloads.route_metrics import route_metric
from execution.core.policy import Policy
from execution.core.records import RouteEnd, RoutePolicy
from execution.core.seam import NewOrder, Rejected
from execution.core.types import Approved, OrderIntent, RoutePlan
from execution.state_schema import registry
from execution.state_schema.order_journals import RouteMetric
from tests.support import builders, policies
from tests.support.rig import Rig

NOW = builders.NOW
WOULD_CROSS = Rejected("-5022", "post-only order would cross")
OUTCOMES = st.sampled_from(["refused", "expired", "rests", "part", "filled"])


def policy(**router) -> Policy:
    return policies.policy(router=policies.router(**router))


def plan(wanted: OrderIntent | None = None, under: Policy | None = None) -> RoutePlan:
    wanted = builders.intent() if wanted is None else wanted
    return routing.plan(Approved(wanted, wanted.qty), under or policy(), 60)


def ends(rig: Rig) -> Iterator[RouteEnd]:
    return (result for result in rig.results if isinstance(result, RouteEnd))


def metric(rig: Rig, *, dt: float = 1.0, ticks: int = 20) -> RouteMetric:
    """Tick until a route ends; return its record as the journal's readers decode it."""
    for _ in range(ticks):
        rig.tick(dt=dt)
        for end in ends(rig):
            line = msgspec.json.encode(route_metric(end, rig.clock.now() - dt, "r1"))
            found = registry.ORDER_METRICS.decoder.decode(line)
            assert isinstance(found, RouteMetric)
            return found
    raise AssertionError("the route does not end")


@pytest.fixture
def rig() -> Rig:
    return Rig(durable=False)


# ---------------------------------------------------------------- any story


class Story:
    """A venue that lets each order meet the next of a list of fates; after them, all rest."""

    def __init__(self, rig: Rig, fates: list[str]) -> None:
        self.rig = rig
        self.fates = iter(fates)
        self.refused = 0
        self.new: dict[str, str] = {}
        rig.venue.watch = self.meet

    def meet(self, order: NewOrder) -> None:
        fate = next(self.fates, "rests")
        if fate == "refused" and order.post_only:
            self.rig.venue.answers.append(WOULD_CROSS)
            self.refused += 1
        else:
            self.new[order.client_id] = fate

    def go_on(self) -> None:
        venue = self.rig.venue
        for name, fate in self.new.items():
            if fate == "expired":
                venue.end(name, "EXPIRED")
                self.refused += venue.orders[name].client_id in {
                    order.client_id for order in venue.sent if order.post_only
                }
            elif fate in ("part", "filled"):
                venue.fill(name, "4" if fate == "part" and venue.orders[name].qty > 4 else None)
        self.new.clear()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(OUTCOMES, max_size=14),
    st.integers(min_value=0, max_value=3),
    st.integers(min_value=0, max_value=3),
    st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    st.booleans(),
)
def test_any_entry_ends_bounded_with_one_order_at_a_time_and_a_true_record(
    fates: list[str], requotes: int, refusals: int, bias: float, fallback: bool
) -> None:
    rig = Rig(durable=False)
    under = policy(
        requotes=requotes,
        post_only_refusals=refusals,
        taker_bias=bias,
        entry_taker_fallback=fallback,
    )
    wanted = plan(under=under)
    story, venue = Story(rig, fates), rig.venue
    rig.tick(wanted, dt=20.0)
    while not list(ends(rig)):
        assert sum(order.state in ("LIVE", "PARTIAL") for order in venue.orders.values()) <= 1
        story.go_on()
        rig.tick(dt=20.0)
        assert rig.clock.now() < NOW + 4000, "the route does not end"
    (end,) = ends(rig)
    found = route_metric(end, rig.clock.now(), "r1")
    assert found.attempts == len(venue.sent) <= len(wanted.legs) + min(story.refused, refusals)
    assert found.filled_qty == float(sum((t.qty for t in venue.done), Decimal(0)))
    assert sum(found.rejects.values()) == story.refused
    assert found.outcome == ("filled" if found.filled_qty == 10 else found.outcome)
    assert (found.cost_bps is None) == (found.outcome == "unfilled")
    # Every order keeps to its leg: quotes first, and what crosses comes last and once.
    assert [order.post_only for order in venue.sent] == sorted(
        (order.post_only for order in venue.sent), reverse=True
    )
    assert sum(not order.post_only for order in venue.sent) <= fallback
    assert all(order.type == "LIMIT" for order in venue.sent)


def test_a_refused_quote_is_quoted_again_and_costs_no_patience(rig: Rig) -> None:
    rig.venue.answers.extend([WOULD_CROSS, WOULD_CROSS])
    rig.tick(plan(under=policy(requotes=0, post_only_refusals=2)))
    rig.tick()
    rig.tick()
    assert [(order.client_id, order.post_only) for order in rig.venue.sent] == [
        ("hgp-d1-1", True),
        ("hgp-d1-2", True),
        ("hgp-d1-3", True),
    ]
    assert rig.orders == {"hgp-d1-3": "LIVE"}


def test_refusals_without_end_use_the_quotes_up(rig: Rig) -> None:
    rig.venue.answers.extend([WOULD_CROSS] * 9)
    rig.tick(plan(under=policy(requotes=1, post_only_refusals=2, entry_taker_fallback=False)))
    found = metric(rig)
    assert (found.attempts, found.rejects, found.outcome) == (4, {"-5022": 4}, "unfilled")
    assert (found.quoted, found.requotes) == (True, 0)


# ---------------------------------------------------------------- what it cost


def test_a_makers_fill_is_measured_from_its_trade(rig: Rig) -> None:
    rig.tick(plan())
    rig.venue.fill("hgp-d1-1", price="99.9")
    found = metric(rig)
    assert (found.outcome, found.qty, found.filled_qty) == ("filled", 10.0, 10.0)
    assert (found.maker_qty, found.taker_qty) == (10.0, 0.0)
    assert (found.decision_price, found.average_price) == (100.0, 99.9)
    assert found.slippage_bps == pytest.approx(-10.0)
    assert found.fees_usd == 0.02
    assert found.fee_bps == pytest.approx(1e4 * 0.02 / 999)
    assert found.cost_bps == pytest.approx(-10 + 1e4 * 0.02 / 999)
    assert (found.attempts, found.requotes, found.rejects) == (1, 0, {})
    assert found.time_to_fill_s == pytest.approx(0.001, abs=1e-6)
    assert found.policy == found.policy_configured == RoutePolicy(True, 0.0, 0.0)


def test_what_the_maker_left_is_the_takers_and_dearer(rig: Rig) -> None:
    rig.tick(plan(under=policy(requotes=0)))
    rig.venue.fill("hgp-d1-1", "4", price="99.9")
    rig.tick(dt=130.0)
    rig.tick()
    rig.tick()
    rig.venue.fill("hgp-d1-2", price="100.2", maker=False)
    found = metric(rig)
    assert (found.maker_qty, found.taker_qty, found.filled_usd) == (4.0, 6.0, 1000.8)
    assert found.slippage_bps == pytest.approx(8.0)
    assert (found.attempts, found.outcome) == (2, "filled")


def test_a_sellers_slippage_is_what_it_got_less(rig: Rig) -> None:
    short = builders.intent(side="SELL", position_side="SHORT", exit=builders.SHORT_PLAN)
    rig.tick(plan(short, policy(maker_first=False)))
    rig.venue.fill("hgp-d1-1", price="99.9", maker=False)
    found = metric(rig)
    assert (found.quoted, found.taker_qty) == (False, 10.0)
    assert found.slippage_bps == pytest.approx(10.0)


def test_what_was_not_filled_has_no_price_and_no_cost(rig: Rig) -> None:
    rig.tick(plan(under=policy(entry_taker_fallback=False)))
    found = metric(rig, dt=60.0)
    assert (found.outcome, found.filled_usd, found.fees_usd) == ("unfilled", 0.0, 0.0)
    assert found.average_price is found.slippage_bps is found.fee_bps is found.cost_bps is None
    assert found.time_to_fill_s is None
    assert (found.attempts, found.requotes, found.quoted) == (2, 1, True)


def test_the_record_shows_the_policy_before_and_after_tuning(rig: Rig) -> None:
    tuned = policies.policy(tuned={"BTCUSDT": RoutePolicy(True, 0.5, 2.0)})
    rig.tick(plan(under=tuned))
    assert str(rig.venue.sent[0].price) == "99.8"  # 2 bps under the bid of 99.9, on the tick
    rig.venue.fill("hgp-d1-1")
    found = metric(rig)
    assert found.policy == RoutePolicy(True, 0.5, 2.0)
    assert found.policy_configured == RoutePolicy(True, 0.0, 0.0)


def test_an_urgent_exit_and_a_stop_name_no_policy_and_a_stop_is_measured_from_its_trigger(
    rig: Rig,
) -> None:
    rig.tick(plan())
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    position_id = rig.ledger.legs()["BTCUSDT", "LONG"].position_id
    stop = builders.leaving("10", "s1", action="protect", position_id=position_id)
    rig.tick(plan(stop))
    rig.venue.fill("hgp-s1-1", price="89.1", maker=False)
    found = metric(rig)
    assert (found.action, found.policy, found.quoted) == ("protect", None, False)
    assert found.decision_price == 90.0
    assert found.slippage_bps == pytest.approx(100.0)


def test_a_reopened_exit_tells_only_what_is_new(rig: Rig) -> None:
    rig.tick(plan())
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    position_id = rig.ledger.legs()["BTCUSDT", "LONG"].position_id
    leave = builders.leaving("4", "x1", position_id=position_id)
    rig.tick(plan(leave))
    rig.venue.fill("hgp-x1-1", maker=False)
    first = metric(rig)
    rig.tick(plan(builders.leaving("6", "x1", position_id=position_id)))
    rig.venue.fill("hgp-x1-2", maker=False)
    second = metric(rig)
    told = [(m.qty, m.filled_qty, m.attempts, m.outcome) for m in (first, second)]
    assert told == [(4.0, 4.0, 1, "filled"), (6.0, 6.0, 1, "filled")]
