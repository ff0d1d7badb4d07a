"""Journals of a plausible day, for tests of the page: orders from signal to fill, vetoes, shadow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sample_state as sample

from execution.clock import ManualClock
from execution.core.records import RoutePolicy
from execution.state_schema import cycle_journals, order_journals, registry
from execution.state_schema import journals as shapes

BY_NAME = {journal.name: journal for journal in registry.JOURNALS}
QUOTED = RoutePolicy(maker_first=True, taker_bias=0.0, offset_bps=0.5)


def intent(ts: float, decision_id: str = "d1", **changes: Any) -> order_journals.Intent:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "decision_id": decision_id,
        "strategy": "trend",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "qty": 0.012,
        "mark_price": 94_000.0,
        "notional_usd": 1_128.0,
        "reduce_only": False,
        "urgent": False,
        "reason": "trend up",
        "bar_open_ts": ts - 5,
        "size_factor": 0.8,
        "position_id": None,
        "stop_price": 93_500.0,
        "take_profit_price": 95_000.0,
        "deadline_ts": ts + 900,
    }
    return order_journals.Intent(**base | changes)


def signal(ts: float, **changes: Any) -> shapes.SignalMetric:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "strategy": "trend",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "action": "entry",
        "bar_open_ts": ts - 5,
        "strength": 0.75,
        "reason": "trend up",
        "atr": 57.0,
    }
    return shapes.SignalMetric(**base | changes)


def order(kind: type[Any], ts: float, decision_id: str = "d1", **changes: Any) -> Any:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "decision_id": decision_id,
        "client_id": f"hgp-{decision_id}-1",
        "attempt": 1,
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "type": "LIMIT",
        "qty": 0.012,
        "filled_qty": 0.0,
        "price": 93_995.0,
        "stop_price": None,
        "reduce_only": False,
        "foreign": False,
        "state": "LIVE",
        "was": "PREP",
        "reason": "accepted",
        "venue_order_id": "7",
    }
    return kind(**base | changes)


def fill(ts: float, decision_id: str | None = "d1", **changes: Any) -> order_journals.Fill:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "decision_id": decision_id,
        "client_id": f"hgp-{decision_id}-1",
        "trade_id": "t1",
        "venue_order_id": "7",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "qty": 0.012,
        "price": 93_995.0,
        "fee_usd": 0.23,
        "realized_usd": 0.0,
        "maker": True,
        "trade_ts": ts,
    }
    return order_journals.Fill(**base | changes)


def close(ts: float, **changes: Any) -> order_journals.Close:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "position_id": "p1",
        "strategy": "trend",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "opened_ts": ts - 600,
        "closed_ts": ts - 300,
        "qty": 0.012,
        "realized_usd": 12.5,
        "fees_usd": 0.75,
    }
    return order_journals.Close(**base | changes)


def route(ts: float, decision_id: str = "d1", **changes: Any) -> order_journals.RouteMetric:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "decision_id": decision_id,
        "strategy": "trend",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "outcome": "filled",
        "qty": 0.012,
        "filled_qty": 0.012,
        "maker_qty": 0.012,
        "taker_qty": 0.0,
        "filled_usd": 1_128.0,
        "fees_usd": 0.23,
        "decision_price": 94_000.0,
        "average_price": 93_995.0,
        "slippage_bps": -0.53,
        "fee_bps": 2.0,
        "cost_bps": 1.47,
        "opened_ts": ts - 4,
        "time_to_fill_s": 4.0,
        "attempts": 1,
        "quoted": True,
        "requotes": 0,
        "rejects": {},
        "policy": QUOTED,
        "policy_configured": QUOTED,
    }
    return order_journals.RouteMetric(**base | changes)


def veto(ts: float, decision_id: str = "v1", **changes: Any) -> shapes.Veto:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "decision_id": decision_id,
        "strategy": "reversion",
        "symbol": "SOLUSDT",
        "position_side": "SHORT",
        "side": "SELL",
        "action": "entry",
        "qty": 4.0,
        "reason": "max_concurrent",
        "limit": 4,
        "observed": 5,
        "unit": "legs",
        "reasons": ("max_concurrent",),
    }
    return shapes.Veto(**base | changes)


def judged(qty: float, reason: str | None = None, **changes: Any) -> shapes.Judgement:
    return shapes.Judgement(
        approved=reason is None, reason=reason, qty=qty, notional_usd=100 * qty, **changes
    )


def shadow(ts: float, decision_id: str = "s1", **changes: Any) -> shapes.ShadowDecision:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "decision_id": decision_id,
        "strategy": "trend",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "mark_price": 94_000.0,
        "touch": None,
        "live": judged(4.0),
        "shadow": judged(4.0),
    }
    return shapes.ShadowDecision(**base | changes)


def compare(ts: float, **changes: Any) -> cycle_journals.ComparePoint:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "sample_size": 250,
        "veto_mismatch_pct": 2.0,
        "agreement_pct": 95.5,
        "size_diff_mean": -0.1,
        "slippage_diff_mean_bps": 0.3,
        "difference_mean_usd": 0.12,
        "is_warmup": False,
        "shadow_enabled": True,
    }
    return cycle_journals.ComparePoint(**base | changes)


def policy_change(ts: float, **changes: Any) -> order_journals.PolicyChange:
    base: dict[str, Any] = {
        "ts": ts,
        "run_id": "run-1",
        "symbol": "BTCUSDT",
        "before": QUOTED,
        "after": RoutePolicy(maker_first=True, taker_bias=0.05, offset_bps=1.0),
        "risk_mode": "normal",
        "quality": "ok",
        "rationale": ("fills too seldom",),
    }
    return order_journals.PolicyChange(**base | changes)


def journals(now: float) -> Mapping[str, tuple[Any, ...]]:
    """Return records of every journal that a page reads, by its name."""
    flags = shapes.FlagsStart(
        ts=now - 900,
        run_id="run-1",
        process="executor",
        engine_version=sample.VERSION,
        flags=sample.FLAGS,
    )
    act = shapes.OperatorAct(
        ts=now - 800,
        run_id="run-1",
        act="risk reset",
        user="ann",
        reason="new month",
        outcome="done",
    )
    return {
        "nav": tuple(sample.nav_point(now - 60 * (60 - minute)) for minute in range(60)),
        "alerts": (),
        "signal_metrics": (signal(now - 900),),
        "orders_attempted": (
            intent(now - 900),
            intent(now - 700, "v1", symbol="SOLUSDT", position_side="SHORT", side="SELL"),
            intent(now - 20, "d2", symbol="ETHUSDT", qty=0.3),
        ),
        "risk_vetoes": (
            veto(now - 700),
            veto(now - 695, "v2"),
            veto(now - 320, "v3"),
            veto(
                now - 200,
                "v4",
                symbol="LAYERUSDT",
                reason="side_blocked",
                limit="allowed",
                observed="SHORT",
                unit="side",
                reasons=("side_blocked", "max_concurrent"),
            ),
        ),
        **_worked(now),
        "pipeline_v6_shadow": (
            shadow(now - 900),
            shadow(now - 800, "s2", shadow=judged(0.0, "net_cap")),
            shadow(now - 700, "s3", shadow=judged(2.0, clamped_by="gross_cap")),
            shadow(now - 600, "s4", live=None),
        ),
        "pipeline_v6_compare": (
            compare(now - 1_800, agreement_pct=None, sample_size=0),
            compare(now - 900),
        ),
        "flags": (flags,),
        "audit": (act,),
    }


def _worked(now: float) -> Mapping[str, tuple[Any, ...]]:
    """Return what became of the orders that were sent."""
    return {
        "orders_executed": (
            order(order_journals.Ack, now - 900),
            fill(now - 896),
            order(order_journals.Ack, now - 20, "d2", symbol="ETHUSDT", qty=0.3),
            order(
                order_journals.Reject,
                now - 500,
                "d3",
                state="REJECTED",
                reason="refused",
                code="-2019",
            ),
            close(now - 300),
        ),
        "order_metrics": (
            route(now - 896),
            route(
                now - 400,
                "d4",
                symbol="ETHUSDT",
                maker_qty=0.0,
                taker_qty=0.012,
                cost_bps=7.5,
                time_to_fill_s=9.0,
            ),
            policy_change(now - 350),
        ),
    }


def append(log_dir: Path, now: float, records: Mapping[str, tuple[Any, ...]]) -> None:
    """Write records through the real logger."""
    for name, each in records.items():
        sample.append(log_dir, ManualClock(now), BY_NAME[name], *each)


def fill_folder(log_dir: Path, now: float, **changes: Any) -> None:
    """Write a whole folder: state files, journals, and the end of one log."""
    sample.fill(log_dir, now, **changes)
    found = dict(journals(now))
    del found["nav"]
    append(log_dir, now, found)
    (log_dir / "hedge-executor.log").write_text(
        "2027-01-15T08:00:00Z INFO executor start\n2027-01-15T08:00:01Z WARNING disk low\n"
    )
