from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core.payloads import intel, shadow_head
from execution.core.payloads.processes import process_health
from execution.core.payloads.run import IntelReport, Measured, ServiceInfo
from execution.core.payloads.shadow_head import ShadowFacts
from execution.state_schema.files import JournalPosition
from execution.state_schema.intel_files import AllocationGlobal, ScoreRow
from execution.state_schema.journals import Judgement, ShadowDecision, ShadowHeartbeat
from scripts.benchmarks import sample
from tests.support import journalled
from tests.support.intel import OFF, ON, measure

NOW = sample.NOW
RUN = replace(sample.run_info(), flags=ON)
SYMBOLS = [listing.symbol for listing in RUN.policy.universe.listing]
NOTHING_YET = measure(RUN.policy, NOW)


# ---------------------------------------------------------------- the slow cadence


def test_router_health_has_a_row_for_every_symbol_before_any_order():
    built = intel.router_health(NOTHING_YET, RUN)
    assert [row.symbol for row in built.symbols] == SYMBOLS
    row = built.symbols[0]
    assert row.n == 0
    assert [row.maker_fill_rate, row.fallback_rate, row.slippage_p50, row.slippage_p95] == [
        None
    ] * 4
    assert (row.policy.quality, row.regime) == ("unknown", "unknown")
    assert row.policy.reason == "0 of 20 quoted routes"
    assert row.policy.maker_first is RUN.policy.router.maker_first
    assert row.maker_offset_bps == RUN.policy.router.offset_bps


def test_scores_are_neutral_until_measured():
    built = intel.symbol_scores(NOTHING_YET, RUN)
    assert {row.symbol: row.score for row in built.symbols} == dict.fromkeys(SYMBOLS, 0.45)
    assert all(row.components == {} for row in built.symbols)


def test_scores_are_best_first():
    rows = tuple(
        ScoreRow(symbol=symbol, score=score, components={}, inputs={})
        for symbol, score in (("B", 0.2), ("C", 0.9), ("A", 0.2))
    )
    built = intel.symbol_scores(replace(NOTHING_YET, scores=Measured(NOW, rows)), RUN)
    assert [row.symbol for row in built.symbols] == ["C", "A", "B"]


def test_expectancy_counts_nothing():
    built = intel.expectancy(NOTHING_YET, RUN)
    assert (built.sample_count, built.symbols, built.hours, built.regimes) == (0, {}, {}, {})
    assert built.lookback_hours == 48.0


def test_suggestions_say_why_there_are_none():
    built = intel.router_suggestions(NOTHING_YET, RUN)
    assert built.note == "no symbol has 20 attempts under its present policy yet"
    assert (built.symbols, built.in_force) == ((), {})
    assert built.configured == RUN.policy.router.default
    built = intel.allocation_suggestions(NOTHING_YET, RUN)
    assert (built.symbols, built.note) == ((), "the equity is not known")
    assert (built.book.current_equity_usd, built.book.risk_mode) == (None, "cautious")


def test_a_stage_that_never_had_a_result_is_not_measured_since_the_start():
    nothing = IntelReport()
    assert intel.router_health(nothing, RUN).symbols == ()
    assert intel.router_health(nothing, RUN).updated_ts == RUN.started_ts
    assert intel.symbol_scores(nothing, RUN).symbols == ()
    built = intel.expectancy(nothing, RUN)
    assert (built.sample_count, built.lookback_hours, built.updated_ts) == (0, 0.0, RUN.started_ts)
    suggested = intel.router_suggestions(nothing, RUN)
    assert (suggested.note, suggested.symbols) == ("not measured", ())
    allocated = intel.allocation_suggestions(nothing, RUN)
    assert (allocated.note, allocated.book.risk_mode) == ("not measured", "cautious")


def test_the_policies_in_force_are_told_for_the_next_start():
    tuned = replace(RUN.policy.router.default, offset_bps=3.0)
    run = replace(RUN, policy=replace(RUN.policy, tuned={"BTCUSDT": tuned}))
    assert intel.router_suggestions(NOTHING_YET, run).in_force == {"BTCUSDT": tuned}


def test_the_allocator_knows_the_book_when_it_is_known():
    found = measure(RUN.policy, NOW, state=sample.tick(0).state)
    built = intel.allocation_suggestions(found, RUN)
    assert built.book.current_equity_usd == 100_000.0
    assert (built.book.current_drawdown_pct, built.book.risk_mode) == (1.25, "normal")
    assert (built.symbols, built.note) == ((), "no history yet")


@pytest.mark.parametrize(("flags", "equity"), [(OFF, 100.0), (ON, None)])
def test_allocator_off_or_without_equity_is_cautious(flags, equity):
    book = AllocationGlobal(
        current_equity_usd=equity, current_drawdown_pct=None, risk_mode="normal"
    )
    assert NOTHING_YET.allocation is not None
    figures = replace(NOTHING_YET.allocation.value, book=book)
    found = replace(NOTHING_YET, allocation=Measured(NOW, figures))
    built = intel.allocation_suggestions(found, replace(RUN, flags=flags))
    assert (built.book.risk_mode, built.enabled) == ("cautious", flags is ON)


