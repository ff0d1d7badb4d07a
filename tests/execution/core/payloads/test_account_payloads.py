from __future__ import annotations

import math
from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.core.payloads import nav, positions, processes
from execution.core.records import KillLatch, OrderRecord, Recorded
from execution.core.seam import Blind, Quote, VenueHealth
from execution.core.types import (
    Book,
    EngineState,
    TickReport,
)
from execution.state_schema.envelope import V6Flags
from scripts.benchmarks import sample

NOW = sample.NOW
RUN = sample.run_info()
OFF = V6Flags(*[False] * 6)


def with_book(report: TickReport, **changes: object) -> TickReport:
    return replace(report, state=replace(report.state, book=replace(report.state.book, **changes)))


def first_tick() -> TickReport:
    return replace(sample.tick(0), state=EngineState(), seen=Blind(NOW, "no network"))


# ---------------------------------------------------------------- nav, positions, synced


def test_nav_is_carried_not_computed():
    built = nav.build(sample.tick(2), RUN)
    book = sample.tick(2).state.book
    assert built.nav == built.nav_usd == book.nav_usd
    assert (built.peak_usd, built.day_start_usd) == (102_000.0, 100_250.0)
    assert (built.drawdown_pct, built.day_pnl_usd) == (1.25, -250.0)
    assert (built.known, built.stale, built.as_of_ts) == (True, False, NOW)
    assert built.identity_residual_usd == 0.0
    assert (built.engine_version, built.v6_flags) == ("v6.0-bench", sample.FLAGS)


def test_before_the_first_good_read_nothing_is_known():
    built = nav.build(first_tick(), RUN)
    assert (built.nav, built.nav_usd, built.known, built.stale) == (0.0, 0.0, False, True)
    unknown = [
        built.as_of_ts,
        built.wallet_usd,
        built.unrealized_usd,
        built.gross_usd,
        built.net_usd,
        built.peak_usd,
        built.drawdown_pct,
        built.day_start_usd,
        built.day_pnl_usd,
        built.identity_residual_usd,
    ]
    assert unknown == [None] * len(unknown)


def test_a_number_left_in_an_unknown_book_is_not_published():
    report = with_book(sample.tick(0), known=False, nav_usd=123.0)
    assert nav.build(report, RUN).nav == 0.0
    assert positions.build_synced(report, RUN, ()).nav == 0.0


def test_blind_keeps_the_last_good_values_and_their_time():
    report = with_book(sample.tick(2), stale=True, blind_since_ts=NOW + 1)
    report = replace(report, now=NOW + 60, seen=Blind(NOW + 60, "timeout"))
    built = nav.build(report, RUN)
    assert built.nav == sample.tick(2).state.book.nav_usd
    assert (built.stale, built.as_of_ts, built.updated_ts) == (True, NOW, NOW + 60)
    rows = positions.rows(report.state.book)
    written = positions.build(report, RUN, rows)
    assert (len(written.rows), written.stale, written.as_of_ts) == (2, True, NOW)
    assert written.updated == NOW + 60


def test_a_short_is_negative_and_has_its_plan():
    short = positions.rows(sample.tick(2).state.book)[1]
    assert (short.symbol, short.position_side) == ("S001USDT", "SHORT")
    assert short.qty == -0.126
    assert short.notional_usd == pytest.approx(-0.126 * 101.37 * 1.0013)
    assert short.exit is not None
    assert short.exit.deadline_ts == NOW + 900


def test_a_leg_without_mark_or_plan_is_null_not_zero():
    leg = replace(
        sample.tick(1).state.book.positions[0],
        mark_price=None,
        unrealized_usd=None,
        notional_usd=None,
        exit=None,
        unprotected_since_ts=NOW - 9,
    )
    (row,) = positions.rows(Book(positions=(leg,)))
    assert (row.mark_price, row.unrealized, row.notional_usd, row.exit) == (None,) * 4
    assert row.unprotected_since_ts == NOW - 9


def test_both_files_carry_the_same_rows():
    report = sample.tick(5)
    rows = positions.rows(report.state.book)
    assert (
        positions.build(report, RUN, rows).rows == positions.build_synced(report, RUN, rows).items
    )


# ---------------------------------------------------------------- processes


def order(state: str) -> OrderRecord:
    return OrderRecord(
        client_id=f"c-{state}",
        decision_id="d",
        attempt=1,
        symbol="BTCUSDT",
        side="BUY",
        position_side="LONG",
        type="LIMIT",
        qty=Decimal(1),
        price=Decimal(1),
        stop_price=None,
        reduce_only=False,
        close_position=False,
        post_only=True,
        state=state,  # type: ignore[arg-type]
        filled_qty=Decimal(0),
        signed_ts=NOW,
        deadline_ts=NOW,
    )


def test_executor_health_counts_orders_errors_and_failed_writes():
    report = sample.tick(0)
    recorded = Recorded(
        day="d",
        open_orders=(order("LIVE"), order("UNKNOWN"), order("PARTIAL")),
        kill=KillLatch(on=True, reason="drill"),
    )
    report = replace(report, state=replace(report.state, recorded=recorded))
    run = replace(
        RUN,
        errors={"decide": 2},
        failed_writes=("state/nav.json",),
        health=VenueHealth(clock_offset_ms=-12.5, weight_used_1m=40, banned_until_ts=None),
    )
    built = processes.executor_health(with_book(report, blind_since_ts=NOW - 3), run)
    assert (built.open_orders, built.unknown_orders, built.kill_latch) == (3, 1, True)
    assert (built.errors, built.failed_writes) == ({"decide": 2}, ("state/nav.json",))
    assert (built.clock_offset_ms, built.weight_used_1m, built.banned_until_ts) == (-12.5, 40, None)
    assert (built.loop_ms.last, built.loop_ms.p99, built.blind_since_ts) == (4.0, 9.0, NOW - 3)


@pytest.mark.parametrize(("kill", "on"), [(None, False), (KillLatch(on=False, reason=""), False)])
def test_no_latch_is_off(kill, on):
    report = sample.tick(0)
    report = replace(report, state=replace(report.state, recorded=Recorded(day="d", kill=kill)))
    assert processes.executor_health(report, RUN).kill_latch is on


def test_the_probe_says_each_flag_and_switch():
    built = processes.runtime_probe(
        replace(RUN, flags=replace(OFF, INTEL_V6_ENABLED=True)), NOW + 7
    )
    assert (built.INTEL_V6_ENABLED, built.RISK_ENGINE_V6_ENABLED) == (True, False)
    assert built.v6_flags.INTEL_V6_ENABLED
    assert (built.env, built.dry_run, built.testnet, built.venue) == ("dev", True, True, "paper")
    assert (built.ts, built.run_id) == (NOW + 7, "run-1")


def test_quotes_do_not_reach_the_account_files():
    report = replace(
        sample.tick(1),
        state=replace(sample.tick(1).state, quotes={"X": Quote(NOW, 1, 2, math.nan)}),
    )
    assert nav.build(report, RUN).nav == sample.tick(1).state.book.nav_usd
