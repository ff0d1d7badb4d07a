"""The shared pair over real journals: from either writer, in steps, across rotations."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.clock import ManualClock
from execution.jsonl_log import JsonlLogger
from execution.state_schema import registry
from execution.state_schema.journals import Judgement, ShadowDecision, ShadowHeartbeat
from execution.state_store import StateStore
from scripts.benchmarks import sample
from tests.support import journalled
from tests.support.pipelines import STEP_BYTES, pair, publish_pair

NOW = sample.NOW
RUN = sample.run_info()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> StateStore:
    return StateStore(tmp_path, clock)


def head_of(store: StateStore, folder: Path, now: float = NOW) -> bool:
    return pair(store, folder, RUN).refresh_head(RUN.run_id, now)[1]


def decision(n: int, approved: bool) -> ShadowDecision:
    return journalled.shadow_decision(
        NOW + n,
        Judgement(approved=True, reason=None, qty=2.0, notional_usd=20.0),
        Judgement(
            approved=approved, reason=None if approved else "gross_cap", qty=1.0, notional_usd=10.0
        ),
        run_id="r",
        decision_id=f"d{n}",
        mark_price=10.0,
    )


def shadow_journal(tmp_path: Path, clock: ManualClock) -> JsonlLogger:
    path = tmp_path / registry.SHADOW.path
    return JsonlLogger(path, clock, max_bytes=2000, backups=99, max_age_s=1e9)


def test_the_head_counts_on_from_itself_across_rotations(store, tmp_path, clock):
    head_of(store, tmp_path)
    assert isinstance(store.read(registry.SHADOW_HEAD).last_decision, ShadowHeartbeat)
    journal = shadow_journal(tmp_path, clock)
    for n in range(30):
        journal.write(decision(n, approved=n % 3 > 0))
        if n % 7 == 0:
            head_of(store, tmp_path, NOW + n)
    other = StateStore(tmp_path, clock)  # the heartbeat service's, with no memory of its own
    head_of(other, tmp_path, NOW + 40)
    head = store.read(registry.SHADOW_HEAD)
    assert (head.total, head.allowed, head.vetoed) == (30, 20, 10)
    assert head.last_decision == decision(29, approved=True)
    assert head.last_decision_age_s == 11.0


def test_a_long_journal_is_counted_over_several_publishes(store, tmp_path, clock):
    path = tmp_path / registry.SHADOW.path
    journal = JsonlLogger(path, clock, max_bytes=1 << 30, backups=9, max_age_s=1e9, buffered=True)
    for n in range(40_000):
        journal.write(decision(n, approved=True))
    journal.close()
    assert path.stat().st_size > 2 * STEP_BYTES
    head_of(store, tmp_path)
    first = store.read(registry.SHADOW_HEAD).total
    assert 0 < first < 40_000
    while not head_of(store, tmp_path):
        pass
    assert store.read(registry.SHADOW_HEAD).total == 40_000


def test_a_broken_head_is_counted_anew(store, tmp_path, clock):
    journal = shadow_journal(tmp_path, clock)
    for n in range(5):
        journal.write(decision(n, approved=True))
    head_of(store, tmp_path)
    (tmp_path / registry.SHADOW_HEAD.path).write_bytes(b'{"schema_version":1')
    head_of(store, tmp_path)
    assert store.read(registry.SHADOW_HEAD).total == 5


def test_the_summary_compares_pairs_by_id(store, tmp_path, clock):
    publish_pair(store, tmp_path, RUN, NOW)
    assert store.read(registry.COMPARE_SUMMARY).sample_size == 0
    journal = shadow_journal(tmp_path, clock)
    for n in range(8):
        journal.write(decision(n, approved=n % 4 > 0))
    publish_pair(store, tmp_path, RUN, NOW + 1)
    found = store.read(registry.COMPARE_SUMMARY)
    assert (found.sample_size, found.veto_mismatch_pct, found.agreement_pct) == (8, 25.0, 75.0)
    assert (found.size_diff_stats.n, found.size_diff_stats.mean) == (6, -0.5)
    assert (found.slippage_diff_bps.n, found.slippage_diff_bps.mean) == (0, None)
    assert found.is_warmup
