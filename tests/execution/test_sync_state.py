from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from execution import locks, settings, sync_state
from execution.clock import ManualClock
from execution.errors import LockHeld
from execution.jsonl_log import JsonlLogger, tail
from execution.nav_journal import NavJournal
from execution.state_schema import files, journals, registry
from execution.state_schema.envelope import V6Flags
from execution.state_store import StateStore
from execution.sync_state import Sync
from execution.v6_flags import FLAG_NAMES
from tests.support import journalled

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_790_078_400.0  # 2026-09-22T12:00:00Z
MIDNIGHT = NOW - 12 * 3600
FLAGS = V6Flags(**dict.fromkeys(FLAG_NAMES, False))


def leg(symbol, side, qty, mark):
    return files.PositionRow(
        symbol=symbol,
        position_side=side,
        qty=qty,
        entry_price=mark,
        mark_price=mark,
        unrealized=0.0,
        leverage=4.0,
        notional_usd=qty * mark,
        opened_ts=NOW - 100,
        exit=None,
    )


def synced(now, **changes):
    return replace(
        files.Synced(
            engine_version="v6",
            v6_flags=FLAGS,
            items=(leg("BTCUSDT", "LONG", 0.5, 60_000.0), leg("ETHUSDT", "SHORT", -3.0, 2_500.0)),
            nav=50_000.0,
            as_of_ts=now - 2,
            updated_at=now,
            known=True,
            stale=False,
        ),
        **changes,
    )


class Folder:
    """A log folder as the executor leaves it, and a sync_state that looks at it."""

    def __init__(self, path, **environ):
        self.path = path
        self.clock = ManualClock(NOW)
        self.store = StateStore(path, self.clock)
        self.settings = settings.load({"HEDGE_LOG_DIR": str(path)} | environ)
        settings.prepare_log_dir(self.settings)
        self.sync = Sync(self.settings, self.clock)

    def journal(self, journal, records, max_bytes=10**9):
        logger = JsonlLogger(
            self.path / journal.path, self.clock, max_bytes=max_bytes, backups=100, max_age_s=1e9
        )
        for record in records:
            assert logger.write(record) is None
        logger.close()

    def nav(self, *points, max_bytes=10**9):
        self.journal(
            registry.NAV_SERIES, [journalled.nav_point(*each) for each in points], max_bytes
        )

    def cycle(self):
        self.sync.service.beat(self.sync.cycle)
        health = self.store.inspect(registry.SYNC_HEALTH)
        assert isinstance(health, files.SyncHealth)
        return health

    def process(self):
        health = self.store.inspect(registry.PROCESS_SYNC_STATE)
        assert isinstance(health, files.ProcessHealth)
        return health


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


# ---------------------------------------------------------------- numbers


def test_exposures_of_the_real_file(folder):
    folder.store.write(registry.SYNCED, synced(NOW))
    health = folder.cycle()
    assert health.last_error is None
    assert health.lag_s == 2.0
    found = health.exposures
    assert found is not None
    assert (found.gross_usd, found.net_usd) == (37_500.0, 22_500.0)
    assert found.by_symbol == {"BTCUSDT": 30_000.0, "ETHUSDT": -7_500.0}
    assert found.by_side == {"LONG": 30_000.0, "SHORT": 7_500.0}
    assert found.largest == files.LargestExposure(symbol="BTCUSDT", notional_usd=30_000.0)
    assert found.gross_pct == pytest.approx(75.0)


def test_the_nav_series_of_the_real_journal(folder):
    folder.nav((MIDNIGHT - 60, 100.0), (MIDNIGHT + 60, 120.0), (NOW - 60, 114.0))
    found = folder.cycle().nav_series
    assert found is not None
    assert (found.from_ts, found.n, found.peak_usd) == (MIDNIGHT - 60, 3, 120.0)
    assert found.drawdown_pct == pytest.approx(5.0)
    assert found.day_pnl_usd == -6.0


