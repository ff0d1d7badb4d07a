from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.mirror.pace import DAY_S, OPEN_AFTER, SHARE_FRAC, Breaker, Budget

STEPS = st.lists(st.tuples(st.floats(0, 40_000), st.integers(0, 2_000)), min_size=1, max_size=60)


@given(st.integers(1_000, 1_000_000), STEPS)
def test_no_day_sees_more_than_its_budget_wherever_it_begins(a_day, steps):
    budget = Budget(float(a_day), float(a_day)).after(0.0)
    now, spent = 0.0, []
    for seconds, wanted in steps:
        now += seconds
        budget = budget.after(seconds)
        left = budget.spend(wanted)
        if left is not None:
            budget = left
            spent.append((now, wanted))
    for begin, _ in spent:
        day = sum(count for at, count in spent if begin <= at < begin + DAY_S)
        assert day <= a_day * (1 + 1e-9)


@given(st.floats(-1e9, 1e9), st.integers(1_000, 100_000))
def test_no_clock_step_gives_more_than_an_hours_worth(step_s, a_day):
    budget = Budget(float(a_day), 0.0).after(step_s)
    assert 0.0 <= budget.left <= a_day / 24


def test_what_is_unspent_is_kept_and_what_is_not_there_is_refused():
    budget = Budget(24_000.0, 10.0)
    assert budget.spend(11) is None
    assert budget.spend(10) == Budget(24_000.0, 0.0)


def test_the_shares_are_one_whole():
    assert sum(SHARE_FRAC.values()) == pytest.approx(1.0)


@given(st.lists(st.sampled_from(["conflict", "invalid", "unreachable", "refused"]), max_size=40))
def test_waits_grow_up_to_the_ceiling(kinds):
    breaker, now_s, before = Breaker(120.0), 0.0, 0.0
    for kind in kinds:
        assert breaker.may_try(now_s)
        breaker = breaker.failed(kind, now_s)
        wait_s = breaker.until_s - now_s
        assert 10.0 <= wait_s <= 120.0
        assert wait_s >= before or before == 120.0
        assert not breaker.may_try(now_s + wait_s - 0.1)
        before = 120.0 if kind == "refused" else wait_s
        now_s += wait_s
    assert breaker.is_open == (len(kinds) >= OPEN_AFTER)
    assert breaker.succeeded().may_try(now_s)
    assert not breaker.succeeded().is_open
