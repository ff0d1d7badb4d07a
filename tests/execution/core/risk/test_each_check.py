"""Each check by itself: a sound intent with one thing wrong is vetoed by the engine, for that alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.core.policy import SymbolLimits
from execution.core.risk import checks, engine
from execution.core.types import Approved, TradingState, Vetoed
from tests.support import builders, policies

NOW = builders.NOW
REDUCING = TradingState("REDUCING", ("low_disk",))
HALTED = TradingState("HALTED", ("kill_switch",))


def limits(**changes):
    return {"policy": policies.policy(clamp=False, limits=policies.limits(**changes))}


def symbol(**changes):
    return limits(symbols={"BTCUSDT": SymbolLimits(**changes)})


def book(*positions, **changes):
    return {"state": builders.state(book=builders.book(positions=positions, **changes))}


def recorded(**changes):
    return {"state": builders.state(recorded=builders.recorded(**changes))}


DOUBTFUL = builders.order_record(state="UNKNOWN", reduce_only=True)
# The check, what is wrong, and the reason where it is not the check's own name.
ENTRY = [
    ("trading_state", {"trading": REDUCING}, "low_disk"),
    ("nav_stale", book(stale=True), None),
    ("reconciliation_stale", recorded(reconciled_ts=None), None),
    ("symbol_not_allowed", {"rules": builders.rules(trading=False)}, None),
    ("side_blocked", symbol(blocked_sides=("LONG",)), None),
    ("leg_owned", book(builders.position(strategy="follow")), None),
    ("nav_drawdown_limit", book(drawdown_pct=10.0), None),
    ("day_loss_limit", book(day_pnl_usd=-500.0), None),
    ("cooldown", book(cooling_from_s=NOW), None),
    ("below_min_notional", limits(min_notional_usd=1000.01), None),
    ("max_order_notional", limits(max_order_notional_usd=999.0), None),
    ("max_order_qty", symbol(max_order_qty=9.0), None),
    ("price_collar", {"quote": builders.quote(102.0)}, None),
    ("leverage_cap", limits(leverage_cap=0.09), None),
    ("trade_nav_cap", limits(trade_cap_pct=9.0), None),
    ("symbol_nav_cap", limits(symbol_cap_pct=9.0), None),
    ("symbol_nav_cap", symbol(cap_pct=9.0), None),
    ("tier_cap", limits(tiers={"CORE": 9.0}), None),
    ("gross_cap", limits(gross_cap_pct=9.0), None),
    ("net_cap", limits(net_cap_pct=9.0), None),
    (
        "max_concurrent",
        {**book(builders.position("ETHUSDT")), **limits(max_concurrent=1)},
        None,
    ),
    (
        "order_rate",
        {**recorded(entries={"ETHUSDT": (NOW - 0.5,)}), **limits(entries_per_second=1)},
        None,
    ),
    (
        "order_rate",
        {**recorded(entries={"ETHUSDT": (NOW - 59,)}), **limits(entries_per_minute=1)},
        None,
    ),
    (
        "order_rate",
        {**recorded(entries={"BTCUSDT": (NOW - 3500,)}), **limits(entries_per_symbol_window=1)},
        None,
    ),
    ("duplicate_intent", recorded(routes={"d1": builders.route("d1")}), None),
    ("repeat_throttle", recorded(rejects={("BTCUSDT", "-2019"): (NOW,) * 3}), None),
    ("unknown_order_open", recorded(open_orders=(DOUBTFUL,)), None),
    ("margin_insufficient", {"policy": policies.policy(clamp=False, leverage=0.09)}, None),
    ("stale_market", {"quote": builders.quote(ts=NOW - 100)}, None),
    ("exit_plan_missing", {"wanted": builders.intent(exit=None)}, None),
]
HELD = book(builders.position())
EXIT = [
    ("trading_state", {"trading": HALTED}, "kill_switch"),
    (
        "duplicate_intent",
        {
            "state": builders.state(
                book=builders.book(positions=(builders.position(),)),
                recorded=builders.recorded(routes={"x1": builders.route("x1", reduce_only=True)}),
            )
        },
        None,
    ),
    ("bad_number", {"wanted": builders.leaving("0")}, "below_min_notional"),
    ("reduce_only_enlarges", {"wanted": builders.leaving("1.001")}, None),
]


def judged(fields, wanted):
    fields = {"policy": policies.policy(clamp=False), **fields}
    return engine.assess(builders.context(fields.pop("wanted", wanted), **fields))


@pytest.mark.parametrize(("check", "fields", "reason"), ENTRY, ids=[row[0] for row in ENTRY])
def test_one_thing_wrong_with_an_entry_is_a_veto_for_that_alone(check, fields, reason) -> None:
    found = judged(fields, builders.intent())
    assert isinstance(found, Vetoed)
    assert [breach.reason for breach in found.breaches] == [reason or check]


@pytest.mark.parametrize(("check", "fields", "reason"), EXIT, ids=[row[0] for row in EXIT])
def test_one_thing_wrong_with_an_exit_is_a_veto_for_that_alone(check, fields, reason) -> None:
    found = judged({**HELD, **fields}, builders.leaving())
    assert isinstance(found, Vetoed)
    assert [breach.reason for breach in found.breaches] == [reason or check]


def test_with_nothing_wrong_both_are_approved() -> None:
    assert isinstance(judged({}, builders.intent()), Approved)
    assert isinstance(judged(HELD, builders.leaving()), Approved)


def test_an_entry_worth_more_than_any_account_is_refused_and_not_clamped() -> None:
    wanted = builders.intent("1e12")
    found = engine.assess(builders.context(wanted))
    assert isinstance(found, Vetoed)
    sensible = engine.assess(builders.context(replace(wanted, qty=Decimal(1000))))
    assert isinstance(sensible, Approved)
    assert sensible.clamped_by is not None


def test_every_check_is_asked_here() -> None:
    asked = {row[0] for row in ENTRY}
    assert {check.__name__ for check in checks.ENTRY} - asked == {"bad_number", "crosses_zero"}
    assert {check.__name__ for check in checks.VALIDITY} == {row[0] for row in EXIT}
