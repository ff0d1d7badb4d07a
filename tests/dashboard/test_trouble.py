from __future__ import annotations

import sample_state as sample

from dashboard import trouble
from dashboard.seen import Seen
from execution.state_schema import registry
from execution.state_schema.mirror_files import Mirror
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
VIEWER = sample.viewer(NOW - 60)


def seen(now=NOW, **changes) -> Seen:
    return Seen(files=sample.payloads(now) | changes)


def find(what: Seen) -> list[tuple[str, str]]:
    return [(each.level, each.text) for each in trouble.find(what, VIEWER, NOW)]


def first(what: Seen) -> tuple[str, str]:
    return find(what)[0]


def missing(path: str) -> Unreadable:
    return Unreadable(path, "missing", "no such file")


def test_a_healthy_suite_has_no_trouble():
    assert find(seen()) == []


def test_an_empty_folder_asks_for_the_executor_once():
    expected = [("critical", "No state file exists yet: is the executor running?")]
    assert find(Seen(files={})) == expected


def test_a_silent_executor_is_one_trouble_and_names_what_is_at_stake():
    # Its files are as old as it is; the services go on.
    services = {
        name: sample.service(NOW) for name in sample.payloads(NOW) if name.startswith("process_")
    }
    found = find(seen(NOW - 200, **services, sync_health=sample.sync(NOW)))
    text = "Executor silent for 3 m, with 3 open positions; it last said ACTIVE"
    assert found == [("critical", text)]


def test_a_flat_silent_executor_claims_no_position():
    what = seen(executor_health=sample.executor(NOW - 20), positions=missing("p"))
    assert first(what) == ("critical", "Executor silent for 20 s; it last said ACTIVE")


def test_an_executor_from_the_future_is_not_believed():
    what = seen(executor_health=sample.executor(NOW + 600, trading_state="HALTED"))
    assert first(what) == ("critical", "Executor's clock is 10 m ahead; it last said HALTED")


def test_an_unreadable_executor_file_says_why():
    bad = Unreadable("state/executor_health.json", "wrong_shape", "no `mode`")
    text = "Executor unknown: state/executor_health.json: wrong_shape: no `mode`"
    assert first(seen(executor_health=bad)) == ("critical", text)
    assert [each for each in find(seen(executor_health=bad)) if "Unreadable" in each[1]] == []


def test_halted_and_reducing_come_with_the_reasons_of_that_state():
    for state, level in (("HALTED", "critical"), ("REDUCING", "warning")):
        what = seen(
            executor_health=sample.executor(NOW, trading_state=state),
            risk_snapshot=sample.risk(
                NOW, trading_state=state, trading_state_reasons=("day_loss_limit", "x")
            ),
        )
        assert first(what) == (level, f"{state}: day loss limit, x")


def test_reasons_of_another_state_are_not_used():
    what = seen(
        executor_health=sample.executor(NOW, trading_state="HALTED"),
        risk_snapshot=sample.risk(
            NOW, trading_state="REDUCING", trading_state_reasons=("day_loss_limit",)
        ),
    )
    assert first(what) == ("critical", "HALTED")


def test_kill_latch_and_blindness_are_critical():
    what = seen(executor_health=sample.executor(NOW, kill_latch=True, blind_since_ts=NOW - 61))
    assert find(what) == [
        ("critical", "Kill latch is on"),
        ("critical", "Executor cannot read the venue for 1 m"),
    ]


def test_what_the_loop_reports_is_passed_on():
    what = seen(
        executor_health=sample.executor(
            NOW,
            failed_writes=("state/nav.json", "state/positions.json"),
            unknown_orders=2,
            banned_until_ts=NOW + 60,
            errors={"publish": 1, "intel": 3},
        )
    )
    assert find(what) == [
        ("warning", "Failed writes: state/nav.json, state/positions.json"),
        ("warning", "Orders in an unknown state: 2"),
        ("warning", "The exchange refuses requests until 08:01:00 UTC"),
        ("warning", "Executor errors since its start: intel 3, publish 1"),
    ]
    assert find(seen(executor_health=sample.executor(NOW, banned_until_ts=NOW - 1))) == []


def test_another_mode_than_configured_is_named_except_on_a_mirror():
    live = sample.executor(NOW, mode="live")
    text = "This page is configured for paper, the executor says live"
    assert find(seen(executor_health=live)) == [("warning", text)]
    mirrored = Seen(
        files=sample.payloads(NOW) | {"executor_health": live}, mirror=Mirror("host", NOW)
    )
    assert find(mirrored) == []


