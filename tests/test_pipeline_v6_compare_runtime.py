"""The compare summary at run time, as the audit document names it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from execution import settings
from execution.clock import ManualClock
from execution.jsonl_log import JsonlLogger, tail
from execution.state_schema import registry
from execution.state_schema.journals import Judgement, ShadowHeartbeat
from execution.state_store import StateStore
from scripts import pipeline_compare_service
from tests.support import journalled

ROOT = Path(__file__).resolve().parents[1]
NOW = 1_790_000_000.0


def approved(qty):
    return Judgement(approved=True, reason=None, qty=qty, notional_usd=100 * qty)


VETOED = Judgement(approved=False, reason="gross_cap", qty=0.0, notional_usd=0.0)
LEG_OWNED = Judgement(approved=False, reason="leg_owned", qty=0.0, notional_usd=0.0)


def pair(live, shadow, number=0):
    named = {"decision_id": f"decision-{number}", "strategy": "reversion"}
    return journalled.shadow_decision(NOW + number, live, shadow, **named)


class Runtime:
    """A log folder with a shadow journal in it, compared by the service's own `run`."""

    def __init__(self, path):
        self.path = path
        self.clock = ManualClock(NOW)
        self.store = StateStore(path, self.clock)

    def journal(self, *records, max_bytes=10**9):
        path = self.path / registry.SHADOW.path
        logger = JsonlLogger(path, self.clock, max_bytes=max_bytes, backups=99, max_age_s=1e9)
        for record in records:
            assert logger.write(record) is None
        logger.close()

    def compare(self, **environ):
        """Run the service for one beat, as a process of its own would."""
        loaded = settings.load({"HEDGE_LOG_DIR": str(self.path), "MAX_LOOPS": "1"} | environ)
        settings.prepare_log_dir(loaded)
        pipeline_compare_service.run(loaded, self.clock, threading.Event())
        summary = self.store.inspect(registry.COMPARE_SUMMARY)
        assert isinstance(summary, registry.COMPARE_SUMMARY.struct), str(summary)
        return summary


@pytest.fixture
def runtime(tmp_path):
    return Runtime(tmp_path / "logs")


def test_without_pairs_the_summary_is_in_warm_up_and_measures_nothing(runtime):
    summary = runtime.compare()
    assert summary.is_warmup is True
    assert summary.warmup_reason is not None
    assert "0 of 200" in summary.warmup_reason
    assert (summary.sample_size, summary.min_sample_size) == (0, 200)
    assert (summary.veto_mismatch_pct, summary.agreement_pct) == (None, None)
    for stats in (summary.size_diff_stats, summary.slippage_diff_bps):
        assert (stats.n, stats.mean, stats.p50, stats.p95) == (0, None, None, None)
    assert summary.by_reason == {}


@pytest.mark.parametrize("flag", ["0", "1"])
def test_it_runs_with_the_shadow_flag_on_or_off_and_says_which(runtime, flag):
    summary = runtime.compare(PIPELINE_V6_SHADOW_ENABLED=flag)
    assert summary.shadow_enabled is (flag == "1")
    assert summary.generated_ts == NOW
    assert ("switched off" in (summary.warmup_reason or "")) is (flag == "0")


def test_the_numbers_of_a_real_journal(runtime):
    runtime.journal(
        *(pair(approved(2.0), approved(2.0 + n % 2), n) for n in range(100)),
        *(pair(approved(1.0), VETOED, n) for n in range(30)),
        *(pair(LEG_OWNED, approved(1.0), n) for n in range(10)),
        *(pair(VETOED, LEG_OWNED, n) for n in range(20)),
        *(pair(approved(1.0), None, n) for n in range(7)),
        *(ShadowHeartbeat(ts=NOW, run_id="r", reason="watched") for _ in range(500)),
    )
    summary = runtime.compare()
    assert summary.sample_size == 160
    assert summary.veto_mismatch_pct == 25.0
    assert summary.agreement_pct == 75.0
    assert summary.by_reason == {"shadow:gross_cap": 30, "live:leg_owned": 10}
    sizes = summary.size_diff_stats
    assert (sizes.n, sizes.mean, sizes.p50, sizes.p95) == (100, 0.25, 0.0, 0.5)
    assert summary.slippage_diff_bps.n == 0
    assert summary.slippage_diff_bps.mean is None
    assert summary.is_warmup
    assert summary.warmup_reason is not None
    assert "160 of 200" in summary.warmup_reason


