from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from execution import settings
from execution.clock import ManualClock
from execution.core.payloads.run import RunInfo
from execution.jsonl_log import JsonlLogger, tail
from execution.state_schema import files, journals, registry
from execution.state_store import StateStore
from scripts import pipeline_compare_service, pipeline_service, pipeline_shadow_heartbeat
from tests.support import journalled
from tests.support.pipelines import publish_pair

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_790_000_000.0
APPROVED = journals.Judgement(approved=True, reason=None, qty=2.0, notional_usd=200.0)
VETOED = journals.Judgement(approved=False, reason="gross_cap", qty=0.0, notional_usd=0.0)
SERVICES = {
    "execution.sync_state": registry.PROCESS_SYNC_STATE,
    "scripts.pipeline_shadow_heartbeat": registry.PROCESS_SHADOW_HEARTBEAT,
    "scripts.pipeline_compare_service": registry.PROCESS_COMPARE,
}


def decision(shadow, ts=NOW, live=APPROVED):
    return journalled.shadow_decision(ts, live, shadow, decision_id=f"d{ts}")


class Folder:
    """A log folder, and the executor's hand in it."""

    def __init__(self, path, **environ):
        self.path = path
        self.clock = ManualClock(NOW)
        self.store = StateStore(path, self.clock)
        self.settings = settings.load({"HEDGE_LOG_DIR": str(path)} | environ)
        settings.prepare_log_dir(self.settings)

    def decide(self, *records, max_bytes=10**9):
        logger = JsonlLogger(
            self.path / registry.SHADOW.path,
            self.clock,
            max_bytes=max_bytes,
            backups=1_000,
            max_age_s=1e9,
        )
        for record in records:
            assert logger.write(record) is None
        logger.close()

    def heartbeat(self):
        return pipeline_shadow_heartbeat.Heartbeat(self.settings, self.clock, threading.Event())

    def comparison(self):
        return pipeline_compare_service.Comparison(self.settings, self.clock, threading.Event())

    def beat(self, one):
        one.service.beat(one.work)

    def read(self, file):
        found = self.store.inspect(file)
        assert isinstance(found, file.struct), str(found)
        return found

    def head(self):
        return self.read(registry.SHADOW_HEAD)

    def summary(self):
        return self.read(registry.COMPARE_SUMMARY)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


# ---------------------------------------------------------------- the shadow head


def test_before_any_decision_the_head_says_so(folder):
    folder.beat(folder.heartbeat())
    head = folder.head()
    assert (head.total, head.allowed, head.vetoed, head.enabled) == (0, 0, 0, False)
    assert isinstance(head.last_decision, journals.ShadowHeartbeat)
    assert (head.heartbeat_ts, head.last_decision_age_s) == (NOW, None)


def test_decisions_are_counted_and_heartbeats_are_not(folder):
    heartbeat = folder.heartbeat()
    folder.decide(decision(APPROVED), decision(VETOED), decision(VETOED, NOW + 5))
    folder.clock.advance(20)
    folder.beat(heartbeat)
    head = folder.head()
    assert (head.total, head.allowed, head.vetoed) == (3, 1, 2)
    assert head.last_decision == decision(VETOED, NOW + 5)
    assert head.last_decision_age_s == 15.0
    assert head.heartbeat_ts == NOW + 20


def test_the_newest_decision_is_never_erased(folder):
    heartbeat = folder.heartbeat()
    folder.decide(decision(APPROVED))
    for beats in range(1, 4):
        folder.beat(heartbeat)
        folder.clock.advance(600)
        head = folder.head()
        assert head.last_decision == decision(APPROVED)
        assert (head.total, head.generated_ts) == (1, NOW + 600 * (beats - 1))


def test_the_head_is_due_every_interval_and_the_process_file_every_beat(folder):
    heartbeat = folder.heartbeat()
    written, told = [], []
    for _ in range(61):  # half an hour of beats of 30 s
        folder.beat(heartbeat)
        written.append(folder.head().generated_ts)
        told.append(folder.read(registry.PROCESS_SHADOW_HEARTBEAT).updated_ts)
        folder.clock.advance(30)
    assert sorted(set(written)) == [NOW, NOW + 600, NOW + 1200, NOW + 1800]
    assert told == [NOW + 30 * n for n in range(61)]


def test_counts_are_right_over_rotations_and_restarts(folder):
    for n in range(60):
        folder.decide(decision(APPROVED if n % 3 else VETOED, NOW + n), max_bytes=1_500)
        folder.beat(folder.heartbeat())  # each time another process
    head = folder.head()
    assert len(list(folder.path.glob("pipeline_v6_shadow.*.jsonl"))) > 5
    assert (head.total, head.allowed, head.vetoed) == (60, 40, 20)
    assert head.last_decision == decision(APPROVED, NOW + 59)


