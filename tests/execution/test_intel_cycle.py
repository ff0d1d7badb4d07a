from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from execution.core.intel_stages import STAGES, Given
from execution.core.payloads.run import IntelReport
from execution.executor_live import beat
from execution.intel_cycle import IntelCycle
from execution.jsonl_log import JsonlLogger, tail
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from tests.support import intel
from tests.support.tuned import NOW, SYMBOL, Tuned

Make = Callable[..., Tuned]
ALL_OFF = V6Flags.__struct_fields__


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    def make(**given: Any) -> Tuned:
        return Tuned(monkeypatch, tmp_path, **given)

    return make


def shown(suite: Tuned, file: Any) -> Any:
    found = suite.store.read(file)
    assert found is not None
    return found


# ---------------------------------------------------------------- a cold start


def test_without_history_everything_is_unknown_and_neutral_and_stays_so(tuned: Make):
    suite = tuned()
    for _ in range(4):
        suggested = suite.suggest_again()
        health = shown(suite, registry.ROUTER_HEALTH).symbols
        assert {(row.n, row.policy.quality, row.maker_fill_rate) for row in health} == {
            (0, "unknown", None)
        }
        assert {row.policy.maker_first for row in health} == {True}
        scores = shown(suite, registry.SYMBOL_SCORES).symbols
        assert {(row.score, len(row.components)) for row in scores} == {(0.45, 0)}
        assert shown(suite, registry.EXPECTANCY).sample_count == 0
        assert (suggested.symbols, suggested.in_force) == ((), {})
        allocated = shown(suite, registry.ALLOCATION_SUGGESTIONS)
        assert (allocated.book.risk_mode, allocated.symbols) == ("normal", ())
    assert suite.policy.tuned == {}
    assert suite.engine.faults.errors == {}


def test_what_is_off_says_so_and_is_as_fresh_as_what_is_on(tuned: Make):
    suite = tuned(off=ALL_OFF)
    suite.attempts(20)
    suite.publish()
    suite.clock.advance(1800)
    suite.publish()
    scores = shown(suite, registry.SYMBOL_SCORES)
    assert (scores.intel_enabled, scores.symbols) == (False, ())
    for file in (registry.EXPECTANCY, registry.ROUTER_SUGGESTIONS, registry.ALLOCATION_SUGGESTIONS):
        assert shown(suite, file).enabled is False
        assert file.computed_ts(shown(suite, file)) == suite.clock.now()
    assert shown(suite, registry.ROUTER_HEALTH).symbols[0].n == 20  # no flag gates it


# ---------------------------------------------------------------- from the journals to the files


def test_numbers_go_from_the_journals_to_the_files(tuned: Make):
    suite = tuned()
    suite.attempts(10, 1.0)
    suite.attempts(10, 0.0)
    trades = [intel.closed(NOW - 60 + n, 5.0) for n in range(10)]
    suite.engine.journals.append((registry.ORDERS_EXECUTED, trade) for trade in trades)
    suite.publish()
    health = {row.symbol: row for row in shown(suite, registry.ROUTER_HEALTH).symbols}[SYMBOL]
    assert (health.n, health.maker_fill_rate, health.policy.quality) == (20, 0.5, "ok")
    row = shown(suite, registry.EXPECTANCY).symbols[SYMBOL]
    assert (row.n, row.hit_rate, row.expectancy_usd) == (10, 1.0, 5.0)
    assert row.expectancy_bps == pytest.approx(50.0)
    best = shown(suite, registry.SYMBOL_SCORES).symbols[0]
    assert best.symbol == SYMBOL
    assert best.inputs["expectancy_bps"] == pytest.approx(50.0)
    weights = {r.symbol: r for r in shown(suite, registry.ALLOCATION_SUGGESTIONS).symbols}
    assert weights[SYMBOL].score == best.score


def test_every_stage_keeps_its_own_time(tuned: Make):
    suite = tuned()
    timers = suite.engine.settings.services.executor
    suite.publish()
    suite.clock.advance(timers.router_health_s)
    suite.publish()
    assert shown(suite, registry.ROUTER_HEALTH).updated_ts == suite.clock.now()
    assert shown(suite, registry.EXPECTANCY).updated_ts == NOW
    suite.clock.advance(timers.intel_s - timers.router_health_s)
    suite.publish()
    assert shown(suite, registry.EXPECTANCY).updated_ts == suite.clock.now()
    assert shown(suite, registry.ROUTER_SUGGESTIONS).generated_ts == NOW
    suite.clock.advance(1800)
    suite.publish()
    assert shown(suite, registry.ALLOCATION_SUGGESTIONS).generated_ts == suite.clock.now()


def test_a_clock_that_was_set_back_makes_everything_due(tuned: Make):
    suite = tuned()
    suite.publish()
    suite.clock.set(NOW - 7200)
    suite.publish()
    for file in (registry.EXPECTANCY, registry.ROUTER_SUGGESTIONS, registry.ALLOCATION_SUGGESTIONS):
        assert file.computed_ts(shown(suite, file)) == NOW - 7200


