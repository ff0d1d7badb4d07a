from __future__ import annotations

import msgspec
import pytest
import sample_journals
import sample_state as sample

from dashboard import view_shadow
from dashboard.seen import Seen
from execution.state_schema import files
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
VIEWER = sample.viewer(NOW - 60)
SPREAD = files.Stats(n=40, mean=0.25, p50=0.1, p95=1.5)


MORE = {
    "by_symbol": {"BTCUSDT": {"n": 100, "agreement_pct": 97.0}},
    "by_strategy": {"trend": {"n": 150, "agreement_pct": 95.5}},
    "routes": {"n": 0, "agreement_pct": None},
    "live_alone": 2,
    "shadow_alone": 0,
    "new_breaches": 0,
    "counterfactual": {
        "horizon_s": 3_600.0,
        "pending": 3,
        "unmeasured": 1,
        "live_only": {"n": 4, "total_usd": -8.0, "mean_usd": -2.0},
        "shadow_only": {"n": 0, "total_usd": None, "mean_usd": None},
        "difference_usd": {"n": 40, "mean": 0.25, "p50": 0.1, "p95": 1.5},
    },
    "live_policy": "a1b2",
    "shadow_policy": "c3d4",
}


def summary(**changes):
    base = sample.COMMON | {
        "generated_ts": NOW - 200,
        "shadow_enabled": True,
        "sample_size": 150,
        "min_sample_size": 200,
        "veto_mismatch_pct": 2.0,
        "agreement_pct": 95.5,
        "size_diff_stats": SPREAD,
        "slippage_diff_bps": files.Stats(n=0, mean=None, p50=None, p95=None),
        "by_reason": {"net_cap": 1, "gross_cap": 3},
        "is_warmup": True,
        "warmup_reason": "150 of 200 pairs",
    }
    whole = msgspec.to_builtins(base) | MORE | changes
    return msgspec.convert(whole, files.CompareSummary)


def seen(found) -> Seen:
    return Seen(
        files=sample.payloads(NOW) | {"compare_summary": found},
        journals=sample_journals.journals(NOW),
    )


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


def test_tiles_show_agreement_and_what_is_not_measured():
    tiles = view_shadow.tiles(seen(summary()), NOW)
    assert [(each.label, each.value) for each in tiles] == [
        ("Decisions compared", "150"),
        ("Agreement", "95.50 %"),
        ("Veto mismatch", "2.00 %"),
        ("Size difference", "+0.25"),
        ("Slippage difference", "unknown"),
    ]
    assert tiles[3].detail == "mean of 40; p50 0.10, p95 1.50"
    assert tiles[4].detail == "nothing measured yet"
    assert {each.age.text for each in tiles} == {"3 m ago"}


@pytest.mark.parametrize(
    ("changes", "name", "frac"),
    [
        ({}, "warming up", 0.75),
        ({"is_warmup": False, "sample_size": 900}, "warm", 1.0),
        ({"min_sample_size": 0}, "warming up", None),
    ],
)
def test_warm_up_is_a_bar(changes, name, frac):
    (bar,) = view_shadow.warm_up(seen(summary(**changes)), NOW).rows
    assert (bar.name, bar.frac) == (name, frac)


