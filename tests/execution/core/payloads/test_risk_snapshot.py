from __future__ import annotations

import json
import math

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core.payloads import risk_snapshot
from execution.core.payloads.day_figures import DayFigures, Worst
from execution.core.policy import SymbolLimits
from execution.core.records import Anchors
from execution.core.seam import Bar, Blind
from execution.core.types import Book, Decided, EngineState, Frame, TickReport, TradingState
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import RiskSnapshot
from scripts.benchmarks import sample
from tests.support import builders
from tests.support.executors import ROOT

NOW = sample.NOW
RUN = sample.run_info()
OFF = V6Flags(*[False] * 6)
ACTIVE = Decided(TradingState("ACTIVE"))


def in_state(report: TickReport, **changes: object) -> TickReport:
    return replace(report, state=replace(report.state, **changes))


def with_book(report: TickReport, **changes: object) -> TickReport:
    return in_state(report, book=replace(report.state.book, **changes))


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


def collected(report: TickReport, run=RUN) -> RiskSnapshot:
    built, failed = risk_snapshot.build(report, run)
    assert failed is None
    return built


def row_of(built: RiskSnapshot, symbol: str):
    return next(row for row in built.symbols if row.symbol == symbol)


# ---------------------------------------------------------------- who built it


def test_with_its_flag_the_engine_builds_it_and_without_the_collector_does() -> None:
    assert (collected(sample.tick(0)).source, collected(sample.tick(0)).error) == ("engine", None)
    gate = collected(held("BTCUSDT", 0.05, 60_000.0), replace(RUN, flags=OFF))
    assert (gate.source, gate.error) == ("fallback", None)
    # Hard limits hold in both, and both show them.
    assert gate.limits["gross_cap"].used == 30.0


def test_what_a_check_raised_is_the_engines_error() -> None:
    run = replace(RUN, day=DayFigures(error="gross_cap: error: ZeroDivisionError"))
    built = collected(sample.tick(0), run)
    assert (built.source, built.error) == ("fallback", "gross_cap: error: ZeroDivisionError")


def test_an_engine_that_cannot_build_it_leaves_the_collector_what_stands_without_it() -> None:
    # A frame whose bars are none: whatever is computed of them raises.
    strategy = RUN.policy.strategies[0]
    symbol = strategy.symbols[0]
    broken = Frame(strategy.bar_s, 100, bars=(None,) * 100)  # type: ignore[arg-type]
    live = Decided(TradingState("REDUCING", ("day_loss_limit",)))
    report = in_state(sample.tick(0), frames={(symbol, strategy.bar_s): broken})
    report = in_state(replace(report, live=live), vetoes={"gross_cap": 3})
    built, failed = risk_snapshot.build(report, RUN)
    assert failed is not None
    assert failed.stage == "risk_snapshot"
    assert built.source == "fallback"
    assert built.error == f"{type(failed.error).__name__}: {failed.error}"
    assert (built.trading_state, built.trading_state_reasons) == ("REDUCING", ("day_loss_limit",))
    assert built.vetoes == {"gross_cap": 3}
    assert built.limits["nav_drawdown_limit"].used == 1.25
    assert built.limits["gross_cap"].limit == RUN.policy.limits.book.gross_cap_pct
    assert (built.limits["gross_cap"].used, built.limits["gross_cap"].headroom) == (None, None)
    row = row_of(built, symbol)
    assert (row.trading_state, row.router.maker_first) == ("REDUCING", True)
    assert (row.risk.dd_today_pct, row.risk.risk_flags) == (None, ("unassessed",))
    assert (row.vol.atr_now, row.vol.atr_regime, row.sizing.final_size_factor) == (
        *(None, "unknown", None),
    )


SHAPES = (
    json.loads((ROOT.parent / "shared" / "contract" / "state.schema.json").read_text())
    if (ROOT.parent / "shared" / "contract" / "state.schema.json").exists()
    else None
)


@pytest.mark.skipif(SHAPES is None, reason="the reference folder is not beside this checkout")
@pytest.mark.parametrize("error", [None, "ValueError: x"])
def test_both_hold_the_contracts_shape(error) -> None:
    report = held("BTCUSDT", 0.05, 60_000.0)
    for report_ in (report, replace(sample.tick(0), state=EngineState(), seen=Blind(NOW, "x"))):
        built = (
            collected(report_)
            if error is None
            else risk_snapshot.collect_fallback(report_, RUN, error)
        )
        written = replace(built, schema_version=1, seq=1, written_ts=NOW)
        shape = SHAPES["files"]["state/risk_snapshot.json"]
        jsonschema.validate(json.loads(msgspec.json.encode(written)), shape)
        own = msgspec.json.schema(RiskSnapshot)
        jsonschema.validate(json.loads(msgspec.json.encode(written)), own)


# ---------------------------------------------------------------- limits


def test_a_limit_says_what_is_used_what_is_left_and_the_worst_of_the_day() -> None:
    day = DayFigures(worst={"gross_cap": Worst(44.0, NOW - 60)}, worst_since_ts=NOW - 3600)
    built = collected(held("BTCUSDT", 0.05, 60_000.0), replace(RUN, day=day))
    row = built.limits["gross_cap"]
    assert (row.limit, row.used, row.headroom, row.unit) == (150.0, 30.0, 120.0, "pct")
    assert (row.worst, row.worst_ts, built.worst_since_ts) == (44.0, NOW - 60, NOW - 3600)
    assert (built.limits["net_cap"].worst, built.limits["net_cap"].worst_ts) == (None, None)


