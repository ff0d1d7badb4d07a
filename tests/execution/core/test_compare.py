from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import compare
from execution.core.compare import Checkpoint, Deciding, Journals, Reader
from execution.core.payloads import compare_summary
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import CompareSummary, JournalPosition
from execution.state_schema.journals import (
    MarkPoint,
    ShadowHeartbeat,
)
from execution.v6_flags import FLAG_NAMES
from tests.execution.core.test_counterfactual import (
    MAKER,
    NOW,
    TAKER,
    TERMS,
    UP,
    VETOED,
    WIDE,
    decision,
    fill,
    wants,
)

FLAGS = V6Flags(**dict.fromkeys(FLAG_NAMES, True))
HEARTBEAT = ShadowHeartbeat(ts=NOW, run_id="r", reason="watched")
ENGINE = Deciding("v6", FLAGS, "live", "shadow")
ONE = wants(2.0, TAKER)


class Written:
    """A journal in memory, whose offset is the number of its records; read `step` at a time."""

    def __init__(self, records: Sequence[Any] = (), step: int = 1_000) -> None:
        self.all = [*records]
        self.step = step
        self.records: tuple[Any, ...] = ()
        self.position: JournalPosition | None = None

    def reader(self) -> Reader:
        return Reader(self.read, lambda: self.at(len(self.all)))

    def read(self, position: JournalPosition | None) -> Written:
        start = 0 if position is None else position.offset
        batch = Written()
        batch.records = tuple(self.all[start : start + self.step])
        batch.position = self.at(start + len(batch.records))
        return batch

    def at(self, offset: int) -> JournalPosition | None:
        return JournalPosition(inode=1, offset=offset, mark=0) if self.all else None


class Told:
    """The three journals, counted to their ends."""

    def __init__(self, *decisions: Any, step: int = 1_000) -> None:
        self.decisions = Written(decisions, step)
        self.fills = Written((), step)
        self.marks = Written((), step)
        self.point: Checkpoint | None = None

    def count(self, engine: Deciding = ENGINE, *, steps: int = 10_000) -> Checkpoint:
        journals = Journals(self.decisions.reader(), self.fills.reader(), self.marks.reader())
        for _ in range(steps):
            self.point, read_all = compare.advance(self.point, journals, engine, TERMS, NOW)
            if read_all:
                return self.point
        pytest.fail("it never came to the end")

    def summary(self, engine: Deciding = ENGINE) -> CompareSummary:
        return compare_summary.build(self.count(engine), TERMS.horizon_s, "v6", FLAGS, NOW)


def mark(at_s: float, *bars: Any, symbol: str = "BTCUSDT") -> MarkPoint:
    return MarkPoint(
        ts=NOW + at_s,
        run_id="r",
        symbol=symbol,
        mark_price=100.0,
        quote_ts=NOW + at_s,
        bar_s=60,
        bars=bars,
    )


# ---------------------------------------------------------------- verdicts, sizes, routes


def test_nothing_compared_is_null_not_zero():
    summary = Told().summary()
    assert (summary.sample_size, summary.veto_mismatch_pct, summary.agreement_pct) == (
        0,
        None,
        None,
    )
    assert (summary.size_diff_stats.n, summary.size_diff_stats.mean) == (0, None)
    assert (summary.routes.n, summary.routes.agreement_pct) == (0, None)
    results = summary.counterfactual
    assert (results.live_only.n, results.live_only.total_usd) == (0, None)
    assert (results.difference_usd.n, results.difference_usd.mean) == (0, None)
    assert summary.warmup_reason == "0 of 200 pairs"


def test_heartbeats_and_what_one_side_wanted_alone_are_no_pairs():
    told = Told(HEARTBEAT, decision(ONE, None), decision(None, VETOED), HEARTBEAT)
    summary = told.summary()
    assert (summary.sample_size, summary.by_reason) == (0, {})
    assert (summary.live_alone, summary.shadow_alone) == (1, 1)


@pytest.mark.parametrize("action", ["protect", "flatten"])
def test_a_stop_or_an_operators_wish_is_no_policys_choice(action):
    assert Told(decision(ONE, ONE, action=action)).summary().sample_size == 0


