"""The executor on paper → sync_state and the pipeline services → a server → another's client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from execution.core.mirror import documents
from execution.state_schema import registry
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import (
    NOW,
    SHIPPED,
    Suite,
    allow,
    on_disk,
    points_in_journal,
    points_in_mirror,
    read_back,
    run_on,
    suite,
    without_marks,
)

BOOK = {
    "state/nav",
    "state/positions",
    "state/synced_state",
    "state/risk_snapshot",
    "state/router_health",
    "state/symbol_scores_v6",
    "state/expectancy_v6",
    "state/router_policy_suggestions_v6",
    "state/risk_allocation_suggestions_v6",
    "state/v6_runtime_probe",
}
PAIR = {"state/pipeline_v6_shadow_head", "state/pipeline_v6_compare_summary"}


def test_every_document_is_there_and_equals_its_file(
    trading: Suite, server: FirestoreServer
) -> None:
    book = trading
    book.tick(1, seconds=61)
    book.sync_once()
    book.pipelines_once()
    book.clock.advance(5)
    book.start_services()
    health = book.sync_once()  # with the process files of all three in it
    assert (health.enabled, health.failures, health.last_error) == (True, 0, None)
    found = read_back(server.address)
    day = documents.series_name(documents.day_number(book.clock.now()))
    assert set(found) == {*BOOK, *PAIR, "risk/peak_state", "telemetry/health", day}
    for name in BOOK | PAIR:
        assert without_marks(found[name]) == on_disk(book, f"{name}.json"), name
    for fields in found.values():
        assert (fields["mode"], fields["account"]) == ("paper", "main")
        assert fields["seq"] > 0
    alive = found["telemetry/health"]
    for file in documents.HEALTH_FILES:
        if file.owners != ("sync_state",):  # those two have moved on since
            assert alive[file.name] == on_disk(book, file.path), file.name
    assert alive["sync_health"]["exposures"] == on_disk(book, "state/sync_health.json")["exposures"]
    exposures = alive["sync_health"]["exposures"]
    rows = found["state/positions"]["rows"]
    assert len(rows) >= 3
    assert exposures["gross_usd"] == pytest.approx(sum(abs(r["notional_usd"]) for r in rows))
    assert exposures["gross_usd"] > 0
    assert exposures["by_symbol"] != {}
    nav = on_disk(book, "state/nav.json")
    peak = found["risk/peak_state"]
    assert (peak["peak_usd"], peak["day_start_usd"]) == (nav["peak_usd"], nav["day_start_usd"])
    assert peak["series"]["n"] == found[day]["n"] == len(found[day]["ts"]) >= 2


# ---------------------------------------------------------------- a server that is away

DEAD_S = 600


@pytest.mark.parametrize(
    "fault",
    [
        "dead",
        "denied",
        *(pytest.param(name, marks=pytest.mark.full) for name in ("unavailable", "exhausted")),
        pytest.param("stalled", marks=pytest.mark.full),
    ],
)
def test_ten_minutes_away_leave_no_gap(
    book: Suite, server: FirestoreServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock is moved by hand; only a stalled call takes as long as its deadline."""
    run_on(book, 60)
    calls = server.calls
    assert points_in_mirror(server) == points_in_journal(book)
    if fault == "dead":
        server.stop()
    else:
        server.fault = fault
    run_on(book, DEAD_S)
    away = book.sync_once()
    assert away.enabled
    assert 5 <= away.failures <= 12
    assert away.last_error is not None
    assert "next try in" in away.last_error
    assert server.calls - calls <= away.failures
    assert away.exposures is not None  # the local files go on
    assert away.updated_ts == book.clock.now()
    server.fault = None
    if fault == "dead":
        server.start()
    run_on(book, 130)
    back = book.sync_once()
    assert (back.failures, back.last_error) == (away.failures, None)
    assert len(points_in_journal(book)) >= 12
    assert points_in_mirror(server) == points_in_journal(book)
    assert without_marks(server.fields("state/nav")) == on_disk(book, "state/nav.json")
    assert not any(record.exc_info for record in caplog.records)


