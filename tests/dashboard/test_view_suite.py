from __future__ import annotations

import sample_state as sample

from dashboard import view_suite
from dashboard.nav_series import nav_series
from dashboard.seen import Seen
from execution.state_schema import registry
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
VIEWER = sample.viewer(NOW - 61)


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes)


# ---------------------------------------------------------------- processes


def test_the_five_processes_are_shown_with_state_and_age():
    rows = view_suite.processes(seen(), VIEWER, NOW)
    assert [(row.name, row.state, row.age.text) for row in rows] == [
        ("executor", "running", "0 s ago"),
        ("sync_state", "running", "3 s ago"),
        ("shadow heartbeat", "running", "3 s ago"),
        ("compare", "running", "3 s ago"),
        ("dashboard", "running", "now"),
    ]
    assert rows[0].detail == (
        "loop 4,211, 5.8 ms p50, 11.4 ms p99, open orders 3, 58 MB, errors none"
    )
    assert rows[1].detail == "up 2 h, cycles 801, 27 MB, errors none"
    assert rows[4].detail == "up 1 m, redraws every 2 s"


def test_a_process_is_silent_failing_or_unknown():
    what = seen(
        executor_health=sample.executor(
            NOW - 60, loop_ms=sample.files.LoopMs(last=None, p50=None, p99=None)
        ),
        process_sync_state=sample.service(NOW, errors={"a": 1, "b": 2}),
        process_pipeline_shadow_heartbeat=Unreadable("p", "missing", "no such file"),
        process_pipeline_compare=sample.service(NOW + 3_600),
    )
    rows = view_suite.processes(what, VIEWER, NOW)
    assert [(row.state, row.level) for row in rows] == [
        ("silent", "critical"),
        ("running, with errors", "warning"),
        ("unknown", "warning"),
        ("clock ahead", "critical"),
        ("running", "ok"),
    ]
    assert rows[0].detail == "loop 4,211, open orders 3, 58 MB, errors none"
    assert rows[1].detail.endswith("errors b 2, a 1")
    assert rows[2].detail == "p: missing: no such file"


def test_no_process_but_this_one_is_claimed_to_run_without_its_file():
    rows = view_suite.processes(Seen(files={}), VIEWER, NOW)
    assert [row.state for row in rows] == ["unknown"] * 4 + ["running"]


# ---------------------------------------------------------------- sync


def test_sync_says_off_and_each_reason():
    facts = view_suite.sync(seen(), NOW)
    assert facts.rows == (
        ("Firestore", "off"),
        ("Off because", "ALLOW_PROD_WRITE is not on in .env"),
        ("", "ALLOW_PROD_SYNC is not on in .env"),
        ("Writes", "0 done, 0 unchanged"),
        ("Failures", "0"),
        ("Gross", "41,250.82 USD, 41.20 % of NAV"),
        ("Net", "+12,542.80 USD"),
        ("Largest", "BTCUSDT +24,780.13 USD"),
        ("Drawdown", "0.56 %"),
        ("NAV series", "600 points since 2027-01-14 22:00:00 UTC"),
    )
    assert facts.age.text == "3 s ago"


def test_sync_that_is_on_shows_target_and_last_success():
    on = sample.sync(
        NOW,
        enabled=True,
        disabled_reason=None,
        target="project/hedge",
        last_success_ts=NOW - 5,
        last_error="deadline",
        exposures=None,
        nav_series=None,
    )
    rows = view_suite.sync(seen(sync_health=on), NOW).rows
    assert rows == (
        ("Firestore", "on"),
        ("Target", "project/hedge"),
        ("Last success", "2027-01-15 07:59:55 UTC"),
        ("Writes", "0 done, 0 unchanged"),
        ("Failures", "0"),
        ("Last error", "deadline"),
        ("Exposures", "unknown"),
        ("NAV series", "unknown"),
    )


def test_sync_that_is_off_without_a_word_says_so():
    rows = view_suite.sync(seen(sync_health=sample.sync(NOW, disabled_reason=None)), NOW).rows
    assert rows[1] == ("Off because", "no reason written")


def test_a_missing_sync_file_is_unknown_and_an_old_one_stale():
    facts = view_suite.sync(Seen(files={}), NOW)
    assert (facts.rows, facts.age.status) == ((("Firestore", "unknown"),), "unknown")
    assert view_suite.sync(seen(sync_health=sample.sync(NOW - 200)), NOW).age.text == "stale 3 m"


# ---------------------------------------------------------------- alerts and footer


