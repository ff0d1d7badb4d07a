from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import book, outside, pipeline, shadow
from execution.core.policy import Inbox, Module
from execution.core.types import (
    Decided,
    EngineState,
    ModuleAnswer,
    Outside,
    TickReport,
    Vetoed,
)
from execution.state_schema.inbox_intent import InboxIntent
from execution.state_schema.strategy_pipe import Want
from tests.support import builders, policies

NOW = builders.NOW
INBOX = Inbox(
    name="model",
    markets=("sim",),
    symbols=("BTCUSDT",),
    bar_s=60,
    max_age_s=30.0,
    max_stop_bps=500.0,
    exits=policies.EXITS,
)
MODULE = Module(
    name="mine",
    markets=("sim",),
    symbols=("BTCUSDT",),
    bar_s=60,
    module="mine:decide",
    window_bars=5,
    answer_s=2.0,
    exits=policies.EXITS,
)
POLICY = policies.policy(strategies=(INBOX, MODULE))
LONG = Want(action="entry", side="LONG")


def intent(**fields: object) -> InboxIntent:
    known = {
        "id": "one",
        "ts": NOW - 1,
        "valid_until_ts": NOW + 10,
        "strategy": "model",
        "symbol": "BTCUSDT",
        "side": "LONG",
        "action": "entry",
    }
    return InboxIntent(**{**known, **fields})


def state(*intents: InboxIntent, answers: tuple[ModuleAnswer, ...] = ()) -> EngineState:
    frame = builders.frame([100.0, 101.0, 100.0, 101.0, 100.0, 101.0, 100.0])
    made = builders.state(frames={("BTCUSDT", 60): frame})
    return replace(made, closed=(), outside=Outside(intents=intents, answers=answers))


def decide(given_state: EngineState, policy=POLICY, now: float = NOW) -> Decided:
    return pipeline.decide(builders.snapshot(), given_state, policy, now)


def report(given_state: EngineState, live: Decided) -> TickReport:
    return TickReport(NOW, builders.snapshot(), given_state, live, None, ())


def said(given_state: EngineState, live: Decided) -> list[tuple[str, str, str]]:
    found = outside.replies(report(given_state, live), POLICY.account)
    return [(each.id, each.outcome, each.reason) for each in found]


# ---------------------------------------------------------------- the inbox


@given(age_s=st.floats(-100, 100), left_s=st.floats(-100, 100))
def test_an_intent_is_decided_within_its_time_and_no_other(age_s: float, left_s: float):
    why = outside.refusal(intent(ts=NOW - age_s, valid_until_ts=NOW + left_s), POLICY, NOW)
    in_time = -outside.AHEAD_S <= age_s <= INBOX.max_age_s and left_s >= 0
    slack = min(abs(age_s + outside.AHEAD_S), abs(age_s - INBOX.max_age_s), abs(left_s)) < 1e-3
    assert slack or (why is None) == in_time


def test_an_intent_names_an_inbox_and_a_symbol_of_it():
    assert "called other" in (outside.refusal(intent(strategy="other"), POLICY, NOW) or "")
    assert "called mine" in (outside.refusal(intent(strategy="mine"), POLICY, NOW) or "")
    assert "ETHUSDT" in (outside.refusal(intent(symbol="ETHUSDT"), POLICY, NOW) or "")
    assert outside.refusal(intent(symbol="DOGEUSDT"), POLICY, NOW) is None  # for risk to refuse


@given(
    mark=st.floats(1e-3, 1e6),
    side=st.sampled_from(["LONG", "SHORT"]),
    stop_bps=st.floats(0.1, 9000),
    hold_s=st.none() | st.floats(1, 1e6),
)
def test_a_plan_is_never_wider_or_longer_than_the_policy(mark, side, stop_bps, hold_s):
    asked = intent(side=side, stop_bps=stop_bps, take_profit_bps=90.0, hold_s=hold_s)
    made = outside.plan(asked, mark, 1.0, INBOX)
    assert (made is None) == (stop_bps > INBOX.max_stop_bps * (1 + 1e-9))
    if made is not None:
        below = made.stop_price < mark < made.take_profit_price
        assert below == (side == "LONG")
        assert made.deadline_ts <= asked.ts + INBOX.exits.max_hold_bars * INBOX.bar_s


