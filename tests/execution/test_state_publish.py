from __future__ import annotations

import json
import logging
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from execution.clock import ManualClock
from execution.core.payloads.processes import process_health
from execution.core.payloads.run import RunInfo, ServiceInfo
from execution.core.seam import Blind
from execution.core.types import Book, Decided, EngineState, TickReport, TradingState
from execution.errors import StateWriteError
from execution.jsonl_log import tail
from execution.state_publish import (
    JournalSet,
    Published,
    TickPublisher,
    publish_file,
    publish_probe,
)
from execution.state_schema import export, registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.journals import MarkPoint, ShadowHeartbeat
from execution.state_store import StateStore
from scripts.benchmarks import sample
from tests.support.intel import measure
from tests.support.pipelines import publish_pair

NOW = sample.NOW
RUN = sample.run_info()
HEARTBEAT = ShadowHeartbeat(ts=NOW, run_id="r", reason="watched")
OFF = V6Flags(*[False] * 6)
MINIMUM = Path(__file__).resolve().parents[2].parent / "shared/contract/state.schema.json"
LOOP_FILES = {
    "state/nav.json",
    "state/positions.json",
    "synced_state.json",
    "state/risk_snapshot.json",
    "state/router_health.json",
    "state/symbol_scores_v6.json",
    "state/expectancy_v6.json",
    "state/router_policy_suggestions_v6.json",
    "state/risk_allocation_suggestions_v6.json",
    "state/executor_health.json",
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> StateStore:
    return StateStore(tmp_path, clock)


@pytest.fixture
def publisher(store: StateStore, clock: ManualClock) -> TickPublisher:
    return TickPublisher(store, clock, risk_s=30.0)


def in_state(report: TickReport, name: str, *reasons: str) -> TickReport:
    return replace(report, live=Decided(TradingState(name, reasons)))  # type: ignore[arg-type]


def broken_nav(report: TickReport) -> TickReport:
    book = replace(report.state.book, nav_usd=math.nan)
    return replace(report, state=replace(report.state, book=book))


# ---------------------------------------------------------------- every file of a loop


def test_every_file_of_the_loop_is_written_and_has_its_outcome(publisher, store):
    published = publisher.publish(sample.tick(3), RUN, None)
    assert {outcome.path for outcome in published.outcomes} == LOOP_FILES
    assert published.failed_writes == ()
    assert published.failures == ()
    assert store.read(registry.NAV).nav == sample.tick(3).state.book.nav_usd
    assert len(store.read(registry.SYNCED).items) == 3
    assert store.read(registry.EXECUTOR_HEALTH).mode == "paper"


def test_one_file_that_fails_leaves_the_others_alone_and_is_named(publisher, store, caplog):
    publisher.publish(sample.tick(1), RUN, None)
    seq = store.read(registry.NAV).seq
    published = publisher.publish(broken_nav(sample.tick(2)), RUN, None)
    assert published.failed_writes == ("state/nav.json", "synced_state.json")
    assert [failed.stage for failed in published.failures] == [
        "publish:nav",
        "publish:synced_state",
    ]
    assert all(isinstance(failed.error, StateWriteError) for failed in published.failures)
    assert store.read(registry.NAV).seq == seq
    assert len(store.read(registry.POSITIONS).rows) == 2
    assert "nav" in caplog.text
    assert "wrote=8 failed=2 files=state/nav.json,synced_state.json" in caplog.text


def test_a_folder_that_cannot_be_written_fails_each_file_and_raises_nothing(tmp_path, clock):
    (tmp_path / "state").write_text("in the way")
    publisher = TickPublisher(StateStore(tmp_path, clock), clock, 30.0)
    published = publisher.publish(sample.tick(0), RUN, None)
    assert set(published.failed_writes) == LOOP_FILES


def test_a_builder_that_raises_is_an_outcome(store):
    def build():
        raise KeyError("bars")

    outcome = publish_file(store, registry.NAV, build)
    assert outcome.failed is not None
    assert isinstance(outcome.failed.error, KeyError)
    assert Published((outcome,)).failed_writes == ("state/nav.json",)


def test_success_is_not_claimed_and_a_lasting_failure_is_said_once_a_minute(
    publisher, clock, caplog
):
    caplog.set_level(logging.INFO)

    def lines() -> int:
        return caplog.text.count("state files wrote=")

    for _ in range(3):
        publisher.publish(broken_nav(sample.tick(0)), RUN, None)
        clock.advance(1)
    assert lines() == 1
    clock.advance(60)
    publisher.publish(broken_nav(sample.tick(0)), RUN, None)
    assert lines() == 2
    assert "written again" not in caplog.text
    publisher.publish(sample.tick(0), RUN, None)
    assert "written again wrote=10 files=state/nav.json,synced_state.json" in caplog.text


def test_failed_writes_of_the_last_publish_are_in_the_next_health(publisher, store):
    failed = publisher.publish(broken_nav(sample.tick(0)), RUN, None).failed_writes
    publisher.publish(sample.tick(0), replace(RUN, failed_writes=failed), None)
    assert store.read(registry.EXECUTOR_HEALTH).failed_writes == (
        "state/nav.json",
        "synced_state.json",
    )


# ---------------------------------------------------------------- what is recomputed, and when


def test_the_risk_snapshot_keeps_its_content_between_its_times(publisher, store, clock):
    first = sample.tick(0)
    publisher.publish(first, RUN, None)
    before = store.read(registry.RISK_SNAPSHOT)
    clock.advance(29)
    publisher.publish(replace(first, now=NOW + 29), RUN, None)
    after = store.read(registry.RISK_SNAPSHOT)
    assert after.updated_ts == NOW
    assert after.seq > before.seq
    assert replace(after, seq=before.seq, written_ts=before.written_ts) == before
    clock.advance(1)
    publisher.publish(replace(first, now=NOW + 30), RUN, None)
    assert store.read(registry.RISK_SNAPSHOT).updated_ts == NOW + 30


@pytest.mark.parametrize(
    "changed",
    [
        in_state(sample.tick(0), "HALTED", "blind"),
        in_state(sample.tick(0), "ACTIVE", "a reason"),
        replace(
            sample.tick(0),
            live=Decided(
                TradingState("ACTIVE"), symbol_trading={"ETHUSDT": TradingState("HALTED", ("x",))}
            ),
        ),
    ],
)
def test_a_changed_state_or_reason_is_in_the_risk_snapshot_at_once(publisher, store, changed):
    publisher.publish(sample.tick(0), RUN, None)
    publisher.publish(replace(changed, now=NOW + 1), RUN, None)
    found = store.read(registry.RISK_SNAPSHOT)
    assert found.updated_ts == NOW + 1
    assert found.trading_state == changed.live.trading.name


def test_blind_moves_the_time_of_the_file_and_not_of_the_numbers(publisher, store):
    good = sample.tick(2)
    book = replace(good.state.book, stale=True, blind_since_ts=NOW + 1, blind_reason="timeout")
    blind = replace(
        good,
        now=NOW + 5,
        seen=Blind(NOW + 5, "timeout"),
        state=replace(good.state, book=book),
    )
    publisher.publish(good, RUN, None)
    publisher.publish(blind, RUN, None)
    nav, positions = store.read(registry.NAV), store.read(registry.POSITIONS)
    assert (nav.updated_ts, nav.as_of_ts, nav.stale, nav.known) == (NOW + 5, NOW, True, True)
    assert (positions.updated, positions.as_of_ts, len(positions.rows)) == (NOW + 5, NOW, 2)
    assert store.read(registry.SYNCED).stale
    assert nav.nav == good.state.book.nav_usd


def test_without_intel_its_files_are_as_old_as_the_start(publisher, store):
    publisher.publish(sample.tick(0), RUN, None)
    assert store.read(registry.SYMBOL_SCORES).updated_ts == RUN.started_ts
    slow = measure(RUN.policy, NOW - 7, state=sample.tick(0).state)
    publisher.publish(sample.tick(0), RUN, slow)
    assert store.read(registry.SYMBOL_SCORES).updated_ts == NOW - 7
    assert store.read(registry.ALLOCATION_SUGGESTIONS).book.current_equity_usd == 100_000.0


# ---------------------------------------------------------------- journals


def test_a_set_of_journals_writes_each_record_to_its_own_file(tmp_path, clock):
    journals = JournalSet(tmp_path, clock, max_bytes=1 << 20, backups=3, max_age_s=1e9)
    mark = MarkPoint(ts=NOW, run_id="r", symbol="B", mark_price=1.0, quote_ts=NOW)
    bad = replace(mark, mark_price=math.nan)
    lost = journals.append(
        [
            (registry.MARKS, mark),
            (registry.SHADOW, HEARTBEAT),
            (registry.MARKS, bad),
            (registry.MARKS, mark),
        ]
    )
    assert [each.journal for each in lost] == ["marks.jsonl"]
    marks = tail(tmp_path / registry.MARKS.path, 9, registry.MARKS.decoder.decode)
    shadow = tail(tmp_path / registry.SHADOW.path, 9, registry.SHADOW.decoder.decode)
    assert marks.records == (mark, mark)
    assert shadow.records == (HEARTBEAT,)
    assert journals.close() == ()


def test_buffered_journals_are_written_at_the_end(tmp_path, clock):
    journals = JournalSet(
        tmp_path, clock, max_bytes=1 << 20, backups=3, max_age_s=1e9, buffered=True
    )
    mark = MarkPoint(ts=NOW, run_id="r", symbol="B", mark_price=1.0, quote_ts=NOW)
    journals.append([(registry.MARKS, mark)] * 50)
    path = tmp_path / registry.MARKS.path
    assert not path.exists()
    assert journals.flush() == ()
    assert path.read_bytes().count(b"\n") == 50


# ---------------------------------------------------------------- the contract, on real files


def first_tick() -> TickReport:
    return replace(sample.tick(0), state=EngineState(), seen=Blind(NOW, "no network"))


def unmarked() -> TickReport:
    report = sample.tick(2)
    legs = tuple(
        replace(
            leg,
            mark_price=None,
            unrealized_usd=None,
            notional_usd=None,
            leverage=None,
            opened_ts=None,
            exit=None,
            strategy=None,
        )
        for leg in report.state.book.positions
    )
    book = Book(known=True, nav_usd=5.0, identity_residual_usd=Decimal("NaN"), positions=legs)
    return replace(report, state=replace(report.state, book=book))


def publish_everything(folder: Path, report: TickReport, run: RunInfo) -> None:
    clock = ManualClock(NOW)
    store = StateStore(folder, clock)
    slow = measure(run.policy, NOW, state=report.state)
    published = TickPublisher(store, clock, 30.0).publish(report, run, slow)
    outcomes = (*published.outcomes, publish_probe(store, run, NOW))
    assert [each.failed for each in outcomes if each.failed] == []
    publish_pair(store, folder, run, NOW)
    service = ServiceInfo("v6", "r", run.flags, pid=1, started_ts=NOW)
    for file in (
        registry.PROCESS_SYNC_STATE,
        registry.PROCESS_SHADOW_HEARTBEAT,
        registry.PROCESS_COMPARE,
    ):
        store.write(file, process_health(service, NOW))


CASES: dict[str, tuple[TickReport, RunInfo]] = {
    "ten legs": (sample.tick(10), RUN),
    "every flag off": (sample.tick(1), replace(RUN, flags=OFF)),
    "before the first read": (first_tick(), RUN),
    "halted": (in_state(sample.tick(0), "HALTED", "kill_switch", "blind"), RUN),
    "legs without marks": (unmarked(), RUN),
}


def schemas(reference: bool) -> dict[str, Any]:
    if not reference:
        return export.document()["files"]
    if not MINIMUM.exists():
        pytest.skip("the reference folder `shared` is not beside this checkout")
    return json.loads(MINIMUM.read_text(encoding="utf-8"))["files"]


@pytest.mark.parametrize("reference", [True, False], ids=["reference", "own schema"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_what_the_contract_says(tmp_path, case, reference):
    publish_everything(tmp_path, *CASES[case])
    checked = 0
    for path, schema in schemas(reference).items():
        if path == "state/sync_health.json":
            continue  # sync_state's own tests write it
        written = json.loads(
            (tmp_path / path).read_bytes(),
            parse_constant=pytest.fail,  # NaN and Infinity are no JSON
        )
        jsonschema.validate(written, schema)
        checked += 1
    assert checked == 17
