from __future__ import annotations

import timeit
from decimal import Decimal
from itertools import product
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from execution.core.guarded import Failed
from execution.core.payloads import journals, order_events
from execution.core.records import ClosedTrade, ExitPlan, OrderChange, OrderRecord, Recorded, Route
from execution.core.seam import OrderState, Trade
from execution.core.types import (
    Approved,
    Breach,
    Decided,
    Decision,
    OrderIntent,
    OrderResult,
    Signal,
    TickReport,
    TradingState,
    Vetoed,
)
from execution.state_schema import journals as shapes
from execution.state_schema import order_journals
from scripts.benchmarks import sample

NOW = sample.NOW
RUN = sample.run_info()
ACTIVE = TradingState("ACTIVE")


def intent(decision_id: str = "d1", qty: str = "0.5") -> OrderIntent:
    return OrderIntent(
        decision_id=decision_id,
        strategy="trend",
        symbol="BTCUSDT",
        position_side="LONG",
        side="BUY",
        action="entry",
        qty=Decimal(qty),
        mark_price=60_000.0,
        bar_open_ts=NOW - 60,
        reduce_only=False,
        urgent=False,
        reason="cross",
        exit=ExitPlan(59_000.0, 63_000.0, NOW + 900),
        size_factor=0.25,
    )


def approved(decision_id: str = "d1", qty: str = "0.5") -> Decision:
    wanted = intent(decision_id)
    return Decision(wanted, Approved(wanted, Decimal(qty)), None)


def vetoed(decision_id: str = "d2") -> Decision:
    breaches = (Breach("gross_cap", 150.0, 151.5, "pct"), Breach("max_concurrent", 4, 5, "legs"))
    return Decision(intent(decision_id), Vetoed(intent(decision_id), breaches), None)


def order(state: OrderState = "LIVE", decision_id: str = "d1") -> OrderRecord:
    return OrderRecord(
        client_id="hgp-d1-1",
        decision_id=decision_id,
        attempt=1,
        symbol="BTCUSDT",
        side="BUY",
        position_side="LONG",
        type="LIMIT",
        qty=Decimal("0.5"),
        price=Decimal(59_940),
        stop_price=None,
        reduce_only=False,
        close_position=False,
        post_only=True,
        state=state,
        filled_qty=Decimal("0.1"),
        signed_ts=NOW - 3,
        deadline_ts=NOW + 10,
        venue_order_id="77",
        code="-2010" if state == "REJECTED" else None,
    )


def route(current: OrderRecord) -> Route:
    return Route(
        decision_id="d1",
        strategy="trend",
        symbol="BTCUSDT",
        position_side="LONG",
        side="BUY",
        action="entry",
        qty=Decimal("0.5"),
        filled_qty=Decimal(0),
        mark_price=60_000.0,
        reduce_only=False,
        position_id=None,
        stop_price=None,
        legs=(),
        retry_s=None,
        attempts=1,
        order=current,
    )


def trade(side: str = "BUY", price: str = "59940", *, maker: bool = True) -> Trade:
    return Trade(
        symbol="BTCUSDT",
        trade_id="9",
        client_id="hgp-d1-1",
        venue_order_id="77",
        side=side,  # type: ignore[arg-type]
        position_side="LONG",
        qty=Decimal("0.5"),
        price=Decimal(price),
        fee=Decimal("5.994"),
        fee_asset="USDT",
        fee_usd=Decimal("5.994"),
        realized_usd=Decimal(0),
        maker=maker,
        ts=NOW - 1,
    )


def tick(**changes: Any) -> TickReport:
    live = Decided(ACTIVE, **changes.pop("live", {}))
    recorded = Recorded(day="d", **changes.pop("recorded", {}))
    report = sample.tick(2)
    return replace(report, live=live, state=replace(report.state, recorded=recorded), **changes)


def named(report: TickReport) -> list[tuple[str, str]]:
    return [
        (journal.name, str(type(record).__struct_config__.tag))
        for journal, record in journals.records(report, RUN)
    ]


def only(report: TickReport, shape: type) -> Any:
    (found,) = [each for _, each in journals.records(report, RUN) if isinstance(each, shape)]
    return found


# ---------------------------------------------------------------- records of a tick


