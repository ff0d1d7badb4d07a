"""What the live router takes over of what autotune suggests: every gate, through the real loop.

Each story journals routes with the executor's own writer, publishes as its loop does, and looks at
the policy that the next tick routes by, at the published file and at the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import router_apply
from execution.core.orders import limit_price
from execution.core.records import RouteLeg, RoutePolicy
from execution.core.types import OrderResult
from execution.jsonl_log import tail
from execution.state_schema import registry
from execution.state_schema.intel_files import RouterSuggestionRow
from execution.state_schema.order_journals import RouteMetric
from tests.support import intel
from tests.support.engines import Rehearsed
from tests.support.intel import routed
from tests.support.tuned import SYMBOL, Tuned, write_ops

Make = Callable[..., Tuned]
APPLY = "ROUTER_AUTOTUNE_V6_APPLY_ENABLED"
DEFAULT = RoutePolicy(maker_first=True, taker_bias=0.0, offset_bps=4.0)


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    def make(**given_: Any) -> Tuned:
        return Tuned(monkeypatch, tmp_path, **given_)

    return make


def allow(**keys: Any) -> dict[str, Any]:
    return {"apply": {"symbols": [SYMBOL], **keys}}


def refused(suite: Tuned) -> str:
    """Publish; return why the suggestion was not taken over, of which nothing may be seen."""
    (row,) = suite.publish().symbols
    assert row.applied_policy is None
    assert suite.route_policy() == suite.policy.router.default
    assert suite.journal() == []
    return str(row.apply_reason)


# ---------------------------------------------------------------- all gates open


def test_a_step_is_taken_over_and_told_everywhere(tuned: Make):
    suite = tuned()
    suite.allocator_says("normal")
    suite.attempts(20)
    found = suite.publish()
    (row,) = found.symbols
    after = replace(DEFAULT, offset_bps=3.0)
    assert (row.current_policy, row.proposed_policy, row.applied_policy) == (DEFAULT, after, after)
    assert row.apply_reason == "applied"
    assert suite.route_policy() == after
    assert found.in_force == {SYMBOL: after}
    (change,) = suite.journal()
    assert (change.before, change.after, change.risk_mode) == (DEFAULT, after, "normal")
    suite.clock.advance(1)
    suite.publish()
    health = suite.store.read(registry.ROUTER_HEALTH)
    assert {r.symbol: r.maker_offset_bps for r in health.symbols}[SYMBOL] == 3.0
    assert suite.engine.faults.errors == {}


def test_what_is_reported_as_applied_changes_what_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("ROUTER_AUTOTUNE_V6_ENABLED", APPLY):
        monkeypatch.setenv(name, "1")
    suite = Rehearsed(monkeypatch, tmp_path, offset_bps=4.0, symbols=f'["{SYMBOL}"]')
    quoted: dict[float, set[float]] = {4.0: set(), 3.0: set()}
    for loop in range(40):
        if loop == 20:
            suite.clock.advance(900)
            before = suite.clock.now() - 600
            history = [routed(before, 0.0, policy=DEFAULT, policy_configured=DEFAULT)] * 60
            told = suite.engine.journals.append((registry.ORDER_METRICS, each) for each in history)
            assert told == ()
        in_force = suite.engine.live_policy.route_policy(SYMBOL).offset_bps
        assert suite.tick() == ()
        quoted[in_force] |= quoted_bps(suite)
    assert quoted == {4.0: {4.0}, 3.0: {3.0}}
    journal = registry.ORDER_METRICS
    records = tail(suite.log_dir / journal.path, 10_000, journal.decoder.decode).records
    own = [r for r in records if isinstance(r, RouteMetric) and r.run_id != "r" and r.policy]
    assert {(r.policy, r.policy_configured) for r in own if r.symbol == SYMBOL} == {
        (DEFAULT, DEFAULT),
        (replace(DEFAULT, offset_bps=3.0), DEFAULT),
    }
    assert {r.policy for r in own if r.symbol != SYMBOL} == {DEFAULT}


def quoted_bps(suite: Rehearsed) -> set[float]:
    """Return how far from the touch the quotes that this tick began with stand; 0 is neither."""
    quote, rules = suite.report.state.quotes[SYMBOL], suite.report.state.rules[SYMBOL]
    found = set()
    for result in suite.report.results:
        order = result.change.order if isinstance(result, OrderResult) else None
        if order is None or order.symbol != SYMBOL or not order.post_only or order.attempt > 1:
            continue
        legs = (RouteLeg("LIMIT", post_only=True, offset_bps=bps, rest_s=1.0) for bps in (4.0, 3.0))
        prices = {limit_price(order.side, leg, quote, rules.tick_size): leg for leg in legs}
        leg = prices.get(order.price)
        found.add(0.0 if leg is None else leg.offset_bps)
    return found


def test_the_first_suggestion_is_one_of_several_that_are_a_pause_apart(tuned: Make):
    suite = tuned()
    suite.attempts(20)
    suite.publish()
    suite.attempts(20)
    suite.clock.advance(899)
    assert suite.publish().generated_ts == suite.clock.now() - 899
    assert suite.route_policy().offset_bps == 3.0
    suite.clock.advance(1)
    assert suite.publish().generated_ts == suite.clock.now()
    assert suite.route_policy().offset_bps == 2.0


def test_a_step_waits_for_evidence_of_the_policy_it_changes(tuned: Make):
    suite = tuned()
    suite.attempts(20)
    suite.publish()
    assert suite.suggest_again().note == "no symbol has 20 attempts under its present policy yet"
    suite.attempts(19)
    assert suite.suggest_again().symbols == ()
    suite.attempts(1)
    suite.suggest_again()
    assert suite.route_policy().offset_bps == 2.0


# ---------------------------------------------------------------- each gate, alone


def test_switched_off_suggests_and_applies_nothing(tuned: Make):
    suite = tuned(off=(APPLY,))
    suite.attempts(20)
    (row,) = suite.publish().symbols
    assert (row.applied_policy, row.apply_reason) == (None, None)
    assert suite.route_policy() == DEFAULT


def test_without_suggestions_nothing_is_applied(tuned: Make):
    suite = tuned(off=("ROUTER_AUTOTUNE_V6_ENABLED",))
    suite.attempts(20)
    found = suite.publish()
    assert (found.enabled, found.symbols, found.note) == (False, (), "switched off")
    assert suite.policy.tuned == {}


@pytest.mark.parametrize("symbols", [[], ["ETHUSDT"]])
def test_who_is_not_in_the_list_is_left_alone(tuned: Make, symbols: list[str]):
    suite = tuned(intel_toml={"apply": {"symbols": symbols}})
    suite.attempts(20)
    assert refused(suite) == "symbol is not in the allow-list"


def test_below_the_minimum_sample_nothing_is_suggested(tuned: Make):
    suite = tuned()
    suite.attempts(19)
    found = suite.publish()
    assert found.symbols == ()
    assert found.note == "no symbol has 20 attempts under its present policy yet"


def test_a_quality_that_is_not_listed_is_refused(tuned: Make):
    suite = tuned(intel_toml=allow(qualities=["good", "ok"]))
    suite.attempts(20)
    assert refused(suite) == "quality broken is not enough"


def test_a_quality_that_is_not_known_is_refused(tuned: Make):
    suite = tuned(taker_bias=1.0)
    suite.attempts(20, quoted=False)
    (row,) = suite.publish().symbols
    assert (row.quality, row.applied_policy) == ("unknown", None)
    assert row.apply_reason == "quality unknown is not enough"


def test_defensive_blocks_while_it_is_fresh(tuned: Make):
    suite = tuned()
    suite.allocator_says("defensive", age_s=5400)
    suite.attempts(20)
    assert refused(suite) == "risk mode is defensive"


# ---------------------------------------------------------------- the allocator's word


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage().split()[0]
        for record in caplog.records
        if record.getMessage().startswith("router_apply_")
    ]


@pytest.mark.parametrize("mode", ["normal", "cautious", "defensive"])
def test_a_stale_mode_of_any_kind_is_cautious(tuned: Make, caplog, mode: str):
    suite = tuned()
    suite.allocator_says(mode, age_s=5401)
    suite.attempts(20)
    suite.publish()
    assert said(caplog) == ["router_apply_stale_allocator_state"]
    assert [change.risk_mode for change in suite.journal()] == ["cautious"]


def test_a_mode_from_the_future_is_stale(tuned: Make, caplog):
    suite = tuned()
    suite.allocator_says("normal", age_s=-60)
    suite.attempts(20)
    suite.publish()
    assert said(caplog) == ["router_apply_stale_allocator_state"]


def test_a_missing_file_is_cautious(tuned: Make, caplog):
    suite = tuned()
    suite.attempts(20)
    suite.publish()
    assert said(caplog) == ["router_apply_no_allocator_state"]
    assert [change.risk_mode for change in suite.journal()] == ["cautious"]


def test_an_allocator_that_is_off_counts_as_missing(tuned: Make, caplog):
    suite = tuned()
    suite.allocator_says("normal", enabled=False)
    suite.attempts(20)
    suite.publish()
    assert said(caplog) == ["router_apply_no_allocator_state"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema_version": 1}'])
def test_a_corrupt_file_is_cautious(tuned: Make, caplog, content: bytes):
    suite = tuned()
    (suite.log_dir / registry.ALLOCATION_SUGGESTIONS.path).write_bytes(content)
    suite.attempts(20)
    suite.publish()
    assert said(caplog) == ["router_apply_bad_allocator_state"]
    assert [change.risk_mode for change in suite.journal()] == ["cautious"]


def test_what_is_wrong_is_said_once_until_it_changes(tuned: Make, caplog):
    suite = tuned(off=("FEEDBACK_ALLOCATOR_V6_ENABLED",))
    suite.attempts(20)
    suite.publish()
    for _ in range(3):
        suite.attempts(20)
        suite.suggest_again()
    assert len(suite.journal()) == 4
    assert said(caplog) == ["router_apply_no_allocator_state"]


def test_a_fresh_mode_is_believed_in_silence(tuned: Make, caplog):
    caplog.set_level(logging.INFO)
    suite = tuned()
    suite.allocator_says("normal")
    suite.attempts(20)
    suite.publish()
    assert said(caplog) == []
    assert [change.risk_mode for change in suite.journal()] == ["normal"]


# ---------------------------------------------------------------- maker flips and the bias


@pytest.mark.parametrize(
    ("mode", "flip", "after"),
    [("normal", True, True), ("normal", False, False), ("cautious", True, False)],
)
def test_maker_flips_only_where_it_is_allowed_and_normal(tuned: Make, mode, flip, after):
    suite = tuned(intel_toml=allow(maker_flip=flip), maker_first=False)
    suite.allocator_says(mode)
    suite.attempts(20, 0.9, taker_qty=0.1)  # as if it had quoted
    (row,) = suite.publish().symbols
    assert row.proposed_policy.maker_first is True
    assert suite.route_policy().maker_first is after
    assert ("maker_first is kept" in str(row.apply_reason)) is not after


@pytest.mark.parametrize(("mode", "after"), [("normal", 0.05), ("cautious", 0.0)])
def test_the_bias_moves_in_normal_only(tuned: Make, mode, after):
    suite = tuned(offset_bps=0.5, off=("INTEL_V6_ENABLED",))
    suite.allocator_says(mode)
    suite.attempts(20)
    suite.publish()
    assert suite.route_policy() == RoutePolicy(True, after, 0.5)


# ---------------------------------------------------------------- bounds and steps


def test_an_offset_far_outside_comes_back_step_by_step(tuned: Make):
    suite = tuned(offset_bps=12.0)
    curve = [suite.route_policy().offset_bps]
    for _ in range(14):
        maker = 0.0 if curve[-1] > 2 else 0.9
        suite.attempts(20, maker, taker_qty=0.1)
        suite.suggest_again()
        curve.append(suite.route_policy().offset_bps)
    assert curve == [12.0, 11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0]


TERMS = intel.terms(apply={"symbols": [SYMBOL], "maker_flip": True})
POLICIES = st.builds(
    RoutePolicy,
    st.booleans(),
    st.floats(allow_nan=True) | st.floats(-0.1, 1.1),
    st.floats(allow_nan=True) | st.floats(-2, 14),
)
CURRENT = st.builds(RoutePolicy, st.booleans(), st.floats(0, 1), st.floats(0, 50))


def judge(current: RoutePolicy, proposed: RoutePolicy, mode: str = "normal") -> Any:
    row = RouterSuggestionRow(
        symbol=SYMBOL,
        regime="normal",
        quality="ok",
        metrics={},
        current_policy=current,
        proposed_policy=proposed,
        rationale=("because",),
    )
    return router_apply.judge(row, current, mode, TERMS.apply, TERMS.autotune)


@given(CURRENT, POLICIES, st.sampled_from(["normal", "cautious", "defensive"]))
def test_whatever_is_proposed_a_change_is_within_every_bound(current, proposed, mode):
    ruling = judge(current, proposed, mode)
    after = ruling.applied
    if after is None:
        return
    assert mode != "defensive"
    moved_bps = after.offset_bps - current.offset_bps
    assert abs(moved_bps) <= 1 + 1e-6
    assert after.offset_bps >= 0
    assert (
        moved_bps == 0 or 0.5 <= after.offset_bps <= 8 or 8 < after.offset_bps < current.offset_bps
    )
    assert 0 <= after.taker_bias <= 1
    assert abs(after.taker_bias - current.taker_bias) <= 0.05 + 1e-6
    if mode == "cautious":
        assert (after.maker_first, after.taker_bias) == (current.maker_first, current.taker_bias)


@pytest.mark.parametrize(
    ("proposed", "reason"),
    [
        ({"offset_bps": 5.5}, "the offset moves more than 1 bps"),
        ({"offset_bps": 2.5}, "the offset moves more than 1 bps"),
        ({"taker_bias": 0.06}, "taker_bias moves more than 0.05"),
        ({"taker_bias": -0.01}, "taker_bias -0.01 is outside 0..1"),
        ({"offset_bps": -0.5}, "the offset would cross the market"),
        ({"offset_bps": float("nan")}, "not a number"),
        ({"taker_bias": float("inf")}, "not a number"),
        ({}, "nothing changes"),
    ],
)
def test_a_number_out_of_bounds_is_refused_by_name(proposed, reason):
    assert judge(DEFAULT, replace(DEFAULT, **proposed)).reason == reason


def test_the_absolute_bounds_hold_where_the_step_would_not():
    low, high = replace(DEFAULT, offset_bps=1.0), replace(DEFAULT, offset_bps=7.5)
    assert judge(low, replace(low, offset_bps=0.4)).reason == "offset 0.4 bps is outside 0.5..8"
    assert judge(high, replace(high, offset_bps=8.5)).reason == "offset 8.5 bps is outside 0.5..8"


def test_a_suggestion_for_another_policy_is_outdated():
    row = judge(DEFAULT, replace(DEFAULT, offset_bps=3.0)).row
    ruling = router_apply.judge(
        row, replace(DEFAULT, offset_bps=3.5), "normal", TERMS.apply, TERMS.autotune
    )
    assert (ruling.applied, ruling.reason) == (None, "the policy has changed since")


# ---------------------------------------------------------------- across a restart


def test_a_restart_goes_on_with_what_was_in_force(tuned: Make):
    suite = tuned()
    suite.attempts(20)
    suite.publish()
    suite.restart(after_s=600)
    found = suite.publish()
    assert suite.route_policy().offset_bps == 3.0
    assert found.in_force == {SYMBOL: replace(DEFAULT, offset_bps=3.0)}
    # Neither the pause nor the sample begins anew with the process.
    assert found.generated_ts == suite.clock.now() - 600
    suite.attempts(19)
    assert suite.suggest_again().symbols == ()
    suite.attempts(1)
    suite.suggest_again()
    assert suite.route_policy().offset_bps == 2.0


def test_on_any_doubt_a_restart_begins_with_the_configured_policy(tuned: Make, tmp_path: Path):
    doubts: dict[str, Callable[[Tuned], object]] = {
        "down for too long": lambda suite: suite.clock.advance(3601),
        "no file": lambda suite: (suite.log_dir / registry.ROUTER_SUGGESTIONS.path).unlink(),
        "a corrupt file": lambda suite: (
            suite.log_dir / registry.ROUTER_SUGGESTIONS.path
        ).write_bytes(b"{"),
        "left the list": lambda _: write_ops(tmp_path, intel={"apply": {"symbols": []}}),
        "another configured policy": lambda _: write_ops(tmp_path, router={"offset_bps": 4.5}),
    }
    for doubt, raise_it in doubts.items():
        suite = tuned()
        suite.attempts(20)
        suite.publish()
        assert suite.route_policy().offset_bps == 3.0, doubt
        raise_it(suite)
        (suite.log_dir / registry.ORDER_METRICS.path).unlink()  # or it would be tuned anew
        suite.restart()
        suite.publish()
        assert suite.policy.tuned == {}, doubt
        suite.engine.close()
        (suite.log_dir / registry.ROUTER_SUGGESTIONS.path).unlink()


def test_without_the_flag_a_restart_forgets_what_was_tuned(
    tuned: Make, monkeypatch: pytest.MonkeyPatch
):
    suite = tuned()
    suite.attempts(20)
    suite.publish()
    monkeypatch.setenv(APPLY, "0")
    suite.restart()
    assert suite.publish().in_force == {}
    assert suite.policy.tuned == {}
