"""One value per state file, with the keys that the contract names (intel: `intel_files`).

Python names are snake_case throughout; where the contract spells a key otherwise, `name=` says so.
A field that may be unknown is `| None`; a float that may not be is refused when it is NaN.
"""

from __future__ import annotations

from typing import Literal

from msgspec import field

from execution.core.seam import PositionSide
from execution.core.types import TradingStateName
from execution.state_schema.envelope import Count, Envelope, Frac, Mode, Row, Text, Ts
from execution.state_schema.journals import ShadowDecision, ShadowHeartbeat

# ---------------------------------------------------------------- the account


class Nav(Envelope, frozen=True, kw_only=True):
    """`state/nav.json`: the account's numbers; `nav` and `nav_usd` are one number."""

    nav: float
    nav_usd: float
    updated_ts: Ts
    as_of_ts: float | None
    known: bool
    stale: bool
    wallet_usd: float | None
    unrealized_usd: float | None
    gross_usd: float | None
    net_usd: float | None
    peak_usd: float | None
    drawdown_pct: float | None
    day_start_usd: float | None
    day_pnl_usd: float | None
    identity_residual_usd: float | None


class ExitRow(Row, frozen=True, kw_only=True):
    """How a position ends."""

    stop_price: float
    take_profit_price: float
    deadline_ts: float


class PositionRow(Row, frozen=True, kw_only=True):
    """One open leg; `qty` and `notional_usd` are negative for a short.

    `stop_resting`: its stop rests at the venue, and holds also while nothing may be sent.
    """

    symbol: Text
    position_side: PositionSide = field(name="positionSide")
    qty: float
    entry_price: float = field(name="entryPrice")
    mark_price: float | None = field(name="markPrice")
    unrealized: float | None
    leverage: float | None
    notional_usd: float | None
    opened_ts: float | None
    exit: ExitRow | None
    strategy: str | None = None
    unprotected_since_ts: float | None = None
    stop_resting: bool = False


class Positions(Envelope, frozen=True, kw_only=True):
    """`state/positions.json`: the open legs."""

    rows: tuple[PositionRow, ...]
    updated: Ts
    as_of_ts: float | None
    known: bool
    stale: bool


class Synced(Envelope, frozen=True, kw_only=True):
    """`synced_state.json`: what sync_state computes exposures from."""

    items: tuple[PositionRow, ...]
    nav: float
    as_of_ts: float | None
    updated_at: Ts
    known: bool
    stale: bool


# ---------------------------------------------------------------- risk


class LimitRow(Row, frozen=True, kw_only=True):
    """One limit and what is left of it, all in `unit`; `worst` is the most that was used today."""

    limit: float
    used: float | None
    headroom: float | None
    unit: Text
    worst: float | None = None
    worst_ts: float | None = None


class SymbolRouter(Row, frozen=True, kw_only=True):
    """How orders of one symbol are worked now."""

    maker_first: bool
    taker_bias: Frac
    offset_bps: float


class SymbolRisk(Row, frozen=True, kw_only=True):
    """What today cost in one symbol, and what is wrong with it.

    `dd_today_pct` is the symbol's loss since the book's day began, in percent of the NAV that the
    day began with: realized less fees, and what became of the unrealized; without funding.
    """

    dd_today_pct: float | None
    risk_flags: tuple[str, ...]


class SymbolVol(Row, frozen=True, kw_only=True):
    """How much one symbol moves; `atr_now` in its price.

    `atr_regime` is the symbol's regime by the thresholds of router.toml.
    """

    atr_now: float | None
    atr_regime: Literal["calm", "normal", "wild", "unknown"]


class SymbolSizing(Row, frozen=True, kw_only=True):
    """The product of all size multipliers that an entry would have now."""

    final_size_factor: float | None


class RiskRow(Row, frozen=True, kw_only=True):
    """One symbol as risk sees it."""

    symbol: Text
    trading_state: TradingStateName
    trading_state_reasons: tuple[Text, ...]
    router: SymbolRouter
    risk: SymbolRisk
    vol: SymbolVol
    sizing: SymbolSizing
    updated_ts: Ts


class RiskSnapshot(Envelope, frozen=True, kw_only=True):
    """`state/risk_snapshot.json`: limits, trading states and today's vetoes.

    `worst_since_ts` says from when on the worst of the limits is known: the day's beginning, or the
    process's.
    """

    updated_ts: Ts
    source: Literal["engine", "fallback"]
    error: str | None
    trading_state: TradingStateName
    trading_state_reasons: tuple[Text, ...]
    limits: dict[str, LimitRow]
    vetoes: dict[str, Count]
    symbols: tuple[RiskRow, ...]
    worst_since_ts: float | None = None


# ---------------------------------------------------------------- the pipelines


class JournalPosition(Row, frozen=True, kw_only=True):
    """How far a journal has been read: a file by inode, an offset, and a mark of what precedes it."""

    inode: int
    offset: Count
    mark: int


class ShadowHead(Envelope, frozen=True, kw_only=True):
    """`state/pipeline_v6_shadow_head.json`: counts of shadow decisions, and the newest.

    `journal` is how far the shadow journal is counted, so that either writer goes on from there.
    """

    generated_ts: Ts
    enabled: bool
    total: Count
    allowed: Count
    vetoed: Count
    last_decision: ShadowDecision | ShadowHeartbeat
    heartbeat_ts: float | None
    last_decision_age_s: float | None
    journal: JournalPosition | None = None


