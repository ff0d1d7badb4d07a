"""The comparison of routers, and the journals of a replay that its figures can be checked against."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from execution import settings as settings_door
from execution.core import router_health
from execution.jsonl_log import tail
from execution.state_schema import registry
from execution.state_schema.order_journals import FillMetric, RouteMetric
from scripts.benchmarks import replay as made
from scripts.benchmarks import routed, routing
from scripts.cli.replay import replay
from tests.house import ROOT

SYMBOLS = ("BTCUSDT",)
SHARED = ROOT.parent / "shared" / "market"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made_here = tmp_path_factory.mktemp("made")
    made.make(made_here, SYMBOLS, minutes=8_000)
    return made_here


def router_of(folder: Path):
    return settings_door.load(over={"MARKET": f"replay:{folder}"}).policy.router


def test_a_replay_leaves_one_record_of_each_route_that_agrees_with_its_fills(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--market", str(folder), "--symbols", "BTCUSDT", "--out", str(out)]
    ran = CliRunner().invoke(replay, arguments)
    assert ran.exit_code == 0, ran.output
    journal = registry.ORDER_METRICS
    records = tail(out / journal.path, 100_000, journal.decoder.decode).records
    fills = [record for record in records if isinstance(record, FillMetric)]
    routes = [record for record in records if isinstance(record, RouteMetric)]
    assert len(routes) == len({(route.decision_id, route.opened_ts) for route in routes}) > 20
    ended = {route.decision_id for route in routes}
    of_ended = [fill for fill in fills if fill.decision_id in ended]
    told = sum(route.fees_usd for route in routes)
    assert told == pytest.approx(sum(fill.fees_usd for fill in of_ended))
    makers = sum(fill.qty for fill in of_ended if fill.route == "maker")
    assert sum(route.maker_qty for route in routes) == pytest.approx(makers)
    for route in (each for each in routes if each.outcome == "filled"):
        mine = [fill for fill in fills if fill.decision_id == route.decision_id]
        if route.action == "entry":
            slippage = sum(f.slippage_bps * f.qty for f in mine) / sum(f.qty for f in mine)
            assert route.slippage_bps == pytest.approx(slippage, abs=1e-6)
    terms, now = router_of(folder).health, routes[-1].ts
    (window,) = router_health.take_in({}, records, terms, now).values()
    since = now - terms.window_hours * 3600
    chosen = [r for r in routes if r.policy is not None and r.attempts and r.ts >= since]
    assert len(window) == min(len(chosen), terms.max_routes) > 0


def test_both_routers_work_the_same_intents_and_only_one_of_them_crosses(folder: Path) -> None:
    recorded = routed.record(folder, SYMBOLS)
    lines, savings = routing.compare(recorded, folder, SYMBOLS, router_of(folder), "all")
    found = {(line.what, line.router): line for line in lines}
    entries, crossed = found["entries", "configured"], found["entries", "taker only"]
    assert entries.n == crossed.n == len(recorded.of("entry")) > 20
    assert (crossed.maker_share, crossed.missed) == (0.0, 0)
    assert crossed.fee_bps == pytest.approx(5.0)  # the paper account's taker fee
    assert entries.maker_share > 0.5
    assert entries.fee_bps == pytest.approx(2 + 3 * (1 - entries.maker_share), abs=0.1)
    assert entries.filled + entries.missed >= entries.n
    at_once = found["exits at once", "configured"], found["exits at once", "taker only"]
    assert at_once[0].cost_bps == at_once[1].cost_bps
    assert [saving.what for saving in savings][-1] == "everything"
    low, high = savings[0].interval
    assert low <= savings[0].saved_pct <= high


def test_an_interval_holds_the_figure_and_nothing_is_drawn_from_one_number() -> None:
    numbers = [float(n) for n in range(100)]
    low, high = routing.interval(numbers, routing.mean)
    assert low < 49.5 < high
    assert high - low == pytest.approx(2 * 1.96 * 28.87 / 10, rel=0.15)
    assert routing.interval(numbers, routing.mean) == (low, high)
    assert routing.interval([1.0], routing.mean) is None


@pytest.mark.full
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no recorded month at {SHARED}")
def test_on_the_months_second_half_the_configured_router_saves_forty_percent() -> None:
    recorded = routed.record(SHARED, routing.SYMBOLS)
    router = router_of(SHARED)
    _, savings = routing.compare(recorded, SHARED, routing.SYMBOLS, router, "second")
    saved = {saving.what: saving.saved_pct for saving in savings}
    assert saved["entries"] >= 40
    assert saved["exits that can wait"] >= 40
    assert saved["everything"] >= 40
