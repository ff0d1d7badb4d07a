"""A disk that is full: what cannot be journalled is not sent, and what must go out can."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.boot import RESERVE_BYTES
from execution.state_schema import registry
from tests.support.accounts import Accounts
from tests.support.disks import MIB, empty, fill, free_bytes, small_disk
from tests.support.engines import Rehearsed

DISK_MIB = 64
TELEMETRY_MIB = 2


def risk_of(rehearsed: Rehearsed) -> tuple[str, tuple[str, ...]]:
    risk = rehearsed.store.read(registry.RISK_SNAPSHOT)
    return risk.trading_state, risk.trading_state_reasons


def check_the_end(rehearsed: Rehearsed) -> None:
    accounts = Accounts(rehearsed.log_dir, rehearsed.store)
    assert rehearsed.heard.unjournalled == []
    accounts.check_any_moment()
    assert accounts.fills() == accounts.trades()
    assert accounts.ledger_legs() == accounts.venue_legs()


# ---------------------------------------------------------------- the ledger's disk


@pytest.fixture(params=["ledger", "."], ids=["ledger", "everything"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk under the ledger's folder, or under the whole log folder."""
    with small_disk(tmp_path / "logs" / request.param, DISK_MIB) as folder:
        yield folder


@pytest.fixture
def rehearsed(disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Rehearsed]:
    assert free_bytes(disk) == DISK_MIB * MIB
    made = Rehearsed(monkeypatch, tmp_path)
    made.trade()
    yield made
    made.engine.close()


def test_on_a_full_disk_entries_stop_and_cancels_and_exits_go_out(
    disk: Path, rehearsed: Rehearsed
) -> None:
    heard, reserve = rehearsed.heard, rehearsed.log_dir / "ledger" / "reserve"
    assert reserve.stat().st_size == RESERVE_BYTES
    assert len(rehearsed.report.state.book.positions) >= 3
    fill(disk)
    sent, told = len(heard.sent), len(heard.calls)

    rehearsed.tick()
    rehearsed.ticks(1)
    assert risk_of(rehearsed) == ("REDUCING", ("low_disk",))
    assert not reserve.exists()

    rehearsed.ticks(38)  # every deadline is passed meanwhile
    assert heard.unjournalled == []
    assert [order for order in heard.sent[sent:] if not order.reduce_only] == []
    left = [order for order in heard.sent[sent:] if order.type != "STOP_MARKET"]
    assert len(left) >= 3
    assert "cancel" in {name for _, name in heard.calls[told:]}
    assert rehearsed.report.state.book.positions == ()
    assert rehearsed.report.state.recorded.open_orders == ()
    assert risk_of(rehearsed) == ("REDUCING", ("low_disk",))

    empty(disk)
    rehearsed.ticks(10)
    assert risk_of(rehearsed) == ("ACTIVE", ())
    assert reserve.stat().st_size == RESERVE_BYTES
    assert any(not order.reduce_only for order in heard.sent[sent:])
    check_the_end(rehearsed)


def test_on_a_disk_that_is_full_again_nothing_is_sent_that_is_not_in_the_ledger(
    disk: Path, rehearsed: Rehearsed, caplog: pytest.LogCaptureFixture
) -> None:
    fill(disk)
    rehearsed.tick()
    fill(disk)  # and somebody else takes what the reserve gave back
    for _ in range(60):
        rehearsed.tick()
    assert rehearsed.heard.unjournalled == []
    refused = caplog.text.count("disk is full:") > 0
    assert refused or rehearsed.report.live.trading.reasons == ("blind",)  # the venue's own file
    assert rehearsed.report.live.trading.name in ("REDUCING", "HALTED")

    empty(disk)
    for _ in range(3):
        rehearsed.tick()
    rehearsed.ticks(20)
    assert risk_of(rehearsed) == ("ACTIVE", ())
    check_the_end(rehearsed)


# ---------------------------------------------------------------- a ledger that cannot grow


@pytest.mark.parametrize("spare_pages", [0, 1, 2, 3])
def test_a_ledger_that_cannot_grow_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spare_pages: int
) -> None:
    rehearsed = Rehearsed(monkeypatch, tmp_path)
    rehearsed.trade()
    db: sqlite3.Connection = rehearsed.engine.ledger._db
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages + spare_pages}")
    for _ in range(60):
        assert rehearsed.tick() == ()
    assert rehearsed.heard.unjournalled == []
    sent = len(rehearsed.heard.sent)
    for _ in range(10):
        rehearsed.tick()
    assert len(rehearsed.heard.sent) == sent, "it should have been full by now"

    db.execute("PRAGMA max_page_count = 1000000")
    rehearsed.ticks(20)
    assert len(rehearsed.heard.sent) > sent
    assert rehearsed.report.live.trading.name == "ACTIVE"
    check_the_end(rehearsed)
    rehearsed.engine.close()


# ---------------------------------------------------------------- telemetry only


@pytest.fixture
def telemetry(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Small disks under journals and state files; the ledger and the venue are elsewhere."""
    logs = tmp_path / "logs"
    with (
        small_disk(logs / "execution", TELEMETRY_MIB) as journals,
        small_disk(logs / "state", TELEMETRY_MIB) as state,
    ):
        yield journals, state


def test_without_room_for_telemetry_it_trades_on_and_counts_what_is_lost(
    telemetry: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    journals, state = telemetry
    rehearsed = Rehearsed(monkeypatch, tmp_path)
    rehearsed.trade()
    before = rehearsed.engine.ledger.counts()
    fill(journals)
    for _ in range(40):
        rehearsed.ticks(1)  # a lost line is no failed stage
    lost = {
        stage: count
        for stage, count in rehearsed.store.read(registry.EXECUTOR_HEALTH).errors.items()
        if stage.startswith("journal:")
    }
    assert {"journal:orders_attempted.jsonl", "journal:orders_executed.jsonl"} <= lost.keys()
    assert sum(lost.values()) >= 40
    assert rehearsed.engine.ledger.counts()["fills"] > before["fills"]

    good = rehearsed.store.read(registry.NAV)
    fill(state)
    failed = {stage for _ in range(10) for stage in rehearsed.tick()}
    assert {"publish:nav", "publish:positions", "publish:executor_health"} <= failed
    assert rehearsed.store.read(registry.NAV) == good  # whole, and old: nothing torn
    assert rehearsed.report.live.trading.name == "ACTIVE"
    during = rehearsed.engine.ledger.counts()

    empty(state)
    rehearsed.tick()
    health = rehearsed.store.read(registry.EXECUTOR_HEALTH)
    assert {"state/nav.json", "state/positions.json"} <= {*health.failed_writes}
    assert health.errors["publish:nav"] == 10
    assert rehearsed.store.read(registry.NAV).updated_ts == rehearsed.clock.now()
    empty(journals)
    rehearsed.ticks(2)
    counted = rehearsed.store.read(registry.EXECUTOR_HEALTH).errors
    rehearsed.ticks(20)
    assert rehearsed.store.read(registry.EXECUTOR_HEALTH).errors == counted
    assert rehearsed.store.read(registry.EXECUTOR_HEALTH).failed_writes == ()
    assert rehearsed.engine.ledger.counts()["orders"] > during["orders"] > before["orders"]
    check_the_end(rehearsed)
    rehearsed.engine.close()
