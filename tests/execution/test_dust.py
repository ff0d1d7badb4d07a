"""A leg that is smaller than the smallest order the exchange takes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from execution.core import exits, pipeline
from execution.core.payloads import risk_snapshot
from execution.core.records import FlattenRequest
from execution.core.seam import Rejected
from execution.state_schema.operator_files import Flatten
from scripts.benchmarks import sample
from tests.support import builders, policies
from tests.support.rig import Asker, Rig

NOW, SEEN = builders.NOW, builders.snapshot()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "paper-main.sqlite", asks=Asker())


def coarse(rig: Rig) -> None:
    """Let the exchange take no order below one contract."""
    rig.venue.rules["BTCUSDT"] = builders.rules(min_qty=Decimal(1))


def test_a_rest_below_the_smallest_order_is_asked_out_of_the_exit_once(rig: Rig) -> None:
    coarse(rig)
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal("2.5"))
    rig.tick()
    position_id = rig.recorded.legs["BTCUSDT", "LONG"].position_id
    wanted = builders.leaving("2.5", position_id=position_id)
    rig.tick(builders.plan(wanted, builders.TAKER, retry_s=2.0))
    rig.venue.fill("hgp-x1-1", "2")
    rig.venue.end("hgp-x1-1", "EXPIRED")
    rig.venue.answers.append(Rejected("-4004", "quantity is below 1"))
    for _ in range(8):
        rig.tick()
    assert [str(order.qty) for order in rig.venue.sent] == ["2.500", "0.500"]
    assert rig.ledger.routes() == {}


def test_dust_is_not_left_again_and_again_and_keeps_its_stop(rig: Rig) -> None:
    coarse(rig)
    dust = builders.position(qty=0.5, mark_price=130.0)  # far beyond its take profit
    for fields in ({}, {"flatten": (FlattenRequest("r1", None),)}):
        state = builders.state(
            book=builders.book(positions=(dust,)),
            rules=rig.venue.rules,
            recorded=builders.recorded(**fields),
        )
        assert [wanted.action for wanted in exits.due(state, "main", NOW)] == ["protect"]
    quiet = builders.closed_state(
        {"BTCUSDT": builders.QUIET}, book=builders.book(positions=(dust,)), rules=rig.venue.rules
    )
    decided = pipeline.decide(SEEN, quiet, policies.policy(), NOW)
    assert [each.intent.action for each in decided.decisions] == ["protect"]


def test_nothing_is_added_to_dust_whose_plan_is_not_of_now(rig: Rig) -> None:
    coarse(rig)
    dust = builders.book(positions=(builders.position(qty=0.5),))
    dip = {"BTCUSDT": builders.DIP}
    state = builders.closed_state(dip, book=dust, rules=rig.venue.rules)
    decided = pipeline.decide(SEEN, state, policies.policy(), NOW)
    assert [signal.action for signal in decided.signals] == ["entry"]
    assert [each.intent.action for each in decided.decisions] == ["protect"]


def test_dust_is_shown_and_a_flatten_that_can_close_no_more_is_done(rig: Rig) -> None:
    coarse(rig)
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal("0.5"))
    rig.tick()
    report = sample.tick(0)
    state = replace(report.state, book=rig.state.book, rules=rig.venue.rules)
    run = replace(sample.run_info(), policy=policies.policy())
    told, failed = risk_snapshot.build(replace(report, state=state), run)
    assert failed is None
    flags = {row.symbol: row.risk.risk_flags for row in told.symbols}
    assert "dust" in flags["BTCUSDT"]
    assert "dust" not in flags["ETHUSDT"]

    wish = {"ts": 0.0, "run_id": "", "id": "request1", "user": "somebody", "reason": "why"}
    rig.asks.ask(Flatten(**wish, symbol=None))
    assert rig.tick().flatten == ()
    ((_, outcome, said),) = rig.asks.answers
    assert (outcome, said.endswith("small as what is left, 0.5 BTCUSDT")) == ("done", True)