def test_the_journal_is_read_on_from_where_it_was_left(folder):
    folder.nav((NOW - 120, 100.0), (NOW - 60, 90.0))
    assert folder.cycle().nav_series.n == 2
    before = folder.sync._nav._position.offset
    folder.clock.advance(60)
    folder.nav((NOW + 30, 80.0))
    found = folder.cycle().nav_series
    assert (found.n, found.drawdown_pct) == (3, pytest.approx(20.0))
    assert folder.sync._nav._position.offset > before


def test_no_point_is_lost_or_doubled_over_rotations(folder):
    for minute in range(200):
        folder.nav((NOW + 60 * minute, 1_000.0 + minute), max_bytes=2_000)
        folder.clock.set(NOW + 60 * minute)
        found = folder.cycle().nav_series
        assert (found.n, found.peak_usd) == (minute + 1, 1_000.0 + minute)
    assert len(list((folder.path / "execution").glob("nav.*.jsonl"))) > 5


def test_a_zero_of_an_outage_moves_nothing(folder):
    folder.nav((NOW - 120, 100.0), (NOW - 60, 0.0))
    found = folder.cycle().nav_series
    assert (found.n, found.drawdown_pct) == (1, 0.0)


def test_a_journal_that_was_wiped_begins_anew(folder):
    folder.nav((NOW - 120, 500.0), (NOW - 60, 100.0))
    folder.cycle()
    (folder.path / "execution" / "nav.jsonl").unlink()
    folder.nav((NOW - 10, 100.0))
    found = folder.cycle().nav_series
    assert (found.n, found.peak_usd, found.drawdown_pct) == (1, 100.0, 0.0)


@pytest.mark.parametrize(
    ("environ", "n"),
    [
        ({}, 4),
        ({"NAV_CUTOFF_ISO": "2026-09-22T00:00:00Z"}, 3),
        ({"NAV_CUTOFF_SECAGO": "3600"}, 2),
        ({"NAV_CUTOFF_SECAGO": "3600", "NAV_CUTOFF_ISO": "2026-09-22T11:58:30Z"}, 1),
        ({"NAV_CUTOFF_SECAGO": "0"}, 0),
    ],
)
def test_the_cutoffs(tmp_path, environ, n):
    folder = Folder(tmp_path, **environ)
    folder.nav((MIDNIGHT - 1, 9.0), (MIDNIGHT, 8.0), (NOW - 600, 7.0), (NOW - 60, 6.0))
    assert folder.cycle().nav_series.n == n


def test_the_age_cutoff_moves_with_time(tmp_path):
    folder = Folder(tmp_path, NAV_CUTOFF_SECAGO="300")
    folder.nav((NOW - 240, 200.0), (NOW - 60, 100.0))
    assert folder.cycle().nav_series.drawdown_pct == pytest.approx(50.0)
    folder.clock.advance(120)
    found = folder.cycle().nav_series
    assert (found.n, found.peak_usd, found.drawdown_pct) == (1, 100.0, 0.0)


def test_a_long_journal_is_unknown_until_it_is_read(folder):
    folder.store.write(registry.SYNCED, synced(NOW))
    folder.nav(*((NOW - 60 * n, 100.0) for n in range(5_000, 0, -1)))
    folder.sync = Sync(folder.settings, folder.clock, NavJournal(folder.settings, NOW, 1))
    health = folder.cycle()
    assert health.nav_series is None
    assert health.last_error == "execution/nav.jsonl: still reading"
    for _ in range(20):
        health = folder.cycle()
    assert health.nav_series.n == 5_000
    assert health.last_error is None


# ---------------------------------------------------------------- what is not known


def test_missing_files_are_said_and_are_no_failure(folder):
    health = folder.cycle()
    assert health.last_error == "synced_state.json: missing: no such file"
    assert (health.exposures, health.lag_s) == (None, None)
    assert health.nav_series == files.NavSeries(
        from_ts=None, n=0, peak_usd=None, drawdown_pct=None, day_pnl_usd=None
    )
    assert folder.process().errors == {}


