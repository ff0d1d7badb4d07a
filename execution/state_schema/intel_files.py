"""The state files of the slow cadence: router health, scores, expectancy, suggestions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from execution.core.records import RoutePolicy
from execution.state_schema.envelope import Count, Envelope, Frac, Row, Text, Ts

Quality = Literal["unknown", "good", "ok", "degraded", "broken"]
Regime = Literal["unknown", "calm", "normal", "wild"]
RiskMode = Literal["normal", "cautious", "defensive"]


class RouterVerdict(Row, frozen=True, kw_only=True):
    """What router health thinks of one symbol's routing."""

    maker_first: bool
    taker_bias: Frac
    quality: Quality
    reason: Text


class RouterHealthRow(Row, frozen=True, kw_only=True):
    """How one symbol's finished routes fared; whatever nothing was measured for is null.

    The rates are over the `n_quoted` of `n` routes that sent a post-only order, as shares of the
    quantity wanted; slippages and fees are bps of what was filled, positive when paid.
    """

    symbol: Text
    n: Count
    n_quoted: Count = 0
    maker_fill_rate: Frac | None
    fallback_rate: Frac | None
    unfilled_rate: Frac | None = None
    slippage_p50: float | None
    slippage_p95: float | None
    slippage_mean_bps: float | None = None
    fee_mean_bps: float | None = None
    rejects: dict[str, Count]
    policy: RouterVerdict
    maker_offset_bps: float
    regime: Regime = "unknown"


class RouterHealth(Envelope, frozen=True, kw_only=True):
    """`state/router_health.json`: one row per symbol of the universe."""

    updated_ts: Ts
    symbols: tuple[RouterHealthRow, ...]


class ScoreRow(Row, frozen=True, kw_only=True):
    """One symbol's score and what it is made of."""

    symbol: Text
    score: Frac
    components: dict[str, float | None]
    inputs: dict[str, float | None]


class SymbolScores(Envelope, frozen=True, kw_only=True):
    """`state/symbol_scores_v6.json`: symbols, best first."""

    updated_ts: Ts
    intel_enabled: bool
    symbols: tuple[ScoreRow, ...]


class ExpectancyRow(Row, frozen=True, kw_only=True):
    """What a closed trade of one group brought on average, net of fees.

    An average loss is negative; `expectancy_bps` is of what the trades were opened for,
    `expectancy_per_risk` of what their stops would have lost. `max_drawdown_usd` is the deepest fall
    of their running sum.
    """

    n: Count
    hit_rate: Frac | None
    avg_win_usd: float | None
    avg_loss_usd: float | None
    expectancy_usd: float | None
    expectancy_bps: float | None
    expectancy_per_risk: float | None
    max_drawdown_usd: float | None


class Expectancy(Envelope, frozen=True, kw_only=True):
    """`state/expectancy_v6.json`: by symbol, by hour of day (UTC, "00".."23"), by regime."""

    updated_ts: Ts
    enabled: bool
    lookback_hours: float
    sample_count: Count
    symbols: dict[str, ExpectancyRow]
    hours: dict[str, ExpectancyRow]
    regimes: dict[str, ExpectancyRow]


class RouterSuggestionRow(Row, frozen=True, kw_only=True):
    """One proposed change of one symbol's routing, and what became of it.

    `applied_policy` is what the live router took over, null where `apply_reason` refused it.
    """

    symbol: Text
    regime: Text
    quality: Quality
    metrics: dict[str, float | None]
    current_policy: RoutePolicy
    proposed_policy: RoutePolicy
    rationale: tuple[str, ...]
    applied_policy: RoutePolicy | None = None
    apply_reason: str | None = None


class RouterSuggestions(Envelope, frozen=True, kw_only=True):
    """`state/router_policy_suggestions_v6.json`; `note` says why there are none.

    `in_force` holds the tuned policies of the live router, by symbol; a restart goes on from them
    while the file is fresh and `configured` is still what `router.toml` says.
    """

    generated_ts: Ts
    enabled: bool
    lookback_days: float
    symbols: tuple[RouterSuggestionRow, ...]
    note: str | None = None
    configured: RoutePolicy | None = None
    in_force: Mapping[str, RoutePolicy] = {}


class AllocationGlobal(Row, frozen=True, kw_only=True):
    """The book as the allocator sees it."""

    current_equity_usd: float | None
    current_drawdown_pct: float | None
    risk_mode: RiskMode


class Caps(Row, frozen=True, kw_only=True):
    """The caps of one symbol, in percent of NAV."""

    symbol_cap_pct: float
    trade_cap_pct: float


class AllocationRow(Row, frozen=True, kw_only=True):
    """One symbol's share, as it is and as suggested."""

    symbol: Text
    score: Frac
    caps: Caps
    suggested_caps: Caps
    suggested_weight: Frac
    rationale: tuple[str, ...]


class AllocationSuggestions(Envelope, frozen=True, kw_only=True):
    """`state/risk_allocation_suggestions_v6.json`; `note` says why there are none."""

    generated_ts: Ts
    enabled: bool
    book: AllocationGlobal = field(name="global")
    symbols: tuple[AllocationRow, ...]
    note: str | None = None