def test_alerts_of_a_day_are_shown_newest_first_with_their_whole_text():
    alerts = tuple(
        sample.alert(NOW - 600 * place, kind=f"kind_{place}", text="x" * 500) for place in range(10)
    )
    old = sample.alert(NOW - 90_000)
    found = view_suite.alerts(Seen(files={}, journals={"alerts": (old, *reversed(alerts))}), NOW)
    assert [row.title for row in found.rows] == [
        f"warning  kind {place}  ETHUSDT" for place in range(8)
    ]
    assert found.more == 2
    assert found.rows[1].when == "10 m ago, 2027-01-15 07:50:00 UTC"
    assert found.rows[0].text == "x" * 500


def test_alerts_carry_their_severity_as_a_level():
    for severity, level in (("critical", "critical"), ("warning", "warning"), ("info", "note")):
        alerts = (sample.alert(NOW, severity=severity),)
        assert (
            view_suite.alerts(Seen(files={}, journals={"alerts": alerts}), NOW).rows[0].level
            == level
        )


def test_no_alert_is_told_from_unknown_alerts():
    assert view_suite.alerts(Seen(files={}), NOW).empty == "None in 24 hours."
    bad = Unreadable(registry.ALERTS.path, "not_a_file", "Permission denied")
    found = view_suite.alerts(Seen(files={}, journals={"alerts": bad}), NOW)
    assert found.empty == "Alerts are unknown."
    assert found.age is not None
    assert found.age.status == "unknown"


def test_the_footer_names_versions_and_flags():
    flags = "INTEL_V6_ENABLED, RISK_ENGINE_V6_ENABLED, PIPELINE_V6_SHADOW_ENABLED"
    footer = view_suite.footer(seen(), VIEWER)
    assert footer.startswith(f"executor {sample.VERSION}, page v6, flags on: {flags}")
    assert "APPLY" not in footer
    assert view_suite.footer(Seen(files={}), VIEWER) == "executor unknown, page v6"


# ---------------------------------------------------------------- NAV series


def test_the_series_is_sorted_bounded_and_broken_at_gaps():
    minutes = [0, 1, 2, 30, 31, 1_500]
    points = tuple(sample.nav_point(NOW - 60 * minute, drawdown_pct=1.5) for minute in minutes)
    series = nav_series(Seen(files={}, journals={"nav": points}), NOW)
    assert [(NOW - ts) / 60 for ts in series.ts] == [31, 30, 16, 2, 1, 0]
    assert series.nav_usd[2] is None
    assert series.nav_usd[0] == points[4].nav_usd
    assert series.drawdown_pct == (-1.5, -1.5, None, -1.5, -1.5, -1.5)
    assert (series.note, series.age.text) == (None, "0 s ago")


def test_an_unknown_drawdown_breaks_only_its_own_line():
    points = tuple(sample.nav_point(NOW - 60 * at, drawdown_pct=None) for at in range(3))
    series = nav_series(Seen(files={}, journals={"nav": points}), NOW)
    assert series.drawdown_pct == (None, None, None)
    assert None not in series.nav_usd


def test_points_from_the_future_do_not_stretch_the_axis():
    points = (sample.nav_point(NOW - 60), sample.nav_point(NOW), sample.nav_point(1e12))
    series = nav_series(Seen(files={}, journals={"nav": points}), NOW)
    assert series.ts == (NOW - 60, NOW)


def test_too_few_points_are_explained():
    one = (sample.nav_point(NOW),)
    for points, status in (((), "unknown"), (one, "fresh")):
        series = nav_series(Seen(files={}, journals={"nav": points}), NOW)
        assert (
            series.note == "The line begins with the second NAV point; one is written each minute."
        )
        assert series.age.status == status


def test_a_journal_that_stopped_is_stale_and_then_empty():
    points = (sample.nav_point(NOW - 700), sample.nav_point(NOW - 640))
    assert nav_series(Seen(files={}, journals={"nav": points}), NOW).age.text == "stale 10 m"
    later = nav_series(Seen(files={}, journals={"nav": points}), NOW + 3 * 86_400)
    assert later.ts == ()
    assert later.note == "No NAV point in 24 hours; the newest is 3 d old."


def test_an_unreadable_journal_is_said():
    bad = Unreadable(registry.NAV_SERIES.path, "not_a_file", "Permission denied")
    series = nav_series(Seen(files={}, journals={"nav": bad}), NOW)
    assert (series.note, series.age.status) == ("The NAV journal cannot be read.", "unknown")
