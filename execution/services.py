"""The numbers around the decisions, typed as `ops/services.toml` states them.

How often things happen, how much is kept, and how the paper account and its markets behave.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from execution.core.payloads.risk_watch import RiskWatch
from execution.core.position_mode import PositionMode
from execution.core.promotion import Promotion

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
HistoryBars = Annotated[int, Meta(ge=0, le=5000)]

# The longest intervals that the telemetry contract allows.
ProbeSeconds = Annotated[float, Meta(gt=0, le=300)]
ShadowHeadSeconds = Annotated[float, Meta(gt=0, le=600)]
CompareSeconds = Annotated[float, Meta(gt=0, le=900)]


class Executor(Struct, frozen=True, forbid_unknown_fields=True):
    """The trading loop's pause, the timers that ride on it, and how it ends."""

    loop_s: Annotated[float, Meta(ge=0.05, le=60)]
    risk_s: Seconds
    router_health_s: Seconds
    intel_s: Seconds
    probe_s: ProbeSeconds
    reconcile_s: Seconds
    shadow_head_s: ShadowHeadSeconds
    compare_s: CompareSeconds
    resting_entries_on_stop: Literal["cancel", "keep"]
    shadow_budget_ms: Annotated[float, Meta(gt=0, le=10_000)]
    shadow_rest_s: Seconds


class Journals(Struct, frozen=True, forbid_unknown_fields=True):
    """When a journal is rotated, and how long its archives stay."""

    max_mb: Annotated[float, Meta(gt=0, le=1024)]
    backups: Annotated[int, Meta(ge=1, le=1000)]
    max_age_days: Annotated[float, Meta(gt=0, le=3650)]


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """How the account is set, on paper and at the exchange alike."""

    position_mode: PositionMode
    margin_mode: Literal["cross", "isolated"]
    leverage: Annotated[int, Meta(ge=1, le=125)]


class Exchange(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the exchange is waited for, and how much of its market is read at the start."""

    call_s: Annotated[float, Meta(ge=0.2, le=10)]
    round_s: Annotated[float, Meta(ge=0.5, le=10)]
    history_bars: Annotated[int, Meta(ge=2, le=1500)]


class Paper(Struct, frozen=True, forbid_unknown_fields=True):
    """The paper account: what it starts with, what it pays, how it fills."""

    start_usd: Decimal
    maker_fee_bps: Decimal
    taker_fee_bps: Decimal
    slippage_bps: Decimal
    volume_share_frac: Decimal
    maintenance_margin_pct: Decimal
    liquidation_fee_pct: Decimal

    def __post_init__(self) -> None:
        _require("start_usd", self.start_usd, Decimal(1), Decimal(10**12))
        _require("maker_fee_bps", self.maker_fee_bps, Decimal(-10), Decimal(100))
        _require("taker_fee_bps", self.taker_fee_bps, Decimal(0), Decimal(100))
        _require("slippage_bps", self.slippage_bps, Decimal(0), Decimal(1000))
        _require("volume_share_frac", self.volume_share_frac, Decimal("0.0001"), Decimal(1))
        _require("maintenance_margin_pct", self.maintenance_margin_pct, Decimal(0), Decimal(50))
        _require("liquidation_fee_pct", self.liquidation_fee_pct, Decimal(0), Decimal(10))


class Sim(Struct, frozen=True, forbid_unknown_fields=True):
    """The simulated market."""

    seed: Annotated[int, Meta(ge=0, le=2**53)]
    bar_s: Annotated[int, Meta(ge=1, le=3600)]
    history_bars: HistoryBars


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Recorded bars put onto wall time, `speed` recorded seconds in each second."""

    speed: Annotated[int, Meta(ge=1, le=60)]
    history_bars: HistoryBars

    def __post_init__(self) -> None:
        if 60 % self.speed:
            raise ValueError(f"speed {self.speed} must divide 60: a bar then lasts whole seconds")


class Alerts(Struct, frozen=True, forbid_unknown_fields=True):
    """The program that is told of every alert; no words mean none."""

    alert_command: tuple[Annotated[str, Meta(min_length=1, pattern=r"^[^\0]*\Z")], ...]
    deadline_s: Annotated[float, Meta(gt=0, le=600)]
    pause_s: Annotated[float, Meta(ge=0, le=86_400)]

    def __post_init__(self) -> None:
        if self.alert_command and not self.alert_command[0].startswith("/"):
            raise ValueError(f"alert_command {self.alert_command[0]} must be an absolute path")


class Modules(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user's strategy module is given, and when it is switched off."""

    start_s: Annotated[float, Meta(gt=0, le=600)]
    failures: Annotated[int, Meta(ge=1, le=100)]
    failures_window_s: Seconds
    restart_s: Annotated[float, Meta(gt=0, le=600)]
    memory_mb: Annotated[int, Meta(ge=128, le=1_048_576)]


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    """The pause between two cycles of sync_state."""

    interval_s: Seconds


class Mirror(Struct, frozen=True, forbid_unknown_fields=True):
    """What the mirror in Firestore may cost, and how it waits."""

    operations_a_day: Annotated[int, Meta(ge=1_000, le=10_000_000)]
    deadline_s: Annotated[float, Meta(gt=0, le=30)]
    backoff_max_s: Annotated[float, Meta(ge=10, le=3600)]
    beat_s: Annotated[float, Meta(gt=0, le=600)]


class Heartbeat(Struct, frozen=True, forbid_unknown_fields=True):
    """When the shadow head is due, and how often the service looks."""

    interval_s: ShadowHeadSeconds
    beat_s: Seconds

    def __post_init__(self) -> None:
        _require_beat(self.beat_s, self.interval_s)


class Compare(Struct, frozen=True, forbid_unknown_fields=True):
    """When the comparison is due, how often the service looks, and when a result is marked."""

    interval_s: CompareSeconds
    beat_s: Seconds
    horizon_s: Seconds

    def __post_init__(self) -> None:
        _require_beat(self.beat_s, self.interval_s)


class Dashboard(Struct, frozen=True, forbid_unknown_fields=True):
    """How often the page redraws itself."""

    refresh_s: Annotated[float, Meta(ge=0.5, le=3600)]


class Services(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/services.toml`."""

    executor: Executor
    journals: Journals
    alerts: Alerts
    modules: Modules
    risk_watch: RiskWatch
    account: Account
    exchange: Exchange
    paper: Paper
    sim: Sim
    replay: Replay
    sync: Sync
    mirror: Mirror
    heartbeat: Heartbeat
    compare: Compare
    promotion: Promotion
    dashboard: Dashboard

    def __post_init__(self) -> None:
        # An account would be liquidated at once that must keep more than it had to bring.
        most_pct = Decimal(50) / self.account.leverage
        _require(
            "paper.maintenance_margin_pct", self.paper.maintenance_margin_pct, Decimal(0), most_pct
        )


def _require(key: str, number: Decimal, least: Decimal, most: Decimal) -> None:
    if not (number.is_finite() and least <= number <= most):
        raise ValueError(f"{key} {number} must be from {least} to {most}")


def _require_beat(beat_s: float, interval_s: float) -> None:
    if beat_s > interval_s:
        raise ValueError(f"beat_s {beat_s:g} must not be above interval_s {interval_s:g}")
