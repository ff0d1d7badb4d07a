from __future__ import annotations

import sample_journals
import sample_state as sample

from dashboard import view_system
from dashboard.seen import Seen
from execution.state_schema import registry
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
VIEWER = sample.viewer(NOW - 61)


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes, journals=sample_journals.journals(NOW))


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


def test_tiles_show_the_loop_and_what_only_an_exchange_has():
    tiles = view_system.tiles(seen(), NOW)
    assert [(each.label, each.value) for each in tiles] == [
        ("Loop time", "5.8 ms p50"),
        ("Memory", "58 MB"),
        ("Orders", "3 open"),
        ("Request weight", "not measured"),
        ("Clock offset", "not measured"),
    ]
    health = sample.executor(
        NOW, weight_used_1m=1_234.0, clock_offset_ms=-3.4, banned_until_ts=NOW + 60
    )
    tiles = view_system.tiles(seen(executor_health=health), NOW)
    assert [each.value for each in tiles[3:]] == ["1,234", "-3 ms"]
    assert tiles[3].detail == "refused until 08:01:00 UTC"


def test_an_old_or_missing_loop_is_no_present_one():
    old = view_system.tiles(seen(executor_health=sample.executor(NOW - 200)), NOW)
    assert {each.age.text for each in old} == {"stale 3 m"}
    for tile in view_system.tiles(Seen(files={}), NOW):
        assert (tile.value, tile.age.status) == ("unknown", "unknown")


def test_errors_are_counted_by_process_and_stage():
    what = seen(
        executor_health=sample.executor(NOW, errors={"a": 1, "b": 5}, failed_writes=("nav.json",)),
        process_sync_state=sample.service(NOW, errors={"read": 2}, last_error="boom"),
    )
    rows = [tuple(row.values()) for row in cells(view_system.errors(what, NOW))]
    assert rows == [
        ("executor", "b", "5", "see its log"),
        ("executor", "a", "1", "see its log"),
        ("executor", "failed write", "", "nav.json"),
        ("sync_state", "read", "2", "boom"),
    ]
    assert view_system.errors(seen(), NOW).rows == ()


def test_every_state_file_is_listed_with_the_age_of_its_content():
    what = seen(
        nav=sample.nav(NOW - 60),
        positions=Unreadable("state/positions.json", "not_json", "x"),
    )
    table = view_system.files(what, NOW)
    rows = {row["File"]: row for row in cells(table)}
    assert len(rows) == len(registry.STATE_FILES)
    assert (rows["nav"]["Status"], rows["nav"]["Computed"]) == ("stale", "stale 1 m")
    assert rows["positions"]["Status"] == "file not json"
    assert rows["positions"]["Sequence"] == "unknown"
    assert rows["synced_state"]["Status"] == "fresh"


def test_versions_and_switches_are_named():
    facts = dict(view_system.versions(seen(), VIEWER, NOW).rows)
    assert (facts["Executor"], facts["Page"]) == (sample.VERSION, "v6")
    assert facts["ROUTER_AUTOTUNE_V6_APPLY_ENABLED"] == "off"
    assert facts["INTEL_V6_ENABLED"] == "on"
    unknown = view_system.versions(Seen(files={}), VIEWER, NOW)
    assert dict(unknown.rows) == {"Executor": "unknown", "Page": "v6"}


def test_starts_flags_and_acts_are_listed_newest_first():
    change = sample_journals.shapes.FlagChange(
        ts=NOW - 10, run_id="r", process="executor", flag="INTEL_V6_ENABLED", was=False, now=True
    )
    journals = dict(sample_journals.journals(NOW))
    journals["flags"] += (change,)
    rows = cells(view_system.changes(Seen(files=sample.payloads(NOW), journals=journals), NOW))
    assert [(row["Who"], row["What"], row["Details"]) for row in rows] == [
        ("executor", "flag INTEL_V6_ENABLED", "off to on"),
        ("ann", "risk reset", "new month: done"),
        ("executor", f"start {sample.VERSION}", "5 of 6 flags on"),
    ]


LOGS = {
    "hedge-executor.log": (*(f"line {number} INFO" for number in range(200)), "a WARNING"),
    "hedge-sync_state.log": Unreadable("hedge-sync_state.log", "not_a_file", "Is a directory"),
}


def test_a_log_is_chosen_by_part_of_its_name_and_filtered_by_text():
    what = Seen(files={}, logs=LOGS)
    found = view_system.log(what, "executor", "warning")
    assert found.text == "a WARNING"
    assert found.note == "hedge-executor.log: 1 of the last 201 lines contain what was asked for"
    whole = view_system.log(what, "executor", "")
    assert len(whole.text.splitlines()) == view_system.LINES_SHOWN
    assert whole.text.endswith("a WARNING")


def test_a_log_that_is_not_there_or_cannot_be_read_says_so():
    what = Seen(files={}, logs=LOGS)
    assert view_system.log(what, "sync", "").note.endswith("Is a directory")
    known = "No such log. There are: hedge-executor.log, hedge-sync_state.log."
    assert view_system.log(what, "nobody", "").note == known
    assert view_system.log(what, "", "").note == known
    assert "holds no log" in view_system.log(Seen(files={}), "executor", "").note


def test_a_long_line_is_cut_and_says_so():
    what = Seen(files={}, logs={"hedge-executor.log": ("x" * 10_000,)})
    assert view_system.log(what, "executor", "").text == "x" * view_system.LINE_CHARS + " ..."