class Stats(Row, frozen=True, kw_only=True):
    """A sample in four numbers; null where `n` is 0."""

    n: Count
    mean: float | None
    p50: float | None
    p95: float | None


class AgreementRow(Row, frozen=True, kw_only=True):
    """Pairs of one kind, and the share of them that agrees; null where there is none."""

    n: Count
    agreement_pct: float | None


class ResultRow(Row, frozen=True, kw_only=True):
    """What decisions of one kind came to at the horizon, net of fees; null where there is none."""

    n: Count
    total_usd: float | None
    mean_usd: float | None


class Counterfactual(Row, frozen=True, kw_only=True):
    """What the policies' different orders came to, by the paper venue's fill rules.

    `difference_usd` is shadow minus live by decision: the mean is exact, percentiles are to a cent.
    `unmeasured` had no market, a gap in the recorded bars, or no mark at the horizon.
    """

    horizon_s: float
    pending: Count
    unmeasured: Count
    live_only: ResultRow
    shadow_only: ResultRow
    difference_usd: Stats


class CompareSummary(Envelope, frozen=True, kw_only=True):
    """`state/pipeline_v6_compare_summary.json`: live against shadow, paired by decision id.

    `live_alone` and `shadow_alone` are decisions that the other policy did not want at all, and
    `new_breaches` those that the shadow approved and a live limit refused. The policies are named by
    their fingerprints.
    """

    generated_ts: Ts
    shadow_enabled: bool
    sample_size: Count
    min_sample_size: Count
    veto_mismatch_pct: float | None
    agreement_pct: float | None
    size_diff_stats: Stats
    slippage_diff_bps: Stats
    by_reason: dict[str, Count]
    by_symbol: dict[str, AgreementRow]
    by_strategy: dict[str, AgreementRow]
    routes: AgreementRow
    live_alone: Count
    shadow_alone: Count
    new_breaches: Count
    counterfactual: Counterfactual
    live_policy: Text
    shadow_policy: Text | None
    is_warmup: bool
    warmup_reason: str | None


# ---------------------------------------------------------------- the processes


class RuntimeProbe(Envelope, frozen=True, kw_only=True):
    """`state/v6_runtime_probe.json`: which engine runs, with which switches."""

    INTEL_V6_ENABLED: bool
    RISK_ENGINE_V6_ENABLED: bool
    PIPELINE_V6_SHADOW_ENABLED: bool
    ROUTER_AUTOTUNE_V6_ENABLED: bool
    FEEDBACK_ALLOCATOR_V6_ENABLED: bool
    ROUTER_AUTOTUNE_V6_APPLY_ENABLED: bool
    env: Text
    dry_run: bool
    testnet: bool
    venue: Text
    run_id: Text
    live_policy: Text
    shadow_policy: Text | None
    ts: Ts


class LoopMs(Row, frozen=True, kw_only=True):
    """How long a tick takes, in milliseconds; null before the first one ended."""

    last: float | None
    p50: float | None
    p99: float | None


class ExecutorHealth(Envelope, frozen=True, kw_only=True):
    """`state/executor_health.json`: the loop, what failed in it, and the venue's connection.

    `strategies_off` names users' strategies that are switched off, with the reason.
    """

    updated_ts: Ts
    loop_seq: Count
    loop_ms: LoopMs
    trading_state: TradingStateName
    mode: Mode
    kill_latch: bool
    blind_since_ts: float | None
    errors: dict[str, Count]
    failed_writes: tuple[str, ...]
    clock_offset_ms: float | None
    weight_used_1m: float | None
    banned_until_ts: float | None
    rss_mb: float
    open_orders: Count
    unknown_orders: Count
    shadow_ms: LoopMs
    strategies_off: dict[str, str] = field(default_factory=dict)


class LargestExposure(Row, frozen=True, kw_only=True):
    """The symbol that carries most; `notional_usd` is signed."""

    symbol: Text
    notional_usd: float


class Exposures(Row, frozen=True, kw_only=True):
    """What the open legs amount to; `by_symbol` is net and signed, `by_side` gross."""

    gross_usd: float
    net_usd: float
    largest: LargestExposure | None
    by_symbol: dict[str, float]
    by_side: dict[str, float]
    gross_pct: float | None


class NavSeries(Row, frozen=True, kw_only=True):
    """The NAV journal since its cutoff, in five numbers."""

    from_ts: float | None
    n: Count
    peak_usd: float | None
    drawdown_pct: float | None
    day_pnl_usd: float | None


class SyncHealth(Envelope, frozen=True, kw_only=True):
    """`state/sync_health.json`: whether the mirror is on, why not, and how it goes."""

    updated_ts: Ts
    enabled: bool
    disabled_reason: str | None
    target: str | None
    last_success_ts: float | None
    writes: Count
    skipped_unchanged: Count
    failures: Count
    last_error: str | None
    lag_s: float | None
    exposures: Exposures | None
    nav_series: NavSeries | None


class ProcessHealth(Envelope, frozen=True, kw_only=True):
    """`state/process_*.json`: one service's own life."""

    updated_ts: Ts
    started_ts: Ts
    pid: Count
    cycles: Count
    errors: dict[str, Count]
    last_error: str | None
    rss_mb: float
