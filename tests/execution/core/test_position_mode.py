"""One-way mode in the decisions: an opposite intent first reduces, and no order crosses zero."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import pipeline, routing
from execution.core.exits import encloses
from execution.core.position_mode import direction_of, leg_side, opposes
from execution.core.risk import checks
from execution.core.types import Approved, Decided, EngineState
from tests.support import builders, policies

NOW = builders.NOW
BOTH = ("BTCUSDT", "BOTH")
ONE_WAY = policies.policy(position_mode="one_way")
DIPPED, SPIKED = {"BTCUSDT": builders.DIP}, {"BTCUSDT": builders.SPIKE}


def decided(state: EngineState) -> Decided:
    return pipeline.decide(builders.snapshot(), state, ONE_WAY, NOW)


def holding(closes: dict[str, list[float]], qty: float, **fields: object) -> EngineState:
    """Return the state of a bar on which the strategy wants something while this is held."""
    position = builders.position(side="BOTH", qty=qty, **fields)
    leg = builders.leg(
        side="BOTH", qty=str(qty), position_id=position.position_id, strategy=position.strategy
    )
    return builders.closed_state(
        closes,
        book=builders.book(positions=(position,)),
        recorded=builders.recorded(legs={BOTH: leg}, protected=frozenset({BOTH})),
    )


def said(live: Decided) -> list[tuple[str, str, str, bool]]:
    return [
        (d.intent.action, d.intent.side, d.intent.position_side, isinstance(d.verdict, Approved))
        for d in live.decisions
    ]


@pytest.mark.parametrize(("closes", "side"), [(DIPPED, "BUY"), (SPIKED, "SELL")])
def test_an_entry_from_flat_is_for_the_one_leg(closes: dict[str, list[float]], side: str) -> None:
    live = decided(builders.closed_state(closes))
    assert said(live) == [("entry", side, "BOTH", True)]
    plan = live.decisions[0].intent.exit
    assert plan is not None
    assert encloses(plan, 100.0, "LONG" if side == "BUY" else "SHORT")


@pytest.mark.parametrize(
    ("closes", "qty", "out", "back"), [(SPIKED, 1.0, "SELL", "SELL"), (DIPPED, -1.0, "BUY", "BUY")]
)
def test_an_opposite_signal_leaves_first_and_its_entry_is_a_second_order(
    closes: dict[str, list[float]], qty: float, out: str, back: str
) -> None:
    live = decided(holding(closes, qty))
    assert said(live) == [("exit", out, "BOTH", True), ("entry", back, "BOTH", True)]
    leave, enter = (decision.intent for decision in live.decisions)
    assert (leave.reduce_only, leave.qty) == (True, Decimal("1.0"))
    assert enter.reduce_only is False


@pytest.mark.parametrize(("closes", "qty"), [(DIPPED, 1.0), (SPIKED, -1.0)])
def test_the_same_direction_is_not_entered_twice(
    closes: dict[str, list[float]], qty: float
) -> None:
    assert said(decided(holding(closes, qty))) == []


@pytest.mark.parametrize("owner", ["other", None])
def test_what_another_holds_is_neither_left_nor_crossed(owner: str | None) -> None:
    live = decided(holding(SPIKED, 1.0, strategy=owner))
    assert said(live) == [("entry", "SELL", "BOTH", False)]
    verdict = live.decisions[0].verdict
    assert [b.reason for b in verdict.breaches] == ["leg_owned", "crosses_zero"]  # type: ignore[union-attr]


def test_a_blocked_side_blocks_the_direction() -> None:
    limits = policies.limits(symbols={"BTCUSDT": policies.SymbolLimits(blocked_sides=("SHORT",))})
    short = builders.intent(side="SELL", position_side="BOTH", exit=builders.SHORT_PLAN)
    under = policies.policy(position_mode="one_way", limits=limits)
    breach = checks.side_blocked(builders.context(short, policy=under))
    assert breach is not None
    assert breach.observed == "SHORT"
    assert checks.side_blocked(builders.context(builders.intent(), policy=under)) is None


# ---------------------------------------------------------------- the order that waits


def waits(side: str, qty: str | None, *, left: bool) -> tuple[bool, bool]:
    """Return whether an entry is still needed beside this leg, and whether it must wait."""
    leg = None if qty is None else builders.leg(side="BOTH", qty=qty)
    entry = builders.route(side=side, position_side="BOTH")
    leave = builders.route("x", side="SELL", position_side="BOTH", action="exit", reduce_only=True)
    legs = {} if leg is None else {BOTH: leg}
    leaving = routing.leaving((entry, leave) if left else (entry,), legs)
    return routing.is_needed(entry, leg, leaving), routing.must_wait(entry, leg)


@pytest.mark.parametrize(
    ("side", "qty", "left", "needed", "must_wait"),
    [
        ("SELL", "1", True, True, True),  # the long is being left: the short waits
        ("SELL", None, True, True, False),  # it is gone: the short goes out, whatever still closes
        ("BUY", "1", True, False, False),  # more of what is being left is wanted by nobody
        ("BUY", "1", False, True, False),
        ("BUY", "-1", False, True, True),  # nobody leaves it: risk holds the entry back
    ],
)
def test_an_entry_waits_for_the_leg_that_it_opposes(
    side: str, qty: str | None, left: bool, needed: bool, must_wait: bool
) -> None:
    assert waits(side, qty, left=left) == (needed, must_wait)


def test_in_hedge_mode_an_entry_is_not_needed_while_its_leg_is_left() -> None:
    entry = builders.route()
    leave = builders.route("x", side="SELL", action="exit", reduce_only=True)
    assert not routing.is_needed(entry, None, routing.leaving((entry, leave), {}))


@pytest.mark.parametrize(("leaving", "refused"), [(True, False), (False, True)])
def test_an_entry_in_flight_is_held_back_where_nobody_leaves_what_it_opposes(
    leaving: bool, refused: bool
) -> None:
    state = holding({}, 1.0)
    routes = {"d1": builders.route(side="SELL", position_side="BOTH")}
    if leaving:
        routes["x"] = builders.route(
            "x", side="SELL", position_side="BOTH", action="exit", reduce_only=True
        )
    recorded = builders.replace(state.recorded, routes=routes)
    live = decided(builders.replace(state, recorded=recorded, closed=()))
    assert live.held_back == ({"d1": "crosses_zero"} if refused else {})


# ---------------------------------------------------------------- the rules themselves


# In whole steps, as quantities are: of the smallest floats a product has no sign.
@given(st.sampled_from(["BUY", "SELL"]), st.integers(-10_000, 10_000), st.integers(1, 10_000))
def test_what_does_not_oppose_cannot_cross_zero(side: str, held: int, qty: int) -> None:
    after = held + (qty if side == "BUY" else -qty)
    if not opposes(side, held):  # type: ignore[arg-type]
        assert held * after >= 0
    elif qty > abs(held):
        assert held * after < 0


def test_directions_and_legs() -> None:
    assert [direction_of(q) for q in (1.0, Decimal(-1), 0)] == ["LONG", "SHORT", "LONG"]
    assert (leg_side("hedge", "SHORT"), leg_side("one_way", "SHORT")) == ("SHORT", "BOTH")
