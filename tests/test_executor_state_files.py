"""`_pub_tick()` writes every state file of the executor, each loop, flat or not."""

from __future__ import annotations

import json

import pytest

from execution import boot, executor_live, locks, settings
from execution.clock import ManualClock
from execution.core.seam import Blind, MarketSnapshot
from execution.errors import LockHeld
from execution.executor_live import beat, run_tick
from execution.state_schema import registry
from execution.state_schema.registry import STATE_FILES

NOW = 1_800_000_000.0
OWNED = [file for file in STATE_FILES if "executor" in file.owners]


@pytest.fixture
def engine():
    loaded = settings.load()
    settings.prepare_log_dir(loaded)
    built = boot.build(loaded, ManualClock(NOW))
    yield built
    built.close()


def read(engine, path):
    return json.loads((engine.settings.log_dir / path).read_text())


def test_first_beat_writes_every_file_that_the_executor_owns(engine):
    assert beat(engine) == ()

    for file in OWNED:
        for path in filter(None, (file.path, file.twin)):
            assert read(engine, path)["engine_version"] == engine.settings.engine_version, path


def test_bare_pub_tick_publishes_what_it_sees_and_sends_nothing():
    published = executor_live._pub_tick()

    assert published.failed_writes == ()
    engine = boot.default_engine()
    nav = engine.store.read(registry.NAV)
    assert (nav.known, nav.nav, nav.nav_usd, nav.wallet_usd) == (
        True,
        100_000.0,
        100_000.0,
        100_000.0,
    )
    assert nav.identity_residual_usd == 0
    assert engine.ledger.counts()["orders"] == 0
    assert engine.store.read(registry.POSITIONS).rows == ()


def test_bare_pub_tick_says_who_holds_the_lock():
    loaded = settings.load()
    settings.prepare_log_dir(loaded)
    with (
        locks.hold(loaded.log_dir / executor_live.LOCK, "somebody"),
        pytest.raises(LockHeld, match="somebody"),
    ):
        executor_live._pub_tick()


def test_flat_book_is_published_again_every_loop(engine):
    beat(engine)
    before = read(engine, "state/nav.json")
    engine.clock.advance(1.0)
    beat(engine)
    after = read(engine, "state/nav.json")

    assert after["updated_ts"] == before["updated_ts"] + 1
    assert after["seq"] > before["seq"]
    assert after["nav_usd"] == before["nav_usd"] == 100_000.0


def test_twins_hold_the_same_bytes(engine):
    beat(engine)
    root = engine.settings.log_dir

    assert (root / "synced_state.json").read_bytes() == (
        root / "state/synced_state.json"
    ).read_bytes()


def test_positions_of_the_venue_appear_in_positions_and_synced_state(engine):
    for _ in range(240):
        beat(engine)
        engine.clock.advance(5.0)
        if engine.state.book.positions:
            break
    beat(engine)

    book = engine.state.book
    assert book.positions
    rows = engine.store.read(registry.POSITIONS).rows
    assert [(row.symbol, row.position_side, row.qty) for row in rows] == [
        (p.symbol, p.position_side, p.qty) for p in book.positions
    ]
    assert engine.store.read(registry.SYNCED).items == rows
    assert all(row.exit is not None and row.exit.stop_price > 0 for row in rows)


class Outage:
    """A venue that cannot be read between two times, whatever stands behind it."""

    def __init__(self, venue, since_ts, until_ts):
        self._venue = venue
        self._window = (since_ts, until_ts)

    def observe(self, now) -> MarketSnapshot | Blind:
        since_ts, until_ts = self._window
        return Blind(now, "outage") if since_ts <= now < until_ts else self._venue.observe(now)

    def __getattr__(self, name):
        return getattr(self._venue, name)


def test_blind_keeps_the_last_good_numbers_and_says_that_they_are_stale(engine):
    engine.venue = Outage(engine.venue, NOW + 10, NOW + 40)
    while engine.clock.now() < NOW + 10:
        beat(engine)
        engine.clock.advance(5.0)
    good = engine.store.read(registry.NAV)

    beat(engine)
    engine.clock.advance(20.0)
    beat(engine)

    nav, positions = engine.store.read(registry.NAV), engine.store.read(registry.POSITIONS)
    assert (nav.known, nav.stale, nav.nav_usd) == (True, True, good.nav_usd)
    assert nav.as_of_ts == good.as_of_ts
    assert nav.updated_ts == NOW + 30
    assert positions.stale
    health = engine.store.read(registry.EXECUTOR_HEALTH)
    assert (health.trading_state, health.blind_since_ts) == ("HALTED", NOW + 10)

    engine.clock.advance(10.0)
    beat(engine)
    assert engine.store.read(registry.NAV).stale is False
    assert engine.store.read(registry.EXECUTOR_HEALTH).trading_state == "ACTIVE"


def test_blind_from_the_start_is_unknown_and_never_zero_that_counts(engine):
    engine.venue = Outage(engine.venue, 0, NOW + 10)

    beat(engine)

    nav = engine.store.read(registry.NAV)
    assert (nav.known, nav.stale, nav.nav_usd, nav.as_of_ts) == (False, True, 0.0, None)
    assert nav.wallet_usd is None
    assert engine.store.read(registry.RISK_SNAPSHOT).trading_state_reasons == (
        "blind",
        "nav_unavailable",
    )


def test_a_file_that_cannot_be_written_is_named_and_the_others_are_written(engine):
    beat(engine)
    blocked = engine.settings.log_dir / "state" / "router_health.json"
    blocked.unlink()
    blocked.mkdir()
    (blocked / "in the way").touch()
    engine.clock.advance(1.0)

    failures = beat(engine)

    assert [failed.stage for failed in failures] == ["publish:router_health"]
    assert engine.store.read(registry.NAV).updated_ts == NOW + 1
    engine.clock.advance(1.0)
    beat(engine)
    assert engine.store.read(registry.EXECUTOR_HEALTH).failed_writes == (
        "state/router_health.json",
    )


def test_state_of_the_tick_survives_a_publish_that_fails_altogether(engine):
    beat(engine)
    state_dir = engine.settings.log_dir / "state"
    state_dir.rename(state_dir.with_name("away"))
    state_dir.touch()
    engine.clock.advance(5.0)

    beat(engine)

    assert engine.report.now == NOW + 5
    assert engine.state is engine.report.state


def test_a_restart_does_not_answer_a_bar_again(engine):
    for _ in range(60):
        beat(engine)
        engine.clock.advance(5.0)
    decided = dict(engine.state.decided)
    attempted = engine.settings.log_dir / "execution" / "orders_attempted.jsonl"
    ids = [json.loads(line)["decision_id"] for line in attempted.read_text().splitlines()]
    assert ids
    assert len(set(ids)) == len(ids)
    engine.close()

    again = boot.build(engine.settings, ManualClock(engine.clock.now() - 5.0))
    report = run_tick(again, again.state)

    assert all(again.state.decided[key] <= decided[key] for key in again.state.decided)
    assert not {
        d.intent.decision_id for d in report.live.decisions if d.intent.action == "entry"
    } & set(ids)
    again.close()