def test_days_that_were_missed_are_filled_in(book: Suite, server: FirestoreServer) -> None:
    """A clock that is set back leaves a point that is older than the newest one."""
    run_on(book, 60)
    server.fault = "unavailable"
    book.sync_once()
    tomorrow = NOW + 86_400
    added = [(tomorrow + 60 * n, 1_000.0 + n) for n in range(2_000)]
    added += [(tomorrow - 7.0, 999.0), (tomorrow, 5.0)]
    book.journal_nav(added)
    server.fault = None
    book.clock.set(tomorrow + 2_001 * 60)
    book.tick()
    run_on(book, 60)
    assert len({name for name in server.names() if "/series/" in name}) == 3
    assert points_in_mirror(server) == sorted(dict(points_in_journal(book)).items())
    assert (tomorrow, 5.0) in points_in_mirror(server)
    book.sync_once()
    writes = [name for name in server.commits[-1] if "/series/" in name]
    assert len(writes) <= 1  # the days that are over are left alone


def test_a_wiped_log_folder_does_not_shrink_a_day(book: Suite, server: FirestoreServer) -> None:
    run_on(book, 180)
    before = points_in_mirror(server)
    assert len(before) >= 3
    (book.log_dir / registry.NAV_SERIES.path).unlink()
    book.start_services()
    run_on(book, 120)
    after = points_in_mirror(server)
    assert set(before) < set(after)
    assert set(points_in_journal(book)) < set(after)


def test_an_answer_that_is_lost_does_no_harm(book: Suite, server: FirestoreServer) -> None:
    server.fault = "lost_answer"
    assert book.sync_once().failures == 1
    server.fault = None
    run_on(book, 30)
    health = book.sync_once()
    assert (health.failures, health.last_error) == (1, None)
    assert server.fields("state/nav")["nav"] == on_disk(book, "state/nav.json")["nav"]


def test_what_the_server_refuses_costs_that_document_alone(
    book: Suite, server: FirestoreServer
) -> None:
    server.poison = "state/expectancy_v6"
    run_on(book, 150)
    found = {name.removeprefix("hedge/dev/") for name in server.names()}
    assert BOOK - found == {"state/expectancy_v6"}
    assert "state/expectancy_v6: the server refused" in str(book.sync_once().last_error)
    assert without_marks(server.fields("state/nav")) == on_disk(book, "state/nav.json")
    server.poison = None
    book.start_services()
    book.sync_once()
    assert server.fields("state/expectancy_v6")["sample_count"] >= 0


# ---------------------------------------------------------------- pace


def test_a_small_budget_slows_the_mirror_and_a_restart_does_not_fill_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer
) -> None:
    allow(monkeypatch, server.address)
    ops = tmp_path / "ops"
    shutil.copytree(SHIPPED, ops)
    toml = (ops / "services.toml").read_text()
    (ops / "services.toml").write_text(toml.replace("a_day = 19000", "a_day = 4000"))
    folder = tmp_path / "small"
    folder.mkdir()
    with suite(folder, ops) as book:
        book.tick()
        run_on(book, 300)
        assert 20 < server.writes + server.reads <= 3_600 / 24 + 3_600 * 300 / 86_400
        for _ in range(30):
            book.start_services()
            book.sync_once()
        assert server.writes + server.reads <= 3_600 / 24 + 3_600 * 300 / 86_400
        health = book.sync_once()
        assert (health.failures, health.last_error) == (0, None)
        book.clock.advance(600)
        run_on(book, 100)
        beat = server.fields("telemetry/health")["mirrored_ts"]
        assert book.clock.now() - beat < 100


def test_what_is_unchanged_is_not_written(book: Suite, server: FirestoreServer) -> None:
    book.tick(5)
    book.sync_once()
    commits = len(server.commits)
    book.sync_once()
    assert len(server.commits) == commits  # not even the beat: it is not due yet
    book.clock.advance(31)
    book.sync_once()
    assert [name.rpartition("/")[2] for name in server.commits[-1]] == ["health"]
    assert book.sync_once().skipped_unchanged > 0
