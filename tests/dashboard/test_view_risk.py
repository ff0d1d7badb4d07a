from __future__ import annotations

import pytest
import sample_journals
import sample_state as sample
from hypothesis import given
from hypothesis import strategies as st

from dashboard import view_risk
from dashboard.seen import Seen
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
HOSTILE = "<script>alert(1)</script> [a](http://x) `b` **c**"


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes, journals=sample_journals.journals(NOW))


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


# ---------------------------------------------------------------- trading state and limits


def test_the_trading_state_comes_with_its_reasons():
    calm = view_risk.trading_state(seen(), NOW)
    assert (calm.value, calm.detail) == ("ACTIVE", "everything allowed")
    what = seen(
        executor_health=sample.executor(
            NOW, trading_state="HALTED", kill_latch=True, blind_since_ts=NOW - 5
        ),
        risk_snapshot=sample.risk(
            NOW, trading_state="HALTED", trading_state_reasons=("kill_switch",)
        ),
    )
    halted = view_risk.trading_state(what, NOW)
    assert halted.value == "HALTED"
    assert halted.detail == "kill switch, kill latch on, venue unread for 5 s"


def test_an_old_trading_state_is_not_told_as_the_present():
    what = seen(executor_health=sample.executor(NOW - 200))
    state = view_risk.trading_state(what, NOW)
    assert (state.detail, state.age.text) == ("last said, not known now", "stale 3 m")


def test_without_an_executor_the_trading_state_is_unknown():
    state = view_risk.trading_state(Seen(files={}), NOW)
    assert (state.value, state.age.status) == ("unknown", "unknown")


def test_limits_are_bars_most_used_first_and_unknown_before_all():
    limits = {
        "gross_cap": sample.limit(150_960.0, 41_250.0, "usd"),
        "max_concurrent": sample.limit(4.0, 3.0, "legs"),
        "net_cap": sample.limit(100.0, None, "usd"),
        "day_loss_limit": sample.limit(5.0, 6.0, "pct"),
    }
    found = view_risk.limits(seen(risk_snapshot=sample.risk(NOW, limits=limits)), NOW)
    assert [(row.name, row.used, row.detail, row.level) for row in found.rows] == [
        ("net cap", "unknown of 100.00 USD", "left unknown", "note"),
        ("day loss limit", "6.00 of 5.00 %", "\N{MINUS SIGN}1.00 % left", "critical"),
        ("max concurrent", "3 of 4 legs", "1 left", "warning"),
        ("gross cap", "41,250 of 150,960 USD", "109,710 USD left", "ok"),
    ]
    assert [row.frac for row in found.rows] == [None, 1.0, 0.75, pytest.approx(0.2733, abs=1e-4)]
    assert found.age.text == "4 s ago"


@given(used=NUMBER, limit=st.floats(allow_nan=False, allow_infinity=False))
def test_a_bar_never_leaves_its_frame(used, limit):
    limits = {"x": sample.files.LimitRow(limit=limit, used=used, headroom=None, unit="usd")}
    (row,) = view_risk.limits(seen(risk_snapshot=sample.risk(NOW, limits=limits)), NOW).rows
    assert (row.frac is None) == (used is None or limit < 0)
    assert row.frac is None or 0.0 <= row.frac <= 1.0


def test_without_a_snapshot_limits_are_unknown():
    found = view_risk.limits(Seen(files={}), NOW)
    assert (found.rows, found.age.status) == ((), "unknown")


def test_a_limit_of_nothing_is_kept_or_broken_and_never_unknown():
    limits = {"a": sample.limit(0.0, 0.0, "orders"), "b": sample.limit(0.0, 1.0, "orders")}
    rows = view_risk.limits(seen(risk_snapshot=sample.risk(NOW, limits=limits)), NOW).rows
    assert [(row.name, row.frac, row.level) for row in rows] == [
        ("b", 1.0, "warning"),
        ("a", 0.0, "ok"),
    ]


def test_the_overview_always_shows_exposure_and_losses_and_whatever_is_tight():
    limits = sample.LIMITS | {
        "order_rate.minute": sample.limit(20, 19, "entries"),
        "cooldown": sample.limit(1_800, 60, "s"),
    }
    found = view_risk.main_limits(seen(risk_snapshot=sample.risk(NOW, limits=limits)), NOW)
    assert [row.name for row in found.rows] == [
        "gross cap",
        "net cap",
        "leverage cap",
        "margin insufficient",
        "max concurrent",
        "nav drawdown limit",
        "day loss limit",
        "order rate minute",
    ]


