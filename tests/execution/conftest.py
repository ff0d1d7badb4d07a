"""A suite and the server that it mirrors to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.executors import write_ops
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import SHIPPED, Suite, allow, suite


@pytest.fixture
def server() -> Iterator[FirestoreServer]:
    server = FirestoreServer()
    yield server
    server.stop()


@pytest.fixture
def book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer
) -> Iterator[Suite]:
    """Lend a suite as it is shipped."""
    allow(monkeypatch, server.address)
    with suite(tmp_path, SHIPPED) as found:
        found.tick()
        yield found


@pytest.fixture
def trading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer
) -> Iterator[Suite]:
    """Lend a suite that has positions, and keeps them."""
    allow(monkeypatch, server.address)
    with suite(tmp_path, write_ops(tmp_path, hold_bars=600)) as found:
        found.trade(least=3)
        yield found