# ---------------------------------------------------------------- reading


def test_a_long_history_is_read_over_several_loops_and_judged_as_a_whole(tuned: Make):
    suite = tuned(intel_toml={"reading": {"loop_kb": 16}, "apply": {"symbols": [SYMBOL]}})
    suite.attempts(2000)
    loops = 0
    while shown_n(suite) == 0:
        assert shown(suite, registry.ROUTER_SUGGESTIONS).symbols == ()
        loops += 1
        assert loops < 100
    assert loops > 2
    assert shown_n(suite) == 2000
    assert suite.route_policy().offset_bps == 3.0


def shown_n(suite: Tuned) -> int:
    suite.clock.advance(1)
    suite.publish()
    return int(shown(suite, registry.ROUTER_HEALTH).symbols[0].n)


def test_records_count_once_across_rotations_and_after_a_restart(tuned: Make):
    suite = tuned()
    path = suite.log_dir / registry.ORDER_METRICS.path
    writer = JsonlLogger(path, suite.clock, max_bytes=20_000, backups=100, max_age_s=1e9)
    told = {"policy": suite.route_policy(), "policy_configured": suite.route_policy()}
    for beat_no in range(10):
        for n in range(30):
            assert writer.write(intel.routed(suite.clock.now() - n / 100, 1.0, **told)) is None
        suite.clock.advance(60)
        suite.publish()
        assert shown(suite, registry.ROUTER_HEALTH).symbols[0].n == 30 * (beat_no + 1)
    assert len(list(path.parent.glob("order_metrics.*.jsonl"))) > 3
    writer.close()
    suite.restart()
    suite.publish()
    assert shown(suite, registry.ROUTER_HEALTH).symbols[0].n == 300


# ---------------------------------------------------------------- what fails


def alerts_about(suite: Tuned, stage: str) -> list[str]:
    journal = registry.ALERTS
    records = tail(suite.log_dir / journal.path, 1000, journal.decoder.decode).records
    return [record.text for record in records if record.subject == stage]


def test_a_stage_that_raises_is_counted_alerted_and_alone(tuned: Make):
    suite = tuned()
    seen: list[Given] = []

    def broken(given: Given, _: IntelReport) -> object:
        seen.append(given)
        raise KeyError("maker_fill_rate")

    stages = {**STAGES, "scores": broken}
    suite.engine.intel = IntelCycle(suite.engine.settings, suite.store, "run", stages)
    suite.engine.faults.note(beat(suite.engine))
    # Once at the start on nothing, and once on what the journals have.
    assert [len(tuple(given.state.frames)) > 0 for given in seen] == [False, True]
    assert suite.engine.faults.errors == {"intel:scores": 2}
    assert alerts_about(suite, "intel:scores") == ["KeyError: 'maker_fill_rate'"]
    assert shown(suite, registry.SYMBOL_SCORES).symbols == ()
    assert len(shown(suite, registry.ROUTER_HEALTH).symbols) > 0
    suite.clock.advance(1)
    suite.engine.faults.note(beat(suite.engine))
    assert shown(suite, registry.EXECUTOR_HEALTH).errors == {"intel:scores": 2}
    suite.clock.advance(suite.engine.settings.services.executor.intel_s)
    suite.engine.faults.note(beat(suite.engine))
    assert suite.engine.faults.errors == {"intel:scores": 3}


def test_a_stage_that_fails_later_keeps_its_last_result(tuned: Make):
    suite = tuned()
    suite.attempts(20, 1.0)
    fails = False

    def moody(given: Given, so_far: IntelReport) -> object:
        if fails:
            raise ValueError("no more")
        return STAGES["router_health"](given, so_far)

    stages = {**STAGES, "router_health": moody}
    suite.engine.intel = IntelCycle(suite.engine.settings, suite.store, "run", stages)
    suite.publish()
    fails = True
    suite.suggest_again()
    health = shown(suite, registry.ROUTER_HEALTH)
    assert (health.symbols[0].n, health.updated_ts) == (20, NOW)
    assert suite.engine.faults.errors == {"intel:router_health": 1}


def test_a_journal_that_cannot_be_read_is_counted_and_nothing_is_concluded(tuned: Make):
    suite = tuned()
    suite.attempts(20)
    path = suite.log_dir / registry.ORDERS_EXECUTED.path
    path.mkdir(parents=True)
    assert suite.publish().symbols == ()
    assert suite.engine.faults.errors["intel:journals"] == 1
    path.rmdir()
    suite.clock.advance(1)
    assert len(suite.publish().symbols) == 1


def test_a_line_that_is_no_record_is_passed_over(tuned: Make):
    suite = tuned()
    suite.attempts(10, 1.0)
    with (suite.log_dir / registry.ORDER_METRICS.path).open("ab") as journal:
        journal.write(b'{"event":"route"}\nnot json\n{"event":"unheard of","ts":1.0}\n')
    suite.attempts(10, 1.0)
    suite.publish()
    assert shown(suite, registry.ROUTER_HEALTH).symbols[0].n == 20
