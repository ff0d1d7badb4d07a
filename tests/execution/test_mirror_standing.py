from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from execution.guards import NEEDED
from execution.mirror_standing import standing, target_of
from execution.state_schema import registry
from execution.sync_state import _firestore_enabled
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import SHIPPED, Suite, allow, publishing, suite


def test_with_all_in_order_each_service_may_write(book: Suite) -> None:
    for service in NEEDED:
        assert standing(book.settings, book.store, service).allowed


@pytest.mark.parametrize("switch", ["ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC"])
@pytest.mark.parametrize("spelled", [None, "0", "", "enabled", "2"])
def test_a_guard_that_is_turned_off_is_heard_at_once(
    book: Suite,
    server: FirestoreServer,
    monkeypatch: pytest.MonkeyPatch,
    switch: str,
    spelled: str | None,
) -> None:
    book.sync_once()
    writes = server.writes
    assert writes > 0
    if spelled is None:
        monkeypatch.delenv(switch)
    else:
        monkeypatch.setenv(switch, spelled)
    book.tick(1, seconds=60)
    health = book.sync_once()
    assert not health.enabled
    assert not _firestore_enabled()
    assert f"{switch} is not on" in str(health.disabled_reason)
    assert server.writes == writes
    book.pipelines_once()
    assert (server.writes > writes) == (switch == "ALLOW_PROD_SYNC")


def test_another_mode_env_or_target_than_at_the_start_is_off(
    book: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("ENV", "staging"),
        ("FIRESTORE_PROJECT_ID", "another"),
        ("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            found = standing(book.settings, book.store, "sync_state")
            assert "another than at this start" in found.reason, name
    assert standing(book.settings, book.store, "sync_state").allowed


def test_files_of_another_mode_are_not_told_under_this_one(book: Suite) -> None:
    health = book.store.read(registry.EXECUTOR_HEALTH)
    assert health is not None
    book.store.write(registry.EXECUTOR_HEALTH, replace(health, mode="testnet"))
    found = standing(book.settings, book.store, "sync_state")
    assert found.reason == "the executor's files are dev testnet, this process is dev paper"


@pytest.mark.parametrize("file", [registry.EXECUTOR_HEALTH, registry.RUNTIME_PROBE])
def test_files_of_nobody_are_not_mirrored(book: Suite, server: FirestoreServer, file) -> None:
    (book.log_dir / file.path).unlink()
    health = book.sync_once()
    assert "whose files these are is not known" in str(health.disabled_reason)
    assert server.calls == 0


def test_paper_is_never_written_under_prod(
    tmp_path: Path, server: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, server.address)
    monkeypatch.setenv("ENV", "prod")
    with suite(tmp_path, SHIPPED) as book:
        book.tick()
        health = book.sync_once()
        book.pipelines_once()
        assert health.disabled_reason == "paper results are never written under hedge/prod"
        monkeypatch.setenv("ENV", "dev")  # what .env says now does not move where this one writes
        book.tick()
        assert "another than at this start" in str(book.sync_once().disabled_reason)
    assert server.calls == 0


def test_without_an_emulator_the_credentials_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, "127.0.0.1:1")
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST")
    with suite(tmp_path, SHIPPED) as book:
        book.tick()
        assert "CREDENTIALS is not set" in str(book.sync_once().disabled_reason)
    path = tmp_path / "account.json"
    path.write_text("{}")
    path.chmod(0o644)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with suite(tmp_path, SHIPPED) as book:
        book.tick()
        assert "has mode 0644" in str(book.sync_once().disabled_reason)


def test_the_target_names_the_environment(book: Suite, server: FirestoreServer) -> None:
    expected = f"{server.address}/{publishing('')['FIRESTORE_PROJECT_ID']}/hedge/dev"
    assert str(target_of(book.settings)) == book.sync_once().target == expected
