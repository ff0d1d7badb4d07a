"""Whatever the plan and the seed: nothing is invented, all of it comes out, and it can be repeated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.core.seam import Accepted, Ambiguous, Blind, MarketSnapshot, NotFound, Rejected
from execution.venue.fault_plan import (
    BREAKS,
    CALLS,
    FaultPlan,
    Refused,
    ReplyLost,
    RequestLost,
    Slow,
)
from tests.execution.venue.scripted import SYMBOL
from tests.execution.venue.stages import STAGES, FakeStage, Stage
from tests.support import builders


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> type[Stage]:
    made: type[Stage] = request.param
    return made


WINDOW = st.fixed_dictionaries({"frac": st.floats(0.05, 1.0), "from_s": st.floats(0.0, 90.0)})
LENGTH = st.one_of(st.just({}), st.fixed_dictionaries({"for_s": st.floats(1.0, 60.0)}))
DELAY = st.floats(0.1, 5.0)
FAULTS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "request_lost": st.fixed_dictionaries({}),
    "reply_lost": st.fixed_dictionaries({}),
    "broken_reply": st.fixed_dictionaries(
        {"how": st.sampled_from([*BREAKS]), "arrived_frac": st.floats(0.0, 1.0)}
    ),
    "slow": st.fixed_dictionaries({"delay_s": DELAY}),
    "late_arrival": st.fixed_dictionaries({"delay_s": DELAY}),
    "refused": st.just({"codes": ["-2019", "-5022"]}),
    "duplicate_id": st.fixed_dictionaries({}),
    "positions_empty": st.fixed_dictionaries({}),
    "missing_balance": st.fixed_dictionaries({}),
    "trades_repeated": st.fixed_dictionaries({}),
    "trades_reordered": st.fixed_dictionaries({}),
    "trades_late": st.fixed_dictionaries({"lag_s": st.floats(0.1, 50.0)}),
    "orders_late": st.fixed_dictionaries({"lag_s": st.floats(0.1, 10.0)}),
}


@st.composite
def plans(draw: st.DrawFn) -> FaultPlan:
    faults = []
    for kind in draw(st.lists(st.sampled_from([*FAULTS]), min_size=1, max_size=6)):
        fault = {"kind": kind, **draw(WINDOW), **draw(LENGTH), **draw(FAULTS[kind])}
        if kind in {"request_lost", "reply_lost", "broken_reply", "slow"}:
            some = st.lists(st.sampled_from(CALLS), min_size=1, unique=True)
            fault["calls"] = draw(some)
        faults.append(fault)
    content = {"seed": draw(st.integers(0, 2**53)), "calm_after_s": 100.0, "fault": faults}
    return msgspec.convert(content, FaultPlan)


def perform(made: Stage, plan: FaultPlan) -> list[object]:
    """Trade for two minutes beneath the faults; return all that was told."""
    log: list[object] = []
    for number in range(40):
        log.append(made.submit(f"o{number}"))
        if number % 3 == 0:
            log.append(made.venue.cancel(SYMBOL, f"o{number}"))
        if number in (5, 25):
            made.fill(f"f{number}", f"g{number}")
        seen = made.look()
        log.append(seen if isinstance(seen, Blind) else seen.account)
        log += [made.ask(call) for call in ("find_order", "trades", "cash")]
        log.append(made.venue.find_order(SYMBOL, f"o{max(0, number - 2)}"))
        told, truth = log[-3], made.inner.trades(SYMBOL, 0.0)
        if isinstance(told, tuple):
            assert set(told) <= set(truth)
            assert len(told) <= 2 * len(truth)
        made.clock.advance(1.0)
    made.clock.advance(max(0.0, plan.calm_after_s - made.venue._at_s()))
    return log


@pytest.mark.parametrize("kind", STAGES)
@settings(max_examples=60)
@given(plan=plans())
def test_after_the_rehearsal_everything_is_told_as_it_is(
    kind: type[Stage], plan: FaultPlan
) -> None:
    made = kind(*plan.fault, seed=plan.seed, calm_after_s=plan.calm_after_s)
    answers = perform(made, plan)
    names = [f"o{number}" for number in range(40)]
    accepted = [answer.venue_order_id for answer in answers if isinstance(answer, Accepted)]
    truth = {name: made.inner.find_order(SYMBOL, name) for name in names}

    seen, right = made.look(), made.inner.observe(made.clock.now())
    assert isinstance(seen, MarketSnapshot)
    assert isinstance(right, MarketSnapshot)
    assert seen.account is right.account
    late = {name for name in names if made.has(name) and isinstance(truth[name], NotFound)}
    for name in names:
        found = made.venue.find_order(SYMBOL, name)
        assert found == made.inner.find_order(SYMBOL, name)
        assert name in late or found == truth[name]
    there = {made.inner.find_order(SYMBOL, name).venue_order_id for name in names if made.has(name)}
    assert {*accepted} <= there
    assert made.venue.trades(SYMBOL, 0.0) == made.inner.trades(SYMBOL, 0.0)
    assert len(made.venue.trades(SYMBOL, 0.0)) >= 4
    assert made.venue.cash(0.0) == made.inner.cash(0.0)
    assert isinstance(made.submit("after"), Accepted)
    if isinstance(made, FakeStage):
        sent = [order.client_id for order in made.inner.sent]
        assert len(sent) == len({*sent})


@pytest.mark.parametrize("kind", STAGES)
@settings(max_examples=25)
@given(plan=plans())
def test_the_same_seed_and_calls_meet_the_same_faults(kind: type[Stage], plan: FaultPlan) -> None:
    both = [kind(*plan.fault, seed=plan.seed, calm_after_s=plan.calm_after_s) for _ in range(2)]
    first, second = (perform(made, plan) for made in both)
    assert first == second


def test_another_seed_meets_other_faults(stage: type[Stage]) -> None:
    told = [tuple(blinks(stage(RequestLost(frac=0.5), seed=seed), "cash")) for seed in range(20)]
    assert len({*told}) == 20


def test_what_else_is_asked_or_rehearsed_shifts_no_fault(stage: type[Stage]) -> None:
    lost = RequestLost(frac=0.5, from_s=5.0)
    alone, among = stage(lost), stage(lost, Slow(frac=0.5, delay_s=0.1), ReplyLost(frac=0.3))
    fates: list[list[bool]] = [[], []]
    for number in range(40):
        for made, told in zip((alone, among), fates, strict=True):
            made.clock.set(builders.NOW + 300 + number)
            made.submit(f"o{number}")
            told.append(made.has(f"o{number}"))
        among.look()
        among.ask("trades")
    assert any(fates[0])
    assert not all(fates[0])
    assert fates[0] == fates[1]


def blinks(made: Stage, call: str, times: int = 60) -> list[bool]:
    """Ask once a second; return which questions went unanswered."""
    told = []
    for _ in range(times):
        told.append(isinstance(made.ask(call), Blind))
        made.clock.advance(1.0)
    return told


def test_calls_and_faults_draw_apart(stage: type[Stage]) -> None:
    lost = RequestLost(frac=0.5)
    assert blinks(stage(lost), "observe") != blinks(stage(lost), "cash")
    made = stage(lost, Refused(frac=0.5, codes=("-2019",)))
    answers = [type(made.submit(f"o{number}")) for number in range(400)]
    assert 160 <= answers.count(Ambiguous) <= 240
    assert 65 <= answers.count(Rejected) <= 135
    assert 65 <= answers.count(Accepted) <= 135


def test_a_closed_window_draws_as_an_open_one(stage: type[Stage]) -> None:
    always = blinks(stage(RequestLost(frac=0.5)), "cash")
    later = blinks(stage(RequestLost(frac=0.5, from_s=20.0)), "cash")
    assert not any(later[:20])
    assert later[20:] == always[20:]
    assert any(always[:20])