def test_pairs_in_numbers():
    nameless = replace(VETOED, reason=None)
    told = Told(
        decision(ONE, ONE),
        decision(ONE, wants(3.0, MAKER), symbol="ETHUSDT"),
        decision(VETOED, VETOED),
        decision(ONE, VETOED),
        decision(VETOED, ONE, strategy="t"),
        decision(VETOED, ONE),
        decision(ONE, nameless),
        decision(VETOED, nameless),
    )
    summary = told.summary()
    assert (summary.sample_size, summary.agreement_pct, summary.veto_mismatch_pct) == (8, 50, 50)
    assert summary.by_reason == {"shadow:gross_cap": 1, "live:gross_cap": 2, "shadow:other": 1}
    assert summary.new_breaches == 2
    assert summary.size_diff_stats.n == 2
    assert summary.size_diff_stats.mean == pytest.approx(0.25)
    assert (summary.routes.n, summary.routes.agreement_pct) == (2, 50.0)
    assert {name: (row.n, row.agreement_pct) for name, row in summary.by_symbol.items()} == {
        "BTCUSDT": (7, pytest.approx(300 / 7)),
        "ETHUSDT": (1, 100.0),
    }
    assert {name: row.n for name, row in summary.by_strategy.items()} == {"s": 7, "t": 1}
    written = compare_summary.journal_point(summary, "run")
    assert (written.sample_size, written.difference_mean_usd) == (8, None)


def test_the_warm_up_ends_with_enough_pairs():
    told = Told(*[decision(VETOED, VETOED)] * 199)
    assert told.summary().is_warmup
    told.decisions.all.append(decision(VETOED, VETOED))
    summary = told.summary()
    assert (summary.is_warmup, summary.warmup_reason) == (False, None)


def test_names_without_number_take_one_room():
    told = Told(
        *(
            decision(replace(VETOED, reason=f"r{n}"), ONE, symbol=f"S{n}", strategy=f"s{n}")
            for n in range(200)
        )
    )
    summary = told.summary()
    for named in (summary.by_reason, summary.by_symbol, summary.by_strategy):
        assert len(named) == compare.NAMES_KEPT + 1
        assert named[compare.OTHER] is not None
    assert sum(summary.by_reason.values()) == 200


# ---------------------------------------------------------------- results


def horizon(told: Told) -> None:
    told.marks.all += [mark(60 * n + 60, bar) for n, bar in enumerate(UP)]


def test_what_either_side_did_alone_is_marked_at_the_horizon():
    told = Told(
        decision(ONE, VETOED, decision_id="a"),
        decision(None, ONE, decision_id="b"),
        decision(wants(2.0, WIDE), ONE, decision_id="c"),
        decision(ONE, ONE, decision_id="d"),
    )
    assert told.summary().counterfactual.pending == 4
    horizon(told)
    results = told.summary().counterfactual
    result = 2 * (104 - 100) - (200 + 208) * 5e-4
    assert (results.pending, results.unmeasured) == (0, 0)
    assert (results.live_only.n, results.shadow_only.n) == (1, 1)
    assert results.live_only.total_usd == pytest.approx(result)
    assert results.shadow_only.mean_usd == pytest.approx(result)
    assert results.difference_usd.n == 3
    assert results.difference_usd.mean == pytest.approx((-result + result + result) / 3)
    assert told.count().newest_usd == pytest.approx((-result, result, result))


def test_slippage_is_measured_where_the_live_order_filled():
    told = Told(decision(ONE, ONE, decision_id="a"), decision(wants(2.0, MAKER), ONE))
    told.fills.all += [fill("a", 100.2), fill("d", 99.9), fill("a", 100.2), fill("another", 1.0)]
    horizon(told)
    slippage = told.summary().slippage_diff_bps
    assert slippage.n == 2
    assert slippage.mean == pytest.approx(5.0)  # nothing, and 10 bps worse than the maker's 99.9


def test_without_bars_nothing_is_measured():
    told = Told(decision(ONE, None), decision(ONE, None, decision_id="e", touch=None))
    told.marks.all.append(mark(1800, replace(UP[0], ts=NOW + 1800)))
    results = told.summary().counterfactual
    assert (results.pending, results.unmeasured, results.live_only.n) == (0, 2, 0)


def test_the_oldest_that_wait_make_room():
    waiting = (decision(ONE, None, decision_id=f"d{n}") for n in range(compare.PENDING_KEPT + 3))
    results = Told(*waiting).summary().counterfactual
    assert (results.pending, results.unmeasured) == (compare.PENDING_KEPT, 3)