def test_a_quiet_tick_leaves_nothing_and_costs_little():
    report = sample.tick(10)
    assert journals.records(report, RUN) == []
    cost_s = min(timeit.repeat(lambda: journals.records(report, RUN), number=2000, repeat=5)) / 2000
    assert cost_s < 10e-6


def test_every_record_is_one_of_its_journal_and_says_when_and_who():
    report = tick(
        live={
            "decisions": (approved(), vetoed()),
            "signals": (Signal("trend", "BTCUSDT", "LONG", "entry", NOW - 60, 1.5, "cross", 12.0),),
        },
        recorded={
            "changes": (OrderChange(order("LIVE"), "PREP", "accepted"),),
            "trades": (trade(),),
            "closed": (
                ClosedTrade(
                    "p1",
                    "ETHUSDT",
                    "SHORT",
                    "trend",
                    NOW - 900,
                    NOW,
                    Decimal(2),
                    Decimal(7),
                    Decimal(1),
                    Decimal(200),
                    Decimal(3),
                ),
            ),
        },
        results=(OrderResult("d3", OrderChange(order("UNKNOWN"), "PREP", "timeout")),),
        shadow=Decided(ACTIVE, decisions=(vetoed("d1"),)),
    )
    assert named(report) == [
        ("orders_executed", "ack"),
        ("orders_executed", "fill"),
        ("order_metrics", "fill"),
        ("orders_executed", "close"),
        ("signal_metrics", "signal"),
        ("orders_attempted", "intent"),
        ("orders_attempted", "intent"),
        ("risk_vetoes", "veto"),
        ("orders_executed", "unknown"),
        ("pipeline_v6_shadow", "decision"),
        ("pipeline_v6_shadow", "decision"),
    ]
    for journal, record in journals.records(report, RUN):
        assert journal.decoder.decode(msgspec.json.encode(record)) == record
        assert (record.ts, record.run_id) == (NOW, "run-1")


def test_every_intent_is_attempted_before_its_verdict():
    found = only(tick(live={"decisions": (vetoed(),)}), order_journals.Intent)
    assert (found.decision_id, found.qty, found.notional_usd) == ("d2", 0.5, 30_000.0)
    assert (found.stop_price, found.deadline_ts, found.size_factor) == (59_000.0, NOW + 900, 0.25)


def test_a_veto_has_its_headline_limit_and_every_reason():
    found = only(tick(live={"decisions": (vetoed(),)}), shapes.Veto)
    assert (found.reason, found.limit, found.observed, found.unit) == (
        "gross_cap",
        150.0,
        151.5,
        "pct",
    )
    assert found.reasons == ("gross_cap", "max_concurrent")


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize(
    ("was", "state", "event"),
    [
        ("PREP", "LIVE", "ack"),
        ("PREP", "FILLED", "ack"),
        ("PREP", "PARTIAL", "ack"),
        ("PREP", "REJECTED", "reject"),
        ("PREP", "UNKNOWN", "unknown"),
        ("LIVE", "UNKNOWN", "unknown"),
        ("LIVE", "CANCELED", "cancel"),
        ("PARTIAL", "EXPIRED", "cancel"),
        ("UNKNOWN", "LIVE", "resolved"),
        ("UNKNOWN", "FILLED", "resolved"),
        ("UNKNOWN", "NEVER", "resolved"),
        ("UNKNOWN", "ABANDONED", "resolved"),
        ("UNKNOWN", "REJECTED", "resolved"),
        ("LIVE", "FILLED", None),
        ("LIVE", "PARTIAL", None),
        ("PREP", "PREP", None),
        ("UNKNOWN", "UNKNOWN", None),
    ],
)
def test_each_change_has_its_event(was, state, event):
    found = order_events.order_event(OrderChange(order(state), was, "why"), NOW, "r")
    assert (None if found is None else type(found).__struct_config__.tag) == event
    if found is not None:
        assert (found.state, found.was, found.reason, found.price) == (state, was, "why", 59_940.0)


def test_no_change_of_state_raises():
    states = get_args(OrderState)
    for was, state in product(states, states):
        order_events.order_event(OrderChange(order(state), was, ""), NOW, "r")


