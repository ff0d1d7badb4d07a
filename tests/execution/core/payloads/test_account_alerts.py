"""What a person is told of the legs that a kill leaves, and of what others did to the account."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.core.payloads import alerts
from execution.core.payloads.alerts import AlertMemory
from execution.core.records import KillLatch
from scripts.benchmarks import sample
from tests.support import builders

RUN = sample.run_info()


@pytest.mark.parametrize(
    ("kill_on", "resting", "spoken"), [(True, False, 1), (True, True, 0), (False, False, 0)]
)
def test_a_kill_names_the_legs_whose_stop_rests_nowhere(kill_on, resting, spoken):
    report = sample.tick(1)
    leg = replace(report.state.book.positions[0], unprotected_since_ts=None, stop_resting=resting)
    book = replace(report.state.book, positions=(leg,))
    recorded = replace(report.state.recorded, kill=KillLatch(on=kill_on, reason="r"))
    report = replace(report, state=replace(report.state, book=book, recorded=recorded))
    found, _ = alerts.alerts(report, RUN, AlertMemory())
    assert [(a.kind, a.subject, a.severity) for a in found] == (
        [("unprotected", "S000USDT LONG", "critical")] * spoken
    )


@pytest.mark.parametrize("rules", [builders.rules(trading=False), None])
def test_a_position_in_a_symbol_that_does_not_trade_is_said(rules):
    report = sample.tick(1)
    state = replace(report.state, rules={} if rules is None else {"S000USDT": rules})
    found, _ = alerts.alerts(replace(report, state=state), RUN, AlertMemory())
    assert [(a.kind, a.subject) for a in found] == [("not_trading", "S000USDT LONG")]


@pytest.mark.parametrize(
    ("client_id", "kind"),
    [
        ("autoclose-1700000000000", "closed_by_venue"),
        ("adl_autoclose", "closed_by_venue"),
        ("settlement_autoclose-1", "closed_by_venue"),
        ("web_abc", "foreign_fill"),
        ("hgt-of-another-mode-1", "foreign_fill"),
        ("hgp-d1-1", None),
    ],
)
def test_a_fill_of_somebody_else_is_said(client_id, kind):
    report = sample.tick(0)
    trade = builders.trade("7", "2", client_id=client_id, side="SELL", realized_usd=Decimal(-9))
    recorded = replace(report.state.recorded, trades=(trade,))
    report = replace(report, state=replace(report.state, recorded=recorded))
    found, _ = alerts.alerts(report, RUN, AlertMemory())
    assert [(a.kind, a.text) for a in found] == (
        [] if kind is None else [(kind, "SELL 2 at 100, realized -9 USD")]
    )