# ---------------------------------------------------------------- counting on


def story(seed: int) -> Told:
    told = Told()
    choices = (ONE, wants(2.0, MAKER, TAKER), VETOED, None)
    for n in range(40):
        live, shadow = choices[(seed + n) % 4], choices[(seed // 3 + n * n) % 4]
        if (live or shadow) is None:
            continue
        at_s = 45.0 * n
        told.decisions.all.append(decision(live, shadow, decision_id=f"d{n}", ts=NOW + at_s))
        if live is not None and live.approved:
            told.fills.all.append(fill(f"d{n}", 100.0 + n % 5, at_s + 50))
    for n in range(60):
        bar = replace(UP[n % 5], ts=NOW + 60.0 * n)
        told.marks.all.append(mark(60.0 * n + 60, bar))
    return told


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_steps_of_any_size_add_up_to_the_whole(seed, decisions, fills, marks):
    whole, steps = story(seed), story(seed)
    steps.decisions.step, steps.fills.step, steps.marks.step = decisions, fills, marks
    one, other = whole.summary(), steps.summary()
    assert one.sample_size == other.sample_size > 0
    assert other.counterfactual.unmeasured == one.counterfactual.unmeasured
    assert other.slippage_diff_bps.n == one.slippage_diff_bps.n
    assert other.counterfactual.difference_usd.n == one.counterfactual.difference_usd.n > 0
    assert other.counterfactual.difference_usd.mean == pytest.approx(
        one.counterfactual.difference_usd.mean
    )


def test_counting_goes_on_from_the_checkpoint_and_counts_nothing_twice():
    told = Told(*[decision(ONE, ONE)] * 3)
    assert told.count().tally.pairs.n == told.count().tally.pairs.n == 3
    told.decisions.all += [decision(ONE, VETOED), HEARTBEAT]
    assert told.count().tally.pairs == compare.Agreement(4, 3)


def test_without_a_checkpoint_what_another_engine_decided_is_not_counted():
    another = replace(ENGINE, live_policy="another")
    decided = [*[decision(ONE, VETOED)] * 3, *[decision(ONE, ONE)] * 4]
    told = Told(*(replace(each, engine=another.name) for each in decided))
    told.decisions.all += [replace(each, engine=ENGINE.name) for each in decided[2:5]]
    told.decisions.all.append(decision(ONE, ONE))  # from before records said whose they are
    assert told.count().tally.pairs == compare.Agreement(4, 3)


@pytest.mark.parametrize(
    "engine",
    [
        replace(ENGINE, engine_version="v7"),
        replace(ENGINE, flags=replace(FLAGS, INTEL_V6_ENABLED=False)),
        replace(ENGINE, live_policy="another"),
        replace(ENGINE, shadow_policy="another"),
        replace(ENGINE, shadow_policy=None),
    ],
)
def test_another_engine_begins_its_own_warm_up(engine):
    told = Told(*[decision(ONE, VETOED)] * 5)
    told.count()
    told.decisions.all += [decision(ONE, VETOED)] * 2  # still decided by the old one
    horizon(told)
    point = told.count(engine)
    assert engine.name != ENGINE.name == replace(ENGINE).name
    assert (point.tally, point.pending, point.deciding) == (compare.Tally(), (), engine)
    assert point.decisions == JournalPosition(inode=1, offset=7, mark=0)
    told.decisions.all.append(decision(ONE, ONE))
    assert told.count(engine).tally.pairs == compare.Agreement(1, 1)


def test_another_engine_on_an_empty_journal():
    told = Told()
    told.count()
    point = told.count(replace(ENGINE, engine_version="v7"))
    assert (point.engine_version, point.decisions, point.tally.pairs.n) == ("v7", None, 0)


def test_absurd_numbers_do_not_spoil_the_rest():
    tiny, huge = replace(ONE, qty=1e-300), replace(ONE, qty=1e300)
    told = Told(decision(tiny, huge), decision(ONE, ONE, decision_id="e"))
    horizon(told)
    summary = told.summary()
    assert (summary.size_diff_stats.n, summary.size_diff_stats.p95) == (1, 0.0)
    assert summary.counterfactual.difference_usd.n <= 1