@given(
    qty=st.floats(-1e6, 1e6),
    price=st.floats(1e-6, 1e6),
    nav_usd=st.floats(allow_nan=True, allow_infinity=True),
)
def test_headroom_is_never_negative_nor_more_than_the_limit_and_nothing_is_no_number(
    qty, price, nav_usd
) -> None:
    report = with_book(held("BTCUSDT", qty or 1.0, price), nav_usd=nav_usd)
    for name, row in collected(report).limits.items():
        if row.headroom is None:
            assert row.used is None, name
        else:
            assert 0 <= row.headroom <= row.limit, name
            assert math.isfinite(row.used), name


@pytest.mark.parametrize(
    "book", [Book(), *(Book(known=True, nav_usd=n) for n in (0.0, -5.0, math.nan, math.inf))]
)
def test_without_a_nav_usage_is_null(book) -> None:
    limits = collected(in_state(sample.tick(0), book=book)).limits
    for name in ("gross_cap", "net_cap", "symbol_nav_cap.BTCUSDT", "tier_cap.CORE", "leverage_cap"):
        assert (limits[name].used, limits[name].headroom) == (None, None), name
    assert limits["margin_insufficient"].used is None
    assert limits["nav_drawdown_limit"].used is None
    assert limits["day_loss_limit"].used is None
    assert limits["nav_stale"].used is None


# ---------------------------------------------------------------- symbols


def test_states_reasons_and_vetoes_are_those_of_the_tick() -> None:
    live = Decided(
        TradingState("REDUCING", ("day_loss_limit",)),
        symbol_trading={"ETHUSDT": TradingState("HALTED", ("position_mismatch",))},
    )
    built = collected(in_state(replace(sample.tick(0), live=live), vetoes={"gross_cap": 3}))
    assert (built.trading_state, built.trading_state_reasons) == ("REDUCING", ("day_loss_limit",))
    assert built.vetoes == {"gross_cap": 3}
    by_symbol = {row.symbol: row for row in built.symbols}
    assert by_symbol["ETHUSDT"].trading_state == "HALTED"
    assert by_symbol["ETHUSDT"].trading_state_reasons == ("position_mismatch",)
    assert by_symbol["BTCUSDT"].trading_state == "REDUCING"
    assert set(by_symbol) == {listing.symbol for listing in RUN.policy.universe.listing}


def test_a_symbol_shows_what_is_wrong_with_it() -> None:
    report = held("BTCUSDT", 1.0, 100.0)
    leg = replace(report.state.book.positions[0], unprotected_since_ts=NOW - 1, mark_price=None)
    report = with_book(report, positions=(leg,))
    doubtful = builders.order_record(state="UNKNOWN")
    report = in_state(report, recorded=replace(report.state.recorded, open_orders=(doubtful,)))
    limits = replace(RUN.policy.limits, symbols={"BTCUSDT": SymbolLimits(blocked_sides=("SHORT",))})
    built = collected(report, replace(RUN, policy=replace(RUN.policy, limits=limits)))
    assert row_of(built, "BTCUSDT").risk.risk_flags == (
        *("unprotected", "no_mark", "unknown_order", "short_blocked"),
    )
    assert row_of(built, "ETHUSDT").risk.risk_flags == ()


def test_a_symbol_shows_what_it_lost_today() -> None:
    report = held("BTCUSDT", 1.0, 100.0)
    leg = replace(report.state.book.positions[0], unrealized_usd=-150.0)
    anchors = Anchors(10_000.0, 10_000.0, "2026-05-28")
    report = with_book(report, positions=(leg,), anchors=anchors)
    day = DayFigures(day="2026-05-28", began_usd={"BTCUSDT": 50.0}, traded_usd={"BTCUSDT": -20.0})
    built = collected(report, replace(RUN, day=day))
    assert row_of(built, "BTCUSDT").risk.dd_today_pct == pytest.approx(2.2)
    assert row_of(built, "ETHUSDT").risk.dd_today_pct == 0.0


# The last bars' range against that of all bars kept, of 1 each.
@pytest.mark.parametrize(
    ("kept", "last_range", "regime"),
    [
        (28, 1.0, "unknown"),
        (29, 1.0, "normal"),
        (100, 1.0, "normal"),
        (100, 0.3, "calm"),
        (100, 4.0, "wild"),
    ],
)
def test_volatility_has_a_regime_once_the_bars_carry_one(kept, last_range, regime) -> None:
    strategy = RUN.policy.strategies[0]
    symbol, atr_bars = strategy.symbols[0], strategy.exits.atr_bars
    assert atr_bars == 14
    ranges = [1.0] * (kept - atr_bars) + [last_range] * atr_bars
    bars = tuple(
        Bar(60.0 * n, 10, 10 + width / 2, 10 - width / 2, 10, 1) for n, width in enumerate(ranges)
    )
    frame = Frame(strategy.bar_s, 100, bars)
    report = in_state(sample.tick(0), frames={(symbol, strategy.bar_s): frame})
    row = row_of(collected(report), symbol)
    assert row.vol.atr_now == pytest.approx(last_range)
    assert row.vol.atr_regime == regime


def test_without_bars_volatility_and_size_are_null() -> None:
    row = collected(sample.tick(0)).symbols[0]
    assert (row.vol.atr_now, row.vol.atr_regime) == (None, "unknown")
    assert row.sizing.final_size_factor is None


def test_with_too_few_bars_the_size_factor_is_the_smallest() -> None:
    strategy = RUN.policy.strategies[0]
    frame = Frame(strategy.bar_s, 100, bars=())
    symbol = strategy.symbols[0]
    report = in_state(sample.tick(0), frames={(symbol, strategy.bar_s): frame})
    row = row_of(collected(report), symbol)
    assert row.sizing.final_size_factor == RUN.policy.sizing.multiplier_min
    assert row.vol.atr_now is None