def test_a_reject_has_the_venues_code():
    found = order_events.order_event(OrderChange(order("REJECTED"), "PREP", "no"), NOW, "r")
    assert isinstance(found, order_journals.Reject)
    assert found.code == "-2010"


def test_a_fill_takes_its_decision_from_the_order_it_belongs_to():
    report = tick(recorded={"trades": (trade(),), "open_orders": (order("PARTIAL"),)})
    found = only(report, order_journals.Fill)
    assert (found.decision_id, found.fee_usd, found.maker, found.trade_ts) == (
        "d1",
        5.994,
        True,
        NOW - 1,
    )
    foreign = only(tick(recorded={"trades": (trade(),)}), order_journals.Fill)
    assert foreign.decision_id is None


@pytest.mark.parametrize(
    ("side", "price", "slippage_bps"),
    [
        ("BUY", "60060", 10.0),
        ("BUY", "59940", -10.0),
        ("SELL", "59940", 10.0),
        ("SELL", "60060", -10.0),
    ],
)
def test_slippage_is_positive_when_worse_for_us(side, price, slippage_bps):
    current = replace(order("FILLED"), side=side)
    report = tick(recorded={"trades": (trade(side, price),), "routes": {"d1": route(current)}})
    found = only(report, order_journals.FillMetric)
    assert found.slippage_bps == pytest.approx(slippage_bps)
    assert found.decision_price == 60_000.0


def test_no_slippage_is_a_plain_zero():
    current = replace(order("FILLED"), side="SELL")
    report = tick(recorded={"trades": (trade("SELL", "60000"),), "routes": {"d1": route(current)}})
    assert str(only(report, order_journals.FillMetric).slippage_bps) == "0.0"


def test_metrics_say_route_offset_and_waiting_from_records():
    report = tick(
        recorded={"trades": (trade(maker=False),), "routes": {"d1": route(order("FILLED"))}}
    )
    found = only(report, order_journals.FillMetric)
    assert (found.route, found.attempt, found.type) == ("taker", 1, "LIMIT")
    assert found.offset_bps == pytest.approx(10.0)
    assert (found.sent_ts, found.filled_ts, found.wait_s) == (NOW - 3, NOW - 1, 2.0)
    assert found.fees_usd == 5.994


def test_what_is_not_known_of_a_fill_is_null():
    found = only(tick(recorded={"trades": (trade(),)}), order_journals.FillMetric)
    unknown = [
        found.decision_price,
        found.slippage_bps,
        found.offset_bps,
        found.sent_ts,
        found.wait_s,
    ]
    assert unknown == [None] * 5


# ---------------------------------------------------------------- the shadow


def pairs(report: TickReport) -> dict[str, shapes.ShadowDecision]:
    return {
        record.decision_id: record
        for _, record in journals.records(report, RUN)
        if isinstance(record, shapes.ShadowDecision)
    }


def test_decisions_are_paired_by_id_and_each_appears_once():
    report = tick(
        live={"decisions": (approved("both"), vetoed("live only"))},
        shadow=Decided(ACTIVE, decisions=(vetoed("both"), approved("shadow only", "0.2"))),
    )
    found = pairs(report)
    assert set(found) == {"both", "live only", "shadow only"}
    assert found["both"].live == shapes.Judgement(
        approved=True, reason=None, qty=0.5, notional_usd=30_000.0
    )
    assert found["both"].shadow == shapes.Judgement(
        approved=False, reason="gross_cap", qty=0.0, notional_usd=0.0
    )
    assert found["live only"].shadow is None
    assert found["shadow only"].live is None
    assert found["shadow only"].shadow is not None
    assert found["shadow only"].shadow.qty == 0.2


def test_without_a_shadow_nothing_is_paired():
    assert pairs(tick(live={"decisions": (approved(),)})) == {}


def test_of_a_tick_in_which_a_policy_failed_nothing_is_paired():
    decided, broken = (approved(),), (Failed("shadow", ValueError("broken")),)
    fine, failed = Decided(ACTIVE), Decided(ACTIVE, failures=broken)
    assert pairs(tick(live={"decisions": decided}, shadow=failed)) == {}
    assert pairs(tick(live={"decisions": decided, "failures": broken}, shadow=fine)) == {}
    assert len(pairs(tick(live={"decisions": decided}, shadow=fine))) == 1
