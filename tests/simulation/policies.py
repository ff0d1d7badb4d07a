"""What the simulated executor trades by: strategies that want something all the time, tight limits.

Every value is written out here: a seed means the same whatever other tests take for granted.
"""

from __future__ import annotations

import random
from decimal import Decimal

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
    TierLimits,
    Trend,
    Universe,
    ZScore,
)
from execution.core.position_mode import PositionMode
from tests.simulation.prices import BAR_S

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
HEALTH = Health(
    window_hours=1.0,
    max_routes=100,
    min_routes=4,
    good=Grade(maker_fill_frac=0.7, slippage_p95_bps=10.0),
    ok=Grade(maker_fill_frac=0.5, slippage_p95_bps=20.0),
    degraded=Grade(maker_fill_frac=0.2, slippage_p95_bps=40.0),
)


def draw_policy(rng: random.Random, mode: PositionMode) -> Policy:
    """Draw a policy; what differs is how orders are worked and how soon positions end."""
    exits = ExitRules(
        atr_bars=3,
        stop_atr=rng.choice((1.0, 2.0)),
        take_profit_atr=rng.choice((1.0, 2.0)),
        max_hold_bars=rng.choice((4, 40)),
    )
    return Policy(
        account="main",
        strategies=(
            ZScore("fade", ("sim",), SYMBOLS, BAR_S, 4, 0.8, 0.1, exits),
            Trend("follow", ("sim",), SYMBOLS[:2], BAR_S, 2, 4, 0.0, exits),
        ),
        sizing=Sizing(
            base_trade_pct=10.0,
            target_vol_pct=500.0,
            vol_bars=5,
            multiplier_min=0.25,
            multiplier_max=1.5,
        ),
        limits=_limits(rng),
        router=Router(
            maker_first=rng.random() < 0.7,
            taker_bias=rng.choice((0.0, 0.4)),
            offset_bps=0.0,
            rest_bars=rng.choice((0.5, 1.0, 2.0)),
            requotes=rng.choice((0, 1, 2)),
            post_only_refusals=rng.choice((0, 2)),
            entry_taker_fallback=rng.random() < 0.7,
            taker_budget_bps=rng.choice((20.0, 150.0)),
            exit_taker_fallback=True,
            stop_retry_s=2.0,
            health=HEALTH,
            regimes=Regimes(calm_below=0.7, wild_above=1.5),
        ),
        universe=Universe(listing=tuple(_listing(symbol) for symbol in SYMBOLS)),
        leverage=5.0,
        position_mode=mode,
        clamp=True,
    )


def _limits(rng: random.Random) -> RiskLimits:
    return RiskLimits(
        book=GlobalLimits(
            nav_drawdown_limit_pct=50.0,
            day_loss_limit_pct=50.0,
            day_time_zone="UTC",
            gross_cap_pct=rng.choice((30.0, 60.0)),
            net_cap_pct=100.0,
            symbol_cap_pct=rng.choice((15.0, 30.0)),
            trade_cap_pct=20.0,
            leverage_cap=4.0,
            max_concurrent=rng.choice((3, 5)),
            min_notional_usd=10.0,
            max_order_notional_usd=25_000.0,
            price_collar_bps=150.0,
            cooldown_s=60.0,
            nav_jump_pct=20.0,
            nav_jump_confirm_s=10.0,
            entries_per_second=2,
            entries_per_minute=rng.choice((2, 4, 50)),
            entries_per_symbol_window=1000,
            entries_window_bars=60,
            repeat_rejects=3,
            repeat_window_s=60.0,
            repeat_pause_s=60.0,
        ),
        freshness=Freshness(nav_max_age_s=8.0, market_max_age_s=6.0, reconciliation_max_age_s=20.0),
        tiers={"CORE": TierLimits(cap_pct=120.0)},
        symbols={},
    )


def _listing(symbol: str) -> Listing:
    return Listing(
        symbol=symbol,
        tier="CORE",
        tick_size=Decimal("0.1"),
        step_size=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1000),
        min_notional_usd=Decimal(5),
        half_spread_bps=1.0,
    )
