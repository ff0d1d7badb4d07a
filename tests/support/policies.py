"""Policies with sensible defaults: liquid symbols, and limits that a 1,000 USD entry does not touch."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from execution.core.policy import (
    ExitRules,
    Freshness,
    GlobalLimits,
    Grade,
    Health,
    Listing,
    Policy,
    Regimes,
    RiskLimits,
    Router,
    Sizing,
    SymbolLimits,
    TierLimits,
    Trend,
    Universe,
    ZScore,
)

BASE_S = 60
SYMBOLS = ("BTCUSDT", "ETHUSDT")
EXITS = ExitRules(atr_bars=3, stop_atr=2.0, take_profit_atr=3.0, max_hold_bars=10)


def zscore(name: str = "fade", symbols: tuple[str, ...] = SYMBOLS, **fields: Any) -> ZScore:
    known = {
        "markets": ("sim",),
        "bar_s": BASE_S,
        "window_bars": 10,
        "entry_z": 2.0,
        "exit_z": 0.5,
        "exits": EXITS,
    }
    return ZScore(name=name, symbols=symbols, **{**known, **fields})


def trend(name: str = "follow", symbols: tuple[str, ...] = SYMBOLS, **fields: Any) -> Trend:
    known = {
        "markets": ("sim",),
        "bar_s": BASE_S,
        "fast_bars": 2,
        "slow_bars": 4,
        "min_atr_bps": 0.0,
        "exits": EXITS,
    }
    return Trend(name=name, symbols=symbols, **{**known, **fields})


def listing(symbol: str = "BTCUSDT", tier: str = "CORE", **fields: Any) -> Listing:
    known = {
        "tick_size": Decimal("0.1"),
        "step_size": Decimal("0.001"),
        "min_qty": Decimal("0.001"),
        "max_qty": Decimal(1000),
        "min_notional_usd": Decimal(5),
        "half_spread_bps": 1.0,
    }
    return Listing(symbol=symbol, tier=tier, **{**known, **fields})


def sizing(**fields: Any) -> Sizing:
    known = {
        "base_trade_pct": 10.0,
        "target_vol_pct": 50.0,
        "vol_bars": 5,
        "multiplier_min": 0.25,
        "multiplier_max": 1.5,
    }
    return Sizing(**{**known, **fields})


def health(**fields: Any) -> Health:
    known = {
        "window_hours": 48.0,
        "max_routes": 100,
        "min_routes": 4,
        "good": Grade(maker_fill_frac=0.7, slippage_p95_bps=10.0),
        "ok": Grade(maker_fill_frac=0.5, slippage_p95_bps=20.0),
        "degraded": Grade(maker_fill_frac=0.2, slippage_p95_bps=40.0),
    }
    return Health(**{**known, **fields})


def router(**fields: Any) -> Router:
    known = {
        "maker_first": True,
        "taker_bias": 0.0,
        "offset_bps": 0.0,
        "rest_bars": 2.0,
        "requotes": 1,
        "post_only_refusals": 3,
        "entry_taker_fallback": True,
        "taker_budget_bps": 50.0,
        "exit_taker_fallback": True,
        "stop_retry_s": 2.0,
        "health": health(),
        "regimes": Regimes(calm_below=0.7, wild_above=1.5),
    }
    return Router(**{**known, **fields})


def limits(
    symbols: Mapping[str, SymbolLimits] | None = None,
    tiers: Mapping[str, float] | None = None,
    freshness: Mapping[str, float] | None = None,
    **book: Any,
) -> RiskLimits:
    """Return limits; the keywords are the book's."""
    known = {
        "nav_drawdown_limit_pct": 10.0,
        "day_loss_limit_pct": 5.0,
        "day_time_zone": "UTC",
        "gross_cap_pct": 150.0,
        "net_cap_pct": 100.0,
        "symbol_cap_pct": 40.0,
        "trade_cap_pct": 20.0,
        "leverage_cap": 4.0,
        "max_concurrent": 8,
        "min_notional_usd": 10.0,
        "max_order_notional_usd": 25_000.0,
        "price_collar_bps": 150.0,
        "cooldown_s": 1800.0,
        "nav_jump_pct": 20.0,
        "nav_jump_confirm_s": 30.0,
        "entries_per_second": 50,
        "entries_per_minute": 200,
        "repeat_rejects": 3,
        "repeat_window_s": 60.0,
        "repeat_pause_s": 600.0,
        "entries_per_symbol_window": 100,
        "entries_window_bars": 60,
    }
    ages = {
        "nav_max_age_s": 15.0,
        "market_max_age_s": 15.0,
        "reconciliation_max_age_s": 120.0,
    }
    caps = {"CORE": 120.0, "SATELLITE": 60.0, "TACTICAL": 40.0, "ALT-EXT": 15.0, **(tiers or {})}
    return RiskLimits(
        book=GlobalLimits(**{**known, **book}),
        freshness=Freshness(**{**ages, **(freshness or {})}),
        tiers={tier: TierLimits(cap_pct=pct) for tier, pct in caps.items()},
        symbols=dict(symbols or {}),
    )


def policy(**fields: Any) -> Policy:
    known = {
        "account": "main",
        "strategies": (zscore(),),
        "sizing": sizing(),
        "limits": limits(),
        "router": router(),
        "universe": Universe(listing=tuple(listing(symbol) for symbol in SYMBOLS)),
        "leverage": 5.0,
        "position_mode": "hedge",
        "clamp": True,
    }
    return Policy(**{**known, **fields})
