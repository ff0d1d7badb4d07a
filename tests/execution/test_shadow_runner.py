from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from execution.clock import ManualClock
from execution.core import book, pipeline
from execution.core.policy import Policy
from execution.core.records import RoutePolicy
from execution.core.seam import SymbolRules
from execution.errors import ShadowSlow
from execution.shadow_runner import PATIENCE, ShadowRunner
from tests.support import builders, policies

NOW = builders.NOW
REST_S = 60.0
POLICY = policies.policy()
FALL = {"BTCUSDT": [100.0] * 8 + [99.9, 90.0]}


class Slow(dict[str, SymbolRules]):
    """Rules that take a while to look up, on the clock that the budget is measured by."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        super().__init__(builders.closed_state(FALL).rules)
        self.clock = clock
        self.seconds = seconds

    def get(self, key: str, default: Any = None) -> Any:
        self.clock.advance(self.seconds)
        return super().get(key, default)


class Broken(dict[str, SymbolRules]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("rules are gone")


def runner(clock: ManualClock, policy: Policy | None = POLICY) -> ShadowRunner:
    return ShadowRunner(policy, clock, 50.0, REST_S)


def test_it_decides_what_decide_says():
    state = builders.closed_state(FALL)
    found = runner(ManualClock(NOW)).decide(builders.snapshot(), state, NOW)
    assert found == pipeline.decide(builders.snapshot(), state, POLICY, NOW)
    assert found is not None
    assert len(found.decisions) > 0


def test_without_a_candidate_nothing_is_decided_or_timed():
    idle = runner(ManualClock(NOW), None)
    assert idle.decide(builders.snapshot(), builders.closed_state(FALL), NOW) is None
    idle.follow(POLICY)
    assert (idle.policy, idle.figures().last) == (None, None)


def test_one_slow_round_is_a_busy_machine_and_three_in_a_row_are_a_rest():
    clock = ManualClock(NOW)
    shadow, seen = runner(clock), builders.snapshot()
    slow = replace(builders.closed_state(FALL), rules=Slow(clock, 0.06))
    for _ in range(5):  # never three in a row
        for state in (slow, slow, builders.closed_state(FALL)):
            found = runner_decide(shadow, state, seen)
            assert found.failures == ()
    assert shadow.figures().p99 > 50.0
    for failed in (False,) * (PATIENCE - 1) + (True,):
        found = runner_decide(shadow, slow, seen)
        assert [type(each.error) for each in found.failures] == [ShadowSlow] * failed
        assert len(found.decisions) > 0
    assert "budget 50 ms: the shadow rests for 60 s" in str(found.failures[0].error)
    assert shadow.decide(seen, slow, NOW) is None
    clock.advance(REST_S - 0.1)
    assert shadow.decide(seen, slow, NOW) is None
    clock.advance(0.2)
    for _ in range(PATIENCE - 1):
        assert runner_decide(shadow, slow, seen).failures == ()


def runner_decide(shadow: ShadowRunner, state: Any, seen: Any) -> Any:
    """Ask about the same bars again: each round is a bar that was not answered yet."""
    shadow._answered = None
    found = shadow.decide(seen, state, NOW)
    assert found is not None
    return found


def test_an_error_is_a_failure_of_the_answer_and_nothing_else():
    broken = replace(builders.closed_state(FALL), rules=Broken())
    shadow = runner(ManualClock(NOW))
    found = shadow.decide(builders.snapshot(), broken, NOW)
    assert found is not None
    assert [each.stage for each in found.failures] == ["shadow"]
    assert (found.decisions, found.trading.name) == ((), "HALTED")
    assert runner_decide(shadow, builders.closed_state(FALL), builders.snapshot()).failures == ()


def test_a_bar_is_answered_once_by_the_candidate_itself():
    shadow, state = runner(ManualClock(NOW)), builders.closed_state(FALL)
    first = shadow.decide(builders.snapshot(), state, NOW)
    again = shadow.decide(builders.snapshot(), state, NOW)
    assert first is not None
    assert again is not None
    assert (len(first.answered), again.answered) == (1, {})
    decided = {("fade", "BTCUSDT"): NOW}  # before this process: by the live policy, as journalled
    late = runner(ManualClock(NOW)).decide(
        builders.snapshot(), replace(state, decided=decided), NOW
    )
    assert late is not None
    assert late.answered == {}


@pytest.mark.parametrize("bar_s", [60, 120, 300])
def test_bars_of_another_length_and_longer_windows_are_decided_upon(bar_s: int):
    """A candidate works from windows of its own, whatever the live policy reads and has answered."""
    theirs = policies.policy(strategies=(policies.zscore(bar_s=bar_s, window_bars=40),))
    state = book.start([POLICY, theirs], {})
    shadow, answered = runner(ManualClock(NOW), theirs), []
    start_ts = NOW - NOW % 300
    for minute in range(48 * bar_s // 60):
        now = start_ts + 60 * (minute + 1)
        close = 100.0 + (minute % 7) / 10
        bars = {"BTCUSDT": (builders.bar(now - 60, close),)}
        quotes = {"BTCUSDT": builders.quote(close, ts=now)}
        seen = builders.snapshot(ts=now, bars=bars, quotes=quotes)
        state = book.observe(state, seen, builders.recorded(), POLICY.limits.book)
        live = pipeline.decide(seen, state, POLICY, now)
        found = shadow.decide(seen, state, now)
        assert found is not None
        answered += found.answered.values()
        state = book.remember(state, live)
    assert len(state.frames["BTCUSDT", bar_s].bars) == 40
    assert answered == [start_ts + bar_s * n for n in range(48)]


def test_what_tunes_the_live_router_tunes_the_candidates_unless_it_has_its_own():
    tuned = replace(POLICY, tuned={"BTCUSDT": RoutePolicy(False, 0.5, 3.0)})
    same = runner(ManualClock(NOW))
    other = runner(ManualClock(NOW), replace(POLICY, router=policies.router(offset_bps=9.0)))
    for each in (same, other):
        each.follow(tuned)
    assert same.policy == tuned
    assert other.policy is not None
    assert other.policy.tuned == {}
