"""A wall clock that jumps an hour: anchors stand, limits are not refilled, books stay exact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from execution import boot, settings
from execution.boot import Engine
from execution.clock import ManualClock
from execution.executor_live import beat
from execution.state_schema import registry

NOW = 1_800_000_000.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    loaded = settings.load()
    settings.prepare_log_dir(loaded)
    built = boot.build(loaded, ManualClock(NOW))
    yield built
    built.close()


def beats(engine: Engine, count: int) -> None:
    for _ in range(count):
        assert beat(engine) == ()
        engine.clock.advance(1.0)


def until_held(engine: Engine) -> None:
    for _ in range(600):
        beats(engine, 1)
        if engine.state.book.positions:
            return
    pytest.fail("nothing was ever held")


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_an_hours_step_of_the_clock_moves_no_anchor_and_refills_no_limit(
    engine: Engine, step_s: float
) -> None:
    until_held(engine)
    beats(engine, 120)
    before = engine.state.book.anchors
    entries = engine.state.recorded.entries
    orders = engine.ledger.counts()["orders"]
    engine.clock.set(engine.clock.now() + step_s)
    beats(engine, 30)
    after = engine.state.book.anchors
    assert (after.day, after.day_start_usd) == (before.day, before.day_start_usd)
    assert after.peak_usd >= before.peak_usd
    if step_s < 0:
        # The market stands still until the clock has caught up: stale, and nothing is entered.
        risk = engine.store.read(registry.RISK_SNAPSHOT)
        assert engine.ledger.counts()["orders"] <= orders + 2 * len(engine.state.book.positions)
        for symbol, times in entries.items():
            assert len(engine.state.recorded.entries.get(symbol, ())) >= len(times)
        assert risk.trading_state in ("ACTIVE", "REDUCING")
    assert engine.state.book.identity_residual_usd == 0
