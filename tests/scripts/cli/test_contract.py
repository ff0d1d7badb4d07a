from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from execution.clock import ManualClock, SystemClock
from execution.core.payloads.processes import process_health
from execution.core.payloads.run import ServiceInfo
from execution.jsonl_log import JsonlLogger
from execution.state_publish import (
    TickPublisher,
    publish_probe,
)
from execution.state_schema import registry
from execution.state_schema.files import SyncHealth
from execution.state_schema.journals import MarkPoint
from execution.state_store import StateStore
from scripts.benchmarks import sample
from scripts.cli.contract import contract
from tests.support.intel import measure
from tests.support.pipelines import publish_pair


def publish(folder: Path, now: float) -> None:
    clock = ManualClock(now)
    store = StateStore(folder, clock)
    report, run = sample.tick(2, now), sample.run_info(now)
    slow = measure(run.policy, now, state=report.state)
    TickPublisher(store, clock, 30.0).publish(report, run, slow)
    publish_probe(store, run, now)
    publish_pair(store, folder, run, now)
    service = ServiceInfo("v6", "r", run.flags, pid=1, started_ts=now)
    for file in (
        registry.PROCESS_SYNC_STATE,
        registry.PROCESS_SHADOW_HEARTBEAT,
        registry.PROCESS_COMPARE,
    ):
        store.write(file, process_health(service, now))
    store.write(
        registry.SYNC_HEALTH,
        SyncHealth(
            engine_version="v6",
            v6_flags=run.flags,
            updated_ts=now,
            enabled=False,
            disabled_reason="off",
            target=None,
            last_success_ts=None,
            writes=0,
            skipped_unchanged=0,
            failures=0,
            last_error=None,
            lag_s=None,
            exposures=None,
            nav_series=None,
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    publish(tmp_path, SystemClock().now())
    return tmp_path


def check(folder: Path, *options: str) -> tuple[int, dict]:
    result = CliRunner().invoke(contract, ["check", "--log-dir", str(folder), "--json", *options])
    return result.exit_code, json.loads(result.stdout)


def of(findings: dict, path: str) -> dict:
    (found,) = [each for each in findings["files"] + findings["journals"] if each["path"] == path]
    return found


def test_a_whole_folder_passes(folder):
    code, findings = check(folder, "--fresh")
    assert (code, findings["ok"]) == (0, True)
    assert len(findings["files"]) == 18
    assert len(findings["journals"]) == 14
    assert all(each["problem"] is None for each in findings["files"])


def test_a_missing_file_is_named(folder):
    (folder / "state/nav.json").unlink()
    code, findings = check(folder)
    assert (code, findings["ok"]) == (1, False)
    assert of(findings, "state/nav.json")["problem"] == "missing: no such file"


def test_a_file_of_another_shape_is_named_with_its_key(folder):
    path = folder / "state/positions.json"
    path.write_bytes(path.read_bytes().replace(b'"entryPrice"', b'"entry_price"'))
    code, findings = check(folder)
    assert code == 1
    assert "entry_price" in of(findings, "state/positions.json")["problem"]


def test_twins_that_differ_are_named(folder):
    path = folder / "state/synced_state.json"
    path.write_bytes(path.read_bytes() + b" ")
    code, findings = check(folder)
    assert code == 1
    assert of(findings, "state/synced_state.json")["problem"] == "differs from synced_state.json"


def test_a_missing_twin_is_missing(folder):
    (folder / "state/synced_state.json").unlink()
    _, findings = check(folder)
    assert of(findings, "state/synced_state.json")["problem"] == "missing: no such file"
    assert of(findings, "synced_state.json")["problem"] is None


def test_old_content_is_shown_and_fails_only_when_asked(tmp_path):
    publish(tmp_path, SystemClock().now() - 3600)
    code, findings = check(tmp_path)
    assert code == 0
    nav = of(findings, "state/nav.json")
    assert nav["stale"]
    assert 3600 <= nav["age_s"] < 3700
    assert not of(findings, "state/risk_allocation_suggestions_v6.json")["stale"]
    assert check(tmp_path, "--fresh")[0] == 1


def test_a_torn_line_is_no_fault_and_a_wrong_record_is(folder):
    journal = registry.MARKS
    log = JsonlLogger(
        folder / journal.path, SystemClock(), max_bytes=1 << 20, backups=1, max_age_s=1e9
    )
    mark = MarkPoint(ts=sample.NOW, run_id="r", symbol="B", mark_price=1.0, quote_ts=1.0)
    log.write(mark)
    with (folder / journal.path).open("ab") as file:
        file.write(b'{"event":"mark","ts":17')
    log.write(replace(mark, mark_price=2.0))
    code, findings = check(folder)
    assert code == 0
    assert of(findings, journal.path) == {
        "path": journal.path,
        "records": 2,
        "torn": 1,
        "wrong": [],
    }
    with (folder / journal.path).open("ab") as file:
        file.write(b'{"event":"mark","ts":1780000000,"run_id":"r","symbol":"B"}\n')
    code, findings = check(folder)
    assert code == 1
    assert "mark_price" in of(findings, journal.path)["wrong"][0]


def test_without_json_it_is_a_table(folder):
    (folder / "state/nav.json").unlink()
    result = CliRunner().invoke(contract, ["check", "--log-dir", str(folder)])
    assert result.exit_code == 1
    assert "state/nav.json" in result.stdout
    assert "missing: no such file" in result.stdout
    assert "contract does not hold" in result.stdout


def test_the_folder_is_that_of_the_settings(folder, monkeypatch):
    monkeypatch.setenv("HEDGE_LOG_DIR", str(folder))
    result = CliRunner().invoke(contract, ["check", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["log_dir"] == str(folder)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_export_prints_one_document(options):
    result = CliRunner().invoke(contract, ["export", *options])
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert len(document["files"]) == 18
    assert document["files"]["state/nav.json"]["properties"]["schema_version"] == {"const": 1}
    assert (result.stdout.count("\n") == 1) is bool(options)