def test_what_is_missing_while_the_suite_starts_is_a_warning_once_it_lasts(folder, caplog):
    caplog.set_level(logging.INFO)
    begun_s, again_s = sync_state.STARTING_S - 1, sync_state.PRINT_S
    for wait_s, levels in (0, ["INFO"]), (begun_s, []), (1, ["WARNING"]), (again_s, ["WARNING"]):
        folder.clock.advance(wait_s)
        folder.cycle()
        said = [r.levelname for r in caplog.records if "synced_state.json" in r.getMessage()]
        assert said == levels
        caplog.clear()


def test_an_unknown_account_has_no_exposures(folder):
    folder.store.write(registry.SYNCED, synced(NOW, items=(), nav=0.0, as_of_ts=None, known=False))
    health = folder.cycle()
    assert (health.exposures, health.lag_s) == (None, None)
    assert health.last_error == "positions: the venue has not been read yet"


def test_a_blind_executor_has_its_last_good_exposures(folder):
    folder.store.write(registry.SYNCED, synced(NOW, as_of_ts=NOW - 90, stale=True))
    health = folder.cycle()
    assert health.exposures.gross_usd == 37_500.0
    assert health.lag_s == 90.0
    assert health.last_error == "positions: stale, 90 s old"


def test_a_dead_executor_has_none(folder):
    folder.store.write(registry.SYNCED, synced(NOW))
    folder.clock.advance(100)
    health = folder.cycle()
    assert health.exposures is None
    assert health.lag_s == 102.0
    assert health.last_error == "positions: the executor has not written them for 100 s"


def test_a_file_of_the_future_is_not_believed(folder):
    folder.store.write(registry.SYNCED, synced(NOW + 3600))
    health = folder.cycle()
    assert health.exposures is None
    assert health.last_error == "positions: dated 3600 s ahead of the clock"


def test_a_leg_without_a_mark_leaves_exposures_unknown(folder):
    lame = replace(leg("BTCUSDT", "LONG", 1.0, 1.0), mark_price=None, notional_usd=None)
    folder.store.write(registry.SYNCED, synced(NOW, items=(lame,)))
    health = folder.cycle()
    assert health.exposures is None
    assert health.last_error == "positions: the notional of a leg is unknown"


def test_a_nav_of_zero_gives_no_percentage(folder):
    folder.store.write(registry.SYNCED, synced(NOW, nav=0.0))
    found = folder.cycle().exposures
    assert (found.gross_usd, found.gross_pct) == (37_500.0, None)
    beat = tail(
        folder.path / registry.SYNC_HEARTBEATS.path, 1, registry.SYNC_HEARTBEATS.decoder.decode
    ).records[0]
    assert (beat.nav_usd, beat.gross_usd, beat.net_usd) == (None, 37_500.0, 22_500.0)


def test_a_nav_journal_that_stands_still_is_said(folder):
    folder.store.write(registry.SYNCED, synced(NOW))
    folder.nav((NOW - 900, 100.0))
    assert folder.cycle().last_error == "execution/nav.jsonl: no point for 900 s"