def test_what_the_orders_came_to_is_drawn_whole():
    what = seen(summary())
    assert [(row["Of"], row["Name"]) for row in cells(view_shadow.parts(what, NOW))] == [
        ("symbol", "BTCUSDT"),
        ("strategy", "trend"),
        ("routes", "all"),
    ]
    results = cells(view_shadow.counterfactual(what, NOW))
    assert [(row["Orders of"], row["Decisions"], row["Total USD"]) for row in results] == [
        ("live alone", "4", "\N{MINUS SIGN}8.00"),
        ("shadow alone", "0", "unknown"),
        ("shadow minus live", "40", "+10.00"),
        ("not known before 1 h", "3", ""),
        ("not measurable", "1", ""),
    ]
    assert [row["Decisions"] for row in cells(view_shadow.reasons(what, NOW))] == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("gate", "changes", "found", "verdict"),
    [
        ("candidate", {}, "c3d4 beside a1b2", "met"),
        ("candidate", {"shadow_policy": "a1b2"}, "a1b2, as live", "NOT MET"),
        ("candidate", {"shadow_enabled": False}, "off: nothing new is compared", "NOT MET"),
        ("candidate", {"shadow_policy": None}, "off: nothing new is compared", "NOT MET"),
        ("warm-up", {}, "150 of 200 pairs", "NOT MET"),
        ("warm-up", {"is_warmup": False}, "over", "met"),
        ("pairs", {}, "150", "NOT MET"),
        ("pairs", {"sample_size": 200}, "200", "met"),
        ("agreement", {}, "95.5 %", "met"),
        ("agreement", {"agreement_pct": 79.9}, "79.9 %", "NOT MET"),
        ("agreement", {"agreement_pct": None}, "not measured", "not measured"),
        ("results", {}, "40", "met"),
        ("difference", {}, "mean +0.25 USD", "ask hedge shadow report"),
        ("new breaches", {}, "0", "met"),
        ("new breaches", {"new_breaches": 1}, "1", "NOT MET"),
    ],
)
def test_each_gate_of_a_promotion_is_judged(gate, changes, found, verdict):
    rows = cells(view_shadow.gates(seen(summary(**changes)), VIEWER, NOW))
    (row,) = [each for each in rows if each["Gate"] == gate]
    assert (row["Found"], row["Verdict"]) == (found, verdict)


def test_a_difference_without_results_is_not_measured():
    nothing = MORE["counterfactual"] | {
        "difference_usd": {"n": 0, "mean": None, "p50": None, "p95": None}
    }
    rows = cells(view_shadow.gates(seen(summary(counterfactual=nothing)), VIEWER, NOW))
    judged = {row["Gate"]: (row["Found"], row["Verdict"]) for row in rows}
    assert judged["difference"] == ("not measured", "not measured")
    assert judged["results"] == ("0", "NOT MET")


def test_decisions_say_where_the_policies_differ():
    rows = cells(view_shadow.decisions(seen(summary()), NOW))
    assert [(row["Decision"], row["They"]) for row in rows] == [
        ("s4", "differ"),
        ("s3", "differ in size"),
        ("s2", "differ"),
        ("s1", "agree"),
    ]
    assert rows[0]["Live"] == "nothing wanted"
    assert rows[1]["Shadow"] == "200.00 USD, clamped by gross cap"
    assert rows[2]["Shadow"] == "vetoed: net cap"
    assert view_shadow.decisions(seen(summary()), NOW, "X").rows == ()


def test_agreement_over_time_has_only_what_was_measured():
    chart = view_shadow.over_time(seen(summary()), NOW)
    assert chart.columns["agreement"] == (95.5,)
    none = Seen(files={}, journals={})
    assert view_shadow.over_time(none, NOW).note == "Nothing was compared in 24 hours."


def test_the_head_tells_a_heartbeat_from_a_decision():
    facts = dict(view_shadow.head(seen(summary()), NOW).rows)
    assert facts["Newest"] == "none: no decision yet"
    assert facts["Heartbeat"] == "1 m ago"
    base = sample.payloads(NOW)["shadow_head"]
    decided = msgspec.structs.replace(base, last_decision=sample_journals.shadow(NOW - 60))
    what = Seen(files=sample.payloads(NOW) | {"shadow_head": decided})
    assert dict(view_shadow.head(what, NOW).rows)["Newest"] == "BTCUSDT LONG entry, 1 m ago"


def test_without_a_summary_everything_is_unknown():
    what = seen(Unreadable("s", "missing", "no such file"))
    for tile in view_shadow.tiles(what, NOW):
        assert (tile.value, tile.age.text) == ("unknown", "file missing")
    for find in (view_shadow.warm_up, view_shadow.parts, view_shadow.reasons):
        assert find(what, NOW).rows == ()
        assert find(what, NOW).age.status == "unknown"
    assert view_shadow.counterfactual(what, NOW).empty == "The comparison is unknown."
    assert view_shadow.gates(what, VIEWER, NOW).empty == "The comparison is unknown."
    assert view_shadow.head(Seen(files={}), NOW).rows == (("Shadow", "unknown"),)


def test_an_old_summary_is_stale():
    tiles = view_shadow.tiles(seen(summary(generated_ts=NOW - 7 * 86_400)), NOW)
    assert {each.age.text for each in tiles} == {"stale 7 d"}
