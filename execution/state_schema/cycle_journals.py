"""What is written once a cycle: by the mirror, by router health and by the comparison."""

from __future__ import annotations

from execution.state_schema.envelope import Count, Text
from execution.state_schema.journals import Record


class SyncHeartbeat(Record, frozen=True, kw_only=True, tag="heartbeat", gc=False):
    """One cycle of sync_state."""

    enabled: bool
    disabled_reason: str | None
    writes: Count
    skipped_unchanged: Count
    failures: Count
    lag_s: float | None
    nav_usd: float | None
    gross_usd: float | None
    net_usd: float | None


class RouterHealthPoint(Record, frozen=True, kw_only=True, tag="router_health", gc=False):
    """One symbol's router health when it was recomputed."""

    symbol: Text
    n: Count
    maker_fill_rate: float | None
    fallback_rate: float | None
    slippage_p50: float | None
    slippage_p95: float | None
    quality: Text
    regime: str = "unknown"
    taker_bias: float | None = None
    maker_offset_bps: float | None = None


class ComparePoint(Record, frozen=True, kw_only=True, tag="compare", gc=False):
    """One cycle of the comparison."""

    sample_size: Count
    veto_mismatch_pct: float | None
    agreement_pct: float | None
    size_diff_mean: float | None
    slippage_diff_mean_bps: float | None
    difference_mean_usd: float | None
    is_warmup: bool
    shadow_enabled: bool
