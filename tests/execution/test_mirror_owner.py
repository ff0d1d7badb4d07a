"""Whose documents the mirror's are, and what never replaces them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from execution.state_schema import registry
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import (
    SHIPPED,
    Suite,
    on_disk,
    run_on,
    suite,
    without_marks,
)

# ---------------------------------------------------------------- whose documents


def nav_path(server: FirestoreServer) -> str:
    (path,) = [name for name in server.documents if name.endswith("/state/nav")]
    return path


def test_a_restart_goes_on_where_it_was(book: Suite, server: FirestoreServer) -> None:
    run_on(book, 60)
    book.start_services()
    writes = server.writes
    book.sync_once()
    names = {name.rpartition("/")[2] for name in server.commits[-1]}
    assert "health" in names
    assert server.writes - writes < 8, names  # what had not changed is recognized
    assert book.sync_once().failures == 0


def test_another_accounts_documents_stay(
    book: Suite, server: FirestoreServer, tmp_path: Path
) -> None:
    book.sync_once()
    before = dict(server.documents)
    folder = tmp_path / "other"
    folder.mkdir()
    with suite(folder, SHIPPED, HEDGE_ACCOUNT="second") as other:
        other.clock.advance(3600)
        other.tick()
        health = other.sync_once()
        other.pipelines_once()
    assert "belongs to account main" in str(health.last_error)
    assert health.writes == 0
    pair = {name for name in server.documents if "pipeline_v6" in name}
    assert {name: server.documents[name] for name in before} == before
    assert {server.fields(name)["account"] for name in pair} == {"second"}  # there was none before


def test_a_restored_backup_does_not_turn_the_mirror_back(
    book: Suite, server: FirestoreServer
) -> None:
    book.sync_once()
    fields = server.fields("state/nav")
    newer = {**fields, "seq": fields["seq"] + 3_600_000, "nav": 1.0, "nav_usd": 1.0}
    server.put(nav_path(server), newer)
    book.start_services()
    book.tick()
    health = book.sync_once()
    assert "state/nav: what is there is newer" in str(health.last_error)
    assert server.fields("state/nav") == newer
    assert server.fields("state/positions")["rows"] == on_disk(book, "state/positions.json")["rows"]
    book.tick(1, seconds=3_600)
    assert book.sync_once().last_error is None
    assert server.fields("state/nav")["nav"] == on_disk(book, "state/nav.json")["nav"] > 1.0


def test_of_two_hosts_the_second_stands_back_until_the_first_is_silent(
    book: Suite, server: FirestoreServer, tmp_path: Path
) -> None:
    book.sync_once()
    folder = tmp_path / "other"
    folder.mkdir()
    with suite(folder, SHIPPED) as other:
        other.clock.set(book.clock.now() + 5)
        other.tick()
        writes = server.writes
        health = other.sync_once()
        assert "another process mirrors account main" in str(health.last_error)
        run_on(other, 100)
        assert server.writes == writes
        run_on(other, 300)
        assert other.sync_once().last_error is None
        assert server.writes > writes
        book.clock.set(other.clock.now())
        book.tick()
        assert "FAILED_PRECONDITION" in str(book.sync_once().last_error)
        run_on(book, 20)
        assert "another process mirrors account main" in str(book.sync_once().last_error)


# ---------------------------------------------------------------- numbers that are not known


def test_an_unknown_nav_never_overwrites_a_number(book: Suite, server: FirestoreServer) -> None:
    book.sync_once()
    nav, rows = server.fields("state/nav")["nav"], server.fields("state/positions")["rows"]
    assert nav > 0
    for name, changes in (
        ("NAV", {"known": False, "nav": 0.0, "nav_usd": 0.0}),
        ("SYNCED", {"known": False, "nav": 0.0, "items": ()}),
        ("POSITIONS", {"known": False, "rows": ()}),
    ):
        spoil(book, name, **changes)
    assert book.sync_once().failures == 0
    for name in ("state/nav", "state/synced_state", "risk/peak_state"):
        fields = server.fields(name)
        assert fields.get("nav", fields.get("nav_usd")) == nav
        assert fields["stale"] is True
    assert server.fields("state/positions")["rows"] == rows
    assert server.fields("state/positions")["stale"] is True
    spoil(book, "NAV", nav=0.0, nav_usd=0.0)
    book.sync_once()
    assert server.fields("state/nav")["nav"] == nav
    book.tick()
    book.sync_once()
    assert without_marks(server.fields("state/nav")) == on_disk(book, "state/nav.json")


def spoil(book: Suite, name: str, **changes: Any) -> None:
    file = getattr(registry, name)
    payload = book.store.read(file)
    book.clock.advance(1)
    book.store.write(file, replace(payload, **changes))


def test_before_any_number_was_mirrored_none_is(book: Suite, server: FirestoreServer) -> None:
    spoil(book, "NAV", known=False, nav=0.0, nav_usd=0.0)
    health = book.sync_once()
    found = {name.removeprefix("hedge/dev/") for name in server.names()}
    assert {"state/nav", "risk/peak_state"} & found == set()
    assert "state/positions" in found
    assert "state/nav: the numbers are unknown" in str(health.last_error)
    run_on(book, 40)
    assert server.fields("telemetry/health")["withheld"] == {}
    assert server.fields("state/nav")["nav"] > 0
