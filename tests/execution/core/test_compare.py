from __future__ import annotations

import pytest
from msgspec.structs import replace

from execution.core import compare
from execution.core.payloads import compare_summary
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import JournalPosition
from execution.state_schema.journals import Judgement, ShadowDecision, ShadowHeartbeat
from execution.v6_flags import FLAG_NAMES

NOW = 1_790_000_000.0
FLAGS = V6Flags(**dict.fromkeys(FLAG_NAMES, True))
APPROVED = Judgement(approved=True, reason=None, qty=2.0, notional_usd=200.0)
VETOED = Judgement(approved=False, reason="gross_cap", qty=0.0, notional_usd=0.0)
HEARTBEAT = ShadowHeartbeat(ts=NOW, run_id="r", reason="watched")


def decision(live, shadow):
    return ShadowDecision(
        ts=NOW,
        run_id="r",
        decision_id="d",
        strategy="s",
        symbol="BTCUSDT",
        position_side="LONG",
        action="entry",
        mark_price=100.0,
        live=live,
        shadow=shadow,
    )


class Written:
    """A journal in memory, whose offset is the number of its records; read `step` at a time."""

    def __init__(self, records=(), step=1_000):
        self.all = [*records]
        self.step = step
        self.reads = 0

    def read(self, position):
        self.reads += 1
        start = 0 if position is None else position.offset
        self.records = tuple(self.all[start : start + self.step])
        end = start + len(self.records)
        self.position = JournalPosition(inode=1, offset=end, mark=0) if end else position
        return [self]


def advance(before, journal, version="v6", flags=FLAGS):
    return compare.advance(before, journal.read, version, flags, NOW)


def test_heartbeats_and_lonely_decisions_are_no_pairs():
    journal = Written([HEARTBEAT, decision(APPROVED, None), decision(None, VETOED), HEARTBEAT])
    point = advance(None, journal)
    assert (point.pairs, point.agreed, point.by_reason) == (0, 0, {})
    assert point.journal == JournalPosition(inode=1, offset=4, mark=0)
    summary = compare_summary.build(compare.facts(point), "v6", FLAGS, NOW)
    assert (summary.sample_size, summary.veto_mismatch_pct, summary.agreement_pct) == (
        0,
        None,
        None,
    )
    assert summary.is_warmup
    assert summary.warmup_reason == "0 of 200 pairs"


def test_pairs_in_numbers():
    larger = replace(APPROVED, qty=3.0)
    nameless = replace(VETOED, reason=None)
    journal = Written(
        [
            decision(APPROVED, APPROVED),
            decision(APPROVED, larger),
            decision(VETOED, VETOED),
            decision(APPROVED, VETOED),
            decision(VETOED, APPROVED),
            decision(VETOED, APPROVED),
            decision(APPROVED, nameless),
            decision(VETOED, nameless),
        ]
    )
    point = advance(None, journal)
    summary = compare_summary.build(compare.facts(point), "v6", FLAGS, NOW)
    assert summary.sample_size == 8
    assert summary.agreement_pct == 50.0
    assert summary.veto_mismatch_pct == 50.0
    assert summary.by_reason == {"shadow:gross_cap": 1, "live:gross_cap": 2, "shadow:other": 1}
    assert summary.size_diff_stats.n == 2
    assert summary.size_diff_stats.mean == pytest.approx(0.25)
    assert summary.slippage_diff_bps.n == 0
    assert summary.slippage_diff_bps.mean is None
    point_written = compare.journal_point(summary, "run")
    assert (point_written.sample_size, point_written.size_diff_mean) == (8, 0.25)
    assert point_written.slippage_diff_mean_bps is None


def test_counting_goes_on_from_the_checkpoint_and_counts_nothing_twice():
    journal = Written([decision(APPROVED, APPROVED)] * 3)
    point = advance(None, journal)
    assert advance(point, journal).pairs == 3
    journal.all += [decision(APPROVED, VETOED), HEARTBEAT]
    point = advance(point, journal)
    assert (point.pairs, point.agreed) == (4, 3)


def test_steps_add_up_to_the_whole():
    records = [decision(APPROVED, APPROVED), HEARTBEAT, decision(APPROVED, VETOED)] * 7
    point, stepwise = None, Written(records, step=2)
    for _ in range(11):
        point = advance(point, stepwise)
    assert point == advance(None, Written(records))
    assert point.pairs == 14


@pytest.mark.parametrize("change", ["version", "flag"])
@pytest.mark.parametrize("step", [1, 1_000])
def test_another_engine_begins_its_own_warm_up(change, step):
    journal = Written([decision(APPROVED, VETOED)] * 5, step=1_000)
    point = advance(None, journal)
    journal.all += [decision(APPROVED, VETOED)] * 2  # still decided by the old one
    journal.step = step
    version, flags = "v6", FLAGS
    if change == "version":
        version = "v7"
    else:
        flags = replace(FLAGS, INTEL_V6_ENABLED=False)
    point = advance(point, journal, version, flags)
    assert (point.pairs, point.by_reason) == (0, {})
    assert point.journal is not None
    assert point.journal.offset == 7
    journal.all.append(decision(APPROVED, APPROVED))
    point = advance(point, journal, version, flags)
    assert (point.pairs, point.agreed) == (1, 1)


def test_another_engine_on_an_empty_journal():
    point = advance(advance(None, Written()), Written(), "v7")
    assert (point.engine_version, point.journal, point.pairs) == ("v7", None, 0)


def test_the_checkpoint_stays_small_and_can_be_written():
    tiny = replace(APPROVED, qty=1e-300)
    huge = replace(APPROVED, qty=1e300)
    records = [decision(replace(VETOED, reason=f"reason {n}"), APPROVED) for n in range(200)]
    records += [decision(APPROVED, APPROVED)] * (compare.SIZE_DIFFS_KEPT + 5)
    records.append(decision(tiny, huge))
    point = advance(None, Written(records, step=10_000))
    assert len(point.size_diffs) == compare.SIZE_DIFFS_KEPT
    assert set(point.size_diffs) == {0.0}
    assert len(point.by_reason) == compare.REASONS_KEPT + 1
    assert sum(point.by_reason.values()) == point.pairs - point.agreed == 200