def test_what_is_off_says_so_and_lists_nothing():
    run = replace(RUN, flags=OFF)
    assert intel.symbol_scores(NOTHING_YET, run).intel_enabled is False
    assert intel.symbol_scores(NOTHING_YET, run).symbols == ()
    assert intel.expectancy(NOTHING_YET, run).enabled is False
    assert intel.router_suggestions(NOTHING_YET, run).note == "switched off"
    assert intel.allocation_suggestions(NOTHING_YET, run).note == "switched off"
    assert len(intel.router_health(NOTHING_YET, run).symbols) == len(SYMBOLS)


def test_each_file_keeps_the_time_of_its_own_computation():
    assert NOTHING_YET.scores is not None
    found = replace(NOTHING_YET, scores=Measured(NOW + 9, NOTHING_YET.scores.value))
    assert intel.symbol_scores(found, RUN).updated_ts == NOW + 9
    assert intel.expectancy(found, RUN).updated_ts == NOW


# ---------------------------------------------------------------- the shadow head


def judged(approved: bool) -> Judgement:
    return Judgement(approved=approved, reason=None, qty=1.0, notional_usd=2.0)


def decision(n: int, shadow: bool | None) -> ShadowDecision:
    return journalled.shadow_decision(
        NOW + n,
        judged(approved=True),
        None if shadow is None else judged(shadow),
        run_id="r",
        decision_id=f"d{n}",
        mark_price=2.0,
    )


def beat(n: int) -> ShadowHeartbeat:
    return ShadowHeartbeat(ts=NOW + n, run_id="r", reason="watching")


AT = JournalPosition(inode=1, offset=2, mark=3)


def test_before_any_decision_the_head_holds_a_heartbeat():
    built = shadow_head.build(ShadowFacts(), "v6", ON, "r", NOW)
    assert built.last_decision == ShadowHeartbeat(
        ts=NOW, run_id="r", reason="no shadow decision yet"
    )
    assert (built.total, built.allowed, built.vetoed, built.last_decision_age_s) == (0, 0, 0, None)
    assert built.heartbeat_ts is None


def test_counts_and_the_newest_decision():
    records = [decision(1, True), beat(2), decision(3, False), decision(4, None), beat(5)]
    facts = shadow_head.fold(ShadowFacts(), records, AT)
    built = shadow_head.build(facts, "v6", ON, "r", NOW + 10)
    assert (built.total, built.allowed, built.vetoed) == (2, 1, 1)
    assert built.last_decision == records[2]
    assert (built.last_decision_age_s, built.heartbeat_ts, built.journal) == (7.0, NOW + 5, AT)


def test_a_heartbeat_never_erases_the_last_decision():
    head = shadow_head.build(
        shadow_head.fold(ShadowFacts(), [decision(1, True)], AT), "v6", ON, "r", NOW + 1
    )
    after = shadow_head.fold(shadow_head.recall(head), [beat(9)], AT)
    assert shadow_head.build(after, "v6", ON, "r", NOW + 9).last_decision == decision(1, True)


@given(st.lists(st.sampled_from([True, False, None, "beat"]), max_size=30), st.data())
def test_counting_in_any_pieces_by_either_writer_is_the_same(kinds, data):
    records = [
        beat(n) if kind == "beat" else decision(n, kind)  # type: ignore[arg-type]
        for n, kind in enumerate(kinds)
    ]
    whole = shadow_head.fold(ShadowFacts(), records, AT)
    cut = data.draw(st.integers(0, len(records)))
    head = shadow_head.build(
        shadow_head.fold(ShadowFacts(), records[:cut], AT), "v6", ON, "executor", NOW + 50
    )
    pieces = shadow_head.fold(shadow_head.recall(head), records[cut:], AT)
    assert pieces == whole
    assert whole.total == whole.allowed + whole.vetoed


def test_an_age_is_never_negative():
    facts = ShadowFacts(total=1, allowed=1, last_decision=decision(5, True))
    assert shadow_head.build(facts, "v6", OFF, "r", NOW).last_decision_age_s == 0.0
    assert shadow_head.build(facts, "v6", OFF, "r", NOW).enabled is False


# ---------------------------------------------------------------- services


def test_a_service_says_who_it_is_and_what_failed():
    service = ServiceInfo(
        engine_version="v6",
        run_id="r",
        flags=OFF,
        pid=42,
        started_ts=NOW - 60,
        cycles=7,
        errors={"cycle": 2},
        last_error="TimeoutError",
        rss_mb=25.5,
    )
    built = process_health(service, NOW)
    assert (built.pid, built.cycles, built.errors, built.rss_mb) == (42, 7, {"cycle": 2}, 25.5)
    assert (built.started_ts, built.updated_ts, built.last_error) == (NOW - 60, NOW, "TimeoutError")
