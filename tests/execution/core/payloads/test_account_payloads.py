from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core.payloads import nav, positions, processes, risk_snapshot
from execution.core.policy import Policy, SymbolLimits
from execution.core.records import KillLatch, OrderRecord, Recorded, Route
from execution.core.seam import Bar, Blind, Quote, VenueHealth
from execution.core.types import (
    Book,
    Breach,
    Decided,
    Decision,
    EngineState,
    Frame,
    OrderIntent,
    TickReport,
    TradingState,
    Vetoed,
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


# ---------------------------------------------------------------- risk


def policy(**limits: float) -> Policy:
    whole = RUN.policy
    book = replace(whole.limits.book, **limits)
    return replace(whole, limits=replace(whole.limits, book=book, symbols={}))


def held(symbol: str, qty: float, price: float) -> TickReport:
    leg = replace(
        sample.tick(1).state.book.positions[0],
        symbol=symbol,
        position_side="LONG" if qty > 0 else "SHORT",
        qty=qty,
        entry_price=price,
        mark_price=price,
        notional_usd=qty * price,
    )
    return with_book(sample.tick(0), positions=(leg,), nav_usd=10_000.0)


def test_limits_say_what_is_used_and_what_is_left():
    report = held("BTCUSDT", -0.05, 60_000.0)
    run = replace(RUN, policy=policy(gross_cap_pct=150.0, symbol_cap_pct=40.0, net_cap_pct=100.0))
    limits = risk_snapshot.build(report, run).limits
    assert (limits["gross_cap"].used, limits["gross_cap"].headroom) == (30.0, 120.0)
    assert (limits["net_cap"].used, limits["net_cap"].headroom) == (30.0, 70.0)
    assert (limits["symbol_nav_cap"].used, limits["symbol_nav_cap"].headroom) == (30.0, 10.0)
    assert limits["leverage_cap"].used == 0.3
    assert limits["nav_drawdown_limit"].used == 1.25
    assert limits["day_loss_limit"].used == pytest.approx(100 * 250 / 100_250)
    assert (limits["max_concurrent"].used, limits["max_concurrent"].unit) == (1, "legs")
    assert {row.unit for row in limits.values()} == {"pct", "x", "legs"}


def test_a_route_in_flight_counts_in_full():
    report = held("BTCUSDT", 0.05, 60_000.0)
    route = Route(
        decision_id="d",
        strategy="s",
        symbol="ETHUSDT",
        position_side="LONG",
        side="BUY",
        action="entry",
        qty=Decimal(1),
        filled_qty=Decimal("0.5"),
        mark_price=2_000.0,
        reduce_only=False,
        position_id=None,
        stop_price=None,
        legs=(),
        retry_s=None,
        attempts=1,
        order=None,
    )
    state = replace(report.state, recorded=Recorded(day="d", routes={"d": route}))
    limits = risk_snapshot.limits(state, policy())
    assert limits["gross_cap"].used == 40.0
    assert limits["max_concurrent"].used == 2


def test_an_exceeded_limit_has_no_headroom():
    report = held("BTCUSDT", 0.5, 60_000.0)
    row = risk_snapshot.limits(report.state, policy(gross_cap_pct=150.0))["gross_cap"]
    assert (row.used, row.headroom) == (300.0, 0.0)


@pytest.mark.parametrize(
    "book", [Book(), *(Book(known=True, nav_usd=n) for n in (0.0, -5.0, math.nan, math.inf))]
)
def test_without_a_nav_usage_is_null(book):
    limits = risk_snapshot.limits(EngineState(book=book), policy())
    for name in ("gross_cap", "net_cap", "symbol_nav_cap", "leverage_cap"):
        assert (limits[name].used, limits[name].headroom) == (None, None), name
    assert limits["nav_drawdown_limit"].used is None
    assert limits["day_loss_limit"].used is None


def test_the_symbol_with_the_least_headroom_is_shown():
    wide = policy(symbol_cap_pct=40.0)
    limits = replace(wide.limits, symbols={"ETHUSDT": SymbolLimits(cap_pct=5.0)})
    state = held("BTCUSDT", 0.05, 60_000.0).state
    row = risk_snapshot.limits(state, replace(wide, limits=limits))["symbol_nav_cap"]
    assert (row.limit, row.used, row.headroom) == (5.0, 0.0, 5.0)


@given(
    qty=st.floats(-1e6, 1e6),
    price=st.floats(1e-6, 1e6),
    nav_usd=st.floats(allow_nan=True, allow_infinity=True),
)
def test_headroom_is_never_negative_and_never_more_than_the_limit(qty, price, nav_usd):
    report = with_book(held("BTCUSDT", qty or 1.0, price), nav_usd=nav_usd)
    for row in risk_snapshot.limits(report.state, policy()).values():
        if row.headroom is not None and not math.isnan(row.headroom):
            assert 0 <= row.headroom <= row.limit


def test_flag_off_is_fallback_without_an_error():
    built = risk_snapshot.build(sample.tick(0), replace(RUN, flags=OFF))
    assert (built.source, built.error) == ("fallback", None)
    assert risk_snapshot.build(sample.tick(0), RUN).source == "engine"


def test_a_check_that_raised_is_the_engines_error():
    intent = OrderIntent(
        decision_id="d",
        strategy="s",
        symbol="BTCUSDT",
        position_side="LONG",
        side="BUY",
        action="entry",
        qty=Decimal(1),
        mark_price=1.0,
        bar_open_ts=None,
        reduce_only=False,
        urgent=False,
        reason="r",
    )
    breach = Breach("gross_cap", None, "error: ZeroDivisionError", "error")
    decided = Decided(
        TradingState("ACTIVE"), decisions=(Decision(intent, Vetoed(intent, (breach,)), None),)
    )
    built = risk_snapshot.build(replace(sample.tick(0), live=decided), RUN)
    assert (built.source, built.error) == ("fallback", "gross_cap: error: ZeroDivisionError")


def test_states_reasons_and_vetoes_are_those_of_the_tick():
    live = Decided(
        TradingState("REDUCING", ("day_loss_limit",)),
        symbol_trading={"ETHUSDT": TradingState("HALTED", ("position_mismatch",))},
    )
    report = replace(sample.tick(0), live=live)
    report = replace(report, state=replace(report.state, vetoes={"gross_cap": 3}))
    built = risk_snapshot.build(report, RUN)
    assert (built.trading_state, built.trading_state_reasons) == ("REDUCING", ("day_loss_limit",))
    assert built.vetoes == {"gross_cap": 3}
    by_symbol = {row.symbol: row for row in built.symbols}
    assert by_symbol["ETHUSDT"].trading_state == "HALTED"
    assert by_symbol["ETHUSDT"].trading_state_reasons == ("position_mismatch",)
    assert by_symbol["BTCUSDT"].trading_state == "REDUCING"
    assert set(by_symbol) == {listing.symbol for listing in RUN.policy.universe.listing}


def test_a_symbol_shows_what_is_wrong_with_its_leg():
    report = held("BTCUSDT", 1.0, 100.0)
    leg = replace(report.state.book.positions[0], unprotected_since_ts=NOW - 1, mark_price=None)
    rows = risk_snapshot.build(with_book(report, positions=(leg,)), RUN).symbols
    assert next(row for row in rows if row.symbol == "BTCUSDT").risk.risk_flags == (
        "unprotected",
        "no_mark",
    )


def test_volatility_is_null_until_the_bars_carry_it():
    strategy = RUN.policy.strategies[0]
    symbol = strategy.symbols[0]
    report = sample.tick(0)
    row = risk_snapshot.build(report, RUN).symbols[0]
    assert (row.vol.atr_now, row.vol.atr_regime, row.sizing.final_size_factor) == (
        None,
        "unknown",
        None,
    )
    bars = tuple(Bar(60.0 * n, 10, 12, 9, 10, 1) for n in range(100))
    frame = Frame(strategy.bar_s, 100, bars)
    report = replace(report, state=replace(report.state, frames={(symbol, strategy.bar_s): frame}))
    row = next(row for row in risk_snapshot.build(report, RUN).symbols if row.symbol == symbol)
    assert row.vol.atr_now == 3.0
    assert row.sizing.final_size_factor == RUN.policy.sizing.multiplier_min


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
