"""How orders were worked → tiles, per symbol, over time: maker share, cost, rejects, time to fill."""

from __future__ import annotations

from collections import Counter
from typing import Final

from dashboard import records, trouble
from dashboard.seen import Seen
from dashboard.shown import (
    UNKNOWN,
    Age,
    Chart,
    Column,
    Shown,
    Table,
    absent,
    amount,
    bps,
    count,
    ratio,
    share,
    waited,
)
from execution.core.router_health import quantile
from execution.state_schema import registry
from execution.state_schema.intel_files import RouterHealthRow
from execution.state_schema.order_journals import Reject, RouteMetric
from execution.state_store import Unreadable


def routes(seen: Seen, now: float, symbol: str = "") -> tuple[RouteMetric, ...]:
    """Return the routes that ended in the last 24 hours, oldest first.

    Left out is what had nothing to trade any more, and a stop that was never reached.
    """
    return tuple(
        each
        for each in records.of_the_day(seen, registry.ORDER_METRICS, now)
        if isinstance(each, RouteMetric) and _traded(each) and symbol in {"", each.symbol}
    )


def _traded(route: RouteMetric) -> bool:
    return route.qty > 0 and (route.action != "protect" or route.filled_qty > 0)


def tiles(seen: Seen, now: float, symbol: str = "") -> tuple[Shown, ...]:
    """Show what the routes of the last 24 hours came to."""
    found, age = routes(seen, now, symbol), records.age(seen, registry.ORDER_METRICS, now)
    filled_usd = sum(each.filled_usd for each in found)
    maker_usd = sum(
        each.filled_usd * (ratio(each.maker_qty, each.filled_qty) or 0.0) for each in found
    )
    cost_usd = sum(each.filled_usd * each.cost_bps for each in found if each.cost_bps is not None)
    costed_usd = sum(each.filled_usd for each in found if each.cost_bps is not None)
    times = sorted(each.time_to_fill_s for each in found if each.time_to_fill_s is not None)
    unfilled = sum(each.outcome == "unfilled" for each in found)
    fees_usd = sum(each.fees_usd for each in found)
    values = (
        ("Routes ended", count(len(found)), f"{unfilled} not filled, in 24 hours at most"),
        ("Maker share", share(ratio(maker_usd, filled_usd)), f"of {amount(filled_usd)} USD filled"),
        (
            "Cost",
            bps(ratio(cost_usd, costed_usd), signed=True),
            f"slippage and fees; fees {amount(fees_usd)} USD",
        ),
        ("Time to fill", waited(quantile(times, 0.5)), f"p50; p95 {waited(quantile(times, 0.95))}"),
    )
    if not found:
        known = Age("unknown", "no route yet") if age.status == "fresh" else age
        return tuple(Shown(label, UNKNOWN, "", known) for label, _, _ in values)
    return tuple(Shown(label, value, detail, age) for label, value, detail in values)


# ---------------------------------------------------------------- over time


def costs(seen: Seen, now: float, symbol: str = "") -> Chart:
    """Place each finished route by its end and its cost."""
    found = [each for each in routes(seen, now, symbol) if each.cost_bps is not None]
    age = records.age(seen, registry.ORDER_METRICS, now)
    if not found:
        words = records.empty(seen, registry.ORDER_METRICS, "No route was filled in 24 hours.")
        return Chart({}, age, words)
    return Chart(
        {
            "time": tuple(each.ts for each in found),
            "cost": tuple(each.cost_bps for each in found),
            "role": tuple(map(_role, found)),
            "symbol": tuple(each.symbol for each in found),
            "action": tuple(each.action for each in found),
        },
        age,
    )


def _role(route: RouteMetric) -> str:
    if route.taker_qty <= 0:
        return "maker"
    return "taker" if route.maker_qty <= 0 else "both"


# ---------------------------------------------------------------- by symbol

COLUMNS: Final = (
    Column("Symbol"),
    Column("Quality"),
    Column("Why"),
    Column("Routes", right=True),
    Column("Maker filled", right=True),
    Column("Fell back", right=True),
    Column("Not filled", right=True),
    Column("Slippage p50 bps", right=True),
    Column("p95 bps", right=True),
    Column("Fee bps", right=True),
    Column("Offset bps", right=True),
    Column("Taker bias", right=True),
    Column("Regime"),
    Column("Rejects"),
)


def by_symbol(seen: Seen, now: float, symbol: str = "") -> Table:
    """List each symbol's routing as router health sums it up."""
    health = seen.of(registry.ROUTER_HEALTH)
    if isinstance(health, Unreadable):
        return Table(COLUMNS, (), absent(health), "Router health is unknown.")
    rows = tuple(_row(row) for row in health.symbols if symbol in {"", row.symbol})
    return Table(COLUMNS, rows, trouble.age(seen, registry.ROUTER_HEALTH, now), "No symbol.")


def _row(row: RouterHealthRow) -> tuple[str, ...]:
    return (
        row.symbol,
        row.policy.quality,
        row.policy.reason,
        f"{row.n_quoted} of {row.n} quoted",
        share(row.maker_fill_rate),
        share(row.fallback_rate),
        share(row.unfilled_rate),
        amount(row.slippage_p50, signed=True),
        amount(row.slippage_p95, signed=True),
        amount(row.fee_mean_bps),
        amount(row.maker_offset_bps),
        amount(row.policy.taker_bias),
        row.regime,
        trouble.counted(row.rejects) or "none",
    )


# ---------------------------------------------------------------- rejects

REJECT_COLUMNS: Final = (Column("Code"), Column("Symbol"), Column("Count", right=True))


def rejects(seen: Seen, now: float, symbol: str = "") -> Table:
    """Count what the venue refused in the last 24 hours, by its code."""
    events = records.of_the_day(seen, registry.ORDERS_EXECUTED, now)
    counts = Counter(
        (each.code or "no code", each.symbol)
        for each in events
        if isinstance(each, Reject) and symbol in {"", each.symbol}
    )
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return Table(
        REJECT_COLUMNS,
        tuple((code, name, count(n)) for (code, name), n in ordered),
        records.age(seen, registry.ORDERS_EXECUTED, now),
        records.empty(seen, registry.ORDERS_EXECUTED, "Nothing was refused in 24 hours."),
    )