def test_a_long_journal_is_counted_in_steps(folder):
    records = [decision(VETOED, NOW + n) for n in range(4_000)]
    folder.decide(*records)
    assert (folder.path / registry.SHADOW.path).stat().st_size > (2 * pipeline_service.STEP_BYTES)
    folder.beat(folder.heartbeat())
    folder.beat(folder.comparison())
    assert (folder.head().total, folder.head().vetoed) == (4_000, 4_000)
    assert folder.summary().sample_size == 4_000


@pytest.mark.parametrize("content", [b"", b"{", b"\xff" * 99, b"[" * 99_999])
def test_a_garbage_head_is_counted_anew(folder, content):
    folder.decide(decision(APPROVED), decision(VETOED))
    (folder.path / registry.SHADOW_HEAD.path).write_bytes(content)
    folder.beat(folder.heartbeat())
    assert (folder.head().total, folder.head().last_decision) == (2, decision(VETOED))


def test_garbage_in_the_journal_is_passed_over(folder, caplog):
    folder.decide(decision(APPROVED))
    with (folder.path / registry.SHADOW.path).open("ab") as journal:
        journal.write(b'\x00\xff{"event": "decision"}\n[[[[\n{"event": "no such"}\n{"cut sho')
    folder.decide(decision(VETOED))
    folder.beat(folder.heartbeat())
    folder.beat(folder.comparison())
    assert folder.head().total == 2
    assert folder.summary().sample_size == 2
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_journal_that_cannot_be_read_leaves_the_files_fresh(folder, caplog, kind):
    path = folder.path / registry.SHADOW.path
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    folder.beat(folder.heartbeat())
    folder.beat(folder.comparison())
    assert (folder.head().total, folder.head().generated_ts) == (0, NOW)
    assert folder.summary().sample_size == 0
    for file in (registry.PROCESS_SHADOW_HEARTBEAT, registry.PROCESS_COMPARE):
        assert folder.read(file).errors["shadow_journal"] > 0
    assert not any(record.exc_info for record in caplog.records)


def test_a_head_that_cannot_be_written_is_tried_again_at_the_next_beat(folder):
    path = folder.path / registry.SHADOW_HEAD.path
    path.mkdir()
    heartbeat = folder.heartbeat()
    folder.beat(heartbeat)
    process = folder.read(registry.PROCESS_SHADOW_HEARTBEAT)
    assert process.errors == {"pipeline_shadow_heartbeat": 1}
    assert "state/pipeline_v6_shadow_head.json" in process.last_error
    path.rmdir()
    folder.clock.advance(30)
    folder.beat(heartbeat)
    assert folder.head().generated_ts == NOW + 30


def test_both_writers_count_as_one(folder):
    """The executor's own functions and the services take turns over one journal."""
    executor = run_info(folder)
    for n in range(5):
        folder.decide(decision(APPROVED, NOW + n))
        publish_pair(folder.store, folder.path, executor, NOW + n)
        folder.decide(decision(VETOED, NOW + n + 0.5))
        folder.beat(folder.heartbeat())
        folder.beat(folder.comparison())
    head, summary = folder.head(), folder.summary()
    assert (head.total, head.allowed, head.vetoed) == (10, 5, 5)
    assert head.last_decision == decision(VETOED, NOW + 4.5)
    assert (summary.sample_size, summary.agreement_pct) == (10, 50.0)


def run_info(folder):
    loaded = folder.settings
    return RunInfo(
        engine_version=loaded.engine_version,
        run_id="executor",
        flags=folder.heartbeat().service.flags,
        mode="paper",
        env="dev",
        account="main",
        dry_run=True,
        testnet=True,
        venue="paper",
        market="sim",
        policy=loaded.policy,
        watch=loaded.services.risk_watch,
        live_policy=loaded.fingerprint,
        shadow_policy=None,
        started_ts=NOW,
    )


# ---------------------------------------------------------------- the processes


@contextmanager
def running(module, environ):
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=os.environ | environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def fast_ops(tmp_path):
    """The shipped configuration with beats that a test can wait for."""
    ops = tmp_path / "ops"
    shutil.copytree(ROOT / "ops", ops)
    text = (ops / "services.toml").read_text()
    for was, now in (
        ("interval_s = 10.0", "interval_s = 0.05"),
        ("interval_s = 600.0", "interval_s = 0.1"),
        ("interval_s = 900.0", "interval_s = 0.1"),
        ("beat_s = 30.0", "beat_s = 0.05"),
    ):
        assert was in text
        text = text.replace(was, now)
    (ops / "services.toml").write_text(text)
    return ops


@pytest.mark.parametrize("module", SERVICES)
def test_each_service_starts_beats_and_stops_on_sigterm(folder, fast_ops, module):
    environ = {"HEDGE_LOG_DIR": str(folder.path), "HEDGE_OPS_DIR": str(fast_ops)}
    with running(module, environ) as process:

        def cycles():
            health = folder.store.read(SERVICES[module])
            return 0 if health is None else health.cycles

        wait_for(lambda: cycles() >= 5)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    lines = log.splitlines()
    assert "start engine_version=" in lines[0]
    assert "mode=paper" in lines[0]
    assert lines[0].count("_ENABLED=off") == 6
    assert "because=signal" in lines[-1]
    assert "Traceback" not in log
    health = folder.read(SERVICES[module])
    assert (health.pid, health.errors) == (process.pid, {})