def test_every_limit_is_listed_with_its_worst():
    worst = sample.files.LimitRow(
        limit=150.0, used=30.0, headroom=120.0, unit="pct", worst=75.0, worst_ts=NOW - 60
    )
    limits = {"net_cap": sample.limit(100.0, None, "pct"), "gross_cap": worst}
    what = seen(risk_snapshot=sample.risk(NOW, limits=limits, worst_since_ts=NOW - 7_200))
    first, second = cells(view_risk.limit_table(what, NOW))
    assert first == {
        "Limit": "gross cap",
        "Used %": "20.00",
        "Used": "30.00",
        "Limit at": "150.00",
        "Left": "120.00",
        "Unit": "%",
        "Worst today": "75.00",
        "Worst %": "50.00",
        "Worst at UTC": "01-15 07:59:00",
    }
    assert (second["Used %"], second["Left"], second["Worst today"]) == (
        "unknown",
        "unknown",
        "not kept",
    )
    assert view_risk.worst_since(what) == "Worst: the most that was used since 01-15 06:00:00 UTC."
    assert "unknown" in view_risk.worst_since(seen())


def test_a_symbol_leaves_its_own_limits_and_the_books():
    limits = {
        name: sample.limit(4.0, 1.0, "legs")
        for name in ("max_concurrent", "tier_cap.CORE", "order_rate.BTCUSDT", "order_rate.ETHUSDT")
    }
    what = seen(risk_snapshot=sample.risk(NOW, limits=limits))
    names = [row["Limit"] for row in cells(view_risk.limit_table(what, NOW, "ETHUSDT"))]
    assert names == ["max concurrent", "tier cap CORE", "order rate ETHUSDT"]
    assert [row["Symbol"] for row in cells(view_risk.symbols(what, NOW, "ETHUSDT"))] == ["ETHUSDT"]


def test_symbols_show_state_policy_and_flags():
    row = sample.risk_row(
        "SOLUSDT",
        NOW,
        trading_state="HALTED",
        trading_state_reasons=("position_mismatch",),
        risk=sample.files.SymbolRisk(dd_today_pct=None, risk_flags=("short_blocked",)),
    )
    (shown,) = cells(view_risk.symbols(seen(risk_snapshot=sample.risk(NOW, symbols=(row,))), NOW))
    assert shown["State"] == "HALTED"
    assert shown["Reasons"] == "position mismatch"
    assert shown["Loss today %"] == "unknown"
    assert shown["Flags"] == "short blocked"
    assert (shown["Maker first"], shown["Offset"]) == ("yes", "1.00 bps")


# ---------------------------------------------------------------- vetoes


def test_vetoes_of_the_day_are_shares_of_all():
    bars = view_risk.vetoes_today(seen(), NOW)
    assert [(bar.name, bar.used, bar.detail) for bar in bars.rows] == [
        ("side blocked", "3", "75.0 %"),
        ("symbol nav cap", "1", "25.0 %"),
    ]


def test_vetoes_over_time_are_counted_in_steps():
    chart = view_risk.vetoes_over_time(seen(), NOW)
    assert chart.note is None
    assert chart.columns["reason"] == ("max concurrent", "max concurrent", "side blocked")
    assert chart.columns["vetoes"] == (2.0, 1.0, 1.0)
    assert [int(ts) % 60 for ts in chart.columns["from"]] == [0, 0, 0]
    steps = {
        to - start for start, to in zip(chart.columns["from"], chart.columns["to"], strict=True)
    }
    assert steps == {60.0}


@given(count=st.integers(min_value=1, max_value=40), spread_s=st.floats(0.0, 86_000.0))
def test_no_veto_is_lost_between_steps(count, spread_s):
    found = tuple(
        sample_journals.veto(NOW - spread_s * place / count, reason=f"reason_{place}")
        for place in range(count)
    )
    what = Seen(files=sample.payloads(NOW), journals={"risk_vetoes": found})
    chart = view_risk.vetoes_over_time(what, NOW)
    assert sum(chart.columns["vetoes"]) == count
    assert len(set(chart.columns["reason"])) <= view_risk.REASONS_DRAWN + 1


def test_vetoes_are_listed_newest_first_with_what_was_observed():
    table = view_risk.vetoes(seen(), NOW)
    rows = cells(table)
    assert [row["Reasons"] for row in rows] == [
        "side blocked, max concurrent",
        "max concurrent",
        "max concurrent",
        "max concurrent",
    ]
    assert (rows[0]["Observed"], rows[0]["Limit"], rows[0]["Unit"]) == ("SHORT", "allowed", "side")
    assert (rows[1]["Observed"], rows[1]["Limit"]) == ("5", "4")
    assert view_risk.vetoes(seen(), NOW, "NONE").rows == ()


def test_no_veto_is_told_from_unknown_vetoes():
    none = Seen(files=sample.payloads(NOW), journals={"risk_vetoes": ()})
    assert view_risk.vetoes_over_time(none, NOW).note == "No veto in 24 hours."
    bad = Unreadable("execution/risk_vetoes.jsonl", "not_a_file", "x")
    what = Seen(files=sample.payloads(NOW), journals={"risk_vetoes": bad})
    assert (
        view_risk.vetoes_over_time(what, NOW).note == "execution/risk_vetoes.jsonl cannot be read."
    )
    for found in (view_risk.vetoes_today, view_risk.limit_table, view_risk.symbols):
        assert found(Seen(files={}), NOW).age.status == "unknown"
        assert "unknown" in found(Seen(files={}), NOW).empty
