"""Journals' records as an executor writes them, each of which a test changes what it is about."""

from __future__ import annotations

from typing import Any

from execution.state_schema.journals import Judgement, NavPoint, ShadowDecision


def nav_point(ts: float, nav_usd: float, **changes: Any) -> NavPoint:
    """Return a point that knows NAV alone."""
    known: dict[str, Any] = {
        "ts": ts,
        "run_id": "executor",
        "nav_usd": nav_usd,
        "wallet_usd": None,
        "unrealized_usd": None,
        "gross_usd": None,
        "net_usd": None,
        "peak_usd": None,
        "drawdown_pct": None,
    }
    return NavPoint(**known | changes)


def shadow_decision(
    ts: float, live: Judgement | None, shadow: Judgement | None, **changes: Any
) -> ShadowDecision:
    """Return an entry that both policies may have judged."""
    known: dict[str, Any] = {
        "ts": ts,
        "run_id": "executor",
        "decision_id": "d1",
        "strategy": "s",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "mark_price": 100.0,
        "touch": None,
        "live": live,
        "shadow": shadow,
    }
    return ShadowDecision(**known | changes)