def test_nav_that_is_unknown_held_or_old_is_critical():
    for nav, text in (
        (sample.nav(NOW, known=False), "NAV unknown: the account was not read yet"),
        (sample.nav(NOW, stale=True, as_of_ts=NOW - 34), "NAV: stale 34 s"),
        (sample.nav(NOW, as_of_ts=NOW - 16), "NAV: stale 16 s"),
        (sample.nav(NOW, as_of_ts=None), "NAV: stale, age unknown"),
    ):
        assert first(seen(nav=nav)) == ("critical", text)


def test_a_residual_of_a_cent_is_named():
    what = seen(nav=sample.nav(NOW, identity_residual_usd=-0.01))
    assert find(what) == [("warning", "Wallet and ledger differ by \N{MINUS SIGN}0.01 USD")]
    assert find(seen(nav=sample.nav(NOW, identity_residual_usd=0.0099))) == []


def test_a_position_without_plan_or_stop_is_critical():
    rows = (
        sample.position("A", NOW, exit=None),
        sample.position("B", NOW, unprotected_since_ts=NOW - 34),
        sample.position("C", NOW, unprotected_since_ts=NOW - 2),
    )
    assert find(seen(positions=sample.positions(NOW, rows=rows))) == [
        ("critical", "No exit plan: A LONG"),
        ("critical", "No stop resting for 34 s: B LONG"),
        ("note", "No stop resting for 2 s: C LONG"),
    ]


def test_a_halted_symbol_and_a_failed_risk_engine_are_named():
    row = sample.risk_row(
        "ETHUSDT", NOW, trading_state="HALTED", trading_state_reasons=("position_mismatch",)
    )
    what = seen(risk_snapshot=sample.risk(NOW, error="ValueError: x", symbols=(row,)))
    assert find(what) == [
        ("warning", "Risk engine failed, the fallback decides: ValueError: x"),
        ("warning", "ETHUSDT HALTED: position mismatch"),
    ]


def test_services_that_are_silent_or_failing_are_named():
    what = seen(
        process_sync_state=sample.service(NOW, errors={"read": 2}, last_error="boom"),
        process_pipeline_compare=sample.service(NOW - 3_600),
        sync_health=sample.sync(NOW, enabled=True, last_error="deadline"),
    )
    assert find(what) == [
        ("warning", "sync_state errors: read 2; last: boom"),
        ("warning", "compare silent: stale 1 h"),
        ("warning", "sync_state: deadline"),
    ]


def test_files_are_named_that_are_missing_broken_or_old():
    what = seen(
        nav=missing("state/nav.json"),
        router_health=Unreadable("state/router_health.json", "not_json", "byte 0"),
        positions=sample.positions(NOW, updated=NOW - 60),
    )
    assert find(what) == [
        ("warning", "Unreadable: state/router_health.json: not_json: byte 0"),
        ("warning", "Missing: state/nav.json"),
        ("warning", "Out of date: state/positions.json (stale 1 m)"),
    ]


def test_each_state_file_is_missed_when_it_is_gone():
    for file in registry.STATE_FILES:
        texts = [text for _, text in find(seen(**{file.name: missing(file.path)}))]
        assert any(file.path in text for text in texts), file.path


def test_each_state_file_of_last_week_is_named():
    old = sample.payloads(NOW - 7 * 86_400)
    for file in registry.STATE_FILES:
        found = find(seen(**{file.name: old[file.name]}))
        assert any("7 d" in text for _, text in found), file.path


def test_an_unreadable_journal_is_named():
    bad = Unreadable("execution/nav.jsonl", "not_a_file", "Permission denied")
    what = Seen(files=sample.payloads(NOW), journals={"nav": bad})
    text = "Unreadable: execution/nav.jsonl: not_a_file: Permission denied"
    assert find(what) == [("warning", text)]


def test_the_newest_critical_alert_of_the_hour_is_named():
    alerts = (
        sample.alert(NOW - 4_000, severity="critical", text="too old"),
        sample.alert(NOW - 600, severity="critical", kind="ban", text="first"),
        sample.alert(NOW - 300, severity="critical", kind="ban", text="second"),
        sample.alert(NOW - 10, severity="warning", text="mild"),
    )
    what = Seen(files=sample.payloads(NOW), journals={"alerts": alerts})
    assert find(what) == [("warning", "Alert 5 m ago: ban: second")]


def test_the_worst_comes_first():
    what = seen(
        executor_health=sample.executor(NOW, trading_state="HALTED", failed_writes=("a",)),
        positions=sample.positions(
            NOW, rows=(sample.position("C", NOW, unprotected_since_ts=NOW - 2),)
        ),
        nav=missing("state/nav.json"),
    )
    levels = [level for level, _ in find(what)]
    assert levels == sorted(levels, key=trouble.ORDER.index)
    assert levels[0] == "critical"
    assert levels[-1] == "note"