def test_warm_up_ends_with_enough_pairs_and_returns_with_another_engine(runtime):
    runtime.journal(*(pair(approved(1.0), approved(1.0), n) for n in range(199)))
    assert runtime.compare().is_warmup
    runtime.journal(pair(approved(1.0), approved(1.0), 199))
    summary = runtime.compare()
    assert (summary.sample_size, summary.is_warmup, summary.warmup_reason) == (200, False, None)
    summary = runtime.compare(INTEL_V6_ENABLED="1")
    assert (summary.sample_size, summary.is_warmup) == (0, True)


def test_pairs_are_counted_once_over_restarts_and_rotations(runtime):
    for n in range(40):
        runtime.journal(pair(approved(1.0), VETOED, n), max_bytes=2_000)
        assert runtime.compare().sample_size == n + 1
    assert len(list(runtime.path.glob("pipeline_v6_shadow.*.jsonl"))) > 3


def test_a_lost_or_garbage_checkpoint_is_counted_anew(runtime):
    runtime.journal(*(pair(approved(1.0), VETOED, n) for n in range(5)))
    assert runtime.compare().sample_size == 5
    checkpoint = runtime.path / "run" / "compare.ckpt"
    for content in (b"", b"\x00garbage", b'{"pairs": -1}', b"[" * 99_999):
        checkpoint.write_bytes(content)
        assert runtime.compare().sample_size == 5
    checkpoint.unlink()
    assert runtime.compare().sample_size == 5


def test_each_comparison_is_journalled(runtime):
    runtime.journal(pair(approved(1.0), approved(3.0)))
    runtime.compare()
    path = runtime.path / registry.COMPARE.path
    point = tail(path, 1, registry.COMPARE.decoder.decode).records[0]
    assert (point.ts, point.sample_size, point.size_diff_mean) == (NOW, 1, 2.0)
    assert (point.slippage_diff_mean_bps, point.is_warmup) == (None, True)


def test_the_real_entry_point_refreshes_the_file_every_interval(runtime, tmp_path):
    ops = tmp_path / "ops"
    shutil.copytree(ROOT / "ops", ops)
    text = (ops / "services.toml").read_text()
    changed = text.replace("interval_s = 900.0\n# Beat", "interval_s = 0.2\n# Beat")
    changed = changed.replace("beat_s = 30.0", "beat_s = 0.1")
    assert changed != text
    (ops / "services.toml").write_text(changed)
    runtime.journal(pair(approved(1.0), VETOED))
    environ = {"HEDGE_LOG_DIR": str(runtime.path), "HEDGE_OPS_DIR": str(ops)}
    seen: dict[float, int] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.pipeline_compare_service"],
        cwd=ROOT,
        env=os.environ | environ,
    ) as service:
        try:
            deadline = time.monotonic() + 20
            while len(seen) < 6:
                assert time.monotonic() < deadline
                assert service.poll() is None
                summary = runtime.store.read(registry.COMPARE_SUMMARY)
                if summary is not None and summary.generated_ts not in seen:
                    seen[summary.generated_ts] = summary.sample_size
                    if len(seen) == 2:
                        runtime.journal(pair(VETOED, VETOED, 1))
                time.sleep(0.01)
        finally:
            service.terminate()
        assert service.wait(10) == 0
    gaps = sorted(after - before for before, after in pairwise(seen))
    assert gaps[1] > 0.1  # every interval and not every beat, but where the pair came in mid-count
    counts = [*seen.values()]
    assert (counts[0], counts[-1]) == (1, 2)


def test_the_file_has_the_keys_of_the_contract(runtime):
    runtime.compare()
    content = msgspec.json.decode((runtime.path / registry.COMPARE_SUMMARY.path).read_bytes())
    assert {
        "generated_ts",
        "sample_size",
        "veto_mismatch_pct",
        "size_diff_stats",
        "slippage_diff_bps",
        "is_warmup",
        "warmup_reason",
        "min_sample_size",
        "shadow_enabled",
        "agreement_pct",
        "by_reason",
    } <= set(content)
