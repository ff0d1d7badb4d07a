"""What the slow cadence finds, through its own stages, on whatever a test gives it."""

from __future__ import annotations

from typing import Any

import msgspec

from execution import toml_files
from execution.core.intel_stages import STAGES, Given
from execution.core.intel_terms import Intel
from execution.core.payloads.run import IntelReport, Measured
from execution.core.policy import Policy
from execution.environment import ROOT
from execution.state_schema.envelope import V6Flags
from execution.state_schema.order_journals import Close, RouteMetric

ON = V6Flags(*[True] * 6)
OFF = V6Flags(*[False] * 6)
HOUR_S = 3600


def terms(**sections: dict[str, Any]) -> Intel:
    """Return `ops/intel.toml`, with some keys of its sections changed."""
    known = toml_files.read_toml(ROOT / "ops" / "intel.toml", Intel)
    raw = msgspec.to_builtins(known)
    for section, keys in sections.items():
        raw[section] |= keys
    return msgspec.convert(raw, Intel)


def measure(policy: Policy, now: float, *, flags: V6Flags = ON, **given: Any) -> IntelReport:
    """Run every stage once, in order; without more it is what is true before any history."""
    whole = Given(**{"flags": flags, "terms": terms(), "policy": policy, "now": now, **given})
    report = IntelReport()
    for name, stage in STAGES.items():
        found = Measured(now, stage(whole, report))
        report = msgspec.structs.replace(report, **{name: found})
    return report


def closed(ts: float, net_usd: float, **fields: Any) -> Close:
    """Return a closed trade that brought so much after a fee of 1 USD, on 1,000 USD at a risk of 20."""
    known = {
        "run_id": "r",
        "position_id": f"p{ts}",
        "strategy": "fade",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "opened_ts": ts - 600,
        "closed_ts": ts,
        "qty": 1.0,
        "realized_usd": net_usd + 1,
        "fees_usd": 1.0,
        "entry_usd": 1000.0,
        "risk_usd": 20.0,
        "regime": "calm",
    }
    return Close(ts=ts, **{**known, **fields})


def routed(ts: float, filled: float = 1.0, **fields: Any) -> RouteMetric:
    """Return a finished route of which the maker filled this share, and nobody the rest."""
    known = {
        "run_id": "r",
        "decision_id": f"d{ts}",
        "strategy": "fade",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "outcome": "filled" if filled == 1 else "unfilled" if filled == 0 else "partial",
        "qty": 1.0,
        "filled_qty": filled,
        "maker_qty": filled,
        "taker_qty": 0.0,
        "filled_usd": 100.0 * filled,
        "fees_usd": 0.02 * filled,
        "decision_price": 100.0,
        "average_price": 100.0 if filled else None,
        "slippage_bps": -1.0 if filled else None,
        "fee_bps": 2.0 if filled else None,
        "cost_bps": 1.0 if filled else None,
        "opened_ts": ts - 120,
        "time_to_fill_s": 60.0 if filled == 1 else None,
        "attempts": 1,
        "quoted": True,
        "requotes": 0,
        "rejects": {},
        "policy": None,
        "policy_configured": None,
    }
    return RouteMetric(ts=ts, **{**known, **fields})