@pytest.mark.parametrize("module", SERVICES)
def test_each_service_is_light(folder, fast_ops, module):
    """Resident memory with guards off: at most 30 MB, as the supervisor runs it."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc on this machine")
    folder.decide(*(decision(VETOED, NOW + n) for n in range(2_000)))
    environ = {"HEDGE_LOG_DIR": str(folder.path), "HEDGE_OPS_DIR": str(fast_ops)}
    with running(module, environ) as process:
        wait_for(lambda: (found := folder.store.read(SERVICES[module])) and found.cycles >= 10)
        status = Path(f"/proc/{process.pid}/status").read_text()
        told_mb = folder.read(SERVICES[module]).rss_mb
    line = next(row for row in status.splitlines() if row.startswith("VmRSS"))
    rss_mb = int(line.split()[1]) / 1024
    assert rss_mb <= 30.0
    assert told_mb == pytest.approx(rss_mb, rel=0.05)


@pytest.mark.parametrize("module", SERVICES)
def test_each_service_loads_nothing_heavy(module):
    heavy = ("asyncio", "ccxt", "click", "google", "numpy", "rich", "sqlite3", "streamlit")
    program = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("module", SERVICES)
def test_a_wrong_configuration_is_exit_78_in_one_line(folder, module):
    ended = subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env=os.environ | {"DRY_RUN": "perhaps", "HEDGE_LOG_DIR": str(folder.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    assert "DRY_RUN" in ended.stderr


def test_starts_are_journalled_with_what_changed(folder):
    for flags in ({}, {"INTEL_V6_ENABLED": "1"}):
        again = Folder(folder.path, MAX_LOOPS="1", **flags)
        for module in (pipeline_shadow_heartbeat, pipeline_compare_service):
            module.run(again.settings, again.clock, threading.Event())
    path = folder.path / registry.FLAGS.path
    found = tail(path, 99, registry.FLAGS.decoder.decode).records
    assert [(type(record), record.process) for record in found] == [
        (journals.FlagsStart, "pipeline_shadow_heartbeat"),
        (journals.FlagsStart, "pipeline_compare"),
        (journals.FlagsStart, "pipeline_shadow_heartbeat"),
        (journals.FlagChange, "pipeline_shadow_heartbeat"),
        (journals.FlagsStart, "pipeline_compare"),
        (journals.FlagChange, "pipeline_compare"),
    ]


def test_a_journal_of_flags_that_cannot_be_read_does_not_stop_a_service(folder):
    (folder.path / registry.FLAGS.path).mkdir()
    once = Folder(folder.path, MAX_LOOPS="1")
    pipeline_compare_service.run(once.settings, once.clock, threading.Event())
    assert folder.summary().generated_ts == NOW
    assert folder.read(registry.PROCESS_COMPARE).errors == {"start": 1}


def test_a_start_sweeps_what_a_killed_predecessor_left(folder):
    orphan = folder.path / "state" / f".pipeline_v6_shadow_head.json.{2**22 + 1}-{'0' * 16}.tmp"
    orphan.write_text("{")
    once = Folder(folder.path, MAX_LOOPS="1")
    pipeline_shadow_heartbeat.run(once.settings, once.clock, threading.Event())
    assert not orphan.exists()


# ---------------------------------------------------------------- whose decisions they are


def probe(folder, version):
    flags = folder.heartbeat().service.flags
    return files.RuntimeProbe(
        engine_version=version,
        v6_flags=flags,
        **{name: getattr(flags, name) for name in flags.__struct_fields__},
        env="dev",
        dry_run=True,
        testnet=True,
        venue="paper",
        run_id="executor",
        live_policy="live",
        shadow_policy=None,
        ts=NOW,
    )


def test_an_upgraded_executor_begins_a_new_warm_up(folder):
    comparison = folder.comparison()
    folder.store.write(registry.RUNTIME_PROBE, probe(folder, "v6.0"))
    folder.decide(decision(APPROVED), decision(VETOED))
    folder.beat(comparison)
    assert folder.summary().sample_size == 2
    folder.store.write(registry.RUNTIME_PROBE, probe(folder, "v6.1"))
    folder.clock.advance(900)
    folder.beat(comparison)
    assert folder.summary().sample_size == 0
    folder.decide(decision(APPROVED))
    folder.clock.advance(900)
    folder.beat(comparison)
    assert folder.summary().sample_size == 1


def test_flags_of_the_compare_service_do_not_end_the_warm_up_of_the_executor(folder):
    folder.store.write(registry.RUNTIME_PROBE, probe(folder, "v6.0"))
    folder.decide(decision(APPROVED))
    folder.beat(folder.comparison())
    other = Folder(folder.path, INTEL_V6_ENABLED="1")
    other.beat(other.comparison())
    assert folder.summary().sample_size == 1
    assert replace(folder.summary(), seq=0).v6_flags.INTEL_V6_ENABLED
