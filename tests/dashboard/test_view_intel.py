from __future__ import annotations

import sample_journals
import sample_state as sample

from dashboard import view_intel
from dashboard.seen import Seen
from execution.core.records import RoutePolicy
from execution.state_schema import intel_files as files

NOW = 1_800_000_000.0


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes, journals=sample_journals.journals(NOW))


def told(**journals) -> Seen:
    return Seen(files=sample.payloads(NOW), journals=journals)


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


TUNED = RoutePolicy(maker_first=False, taker_bias=0.25, offset_bps=1.5)
TRADES = files.ExpectancyRow(
    n=5,
    hit_rate=0.4,
    avg_win_usd=0.8,
    avg_loss_usd=-2.18,
    expectancy_usd=-0.99,
    expectancy_bps=-8.9,
    expectancy_per_risk=None,
    max_drawdown_usd=4.95,
)


def scores(**changes) -> files.SymbolScores:
    row = files.ScoreRow(
        symbol="BTCUSDT",
        score=0.45,
        components={"expectancy": -0.125, "cost": None},
        inputs={"trades": 5.0, "hit_rate": None},
    )
    base = {"updated_ts": NOW - 90, "intel_enabled": True, "symbols": (row,)}
    return files.SymbolScores(**sample.COMMON | base | changes)


def expectancy(**changes) -> files.Expectancy:
    base = {
        "updated_ts": NOW - 90,
        "enabled": True,
        "lookback_hours": 168.0,
        "sample_count": 5,
        "symbols": {"BTCUSDT": TRADES},
        "hours": {"15": TRADES, "03": TRADES},
        "regimes": {"calm": TRADES},
    }
    return files.Expectancy(**sample.COMMON | base | changes)


def suggestions(**changes) -> files.RouterSuggestions:
    row = files.RouterSuggestionRow(
        symbol="BTCUSDT",
        regime="calm",
        quality="ok",
        metrics={"maker_fill_rate": 0.5, "slippage": None},
        current_policy=sample_journals.QUOTED,
        proposed_policy=TUNED,
        rationale=("fills too seldom", "cheap"),
        apply_reason="cautious",
    )
    base = {"generated_ts": NOW - 300, "enabled": True, "lookback_days": 7.0, "symbols": (row,)}
    return files.RouterSuggestions(**sample.COMMON | base | changes)


def test_scores_are_bars_with_their_parts():
    (bar,) = view_intel.scores(seen(symbol_scores=scores()), NOW).rows
    assert (bar.name, bar.used, bar.frac) == ("BTCUSDT", "0.450", 0.45)
    assert bar.detail == "expectancy \N{MINUS SIGN}0.125, cost unknown"
    (row,) = cells(view_intel.inputs(seen(symbol_scores=scores()), NOW))
    assert row == {"Symbol": "BTCUSDT", "Trades": "5", "Hit rate": "unknown"}
    assert view_intel.scores(seen(symbol_scores=scores()), NOW, "X").rows == ()


def test_expectancy_is_listed_by_symbol_and_regime_and_drawn_by_hour():
    rows = cells(view_intel.expectancy(seen(expectancy=expectancy()), NOW))
    assert [row["Group"] for row in rows] == ["BTCUSDT", "calm market"]
    assert rows[0]["Expectancy bps"] == "\N{MINUS SIGN}8.90"
    assert (rows[0]["Hit rate"], rows[0]["Per USD at risk"]) == ("40.0 %", "unknown")
    chart = view_intel.by_hour(seen(expectancy=expectancy()), NOW)
    assert chart.columns["hour"] == ("03", "15")
    assert chart.columns["expectancy"] == (-8.9, -8.9)


def test_suggestions_say_why_and_what_was_applied():
    (row,) = cells(view_intel.router(seen(router_suggestions=suggestions()), NOW))
    assert (row["Now"], row["Proposed"]) == (
        "maker, bias 0.00, 0.5 bps",
        "cross, bias 0.25, 1.5 bps",
    )
    assert row["Applied"] == "no: cautious"
    assert row["Rationale"] == "fills too seldom; cheap"
    assert row["Measured"] == "maker fill rate 0.50, slippage unknown"
    note = seen(router_suggestions=suggestions(symbols=(), note="no symbol has 20 attempts"))
    assert view_intel.router(note, NOW).empty == "no symbol has 20 attempts"


def test_what_is_in_force_is_named():
    facts = dict(view_intel.in_force(seen(router_suggestions=suggestions()), NOW).rows)
    assert facts["Apply"] == "off: nothing is taken over"
    assert (facts["Configured"], facts["Tuned"]) == ("unknown", "no symbol")
    tuned = suggestions(in_force={"BTCUSDT": TUNED}, configured=sample_journals.QUOTED)
    facts = dict(view_intel.in_force(seen(router_suggestions=tuned), NOW).rows)
    assert facts["BTCUSDT"] == "cross, bias 0.25, 1.5 bps"
    assert "Tuned" not in facts


def test_applied_steps_are_listed():
    (row,) = cells(view_intel.changes(seen(), NOW))
    assert (row["Before"], row["After"]) == ("maker, bias 0.00, 0.5 bps", "maker, bias 0.05, 1 bps")
    assert row["Rationale"] == "fills too seldom"


def test_the_allocator_says_its_mode_and_its_caps():
    facts = dict(view_intel.allocator(seen(), NOW).rows)
    assert (facts["Risk mode"], facts["Drawdown"]) == ("cautious", "0.56 %")
    row = files.AllocationRow(
        symbol="BTCUSDT",
        score=0.45,
        caps=files.Caps(symbol_cap_pct=40.0, trade_cap_pct=15.0),
        suggested_caps=files.Caps(symbol_cap_pct=30.0, trade_cap_pct=10.0),
        suggested_weight=0.25,
        rationale=("low score",),
    )
    base = sample.payloads(NOW)["allocation_suggestions"]
    what = seen(
        allocation_suggestions=files.AllocationSuggestions(
            **sample.COMMON, generated_ts=NOW, enabled=True, book=base.book, symbols=(row,)
        )
    )
    (shown,) = cells(view_intel.allocation(what, NOW))
    assert (shown["Symbol cap %"], shown["Suggested %"], shown["Weight"]) == (
        "40.00",
        "30.00",
        "25.0 %",
    )


def test_what_is_off_says_so_and_what_is_unknown_too():
    off = seen(
        symbol_scores=scores(intel_enabled=False, symbols=()),
        expectancy=expectancy(enabled=False, symbols={}, hours={}, regimes={}),
    )
    assert view_intel.scores(off, NOW).empty == view_intel.OFF
    assert view_intel.expectancy(off, NOW).empty == view_intel.OFF
    assert view_intel.by_hour(off, NOW).note == view_intel.OFF
    for find in (
        view_intel.scores,
        view_intel.inputs,
        view_intel.expectancy,
        view_intel.router,
        view_intel.allocation,
    ):
        found = find(Seen(files={}), NOW)
        assert (found.rows, found.age.status) == ((), "unknown")
        assert "unknown" in found.empty
    for find in (view_intel.in_force, view_intel.allocator):
        assert find(Seen(files={}), NOW).rows[0][1] == "unknown"
