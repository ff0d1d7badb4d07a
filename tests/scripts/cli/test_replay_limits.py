"""The limits over recorded months, checked by an arithmetic of its own (tests/support/replays.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scripts.cli.replay import replay
from tests.support.replays import ROOT, Remains, Watched, copy_ops, cut

MARKET = ROOT.parent / "shared" / "market"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "LAYERUSDT")
LEVERAGE = 4.0
# 2025-05-05 to 05-08: LAYERUSDT loses 62 % of its highest price in these three days.
FALL_TS = (1_746_403_200.0, 1_746_662_400.0)
# Sizes four times as large under caps that they reach, and a day's loss that they reach too.
TIGHT = {
    "sizing.base_trade_pct": 12.0,
    "book.day_loss_limit_pct": 0.3,
    "book.nav_drawdown_limit_pct": 40.0,
    "book.gross_cap_pct": 40.0,
    "book.net_cap_pct": 25.0,
    "book.symbol_cap_pct": 16.0,
    "book.trade_cap_pct": 14.0,
    "book.max_order_notional_usd": 13_000.0,
    "book.max_concurrent": 6,
    "book.entries_per_symbol_window": 3,
    "tiers.CORE.cap_pct": 24.0,
    "tiers.SATELLITE.cap_pct": 15.0,
    "tiers.TACTICAL.cap_pct": 15.0,
}

pytestmark = pytest.mark.skipif(
    not MARKET.is_dir(), reason="the reference folder is not beside this checkout"
)


class Replayed:
    """One run of `hedge replay`, its report, and the run told anew."""

    def __init__(
        self, folder: Path, market: Path, monkeypatch, *, clamp: bool, limits: dict[str, float]
    ) -> None:
        ops = copy_ops(folder / "ops", limits)
        monkeypatch.setenv("HEDGE_OPS_DIR", str(ops))
        monkeypatch.setenv("RISK_ENGINE_V6_ENABLED", str(int(clamp)))
        words = ["--market", str(market), "--symbols", ",".join(SYMBOLS), "--json"]
        done = CliRunner().invoke(
            replay, [*words, "--out", str(folder / "out")], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        self.report: dict[str, Any] = json.loads(done.stdout)
        self.remains = Remains(folder / "out", market, SYMBOLS)
        self.watched = Watched(self.remains, ops, LEVERAGE)

    def refused(self, reason: str) -> set[float]:
        return {veto["ts"] for veto in self.remains.vetoes if veto["reason"] == reason}

    def tell(self) -> None:
        """Print the figures of a long proof."""
        seen, report = self.watched, self.report
        print(f"\norders={report['orders']} fills={report['fills']} pnl={report['pnl_usd']}")
        print(f"vetoes={report['vetoes']} drifts={dict(seen.drifts)}")
        print(f"day_loss_stops={report['day_loss_stops']} cooldowns={report['cooldowns']}")
        print(f"minutes: lost={len(seen.lost_ts)} cooling={len(seen.cooling_ts)}")
        print(f"nav differs by at most {seen.nav_error_usd:.1e} USD")
        for name, use in report["limits"].items():
            print(f"{name:28} worst {use['worst']:10.2f} of {use['limit']:10g} {use['unit']}")


def hold(run: Replayed) -> None:
    """Check all that must be so of any run."""
    seen, report = run.watched, run.report
    assert seen.overruns == []
    assert seen.nav_error_usd < 0.001
    # The report's worst of each limit is what the other arithmetic comes to, at the same minute.
    told = {name: (use["worst"], use["ts"]) for name, use in report["limits"].items()}
    for name, (used, ts) in seen.worst.items():
        if name.startswith("order_rate"):
            # An entry is heard of at the next look: it may count for a minute longer, never less.
            assert told[name][0] >= used, name
        elif name in told:
            assert told[name][0] == pytest.approx(used, rel=1e-6, abs=1e-6), name
            assert used == 0 or told[name][1] == ts, name
    compared = set(seen.worst) & set(told)
    assert set(told) - compared == {
        *(f"max_order_qty.{symbol}" for symbol in SYMBOLS),
        "order_rate.second",
    }
    # Nothing was entered, nor sent for an entry, while a stop or a cooldown stood.
    closed = {*seen.lost_ts, *seen.cooling_ts}
    entered = {ts for times in seen.entries_ts.values() for ts in times}
    assert len(entered) > 10
    assert entered & closed == set()
    assert {order["signed_ts"] for order in run.remains.entry_orders} & closed == set()
    assert run.refused("day_loss_limit") <= set(seen.lost_ts)
    assert run.refused("cooldown") <= set(seen.cooling_ts)
    for veto in run.remains.vetoes:
        assert veto["reason"] == veto["reasons"][0]
        assert {"limit", "observed", "unit"} <= set(veto)
    assert sum(report["vetoes"].values()) == len(run.remains.vetoes)


def fall(run: Replayed, symbol: str) -> float:
    """Return how far below its highest close a symbol came."""
    highest = lowest = 0.0
    for _, close in sorted(run.remains.closes[symbol].items()):
        highest = max(highest, close)
        lowest = max(lowest, 1 - close / highest)
    return lowest


def trips(run: Replayed) -> None:
    """Check that the day's loss was reached, stopped entries that were wanted, and cooled down."""
    assert run.report["day_loss_stops"] >= 1
    assert run.report["cooldowns"] >= 1
    assert run.refused("day_loss_limit") != set()
    assert run.watched.lost_ts != []
    assert run.watched.cooling_ts != []


@pytest.mark.parametrize("clamp", [True, False])
def test_three_days_of_a_fall_break_no_limit_and_their_losses_stop_entries(
    tmp_path, monkeypatch, clamp: bool
) -> None:
    market = cut(MARKET, tmp_path / "market", SYMBOLS, *FALL_TS)
    run = Replayed(tmp_path, market, monkeypatch, clamp=clamp, limits=TIGHT)
    hold(run)
    trips(run)
    assert fall(run, "LAYERUSDT") > 0.6
    assert run.watched.entries_ts["LAYERUSDT"] != []


@pytest.mark.full
def test_the_month_stays_far_within_the_limits_that_are_shipped(tmp_path, monkeypatch) -> None:
    run = Replayed(tmp_path, MARKET, monkeypatch, clamp=True, limits={})
    run.tell()
    hold(run)
    assert run.watched.drifts == {}
    assert fall(run, "LAYERUSDT") > 0.77
    assert len(run.watched.entries_ts["LAYERUSDT"]) > 50


@pytest.mark.full
@pytest.mark.parametrize("clamp", [True, False])
def test_the_month_at_its_limits_breaks_none_and_stops_at_its_losses(
    tmp_path, monkeypatch, clamp: bool
) -> None:
    run = Replayed(tmp_path, MARKET, monkeypatch, clamp=clamp, limits=TIGHT)
    run.tell()
    hold(run)
    trips(run)
    assert run.refused("cooldown") != set()
