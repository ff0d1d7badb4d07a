"""The numbers that decisions depend on, typed as `ops/*.toml` states them.

Every field is required and bounded, an unknown key is an error: a policy that decodes is complete.
Live and shadow are two values of `Policy`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

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


Strategy = ZScore | Trend


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
    entries_per_symbol_window: Annotated[int, Meta(ge=1, le=1000)]
    entries_window_bars: Annotated[int, Meta(ge=1, le=1440)]


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


class Router(Struct, frozen=True, forbid_unknown_fields=True):
    """`ops/router.toml`: how an approved intent is worked."""

    maker_first: bool
    offset_bps: Annotated[float, Meta(ge=0, le=50)]
    rest_bars: Annotated[float, Meta(gt=0, le=100)]
    requotes: Annotated[int, Meta(ge=0, le=10)]
    entry_taker_fallback: bool
    exit_taker_fallback: bool
    stop_retry_s: Positive


class Policy(Struct, frozen=True):
    """Everything a decision reads besides the tick itself.

    `clamp` is the v6 engine's flag; `leverage` is what the venue is set to.
    """

    account: str
    strategies: tuple[Strategy, ...]
    sizing: Sizing
    limits: RiskLimits
    router: Router
    universe: Universe
    leverage: float
    clamp: bool


def fingerprint(policy: Policy) -> str:
    """Name a policy by its content: two that differ in any number have different names."""
    content = msgspec.json.encode(policy, order="deterministic")
    return hashlib.sha256(content).hexdigest()[:12]


def contradictions(
    strategies: tuple[Strategy, ...], limits: RiskLimits, universe: Universe
) -> Iterator[str]:
    """Name what the files say against each other, with file and key; nothing where they agree."""
    listed = {listing.symbol: listing for listing in universe.listing}
    for name in _repeated(listing.symbol for listing in universe.listing):
        yield f"universe.toml: listing: symbol {name} is listed twice"
    for name in _repeated(strategy.name for strategy in strategies):
        yield f"strategy.toml: strategy: name {name} is used twice"
    for listing in universe.listing:
        if listing.tier not in limits.tiers:
            yield (
                f"risk.toml: tiers.{listing.tier}.cap_pct is missing: universe.toml lists "
                f"{listing.symbol} in that tier"
            )
    for strategy in strategies:
        yield from _strategy_contradictions(strategy, listed)
    yield from _cap_contradictions(limits, listed)


def _strategy_contradictions(strategy: Strategy, listed: Mapping[str, Listing]) -> Iterator[str]:
    where = f"strategy.toml: strategy {strategy.name}: symbols"
    for symbol in _repeated(strategy.symbols):
        yield f"{where}: {symbol} is named twice"
    for symbol in dict.fromkeys(strategy.symbols):
        if symbol not in listed:
            yield f"{where}: {symbol} is not listed in universe.toml"
        elif "sim" in strategy.markets and listed[symbol].sim is None:
            yield f"{where}: {symbol} runs on sim, but its listing in universe.toml has no sim"


def _cap_contradictions(limits: RiskLimits, listed: Mapping[str, Listing]) -> Iterator[str]:
    symbol_pct, gross_pct = limits.book.symbol_cap_pct, limits.book.gross_cap_pct
    if symbol_pct > gross_pct:
        yield (
            f"risk.toml: book.symbol_cap_pct {symbol_pct:g} is above "
            f"book.gross_cap_pct {gross_pct:g}"
        )
    for symbol, own in limits.symbols.items():
        if symbol not in listed:
            yield f"risk.toml: symbols.{symbol} is not listed in universe.toml"
        if own.cap_pct is not None and own.cap_pct > symbol_pct:
            yield (
                f"risk.toml: symbols.{symbol}.cap_pct {own.cap_pct:g} is above "
                f"book.symbol_cap_pct {symbol_pct:g}, and a symbol's own cap may only be tighter"
            )


def _repeated(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() if count > 1)
