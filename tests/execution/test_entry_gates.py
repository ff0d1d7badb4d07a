"""What holds an entry back after it was approved, from the decision to the sending."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.core import exits, pipeline
from execution.core.risk import trading_state
from execution.core.seam import Ambiguous, Rejected
from execution.core.types import Decided, TradingState
from tests.support import builders, policies
from tests.support.rig import Rig

NOW = builders.NOW
SEEN = builders.snapshot()
STALE_S = 1_000.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "paper-main.sqlite")


def entry(decision_id: str = "d1", **fields):
    return builders.plan(builders.intent("10", decision_id, **fields))


def held_back(**fields) -> dict[str, str]:
    state = builders.state(**fields)
    return dict(pipeline.decide(SEEN, state, policies.policy(), NOW).held_back)


def recorded(**fields):
    return builders.recorded(routes={"d1": builders.worked("EXPIRED")}, **fields)


# ---------------------------------------------------------------- why


def test_nothing_holds_back_an_entry_while_all_is_known_and_fresh() -> None:
    assert held_back(recorded=recorded()) == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"book": builders.book(as_of_ts=NOW - STALE_S)}, "nav_stale"),
        ({"recorded": recorded(reconciled_ts=NOW - STALE_S)}, "reconciliation_stale"),
        ({"quotes": {"BTCUSDT": builders.quote(ts=NOW - STALE_S)}}, "stale_market"),
        ({"quotes": {"BTCUSDT": builders.quote(150.0)}}, "price_collar"),
        ({"rules": {"BTCUSDT": builders.rules(trading=False)}}, "symbol_not_allowed"),
        ({"book": builders.book(cooling_from_s=NOW)}, "cooldown"),
        (
            {"recorded": recorded(rejects={("BTCUSDT", "-2019"): (NOW,) * 3})},
            "repeat_throttle",
        ),
        (
            {"recorded": recorded(open_orders=(builders.order_record("o", state="UNKNOWN"),))},
            "unknown_order_open",
        ),
    ],
)
def test_what_forbids_an_entry_forbids_its_next_attempt(fields, reason: str) -> None:
    assert held_back(**{"recorded": recorded(), **fields}) == {"d1": reason}


def test_an_exit_is_never_held_back() -> None:
    leaving = builders.worked("EXPIRED", action="exit", reduce_only=True)
    state = builders.recorded(routes={"d1": leaving}, reconciled_ts=None)
    assert held_back(recorded=state) == {}


def test_a_symbol_whose_trades_cannot_be_read_may_only_be_reduced() -> None:
    at = builders.state(recorded=builders.recorded(unread=frozenset({"ETHUSDT"})))
    found = trading_state.by_symbol(at, builders.ACTIVE)
    assert found == {"ETHUSDT": TradingState("REDUCING", ("trades_unread",))}
    halted = TradingState("HALTED", ("blind",))
    assert trading_state.by_symbol(at, halted) == {}


# ---------------------------------------------------------------- what becomes of it


def test_an_entry_that_is_held_back_sends_nothing_more(rig: Rig) -> None:
    rig.venue.answers.append(Rejected("-5022", "would cross"))
    rig.tick(entry())
    rig.tick(live=Decided(builders.ACTIVE, held_back={"d1": "stale_market"}))
    rig.tick()
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1"]
    assert rig.ledger.routes() == {}


def test_an_order_that_rests_is_not_canceled_for_what_holds_back_the_next(rig: Rig) -> None:
    rig.tick(entry())
    rig.tick(live=Decided(builders.ACTIVE, held_back={"d1": "reconciliation_stale"}))
    assert rig.venue.canceled == []
    assert rig.orders == {"hgp-d1-1": "LIVE"}


def test_an_entry_beside_one_that_became_unknown_in_the_same_tick_is_not_sent(rig: Rig) -> None:
    rig.venue.answers.append(Ambiguous("no answer"))
    short = {"position_side": "SHORT", "side": "SELL"}
    rig.tick(entry(), entry("d2", **short), entry("d3", symbol="ETHUSDT"))
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1", "hgp-d3-1"]


def test_a_stop_that_the_market_has_reached_already_is_an_exit() -> None:
    refused = builders.order_record(state="REJECTED", code="-2021", reduce_only=True)
    stop = builders.route(
        "s", action="protect", position_id="p-BTCUSDT-LONG", reduce_only=True, order=refused
    )
    held = builders.position(mark_price=90.05)  # the plan's stop is 90, sent on the tick as 90.1
    state = builders.state(
        book=builders.book(positions=(held,)), recorded=builders.recorded(routes={"s": stop})
    )
    due = [(wanted.action, wanted.reason) for wanted in exits.due(state, "main", NOW)]
    assert due == [("exit", "stop_crossed")]


# ---------------------------------------------------------------- withdrawn by its own strategy


@pytest.mark.parametrize(("strategy", "withdrawn"), [("fade", {"d1"}), ("follow", set())])
def test_an_exit_signal_withdraws_the_strategys_entry_into_that_leg(strategy, withdrawn) -> None:
    routes = {
        "d1": builders.worked("LIVE", strategy=strategy),
        "d2": builders.worked("LIVE", decision_id="d2", symbol="ETHUSDT"),
    }
    state = builders.closed_state(
        {"BTCUSDT": builders.QUIET}, recorded=builders.recorded(routes=routes)
    )
    live = pipeline.decide(SEEN, state, policies.policy(), NOW)
    assert live.withdrawn == withdrawn
    assert live.decisions == ()


@pytest.mark.parametrize("filled", [False, True])
def test_a_withdrawn_entry_is_canceled_at_once_and_for_good(rig: Rig, filled: bool) -> None:
    rig.tick(entry())
    if filled:
        rig.venue.fill("hgp-d1-1", "4")
    rig.venue.mute.add("cancel")
    rig.tick(live=Decided(builders.ACTIVE, withdrawn=frozenset({"d1"})))
    rig.venue.mute.clear()
    for _ in range(3):
        rig.tick()
    assert rig.venue.canceled == ["hgp-d1-1"] * 2
    assert [order.client_id for order in rig.venue.sent] == ["hgp-d1-1"]
    assert rig.ledger.routes() == {}
