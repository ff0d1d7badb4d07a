"""The whole executor in one-way mode, and in both modes when the exchange closes what it holds."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import Accepted
from execution.jsonl_log import tail
from execution.state_schema import registry
from tests.support import builders
from tests.support.engines import Rehearsed

ONE_WAY = {"position_mode": '"one_way"'}
# As thin as the files allow: half of the initial margin must be kept.
THIN = {
    "leverage": 125,
    "maintenance_margin_pct": '"0.4"',
    "liquidation_fee_pct": '"0.1"',
}


def residual(made: Rehearsed) -> Decimal | None:
    return made.report.state.book.identity_residual_usd


def test_it_trades_exits_and_restarts_with_one_leg_a_symbol(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = Rehearsed(monkeypatch, tmp_path, **ONE_WAY)
    made.trade()
    legs = made.report.state.recorded.legs
    made.restart()
    assert made.engine.ledger.legs() == legs
    made.ticks(150)
    assert {order.position_side for order in made.heard.sent} == {"BOTH"}
    assert made.heard.entries
    assert made.heard.exits
    assert made.heard.unjournalled == []
    assert {order.side for order in made.heard.entries} == {"BUY", "SELL"}
    assert residual(made) == 0
    shown = made.store.read(registry.POSITIONS)
    assert shown is not None
    assert {row.position_side for row in shown.rows} <= {"BOTH"}
    assert {row.leverage for row in shown.rows} <= {4.0}


@pytest.mark.parametrize("mode", ["one_way", pytest.param("hedge", marks=pytest.mark.full)])
def test_a_liquidation_is_booked_said_and_not_fought(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    made = Rehearsed(monkeypatch, tmp_path, **THIN, position_mode=f'"{mode}"')
    made.trade(legs=2)
    own = dict(made.report.state.recorded.legs)
    order = builders.new_order(
        "web_1",
        symbol="BTCUSDT",
        side="SELL",
        position_side="SHORT" if mode == "hedge" else "BOTH",
        type="MARKET",
        qty=Decimal(110),
        price=None,
        post_only=False,
        signed_ts=made.clock.now(),
    )
    assert isinstance(made.heard._venue.submit(order), Accepted)
    for _ in range(3_000):
        made.tick(2.5)
        trades = made.report.state.recorded.trades
        if any(trade.client_id.startswith("autoclose-") for trade in trades):
            break
    else:
        pytest.fail("the market never went that far")
    recorded = made.report.state.recorded
    assert recorded.legs == {}
    assert own
    assert {"foreign"} <= {closed.strategy for closed in recorded.closed}
    alerts = tail(made.log_dir / registry.ALERTS.path, 500, registry.ALERTS.decoder.decode).records
    assert any(a.kind == "closed_by_venue" and a.severity == "critical" for a in alerts)
    sent = len(made.heard.sent)
    made.ticks(20)
    assert residual(made) == 0
    assert made.report.state.recorded.halts == {}
    assert all(not order.reduce_only for order in made.heard.sent[sent:])  # nothing is closed twice
    assert made.report.live.trading.name == "REDUCING"  # the drawdown's, until a person resets it
