"""The mirror as it really comes about: executor, sync_state and pipeline services on one clock."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from execution import boot, settings
from execution.clock import ManualClock
from execution.core.mirror import documents
from execution.core.mirror.plan import MARKS
from execution.executor_live import beat
from execution.state_schema import registry
from execution.state_schema.files import SyncHealth
from execution.state_store import StateStore
from execution.sync_state import Sync
from scripts.pipeline_compare_service import Comparison
from scripts.pipeline_shadow_heartbeat import Heartbeat
from tests.support import journalled
from tests.support.firestore_server import FirestoreServer

SHIPPED = Path(__file__).resolve().parents[2] / "ops"
NOW = 1_800_014_400.0  # noon
PROJECT = "hedge-test"
COLLECTIONS = ("state", "risk", "telemetry", "series")


def allow(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Export what lets all three services write to the server at `address`."""
    for name, value in publishing(address).items():
        monkeypatch.setenv(name, value)


def publishing(address: str) -> dict[str, str]:
    return {
        "ALLOW_PROD_WRITE": "1",
        "ALLOW_PROD_SYNC": "1",
        "FIRESTORE_PROJECT_ID": PROJECT,
        "FIRESTORE_EMULATOR_HOST": address,
    }


def read_back(address: str, env: str = "dev") -> dict[str, dict[str, Any]]:
    """Read every document with Google's own client, which knows nothing of this project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", address)
        client = firestore.Client(project=PROJECT, credentials=AnonymousCredentials())
        found = {}
        for collection in COLLECTIONS:
            for reference in client.collection(f"hedge/{env}/{collection}").list_documents():
                found[f"{collection}/{reference.id}"] = reference.get().to_dict()
        client.close()
    return found


class Suite:
    """Four processes' work in one, on a clock that is moved by hand."""

    def __init__(self, folder: Path, ops: Path, now: float = NOW, **environ: str) -> None:
        self.log_dir = folder / "logs"
        self.clock = ManualClock(now)
        self.store = StateStore(self.log_dir, self.clock)
        self._environ = {
            "HEDGE_LOG_DIR": str(self.log_dir),
            "HEDGE_OPS_DIR": str(ops),
            **environ,
        }
        self.settings = settings.load({**os.environ, **self._environ})
        settings.prepare_log_dir(self.settings)
        self.engine = boot.build(self.settings, self.clock)
        self.start_services()

    def start_services(self) -> None:
        """Start the services anew, as after a kill."""
        stop = threading.Event()
        self.sync = Sync(self.settings, self.clock)
        self.heartbeat = Heartbeat(self.settings, self.clock, stop)
        self.comparison = Comparison(self.settings, self.clock, stop)

    def tick(self, count: int = 1, seconds: float = 1.0) -> None:
        """Let the executor go through loops, `seconds` apart."""
        for _ in range(count):
            self.clock.advance(seconds)
            self.engine.faults.note(beat(self.engine))

    def trade(self, least: int = 1, most_ticks: int = 400) -> None:
        """Tick until positions are open."""
        for _ in range(most_ticks):
            self.tick()
            if len(self.positions()) >= least:
                return
        raise AssertionError(f"in {most_ticks} ticks no {least} positions were open")

    def positions(self) -> tuple[Any, ...]:
        found = self.store.read(registry.POSITIONS)
        assert found is not None
        return found.rows

    def journal_nav(self, points: list[tuple[float, float]]) -> None:
        """Write points into the journal of NAV, as an executor does."""
        for ts, nav_usd in points:
            point = journalled.nav_point(ts, nav_usd, mode=self.settings.mode)
            assert self.engine.journals.append([(registry.NAV_SERIES, point)]) == ()

    def sync_once(self) -> SyncHealth:
        """Do one cycle of sync_state; return what it says of itself."""
        self.sync.service.beat(self.sync.cycle)
        found = self.store.read(registry.SYNC_HEALTH)
        assert found is not None
        return found

    def pipelines_once(self) -> None:
        """Do one beat of both pipeline services."""
        for each in (self.heartbeat, self.comparison):
            each.service.beat(each.work)

    def close(self) -> None:
        self.engine.close()
        self.sync.mirror.close()


@contextmanager
def suite(folder: Path, ops: Path, **environ: str) -> Iterator[Suite]:
    """Lend a suite, and close it."""
    found = Suite(folder, ops, **environ)
    try:
        yield found
    finally:
        found.close()


def on_disk(book: Suite, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((book.log_dir / path).read_text())
    return found


def without_marks(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in MARKS}


def points_in_journal(book: Suite) -> list[tuple[float, float]]:
    lines = (book.log_dir / registry.NAV_SERIES.path).read_text().splitlines()
    return [(point["ts"], point["nav_usd"]) for point in map(json.loads, lines)]


def points_in_mirror(server: FirestoreServer) -> list[tuple[float, float]]:
    return sorted(
        point
        for name in server.names()
        if "/series/" in name
        for point in documents.points_of(server.fields(name))
    )


def run_on(book: Suite, seconds: int) -> None:
    for _ in range(0, seconds, 10):
        book.tick(1, seconds=10)
        book.sync_once()
