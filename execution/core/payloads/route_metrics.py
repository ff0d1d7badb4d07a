"""What one finished route came to, from its trades alone: what was asked, filled, paid and refused."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from execution.core.orders import is_refused_quote
from execution.core.payloads.order_events import away_bps
from execution.core.records import OrderRecord, Route, RouteEnd
from execution.core.seam import ZERO
from execution.state_schema.order_journals import RouteMetric

Outcome = Literal["filled", "partial", "unfilled"]


def route_metric(end: RouteEnd, now: float, run_id: str) -> RouteMetric:
    """Measure one route; what has no trade has no price, no cost and no time to fill."""
    route, trades = end.route, end.trades
    filled_qty = sum((trade.qty for trade in trades), ZERO)
    filled_usd = sum((trade.qty * trade.price for trade in trades), ZERO)
    fees_usd = sum((trade.fee_usd for trade in trades), ZERO)
    maker_qty = sum((trade.qty for trade in trades if trade.maker), ZERO)
    # The part of a reopened exit that was filled before is in its quantity, and told already.
    wanted_qty = route.qty - max(ZERO, route.filled_qty - filled_qty)
    average = float(filled_usd / filled_qty) if filled_qty else None
    decision_price = _decision_price(route)
    slippage_bps = away_bps(average, decision_price, 1 if route.side == "BUY" else -1)
    fee_bps = 1e4 * float(fees_usd / filled_usd) if filled_usd else None
    outcome: Outcome = "unfilled"
    if filled_qty:
        outcome = "filled" if filled_qty >= wanted_qty else "partial"
    quotes = [order for order in end.orders if order.post_only and not is_refused_quote(order)]
    return RouteMetric(
        ts=now,
        run_id=run_id,
        decision_id=route.decision_id,
        strategy=route.strategy,
        symbol=route.symbol,
        position_side=route.position_side,
        side=route.side,
        action=route.action,
        outcome=outcome,
        qty=float(wanted_qty),
        filled_qty=float(filled_qty),
        maker_qty=float(maker_qty),
        taker_qty=float(filled_qty - maker_qty),
        filled_usd=float(filled_usd),
        fees_usd=float(fees_usd),
        decision_price=decision_price,
        average_price=average,
        slippage_bps=slippage_bps,
        fee_bps=fee_bps,
        cost_bps=None if slippage_bps is None or fee_bps is None else slippage_bps + fee_bps,
        opened_ts=end.opened_ts,
        time_to_fill_s=None if outcome != "filled" else trades[-1].ts - end.opened_ts,
        attempts=len(end.orders),
        quoted=any(order.post_only for order in end.orders),
        requotes=max(0, len(quotes) - 1),
        rejects=_rejects(end.orders),
        policy=None if route.tuning is None else route.tuning.used,
        policy_configured=None if route.tuning is None else route.tuning.configured,
    )


def _decision_price(route: Route) -> float | None:
    """Return what slippage is measured from: for a stop its trigger, else the mark it was decided at."""
    price = route.stop_price if route.action == "protect" else route.mark_price
    return price if price is not None and price > 0 else None


def _rejects(orders: tuple[OrderRecord, ...]) -> dict[str, int]:
    """Count refusals by the exchange's code; a quote that expired instead counts as such."""
    return dict(
        Counter(
            order.code or order.state
            for order in orders
            if order.state == "REJECTED" or is_refused_quote(order)
        )
    )
