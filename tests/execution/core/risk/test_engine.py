from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import pipeline
from execution.core.policy import RiskLimits, SymbolLimits
from execution.core.risk import engine
from execution.core.types import Approved, OrderIntent, TradingState, Vetoed
from tests.support import books, builders, policies

NOW = builders.NOW
HALTED = TradingState("HALTED", ("kill_switch",))


def assessed(wanted=None, *, clamp: bool = True, limits: RiskLimits | None = None, **fields):
    policy = policies.policy(clamp=clamp, limits=limits or policies.limits())
    return engine.assess(builders.context(wanted, policy=policy, **fields))


def test_an_intent_within_every_limit_is_approved_as_it_is() -> None:
    assert assessed() == Approved(builders.intent(), Decimal(10))


def test_a_veto_names_every_breach_and_the_first_in_order_is_the_headline() -> None:
    limits = policies.limits(gross_cap_pct=1.0, symbol_cap_pct=1.0, max_concurrent=1)
    at = builders.state(
        book=builders.book(stale=True, positions=(builders.position("ETHUSDT", qty=10.0),))
    )
    found = assessed(limits=limits, state=at)
    assert isinstance(found, Vetoed)
    assert found.reason == "nav_stale"
    assert [b.reason for b in found.breaches] == [
        *("nav_stale", "symbol_nav_cap", "gross_cap", "max_concurrent")
    ]


def test_a_check_that_cannot_answer_is_a_veto_with_its_name() -> None:
    limits = replace(policies.limits(), tiers={})
    found = assessed(limits=limits)
    assert isinstance(found, Vetoed)
    assert (found.reason, found.breaches[0].observed) == ("tier_cap", "error: KeyError")


# ---------------------------------------------------------------- clamping


def test_the_engine_clamps_down_to_the_smallest_headroom() -> None:
    limits = policies.limits(trade_cap_pct=5.0, gross_cap_pct=150.0, symbol_cap_pct=3.0)
    assert assessed(limits=limits) == Approved(
        builders.intent(), Decimal(3), clamped_by="trade_nav_cap"
    )


def test_a_clamped_quantity_is_on_the_grid() -> None:
    limits = policies.limits(symbols={"BTCUSDT": SymbolLimits(max_order_qty=3.33339)})
    found = assessed(limits=limits)
    assert found.qty == Decimal("3.333")


def test_the_gate_refuses_what_the_engine_would_clamp() -> None:
    limits = policies.limits(trade_cap_pct=5.0)
    found = assessed(clamp=False, limits=limits)
    assert isinstance(found, Vetoed)
    assert found.reason == "trade_nav_cap"


def test_what_would_be_below_the_minimum_is_refused_and_not_clamped() -> None:
    limits = policies.limits(trade_cap_pct=1.0, min_notional_usd=150.0)
    found = assessed(limits=limits)
    assert isinstance(found, Vetoed)
    assert found.reason == "trade_nav_cap"


def test_what_no_smaller_order_would_mend_is_refused() -> None:
    limits = policies.limits(trade_cap_pct=5.0)
    old = builders.quote(ts=NOW - 1000)
    found = assessed(limits=limits, quote=old)
    assert isinstance(found, Vetoed)
    assert [b.reason for b in found.breaches] == ["trade_nav_cap", "stale_market"]


@pytest.mark.parametrize("clamp", [True, False])
def test_an_unknown_nav_is_refused_with_or_without_the_engine(clamp: bool) -> None:
    at = builders.state(book=builders.book(known=False, stale=True))
    assert isinstance(assessed(clamp=clamp, state=at), Vetoed)


# ---------------------------------------------------------------- reducing


def test_an_exit_skips_the_caps_and_keeps_its_size() -> None:
    limits = policies.limits(gross_cap_pct=1.0, symbol_cap_pct=1.0, trade_cap_pct=0.1)
    at = builders.state(
        book=builders.book(positions=(builders.position(qty=50.0),), stale=True, drawdown_pct=80.0),
        quotes={},
    )
    leave = builders.leaving("50")
    assert assessed(leave, limits=limits, state=at) == Approved(leave, Decimal(50))


