"""The numbers that decisions depend on, typed as `ops/*.toml` states them.

Every field is required and bounded, an unknown key is an error: a policy that decodes is complete.
Live and shadow are two values of `Policy`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from execution.core.position_mode import PositionMode
from execution.core.records import RoutePolicy
from execution.core.types import Tier

Market = Literal["sim", "replay", "binance"]

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]
CapPct = Annotated[float, Meta(gt=0, le=1000)]
Frac = Annotated[float, Meta(gt=0, le=1)]
Bps = Annotated[float, Meta(ge=0, le=1000)]
Bars = Annotated[int, Meta(ge=2, le=5000)]
BarSeconds = Annotated[int, Meta(ge=1, le=86_400)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,24}\Z")]
Symbol = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,20}\Z")]
DecimalNumber = Annotated[Decimal, Meta()]
Markets = Annotated[tuple[Market, ...], Meta(min_length=1)]
Symbols = Annotated[tuple[Symbol, ...], Meta(min_length=1)]


# ---------------------------------------------------------------- strategy.toml


class ExitRules(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a position ends, in multiples of the ATR at entry and in bars."""

    atr_bars: Bars
    stop_atr: Positive
    take_profit_atr: Positive
    max_hold_bars: Bars


class ZScore(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="zscore"):
    """Fade a close that is far from its mean; leave near the mean."""

    name: Name
    markets: Markets
    symbols: Symbols
    bar_s: BarSeconds
    window_bars: Bars
    entry_z: Positive
    exit_z: NonNegative
    exits: ExitRules

    def __post_init__(self) -> None:
        if not self.exit_z < self.entry_z:
            raise ValueError(f"exit_z {self.exit_z:g} must be below entry_z {self.entry_z:g}")


class Trend(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="trend"):
    """Follow a fast EMA that crosses a slow one while the ATR is wide enough to pay for it."""

    name: Name
    markets: Markets
    symbols: Symbols
    bar_s: BarSeconds
    fast_bars: Bars
    slow_bars: Bars
    min_atr_bps: NonNegative
    exits: ExitRules

    def __post_init__(self) -> None:
        if not self.fast_bars < self.slow_bars:
            raise ValueError(f"fast_bars {self.fast_bars} must be below slow_bars {self.slow_bars}")


class Inbox(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="inbox"):
    """Take what somebody's own model writes into `run/inbox.jsonl` under this name.

    `bar_s` is the length of the bars that size and the exits' ATR are taken from.
    """

    name: Name
    markets: Markets
    symbols: Symbols
    bar_s: BarSeconds
    max_age_s: Annotated[float, Meta(gt=0, le=3600)]
    max_stop_bps: Annotated[float, Meta(gt=0, le=5000)]
    exits: ExitRules


class Module(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="module"):
    """Ask a function of the user's own, in a process of its own, at every closed bar."""

    name: Name
    markets: Markets
    symbols: Symbols
    bar_s: BarSeconds
    module: Annotated[str, Meta(pattern=r"^[A-Za-z_][\w.-]{0,99}(:[A-Za-z_]\w{0,99})?\Z")]
    window_bars: Bars
    answer_s: Annotated[float, Meta(gt=0, le=60)]
    exits: ExitRules


# What reads bars by itself, and what is told from outside.
Reader = ZScore | Trend
Strategy = ZScore | Trend | Inbox | Module


class Sizing(Struct, frozen=True, forbid_unknown_fields=True):
    """Size by volatility: `base_trade_pct` of NAV times target over realized, bounded.

    Without enough history the multiplier is `multiplier_min`, which is at most 1.
    """

    base_trade_pct: Percent
    target_vol_pct: Positive
    vol_bars: Bars
    multiplier_min: Frac
    multiplier_max: Annotated[float, Meta(ge=1, le=3)]


class StrategyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/strategy.toml`."""

    sizing: Sizing
    strategy: tuple[Strategy, ...]


# ---------------------------------------------------------------- risk.toml


class GlobalLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the whole book; percentages are of NAV."""

    nav_drawdown_limit_pct: Percent
    day_loss_limit_pct: Percent
    day_time_zone: str
    gross_cap_pct: CapPct
    net_cap_pct: CapPct
    symbol_cap_pct: CapPct
    trade_cap_pct: Percent
    leverage_cap: Annotated[float, Meta(gt=0, le=125)]
    max_concurrent: Annotated[int, Meta(ge=1, le=100)]
    min_notional_usd: NonNegative
    max_order_notional_usd: Positive
    price_collar_bps: Annotated[float, Meta(gt=0, le=2000)]
    cooldown_s: Annotated[float, Meta(ge=0, le=86_400)]
    nav_jump_pct: Percent
    nav_jump_confirm_s: Annotated[float, Meta(gt=0, le=3600)]
    entries_per_second: Annotated[int, Meta(ge=1, le=1000)]
    entries_per_minute: Annotated[int, Meta(ge=1, le=10_000)]
    entries_per_symbol_window: Annotated[int, Meta(ge=1, le=1000)]
    entries_window_bars: Annotated[int, Meta(ge=1, le=1440)]
    repeat_rejects: Annotated[int, Meta(ge=2, le=100)]
    repeat_window_s: Annotated[float, Meta(gt=0, le=86_400)]
    repeat_pause_s: Annotated[float, Meta(gt=0, le=86_400)]


class Freshness(Struct, frozen=True, forbid_unknown_fields=True):
    """How old an input may be and still be believed."""

    nav_max_age_s: Positive
    market_max_age_s: Positive
    reconciliation_max_age_s: Positive


class TierLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one tier together."""

    cap_pct: CapPct


class SymbolLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one symbol that are tighter than the global ones; None means the global one."""

    cap_pct: CapPct | None = None
    max_order_qty: Positive | None = None
    blocked_sides: tuple[Literal["LONG", "SHORT"], ...] = ()


class RiskLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/risk.toml`."""

    book: GlobalLimits
    freshness: Freshness
    tiers: dict[Tier, TierLimits]
    symbols: dict[Symbol, SymbolLimits]


# ---------------------------------------------------------------- universe.toml


class SimPath(Struct, frozen=True, forbid_unknown_fields=True):
    """How the simulated market moves this symbol; `vol_bps` is per bar, `beta` to the common factor."""

    price_usd: Positive
    vol_bps: Positive
    beta: NonNegative
    volume_usd: Positive


class Listing(Struct, frozen=True, forbid_unknown_fields=True):
    """One tradable symbol; grids are the exchange's, as decimal strings."""

    symbol: Symbol
    tier: Tier
    tick_size: DecimalNumber
    step_size: DecimalNumber
    min_qty: DecimalNumber
    max_qty: DecimalNumber
    min_notional_usd: DecimalNumber
    half_spread_bps: Bps
    sim: SimPath | None = None
    trading: bool = True

    def __post_init__(self) -> None:
        for key in ("tick_size", "step_size", "min_qty", "max_qty", "min_notional_usd"):
            number: Decimal = getattr(self, key)
            if not (number.is_finite() and number > 0):
                raise ValueError(f"{key} {number} must be a number above 0")
        if self.min_qty > self.max_qty:
            raise ValueError(f"min_qty {self.min_qty} must not be above max_qty {self.max_qty}")


class Universe(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/universe.toml`."""

    listing: tuple[Listing, ...]


# ---------------------------------------------------------------- router.toml


class Grade(Struct, frozen=True, forbid_unknown_fields=True):
    """What a symbol's routing must reach for one quality."""

    maker_fill_frac: Annotated[float, Meta(ge=0, le=1)]
    slippage_p95_bps: Annotated[float, Meta(ge=-1000, le=1000)]


class Health(Struct, frozen=True, forbid_unknown_fields=True):
    """Over which routes quality is measured, and what each one asks for; below all is broken."""

    window_hours: Annotated[float, Meta(gt=0, le=8760)]
    max_routes: Annotated[int, Meta(ge=10, le=100_000)]
    min_routes: Annotated[int, Meta(ge=1, le=10_000)]
    good: Grade
    ok: Grade
    degraded: Grade

    def __post_init__(self) -> None:
        if self.min_routes > self.max_routes:
            raise ValueError(f"min_routes {self.min_routes} is above max_routes {self.max_routes}")
        for key, sign in (("maker_fill_frac", 1), ("slippage_p95_bps", -1)):
            good, ok, degraded = (
                sign * getattr(grade, key) for grade in (self.good, self.ok, self.degraded)
            )
            if not good >= ok >= degraded:
                raise ValueError(
                    f"{key} must not be stricter for ok than for good, nor for degraded"
                )


class Regimes(Struct, frozen=True, forbid_unknown_fields=True):
    """Ratios of recent to usual range at which a market is calm, and wild."""

    calm_below: Positive
    wild_above: Positive

    def __post_init__(self) -> None:
        if not self.calm_below < self.wild_above:
            raise ValueError(
                f"calm_below {self.calm_below:g} must be below wild_above {self.wild_above:g}"
            )


class Router(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/router.toml`: how an approved intent is worked, and how well that must go."""

    maker_first: bool
    taker_bias: Annotated[float, Meta(ge=0, le=1)]
    offset_bps: Annotated[float, Meta(ge=0, le=50)]
    rest_bars: Annotated[float, Meta(gt=0, le=100)]
    requotes: Annotated[int, Meta(ge=0, le=10)]
    post_only_refusals: Annotated[int, Meta(ge=0, le=20)]
    entry_taker_fallback: bool
    taker_budget_bps: Annotated[float, Meta(gt=0, le=200)]
    exit_taker_fallback: bool
    stop_retry_s: Positive
    health: Health
    regimes: Regimes

    @property
    def default(self) -> RoutePolicy:
        """Return the policy of a symbol that nothing has tuned."""
        return RoutePolicy(self.maker_first, self.taker_bias, self.offset_bps)


class Policy(Struct, frozen=True):
    """Everything a decision reads besides the tick itself.

    `clamp` is the v6 engine's flag; `leverage` and `position_mode` are what the venue is set to;
    `tuned` takes the place of the router's default for the symbols it names.
    """

    account: str
    strategies: tuple[Strategy, ...]
    sizing: Sizing
    limits: RiskLimits
    router: Router
    universe: Universe
    leverage: float
    position_mode: PositionMode
    clamp: bool
    tuned: Mapping[str, RoutePolicy] = {}

    def route_policy(self, symbol: str) -> RoutePolicy:
        """Return how orders of `symbol` are worked now."""
        return self.tuned.get(symbol, self.router.default)


def fingerprint(*content: object) -> str:
    """Name values by their content: two that differ in any number have different names."""
    text = msgspec.json.encode(content, order="deterministic")
    return hashlib.sha256(text).hexdigest()[:12]
