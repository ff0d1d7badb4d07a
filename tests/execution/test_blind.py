"""An exchange that is gone for a minute: nothing is believed, nothing is sent, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.core.seam import Blind
from execution.state_schema import registry
from tests.support.accounts import Accounts
from tests.support.engines import NOW, Rehearsed

FROM_S = 30.0
OUTAGE_S = 60.0
PLAN = f"""
seed = 1
calm_after_s = 3600.0
[[fault]]
kind = "request_lost"
frac = 1.0
from_s = {FROM_S}
for_s = {OUTAGE_S}
"""


@pytest.fixture
def rehearsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Rehearsed]:
    made = Rehearsed(monkeypatch, tmp_path, faults=PLAN)
    while made.clock.monotonic() < FROM_S - 0.5:
        made.ticks(1)
    yield made
    made.engine.close()


def test_a_minute_without_the_exchange(rehearsed: Rehearsed) -> None:
    store, heard = rehearsed.store, rehearsed.heard
    good_nav, good = store.read(registry.NAV), store.read(registry.POSITIONS)
    assert not good_nav.stale
    assert good.rows != ()
    assert rehearsed.report.state.recorded.open_orders != ()
    told, sent, orders = len(heard.calls), len(heard.sent), rehearsed.engine.ledger.counts()

    blind = 0
    while rehearsed.clock.monotonic() < FROM_S + OUTAGE_S - 0.5:
        rehearsed.ticks(1)
        now = rehearsed.clock.now()
        assert isinstance(rehearsed.report.seen, Blind)
        nav, positions = store.read(registry.NAV), store.read(registry.POSITIONS)
        assert (nav.known, nav.stale, nav.nav_usd) == (True, True, good_nav.nav_usd)
        assert nav.as_of_ts == good_nav.as_of_ts
        assert nav.updated_ts == now
        assert (positions.stale, positions.rows) == (True, good.rows)
        assert (positions.as_of_ts, positions.updated) == (good.as_of_ts, now)
        blind += 1
    assert blind == OUTAGE_S / 0.5
    risk, health = store.read(registry.RISK_SNAPSHOT), store.read(registry.EXECUTOR_HEALTH)
    assert (risk.trading_state, risk.trading_state_reasons) == ("HALTED", ("blind",))
    assert health.blind_since_ts == NOW + FROM_S
    assert {name for _, name in heard.calls[told:]} <= {"observe", "health"}
    assert len(heard.sent) == sent
    assert rehearsed.engine.ledger.counts() == orders


def test_after_it_comes_a_reconciliation_and_only_then_an_order(rehearsed: Rehearsed) -> None:
    heard = rehearsed.heard
    while rehearsed.clock.monotonic() < FROM_S + OUTAGE_S - 0.5:
        rehearsed.ticks(1)
    fills, sent, told = rehearsed.engine.ledger.counts()["fills"], len(heard.sent), len(heard.calls)

    rehearsed.ticks(1)

    recorded = rehearsed.report.state.recorded
    assert recorded.reconciled_ts == rehearsed.clock.now() == NOW + FROM_S + OUTAGE_S
    met = len(recorded.trades)
    assert met > 0  # what rested was filled while nobody could look
    calls = [name for _, name in heard.calls[told:]]
    assert calls[0] == "observe"
    assert "trades" in calls
    assert "submit" in calls
    assert calls.index("trades") < calls.index("submit")
    assert rehearsed.engine.ledger.counts()["fills"] == fills + met
    # Bars that closed meanwhile are history: no entry is decided on one of them.
    entered = [each.intent for each in rehearsed.report.live.decisions if each.plan is not None]
    opened = [intent.bar_open_ts for intent in entered if intent.bar_open_ts is not None]
    assert all(ts >= rehearsed.clock.now() - 3.0 for ts in opened)

    rehearsed.ticks(20)
    assert any(not order.reduce_only for order in heard.sent[sent:])
    assert rehearsed.store.read(registry.NAV).stale is False
    assert rehearsed.report.live.trading.name == "ACTIVE"
    accounts = Accounts(rehearsed.log_dir, rehearsed.store)
    assert heard.unjournalled == []
    accounts.check_any_moment()
    assert accounts.fills() == accounts.trades()