GARBAGE = [
    b"",
    b"\x00" * 4096,
    b"{",
    b"[" * 100_000,
    b'{"a": "\xff\xfe"}',
    b"null",
    b'"text"',
    b'{"schema_version": 99, "seq": 1, "engine_version": "v", "written_ts": 1790000000.0}',
    b'{"schema_version": 1, "seq": 1, "engine_version": "v", "written_ts": 1e9, "x\\n\\u001b[2J": 1}',
    b'{"schema_version": 1, "seq": 1e999}',
    b"x" * (9 * 1024 * 1024),
]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_said_and_the_service_goes_on(folder, caplog, content):
    (folder.path / "synced_state.json").write_bytes(content)
    (folder.path / "execution" / "nav.jsonl").write_bytes(content + b"\n")
    health = folder.cycle()
    assert health.exposures is None
    assert health.last_error is not None
    assert health.last_error.startswith("synced_state.json: ")
    assert health.last_error.isprintable()
    assert len(health.last_error) < 700
    assert folder.process().errors["synced_state"] == 1
    assert not any(record.exc_info for record in caplog.records)
    folder.store.write(registry.SYNCED, synced(NOW))
    folder.nav((NOW - 60, 100.0))
    health = folder.cycle()
    assert health.exposures.gross_usd == 37_500.0
    assert health.nav_series.n == 1
    assert health.last_error is None
    assert folder.process().cycles == 2


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_what_is_no_file_is_said_and_does_not_block(folder, caplog, kind):
    for path in (folder.path / "synced_state.json", folder.path / "execution" / "nav.jsonl"):
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(path.name)
    health = folder.cycle()
    assert (health.exposures, health.nav_series) == (None, None)
    assert "synced_state.json: not_a_file" in health.last_error
    assert "execution/nav.jsonl: " in health.last_error
    assert folder.process().errors == {"synced_state": 1, "nav_journal": 1}
    assert not any(record.exc_info for record in caplog.records)


def test_a_broken_line_is_passed_over_and_counted(folder):
    folder.nav((NOW - 120, 100.0))
    with (folder.path / "execution" / "nav.jsonl").open("ab") as file:
        file.write(b'{"ts": 1, "cut sho')
    folder.nav((NOW - 60, 50.0))
    health = folder.cycle()
    assert health.nav_series.n == 2
    assert "execution/nav.jsonl: 1 lines are no record" in health.last_error
    assert folder.process().errors == {"nav_journal": 1}
    assert folder.process().last_error.startswith("nav_journal: ")


# ---------------------------------------------------------------- guard and log

ANOTHER = "mode or target in the environment or .env is another than at this start: restart"


def allow(monkeypatch, *names):
    for name in names:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("FIRESTORE_PROJECT_ID", "a-project")


def test_publishing_is_off_by_default(folder):
    assert not sync_state._firestore_enabled()
    health = folder.cycle()
    assert not health.enabled
    assert health.disabled_reason == (
        "ALLOW_PROD_WRITE is not on in .env; ALLOW_PROD_SYNC is not on in .env"
    )
    assert (health.writes, health.last_success_ts, health.target) == (0, None, None)


def test_one_guard_is_not_enough(folder, monkeypatch):
    allow(monkeypatch, "ALLOW_PROD_WRITE")
    assert not sync_state._firestore_enabled()
    assert folder.cycle().disabled_reason == "ALLOW_PROD_SYNC is not on in .env"


def test_where_the_guards_permit_it_is_off_while_the_target_is_another(folder, monkeypatch):
    allow(monkeypatch, "ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC")
    assert sync_state._firestore_enabled()
    health = folder.cycle()
    assert not health.enabled
    assert health.disabled_reason == ANOTHER


def test_the_reason_is_logged_once_and_again_when_it_changes(folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(3):
        folder.cycle()
    allow(monkeypatch, "ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC")
    for _ in range(3):
        folder.cycle()
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("firestore off")]
    assert said == [
        "firestore off reason=ALLOW_PROD_WRITE is not on in .env; ALLOW_PROD_SYNC is not on in .env",
        f"firestore off reason={ANOTHER}",
    ]


def test_a_misspelled_guard_is_alerted_once(folder, monkeypatch):
    monkeypatch.setenv("ALLOW_PROD_WRITE", "enabled")
    for _ in range(3):
        folder.cycle()
    alerts = tail(folder.path / registry.ALERTS.path, 10, registry.ALERTS.decoder.decode).records
    assert [alert.kind for alert in alerts] == ["publish_guard"]
    assert "ALLOW_PROD_WRITE in the environment is neither on nor off" in alerts[0].text


