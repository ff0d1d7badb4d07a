"""What risk costs for one intent: every check over a book of 20 positions, and of 200."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import click
from msgspec import Struct
from msgspec.structs import replace

from execution.clock import SystemClock
from execution.core.policy import Listing, Policy, Universe
from execution.core.records import Anchors, ExitPlan, LegRecord, OrderRecord
from execution.core.risk import engine, exposure
from execution.core.risk.checks import Context
from execution.core.risk.exposure import Exposure
from execution.core.seam import Quote, SymbolRules
from execution.core.types import (
    Approved,
    Book,
    EngineState,
    OrderIntent,
    Position,
    TradingState,
)
from scripts.benchmarks import sample, table

WARM_UP = 200
BAR_S = 60
LEGS = (20, 200)
RULES = SymbolRules(
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(10_000),
    min_notional_usd=Decimal(5),
)


class AssessCost(Struct, frozen=True):
    """One `assess` of an entry that every check lets pass, and the sums that a tick takes once."""

    positions: int
    rounds: int
    assess_us_p50: float
    assess_us_p99: float
    sums_us_p50: float
    sums_us_p99: float
    assess_ratio_to_first: float


def measure(legs: int, rounds: int, first_us: float | None) -> AssessCost:
    """Assess one entry beside `legs` positions, again and again."""
    policy = _policy(legs)
    state = _state(legs, policy)
    context = _context(state, policy, exposure.of(state, policy.universe))
    verdict = engine.assess(context)
    if not isinstance(verdict, Approved):
        raise SystemExit(f"the entry is vetoed ({verdict.reason}): nothing to measure")
    assess_us = _times_us(lambda: engine.assess(context), rounds)
    sums_us = _times_us(lambda: exposure.of(state, policy.universe), rounds)
    return AssessCost(
        positions=legs,
        rounds=rounds,
        assess_us_p50=assess_us[0],
        assess_us_p99=assess_us[1],
        sums_us_p50=sums_us[0],
        sums_us_p99=sums_us[1],
        assess_ratio_to_first=assess_us[0] / (first_us or assess_us[0]),
    )


def _policy(legs: int) -> Policy:
    """Take the limits that are shipped, widened where so many legs would not pass."""
    shipped = sample.policy()
    listed = shipped.universe.listing[0]
    names = [*(position.symbol for position in sample.tick(legs).state.book.positions), "NEWUSDT"]
    listing: list[Listing] = [replace(listed, symbol=name) for name in names]
    book = replace(shipped.limits.book, max_concurrent=legs + 1)
    limits = replace(shipped.limits, book=book, symbols={})
    return replace(shipped, universe=Universe(tuple(listing)), limits=limits)


def _state(legs: int, policy: Policy) -> EngineState:
    """Hold `legs` positions, each with its ledger's leg and its resting stop."""
    report = sample.tick(legs)
    book, quotes = report.state.book, dict(report.state.quotes)
    quotes["NEWUSDT"] = Quote(sample.NOW, 99.99, 100.01, 100.0)
    recorded = replace(
        report.state.recorded,
        reconciled_ts=sample.NOW,
        legs={(p.symbol, p.position_side): _leg(p) for p in book.positions},
        open_orders=tuple(_stop(p) for p in book.positions),
    )
    rules = dict.fromkeys((listing.symbol for listing in policy.universe.listing), RULES)
    return EngineState(book=_sound(book), quotes=quotes, rules=rules, recorded=recorded)


def _sound(book: Book) -> Book:
    """Leave the losses out, so that nothing stops the entry."""
    anchors = Anchors(book.nav_usd, book.nav_usd, "2026-05-28")
    return replace(book, drawdown_pct=0.0, day_pnl_usd=0.0, anchors=anchors)


def _leg(position: Position) -> LegRecord:
    return LegRecord(
        position_id=str(position.position_id),
        symbol=position.symbol,
        position_side=position.position_side,
        qty=Decimal(repr(position.qty)),
        strategy="trend-sim",
        opened_ts=sample.NOW - 600,
        exit=position.exit,
    )


def _stop(position: Position) -> OrderRecord:
    return OrderRecord(
        client_id=f"hgp-{position.position_id}",
        decision_id=f"stop-{position.position_id}",
        attempt=1,
        symbol=position.symbol,
        side="SELL" if position.qty > 0 else "BUY",
        position_side=position.position_side,
        type="STOP_MARKET",
        qty=Decimal(repr(abs(position.qty))),
        price=None,
        stop_price=Decimal(90),
        reduce_only=True,
        close_position=True,
        post_only=False,
        state="LIVE",
        filled_qty=Decimal(0),
        signed_ts=sample.NOW - 600,
        deadline_ts=sample.NOW + 600,
    )


def _context(state: EngineState, policy: Policy, held: Exposure) -> Context:
    intent = OrderIntent(
        decision_id="new",
        strategy="trend",
        symbol="NEWUSDT",
        position_side="LONG",
        side="BUY",
        action="entry",
        qty=Decimal(10),
        mark_price=100.0,
        bar_open_ts=sample.NOW - BAR_S,
        reduce_only=False,
        urgent=False,
        reason="benchmark",
        exit=ExitPlan(95.0, 110.0, sample.NOW + 3600),
    )
    return Context(
        now=sample.NOW,
        bar_s=BAR_S,
        lag_s=0.0,
        intent=intent,
        qty=intent.qty,
        trading=TradingState("ACTIVE"),
        state=state,
        exposure=held,
        policy=policy,
        quote=state.quotes["NEWUSDT"],
        rules=RULES,
        listing=policy.universe.listing[-1],
    )


def _times_us(call: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of `rounds` calls."""
    clock, times_us = SystemClock(), []
    for number in range(WARM_UP + rounds):
        begun_s = clock.monotonic()
        call()
        if number >= WARM_UP:
            times_us.append(1e6 * (clock.monotonic() - begun_s))
    times_us.sort()
    return times_us[rounds // 2], times_us[rounds * 99 // 100]


@click.command()
@click.option("--rounds", default=5_000, show_default=True, help="Calls of each.")
@table.json_option
def main(rounds: int, *, as_json: bool) -> None:
    """Print what one assessment costs with 20 and with 200 open positions."""
    rows: list[AssessCost] = []
    for legs in LEGS:
        rows.append(measure(legs, rounds, rows[0].assess_us_p50 if rows else None))
    table.tell("assess", rows, as_json=as_json)


if __name__ == "__main__":
    main()
