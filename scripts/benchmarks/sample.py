"""A tick to publish: the configured policy, a known book, and as many open legs as asked for."""

from __future__ import annotations

from decimal import Decimal

from execution import settings
from execution.core.payloads.run import RunInfo
from execution.core.policy import Policy
from execution.core.records import Anchors, ExitPlan, Recorded
from execution.core.seam import Account, MarketSnapshot, Quote, SymbolRules
from execution.core.types import Book, Decided, EngineState, Position, TickReport, TradingState
from execution.state_schema.envelope import V6Flags

NOW = 1_780_000_000.0
RULES = SymbolRules(
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    min_notional_usd=Decimal(5),
)
NAV_USD = 100_000.0
FLAGS = V6Flags(
    INTEL_V6_ENABLED=True,
    RISK_ENGINE_V6_ENABLED=True,
    PIPELINE_V6_SHADOW_ENABLED=True,
    ROUTER_AUTOTUNE_V6_ENABLED=True,
    FEEDBACK_ALLOCATOR_V6_ENABLED=True,
    ROUTER_AUTOTUNE_V6_APPLY_ENABLED=False,
)


def policy() -> Policy:
    """Return the policy that `ops/` states, as without any environment."""
    return settings.load({}).policy


def run_info(now: float = NOW) -> RunInfo:
    """Return an executor on paper that has run for an hour."""
    return RunInfo(
        engine_version="v6.0-bench",
        run_id="run-1",
        flags=FLAGS,
        mode="paper",
        env="dev",
        account="main",
        dry_run=True,
        testnet=True,
        venue="paper",
        market="sim",
        live_policy="live",
        shadow_policy=None,
        policy=policy(),
        watch=settings.load({}).services.risk_watch,
        started_ts=now - 3600,
        loop_seq=3600,
        loop_ms_last=4.0,
        loop_ms_p50=4.0,
        loop_ms_p99=9.0,
        rss_mb=60.0,
    )


def tick(legs: int, now: float = NOW) -> TickReport:
    """Return a quiet tick with `legs` open legs, each with its plan, and nothing decided."""
    positions = tuple(_position(index, now) for index in range(legs))
    unrealized = sum(each.unrealized_usd or 0.0 for each in positions)
    notionals = [each.notional_usd or 0.0 for each in positions]
    book = Book(
        known=True,
        stale=False,
        as_of_ts=now,
        nav_usd=NAV_USD + unrealized,
        wallet_usd=NAV_USD,
        unrealized_usd=unrealized,
        gross_usd=sum(map(abs, notionals)),
        net_usd=sum(notionals),
        drawdown_pct=1.25,
        day_pnl_usd=-250.0,
        identity_residual_usd=Decimal(0),
        anchors=Anchors(peak_usd=NAV_USD * 1.02, day_start_usd=NAV_USD + 250, day="2026-05-28"),
        positions=positions,
    )
    quotes = {
        each.symbol: Quote(now, each.entry_price - 0.1, each.entry_price + 0.1, each.entry_price)
        for each in positions
    }
    rules = {each.symbol: RULES for each in positions}
    account = Account(now, Decimal(int(NAV_USD)), (), (), {})
    return TickReport(
        now=now,
        seen=MarketSnapshot(now, 5, 5.0, quotes, {}, rules, account),
        state=EngineState(
            book=book, quotes=quotes, rules=rules, recorded=Recorded(day="2026-05-28")
        ),
        live=Decided(TradingState("ACTIVE")),
        shadow=None,
        results=(),
    )


def _position(index: int, now: float) -> Position:
    sign = 1 if index % 2 == 0 else -1
    entry = 100.0 + index * 1.37
    mark = entry * 1.0013
    qty = sign * (0.125 + index / 1000)
    return Position(
        symbol=f"S{index:03d}USDT",
        position_side="LONG" if sign > 0 else "SHORT",
        qty=qty,
        entry_price=entry,
        mark_price=mark,
        unrealized_usd=qty * (mark - entry),
        notional_usd=qty * mark,
        leverage=5.0,
        opened_ts=now - 1234.5,
        position_id=f"p-{index}",
        strategy="trend-sim",
        exit=ExitPlan(entry * 0.97, entry * 1.05, now + 900),
        unprotected_since_ts=None,
    )
