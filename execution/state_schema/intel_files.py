"""The state files of the slow cadence: router health, scores, expectancy, suggestions."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from execution.state_schema.envelope import Count, Envelope, Frac, Row, Text, Ts

Quality = Literal["unknown", "good", "ok", "degraded", "broken"]
RiskMode = Literal["normal", "cautious", "defensive"]


class RouterVerdict(Row, frozen=True, kw_only=True):
    """What router health thinks of one symbol's routing."""

    maker_first: bool
    taker_bias: Frac
    quality: Quality
    reason: Text


class RouterHealthRow(Row, frozen=True, kw_only=True):
    """How orders of one symbol fared; rates and slippages are null when `n` is 0."""

    symbol: Text
    n: Count
    maker_fill_rate: Frac | None
    fallback_rate: Frac | None
    slippage_p50: float | None
    slippage_p95: float | None
    rejects: dict[str, Count]
    policy: RouterVerdict
    maker_offset_bps: float


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
    """What a closed trade of one group brought on average."""

    n: Count
    win_rate: Frac | None
    mean_usd: float | None
    mean_bps: float | None


class Expectancy(Envelope, frozen=True, kw_only=True):
    """`state/expectancy_v6.json`: by symbol, by hour of day (UTC, "00".."23"), by regime."""

    updated_ts: Ts
    enabled: bool
    lookback_hours: float
    sample_count: Count
    symbols: dict[str, ExpectancyRow]
    hours: dict[str, ExpectancyRow]
    regimes: dict[str, ExpectancyRow]


class RouterPolicy(Row, frozen=True, kw_only=True):
    """A routing policy in numbers."""

    maker_first: bool
    taker_bias: Frac
    offset_bps: float


class RouterSuggestionRow(Row, frozen=True, kw_only=True):
    """One proposed change of one symbol's routing."""

    symbol: Text
    regime: Text
    quality: Quality
    metrics: dict[str, float | None]
    current_policy: RouterPolicy
    proposed_policy: RouterPolicy
    rationale: tuple[str, ...]


class RouterSuggestions(Envelope, frozen=True, kw_only=True):
    """`state/router_policy_suggestions_v6.json`; `note` says why there are none."""

    generated_ts: Ts
    enabled: bool
    lookback_days: float
    symbols: tuple[RouterSuggestionRow, ...]
    note: str | None = None


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