def test_the_figures_are_printed_once_a_minute_or_on_change(folder, caplog):
    caplog.set_level(logging.INFO)
    folder.nav((NOW - 120, 100.0), (NOW - 60, 97.0))
    for second in range(0, 60, 10):
        folder.store.write(registry.SYNCED, synced(NOW + second, nav=50_000.0 + second))
        folder.cycle()
        folder.clock.advance(10)
    printed = [r.getMessage() for r in caplog.records if "drawdown_pct" in r.getMessage()]
    (line,) = printed
    assert line == (
        "nav_usd=50000 lag_s=2 gross_usd=37500 net_usd=22500 gross_pct=75 "
        "largest_BTCUSDT_usd=30000 n=2 peak_usd=100 drawdown_pct=3 day_pnl_usd=-3"
    )
    folder.store.write(registry.SYNCED, synced(NOW + 60, items=()))
    folder.cycle()
    folder.cycle()
    printed = [r.getMessage() for r in caplog.records if "drawdown_pct" in r.getMessage()]
    assert len(printed) == 2
    assert "gross_usd=0 " in printed[1]


# ---------------------------------------------------------------- the process


def test_a_heartbeat_that_cannot_be_written_is_counted_and_the_cycle_goes_on(folder):
    (folder.path / registry.SYNC_HEARTBEATS.path).mkdir()
    assert folder.cycle().seq > 0
    assert folder.process().errors == {"journal:sync_heartbeats.jsonl": 1}


def test_a_health_file_that_cannot_be_written_is_in_the_process_file(folder):
    (folder.path / "state" / "sync_health.json").mkdir()
    folder.sync.service.beat(folder.sync.cycle)
    process = folder.process()
    assert process.errors == {"sync_state": 1}
    assert process.last_error.startswith("sync_state: StateWriteError: state/sync_health.json")


def test_the_second_instance_is_refused(folder):
    with (
        locks.hold(folder.path / "run" / "sync.lock", "sync_state"),
        pytest.raises(LockHeld, match=rf"sync_state \(pid {os.getpid()}\)"),
    ):
        sync_state.run(folder.settings, folder.clock, threading.Event())


def run_module(folder, **environ):
    return subprocess.run(
        [sys.executable, "-m", "execution.sync_state"],
        cwd=ROOT,
        env=os.environ | {"HEDGE_LOG_DIR": str(folder.path)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_real_entry_point(folder):
    ended = run_module(folder, MAX_LOOPS="1", RISK_ENGINE_V6_ENABLED="1")
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    health = folder.store.read(registry.SYNC_HEALTH)
    assert health is not None
    assert health.v6_flags.RISK_ENGINE_V6_ENABLED
    process = folder.process()
    assert (process.cycles, process.errors) == (1, {})
    assert process.pid != os.getpid()
    starts = tail(folder.path / registry.FLAGS.path, 10, registry.FLAGS.decoder.decode).records
    assert [(start.process, start.run_id != "") for start in starts] == [("sync_state", True)]
    ended = run_module(folder, MAX_LOOPS="1")
    changed = tail(folder.path / registry.FLAGS.path, 1, registry.FLAGS.decoder.decode).records[0]
    assert isinstance(changed, journals.FlagChange)
    assert (changed.flag, changed.was, changed.now) == ("RISK_ENGINE_V6_ENABLED", True, False)


def test_the_second_process_exits_75_and_says_who_holds_the_lock(folder):
    with locks.hold(folder.path / "run" / "sync.lock", "sync_state"):
        ended = run_module(folder, MAX_LOOPS="1")
    assert ended.returncode == 75
    holder = f"held by sync_state (pid {os.getpid()}): stop that one first"
    assert ended.stderr.splitlines()[1:] == [f"sync_state: {folder.path}/run/sync.lock: {holder}"]