def test_an_intent_without_a_plan_has_the_strategys():
    made = outside.plan(intent(), 100.0, 1.0, INBOX)
    assert made is not None
    assert (made.stop_price, made.take_profit_price) == (98.0, 103.0)
    assert outside.plan(intent(), 100.0, None, INBOX) is None
    prices = intent(stop_price=101.0, take_profit_price=103.0)
    assert outside.plan(prices, 100.0, 1.0, INBOX) is None  # its stop is on the wrong side


@given(size_frac=st.floats(0.01, 1.0))
def test_the_inbox_only_makes_the_suites_own_size_smaller(size_frac: float):
    (whole,) = decide(state(intent())).decisions
    (part,) = decide(state(intent(size_frac=size_frac))).decisions
    assert part.intent.qty <= whole.intent.qty
    assert float(part.intent.qty) == pytest.approx(float(whole.intent.qty) * size_frac, abs=0.001)
    assert part.intent.decision_id == whole.intent.decision_id


def test_its_own_id_takes_the_place_of_a_bar():
    names = {
        outside.entry_id("main", intent(id=name, strategy=strategy))
        for name in ("one", "two")
        for strategy in ("model", "other")
    }
    assert len(names) == 4
    (decision,) = decide(state(intent())).decisions
    assert decision.intent.decision_id == outside.entry_id("main", intent())
    assert decision.intent.bar_open_ts is None


def test_a_leg_is_opened_once_whoever_asks_twice():
    asked = state(intent(), intent(id="two"), intent(id="away", symbol="DOGEUSDT"))
    live = decide(asked)
    first, second, away = said(asked, live)
    assert first == ("one", "accepted", "")
    assert second[:2] == ("two", "refused")
    assert second[2].startswith("no entry: the leg is held")
    assert away == ("away", "vetoed", "symbol_not_allowed")
    assert isinstance(live.decisions[1].verdict, Vetoed)
    assert live.decisions[1].plan is None


def test_an_exit_leaves_what_its_own_strategy_holds():
    leave = intent(action="exit")
    nothing = state(leave)
    assert [outcome for _, outcome, _ in said(nothing, decide(nothing))] == ["refused"]
    for owner, outcome in (("model", "accepted"), ("mine", "refused")):
        position = builders.position(strategy=owner)
        holding = replace(nothing, book=replace(nothing.book, positions=(position,)))
        assert [each for _, each, _ in said(holding, decide(holding))] == [outcome]


def test_live_and_shadow_decide_on_the_same_signals():
    answers = (ModuleAnswer("mine", "BTCUSDT", NOW - 60, (LONG,)),)
    for heard in (state(intent()), state(answers=answers)):
        live = decide(heard)
        candidate = shadow.decide(builders.snapshot(), heard, POLICY, NOW)
        assert [each.intent for each in candidate.decisions] == [
            each.intent for each in live.decisions
        ]
        assert len(live.decisions) == 1


def test_what_was_heard_belongs_to_its_tick():
    heard = state(intent())
    after = book.observe(heard, builders.snapshot(), heard.recorded, policies.limits().book)
    assert after.outside == Outside()


# ---------------------------------------------------------------- users' modules


@given(ticks_late_s=st.floats(-200, 200))
def test_an_answer_counts_a_tick_after_its_bar_and_not_much_later(ticks_late_s: float):
    answer = ModuleAnswer("mine", "BTCUSDT", NOW - 60, (LONG,))
    live = decide(state(answers=(answer,)), now=NOW + ticks_late_s)
    in_time = abs(ticks_late_s) <= builders.BASE_S + MODULE.answer_s
    assert bool(live.signals) == in_time
    assert bool(live.answered) == in_time


def test_a_bar_is_answered_once():
    answer = ModuleAnswer("mine", "BTCUSDT", NOW - 60, (LONG, LONG))
    heard = state(answers=(answer,))
    live = decide(heard)
    assert len(live.decisions) == 1
    assert live.answered == {("mine", "BTCUSDT"): NOW - 60}
    again = replace(heard, decided=live.answered)
    assert decide(again).signals == ()
    closed = replace(again, closed=(("BTCUSDT", 60),))
    assert outside.askings(closed, (MODULE,), 60, NOW) == []
    (asking,) = outside.askings(replace(closed, decided={}), (MODULE,), 60, NOW)
    assert len(asking.bars) == MODULE.window_bars


@pytest.mark.parametrize(
    "stranger", [("other", "BTCUSDT"), ("mine", "ETHUSDT"), ("model", "BTCUSDT")]
)
def test_an_answer_of_nobody_is_passed_over(stranger: tuple[str, str]):
    assert decide(state(answers=(ModuleAnswer(*stranger, NOW - 60, (LONG,)),))).signals == ()
