"""Fill a log folder with a plausible state of the suite, written by the real writers.

    python tests/dashboard/sample_state.py FOLDER           one moment
    python tests/dashboard/sample_state.py FOLDER --live    a new moment each second, until Ctrl-C

Each builder takes `now` and overrides, so that a test says only what it is about.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

if str(Path(__file__).resolve().parents[2]) not in sys.path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dashboard.seen import Viewer
from execution.clock import Clock, ManualClock, SystemClock
from execution.core.promotion import Promotion
from execution.jsonl_log import JsonlLogger
from execution.state_schema import files, intel_files, journals, registry
from execution.state_schema.envelope import Envelope, V6Flags
from execution.state_schema.registry import Journal, StateFile
from execution.state_store import StateStore
from execution.v6_flags import FLAG_NAMES

VERSION = "v6.0-rc 2026-01-31"
START_USD = 100_000.0
FLAGS = V6Flags(**dict.fromkeys(FLAG_NAMES, True) | {"ROUTER_AUTOTUNE_V6_APPLY_ENABLED": False})
COMMON: dict[str, Any] = {"engine_version": VERSION, "v6_flags": FLAGS}

Payloads = dict[str, Envelope]


def viewer(started_ts: float) -> Viewer:
    """Return a page on paper that redraws every two seconds, with the shipped terms of promotion."""
    terms = Promotion(
        min_pairs=200,
        min_agreement_pct=80.0,
        min_results=30,
        confidence_pct=95.0,
        min_difference_usd=0.0,
        max_new_breaches=0,
    )
    return Viewer(
        mode="paper",
        engine_version="v6",
        started_ts=started_ts,
        refresh_s=2.0,
        promotion=terms,
    )


def nav_usd(ts: float) -> float:
    """Return a NAV that wanders with time, so that a live folder moves."""
    hours = ts / 3_600
    slow, fast = math.sin(hours / 3.1), math.sin(hours * 2.3) + 0.4 * math.sin(hours * 19)
    return START_USD + 650 * slow + 180 * fast


# ---------------------------------------------------------------- the account


def nav(now: float, **changes: Any) -> files.Nav:
    value = round(nav_usd(now), 2)
    base: dict[str, Any] = {
        "nav": value,
        "nav_usd": value,
        "updated_ts": now,
        "as_of_ts": now,
        "known": True,
        "stale": False,
        "wallet_usd": value - 84.31,
        "unrealized_usd": 84.31,
        "gross_usd": 41_250.5,
        "net_usd": 12_310.25,
        "peak_usd": 101_204.5,
        "drawdown_pct": round(100 * (1 - value / 101_204.5), 4),
        "day_start_usd": 100_050.0,
        "day_pnl_usd": round(value - 100_050.0, 2),
        "identity_residual_usd": 0.0,
    }
    return files.Nav(**COMMON | base | changes)


def position(symbol: str, now: float, **changes: Any) -> files.PositionRow:
    base: dict[str, Any] = {
        "symbol": symbol,
        "position_side": "LONG",
        "qty": 0.25,
        "entry_price": 98_500.0,
        "mark_price": 99_120.5,
        "unrealized": 155.13,
        "leverage": 4.0,
        "notional_usd": 24_780.13,
        "opened_ts": now - 1_830,
        "exit": files.ExitRow(
            stop_price=97_400.0, take_profit_price=101_900.0, deadline_ts=now + 5_400
        ),
        "strategy": "zscore_btc",
    }
    return files.PositionRow(**base | changes)


def rows(now: float) -> tuple[files.PositionRow, ...]:
    """Return a long, a short and a small long."""
    return (
        position("BTCUSDT", now),
        position(
            "ETHUSDT",
            now,
            position_side="SHORT",
            qty=-5.75,
            entry_price=2_480.1,
            mark_price=2_496.35,
            unrealized=-93.44,
            notional_usd=-14_354.01,
            exit=files.ExitRow(
                stop_price=2_541.0, take_profit_price=2_402.5, deadline_ts=now + 2_400
            ),
            strategy="trend",
        ),
        position(
            "LAYERUSDT",
            now,
            qty=1_200.0,
            entry_price=1.7455,
            mark_price=1.7639,
            unrealized=22.08,
            notional_usd=2_116.68,
            exit=files.ExitRow(stop_price=1.6904, take_profit_price=1.8611, deadline_ts=now + 900),
            strategy="zscore_alt",
        ),
    )


def positions(now: float, **changes: Any) -> files.Positions:
    base: dict[str, Any] = {
        "rows": rows(now),
        "updated": now,
        "as_of_ts": now,
        "known": True,
        "stale": False,
    }
    return files.Positions(**COMMON | base | changes)


def synced(now: float) -> files.Synced:
    return files.Synced(
        **COMMON,
        items=rows(now),
        nav=nav_usd(now),
        as_of_ts=now,
        updated_at=now,
        known=True,
        stale=False,
    )


# ---------------------------------------------------------------- risk


def limit(limit: float, used: float | None, unit: str) -> files.LimitRow:
    left = None if used is None else limit - used
    return files.LimitRow(limit=limit, used=used, headroom=left, unit=unit)


LIMITS = {
    "gross_cap": limit(150_960.0, 41_250.5, "usd"),
    "net_cap": limit(100_640.0, 12_310.25, "usd"),
    "leverage_cap": limit(402_560.0, 41_250.5, "usd"),
    "margin_insufficient": limit(402_000.0, 41_250.5, "usd"),
    "max_concurrent": limit(4, 3, "legs"),
    "nav_drawdown_limit": limit(10.0, 0.56, "pct"),
    "day_loss_limit": limit(5.0, 0.0, "pct"),
    "symbol_nav_cap BTCUSDT": limit(40_256.0, 24_780.13, "usd"),
    "symbol_nav_cap ETHUSDT": limit(40_256.0, 14_354.01, "usd"),
    "symbol_nav_cap LAYERUSDT": limit(10_064.0, 2_116.68, "usd"),
    "tier_cap CORE": limit(120_768.0, 39_134.14, "usd"),
}


def risk_row(symbol: str, now: float, **changes: Any) -> files.RiskRow:
    base: dict[str, Any] = {
        "symbol": symbol,
        "trading_state": "ACTIVE",
        "trading_state_reasons": (),
        "router": files.SymbolRouter(maker_first=True, taker_bias=0.0, offset_bps=1.0),
        "risk": files.SymbolRisk(dd_today_pct=0.1, risk_flags=()),
        "vol": files.SymbolVol(atr_now=120.0, atr_regime="normal"),
        "sizing": files.SymbolSizing(final_size_factor=0.8),
        "updated_ts": now,
    }
    return files.RiskRow(**base | changes)


def risk(now: float, **changes: Any) -> files.RiskSnapshot:
    base: dict[str, Any] = {
        "updated_ts": now - 4,
        "source": "engine",
        "error": None,
        "trading_state": "ACTIVE",
        "trading_state_reasons": (),
        "limits": LIMITS,
        "vetoes": {"side_blocked": 3, "symbol_nav_cap": 1},
        "symbols": (risk_row("BTCUSDT", now), risk_row("ETHUSDT", now)),
    }
    return files.RiskSnapshot(**COMMON | base | changes)


# ---------------------------------------------------------------- the processes


def executor(now: float, **changes: Any) -> files.ExecutorHealth:
    base: dict[str, Any] = {
        "updated_ts": now,
        "loop_seq": 4_211,
        "loop_ms": files.LoopMs(last=6.1, p50=5.8, p99=11.4),
        "trading_state": "ACTIVE",
        "mode": "paper",
        "kill_latch": False,
        "blind_since_ts": None,
        "errors": {},
        "failed_writes": (),
        "clock_offset_ms": None,
        "weight_used_1m": None,
        "banned_until_ts": None,
        "rss_mb": 58.2,
        "open_orders": 3,
        "unknown_orders": 0,
        "shadow_ms": files.LoopMs(last=0.4, p50=0.3, p99=1.1),
    }
    return files.ExecutorHealth(**COMMON | base | changes)


def service(now: float, **changes: Any) -> files.ProcessHealth:
    base: dict[str, Any] = {
        "updated_ts": now - 3,
        "started_ts": now - 8_000,
        "pid": 4_242,
        "cycles": 801,
        "errors": {},
        "last_error": None,
        "rss_mb": 27.4,
    }
    return files.ProcessHealth(**COMMON | base | changes)


def sync(now: float, **changes: Any) -> files.SyncHealth:
    base: dict[str, Any] = {
        "updated_ts": now - 3,
        "enabled": False,
        "disabled_reason": "ALLOW_PROD_WRITE is not on in .env; ALLOW_PROD_SYNC is not on in .env",
        "target": None,
        "last_success_ts": None,
        "writes": 0,
        "skipped_unchanged": 0,
        "failures": 0,
        "last_error": None,
        "lag_s": None,
        "exposures": files.Exposures(
            gross_usd=41_250.82,
            net_usd=12_542.8,
            largest=files.LargestExposure(symbol="BTCUSDT", notional_usd=24_780.13),
            by_symbol={"BTCUSDT": 24_780.13, "ETHUSDT": -14_354.01, "LAYERUSDT": 2_116.68},
            by_side={"LONG": 26_896.81, "SHORT": 14_354.01},
            gross_pct=41.2,
        ),
        "nav_series": files.NavSeries(
            from_ts=now - 36_000, n=600, peak_usd=101_204.5, drawdown_pct=0.56, day_pnl_usd=582.4
        ),
    }
    return files.SyncHealth(**COMMON | base | changes)


def probe(now: float) -> files.RuntimeProbe:
    return files.RuntimeProbe(
        **COMMON,
        **msgspec.structs.asdict(FLAGS),
        env="dev",
        dry_run=True,
        testnet=True,
        venue="paper",
        run_id="run-1",
        live_policy="a1b2c3d4e5f6",
        shadow_policy="a1b2c3d4e5f6",
        ts=now - 100,
    )


# ---------------------------------------------------------------- pipelines and intel


def compared(now: float) -> files.CompareSummary:
    none = files.Stats(n=0, mean=None, p50=None, p95=None)
    nothing = files.ResultRow(n=0, total_usd=None, mean_usd=None)
    return files.CompareSummary(
        **COMMON,
        generated_ts=now - 200,
        shadow_enabled=True,
        sample_size=0,
        min_sample_size=200,
        veto_mismatch_pct=None,
        agreement_pct=None,
        size_diff_stats=none,
        slippage_diff_bps=none,
        by_reason={},
        by_symbol={},
        by_strategy={},
        routes=files.AgreementRow(n=0, agreement_pct=None),
        live_alone=0,
        shadow_alone=0,
        new_breaches=0,
        counterfactual=files.Counterfactual(
            horizon_s=900.0,
            pending=0,
            unmeasured=0,
            live_only=nothing,
            shadow_only=nothing,
            difference_usd=none,
        ),
        live_policy="a1b2c3d4e5f6",
        shadow_policy="a1b2c3d4e5f6",
        is_warmup=True,
        warmup_reason="0 of 200 decisions",
    )


def _slow(now: float) -> Payloads:
    """Return the files that say nothing was measured yet."""
    beat = journals.ShadowHeartbeat(ts=now - 60, run_id="run-1", reason="no decision yet")
    book = intel_files.AllocationGlobal(
        current_equity_usd=nav_usd(now), current_drawdown_pct=0.56, risk_mode="cautious"
    )
    return {
        "shadow_head": files.ShadowHead(
            **COMMON,
            generated_ts=now - 60,
            enabled=True,
            total=0,
            allowed=0,
            vetoed=0,
            last_decision=beat,
            heartbeat_ts=now - 60,
            last_decision_age_s=None,
        ),
        "compare_summary": compared(now),
        "router_health": intel_files.RouterHealth(**COMMON, updated_ts=now - 20, symbols=()),
        "symbol_scores": intel_files.SymbolScores(
            **COMMON, updated_ts=now - 90, intel_enabled=True, symbols=()
        ),
        "expectancy": intel_files.Expectancy(
            **COMMON,
            updated_ts=now - 90,
            enabled=True,
            lookback_hours=168.0,
            sample_count=0,
            symbols={},
            hours={},
            regimes={},
        ),
        "router_suggestions": intel_files.RouterSuggestions(
            **COMMON, generated_ts=now - 300, enabled=True, lookback_days=7.0, symbols=()
        ),
        "allocation_suggestions": intel_files.AllocationSuggestions(
            **COMMON, generated_ts=now - 300, enabled=True, book=book, symbols=()
        ),
    }


def payloads(now: float) -> Payloads:
    """Return a healthy payload for every state file, by registry name."""
    found: Payloads = {
        "nav": nav(now),
        "positions": positions(now),
        "synced_state": synced(now),
        "risk_snapshot": risk(now),
        "executor_health": executor(now),
        "runtime_probe": probe(now),
        "sync_health": sync(now),
        "process_sync_state": service(now),
        "process_pipeline_shadow_heartbeat": service(now, cycles=266, rss_mb=26.1),
        "process_pipeline_compare": service(now, cycles=265, rss_mb=26.3),
        **_slow(now),
    }
    return {file.name: found[file.name] for file in registry.STATE_FILES}


# ---------------------------------------------------------------- journals


def nav_point(ts: float, **changes: Any) -> journals.NavPoint:
    value = nav_usd(ts)
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "nav_usd": value,
        "wallet_usd": value - 84.31,
        "unrealized_usd": 84.31,
        "gross_usd": 41_250.5,
        "net_usd": 12_310.25,
        "peak_usd": 101_204.5,
        "drawdown_pct": 100 * (1 - value / 101_204.5),
    }
    return journals.NavPoint(**base | changes)


def alert(ts: float, **changes: Any) -> journals.Alert:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "severity": "warning",
        "kind": "missing_stop",
        "subject": "ETHUSDT",
        "text": "No stop rested for 4 s after the entry of ETHUSDT SHORT.",
    }
    return journals.Alert(**base | changes)


def write(store: StateStore, name: str, payload: Envelope) -> None:
    """Write one payload through the real store."""
    files_by_name: dict[str, StateFile[Any]] = {file.name: file for file in registry.STATE_FILES}
    store.write(files_by_name[name], payload)


def append(log_dir: Path, clock: Clock, journal: Journal[Any], *records: Any) -> None:
    """Append records through the real logger."""
    logger = JsonlLogger(
        log_dir / journal.path, clock, max_bytes=2**25, backups=2, max_age_s=1e9, buffered=True
    )
    for record in records:
        lost = logger.write(record)
        if lost is not None:
            raise ValueError(str(lost))
    lost = logger.close()
    if lost is not None:
        raise ValueError(str(lost))


def fill(log_dir: Path, now: float, minutes: int = 720, **changes: Envelope) -> None:
    """Write every state file as of `now`, a NAV journal of `minutes`, and two alerts."""
    clock = ManualClock(now)
    store = StateStore(log_dir, clock)
    for name, payload in (payloads(now) | changes).items():
        write(store, name, payload)
    points = [nav_point(now - 60 * minute - 7) for minute in range(minutes)]
    # The executor was down for a while: the line must show it.
    kept = [each for each in reversed(points) if not 9_000 < now - each.ts < 12_000]
    append(log_dir, clock, registry.NAV_SERIES, *kept)
    append(
        log_dir,
        clock,
        registry.ALERTS,
        alert(now - 7_400),
        alert(now - 5_100, severity="info", kind="risk_reset", subject="book", text="Peak reset."),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--live", action="store_true")
    asked = parser.parse_args()
    clock = SystemClock()
    fill(asked.folder, clock.now())
    store, never = StateStore(asked.folder, clock), threading.Event()
    while asked.live:
        clock.wait(1.0, never)
        now = clock.now()
        for name, payload in payloads(now).items():
            write(store, name, payload)
        if int(now) % 60 == 0:
            append(asked.folder, clock, registry.NAV_SERIES, nav_point(now))


if __name__ == "__main__":
    main()