def test_an_exit_obeys_the_trading_state() -> None:
    at = builders.state(book=builders.book(positions=(builders.position(),)))
    found = assessed(builders.leaving(), state=at, trading=HALTED)
    assert isinstance(found, Vetoed)
    assert found.reason == "kill_switch"


def test_an_exit_that_would_enlarge_is_refused_and_not_clamped() -> None:
    at = builders.state(book=builders.book(positions=(builders.position(qty=1.0),)))
    assert isinstance(assessed(builders.leaving("2"), state=at), Vetoed)
    assert isinstance(assessed(builders.leaving("1", side="BUY"), state=at), Vetoed)


# ---------------------------------------------------------------- properties


@st.composite
def intents(draw: st.DrawFn) -> list[OrderIntent]:
    wanted = []
    for i, (symbol, (side, order)) in enumerate(
        draw(st.lists(st.sampled_from(books.LEGS), min_size=2, max_size=6))
    ):
        leave = draw(st.integers(min_value=0, max_value=5)) == 0
        make = builders.leaving if leave else builders.intent
        wanted.append(
            make(
                str(draw(books.QTY)),
                f"d{i}",
                symbol=symbol,
                position_side=side,
                side=order if not leave else {"BUY": "SELL", "SELL": "BUY"}[order],
                strategy=draw(st.sampled_from(["fade", "follow"])),
            )
        )
    return wanted


def at_the_mark(wanted: OrderIntent, state) -> OrderIntent:
    mark = state.quotes[wanted.symbol].mark
    low, high = mark * 0.9, mark * 1.2
    stop, target = (low, high) if wanted.position_side == "LONG" else (high, low)
    plan = replace(builders.PLAN, stop_price=stop, take_profit_price=target)
    return replace(wanted, mark_price=mark, exit=plan)


@settings(max_examples=300)
@given(books.states(), books.policies(), intents())
def test_no_approved_set_of_a_tick_exceeds_a_limit(state, policy, wanted) -> None:
    asked = [at_the_mark(each, state) for each in wanted]
    seen = builders.snapshot(quotes=state.quotes, rules=state.rules)
    decisions = [*pipeline._assess(asked, seen, state, policy, builders.ACTIVE, {}, NOW)]
    approved = [d.verdict for d in decisions if isinstance(d.verdict, Approved)]
    event(f"approved {len(approved)} of {len(asked)}")
    assert books.overruns(state, approved, policy) == []
    doubtful = {o.symbol for o in state.recorded.open_orders if o.state in {"UNKNOWN", "PREP"}}
    held = {(p.symbol, p.position_side): abs(p.qty) for p in state.book.positions}
    for each in approved:
        assert 0 < each.qty <= each.intent.qty
        assert each.qty % Decimal("0.001") == 0
        key = (each.intent.symbol, each.intent.position_side)
        if each.intent.reduce_only:
            assert float(each.qty) <= held[key]
        else:
            assert each.intent.symbol not in doubtful
            assert float(each.qty) * each.intent.mark_price >= 10.0
            assert policy.clamp or each.qty == each.intent.qty


@settings(max_examples=200)
@given(books.states(), books.policies(), intents())
def test_the_engine_only_lets_through_more_than_the_gate_by_making_it_smaller(
    state, policy, wanted
) -> None:
    one = at_the_mark(wanted[0], state)
    gate, clamping = (
        engine.assess(builders.context(one, state=state, policy=replace(policy, clamp=clamp)))
        for clamp in (False, True)
    )
    if isinstance(gate, Approved):
        assert gate == clamping == Approved(one, one.qty)
    elif isinstance(clamping, Approved):
        assert clamping.qty < one.qty
        assert clamping.clamped_by == gate.reason
