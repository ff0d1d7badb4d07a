"""The executor on paper → sync_state and the pipeline services → a server → another's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from execution.core.mirror import documents
from execution.core.mirror.plan import MARKS
from execution.state_schema import registry
from scripts.cli.contract import inspect
from tests.support.executors import write_ops
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import Suite, allow, read_back, suite

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


@pytest.fixture
def server() -> Iterator[FirestoreServer]:
    server = FirestoreServer()
    yield server
    server.stop()


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer) -> Iterator[Suite]:
    allow(monkeypatch, server.address)
    with suite(tmp_path, write_ops(tmp_path, hold_bars=600)) as found:
        yield found


def on_disk(book: Suite, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((book.log_dir / path).read_text())
    return found


def without_marks(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in MARKS}


def test_every_document_is_there_and_equals_its_file(book: Suite, server: FirestoreServer) -> None:
    book.trade(least=3)
    book.tick(65)
    book.sync_once()
    book.pipelines_once()
    health = book.sync_once()  # with the process files of all three in it
    assert (health.enabled, health.failures, health.last_error) == (True, 0, None)
    found = read_back(server.address)
    day = documents.series_name(documents.day_number(book.clock.now()))
    assert set(found) == {*BOOK, *PAIR, "risk/peak_state", "telemetry/health", day}
    for name in BOOK | PAIR:
        local = on_disk(book, f"{name}.json")
        assert without_marks(found[name]) == local, name
    for fields in found.values():
        assert (fields["mode"], fields["account"]) == ("paper", "main")
        assert fields["seq"] > 0
    alive = found["telemetry/health"]
    for file in documents.HEALTH_FILES:
        if file.name != "sync_health" and file.name != "process_sync_state":
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
