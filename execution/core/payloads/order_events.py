"""What became of orders, as records: changes of state, fills and what they cost, closed legs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from execution.core.records import ClosedTrade, OrderChange, OrderRecord, Recorded
from execution.core.seam import OrderState, Trade
from execution.state_schema import registry
from execution.state_schema.order_journals import (
    Ack,
    Cancel,
    Close,
    Fill,
    FillMetric,
    OrderEvent,
    Reject,
    Resolved,
    Unknown,
)
from execution.state_schema.registry import Entry

EVENTS: dict[OrderState, type[Ack | Cancel | Unknown]] = {
    "LIVE": Ack,
    "PARTIAL": Ack,
    "FILLED": Ack,
    "CANCELED": Cancel,
    "EXPIRED": Cancel,
    "UNKNOWN": Unknown,
}


def order_event(change: OrderChange, now: float, run_id: str) -> OrderEvent | None:
    """Return the event, or None for what fills tell: a resting order that was (partly) filled."""
    order, was = change.order, change.was
    if order.state == was:
        return None
    facts = _facts(change, now, run_id)
    if was == "UNKNOWN":
        return Resolved(**facts)
    if order.state == "REJECTED":
        return Reject(**facts, code=order.code)
    kind = EVENTS.get(order.state)
    if kind is None or (kind is Ack and was != "PREP"):
        return None
    return kind(**facts)


def _facts(change: OrderChange, now: float, run_id: str) -> dict[str, Any]:
    order = change.order
    return {
        "ts": now,
        "run_id": run_id,
        "decision_id": order.decision_id,
        "client_id": order.client_id,
        "attempt": order.attempt,
        "symbol": order.symbol,
        "side": order.side,
        "position_side": order.position_side,
        "type": order.type,
        "qty": float(order.qty),
        "filled_qty": float(order.filled_qty),
        "price": None if order.price is None else float(order.price),
        "stop_price": None if order.stop_price is None else float(order.stop_price),
        "reduce_only": order.reduce_only,
        "foreign": order.foreign,
        "state": order.state,
        "was": change.was,
        "reason": change.reason,
        "venue_order_id": order.venue_order_id,
    }


def found_entries(found: Recorded, now: float, run_id: str) -> Iterator[Entry]:
    """Yield what the desk learned from the venue: orders first, then their fills."""
    for change in found.changes:
        event = order_event(change, now, run_id)
        if event is not None:
            yield registry.ORDERS_EXECUTED, event
    if found.trades:
        orders = _orders(found)
        for trade in found.trades:
            order = orders.get(trade.client_id)
            yield registry.ORDERS_EXECUTED, _fill(trade, order, now, run_id)
            yield registry.ORDER_METRICS, _metric(trade, order, found, now, run_id)


def _orders(found: Recorded) -> dict[str, OrderRecord]:
    """Index every order that this tick knows of by its client id."""
    orders = {order.client_id: order for order in found.open_orders}
    orders.update((change.order.client_id, change.order) for change in found.changes)
    orders.update(
        (route.order.client_id, route.order)
        for route in found.routes.values()
        if route.order is not None
    )
    return orders


def _fill(trade: Trade, order: OrderRecord | None, now: float, run_id: str) -> Fill:
    return Fill(
        ts=now,
        run_id=run_id,
        decision_id=None if order is None else order.decision_id,
        client_id=trade.client_id,
        trade_id=trade.trade_id,
        venue_order_id=trade.venue_order_id,
        symbol=trade.symbol,
        side=trade.side,
        position_side=trade.position_side,
        qty=float(trade.qty),
        price=float(trade.price),
        fee_usd=float(trade.fee_usd),
        realized_usd=float(trade.realized_usd),
        maker=trade.maker,
        trade_ts=trade.ts,
    )


def _metric(
    trade: Trade, order: OrderRecord | None, found: Recorded, now: float, run_id: str
) -> FillMetric:
    route = None if order is None else found.routes.get(order.decision_id)
    # A route that is over has left the ledger's view; its decision price is then not known here.
    decision_price = None if route is None or not route.mark_price > 0 else route.mark_price
    limit_price = None if order is None or order.price is None else float(order.price)
    price = float(trade.price)
    worse = 1 if trade.side == "BUY" else -1
    return FillMetric(
        ts=now,
        run_id=run_id,
        decision_id=None if order is None else order.decision_id,
        client_id=trade.client_id,
        trade_id=trade.trade_id,
        symbol=trade.symbol,
        side=trade.side,
        position_side=trade.position_side,
        route="maker" if trade.maker else "taker",
        type=None if order is None else order.type,
        attempt=None if order is None else order.attempt,
        qty=float(trade.qty),
        price=price,
        fees_usd=float(trade.fee_usd),
        decision_price=decision_price,
        slippage_bps=away_bps(price, decision_price, worse),
        offset_bps=away_bps(limit_price, decision_price, -worse),
        sent_ts=None if order is None else order.signed_ts,
        filled_ts=trade.ts,
        wait_s=None if order is None else max(0.0, trade.ts - order.signed_ts),
    )


def away_bps(price: float | None, base: float | None, sign: int) -> float | None:
    """Return how far `price` is from `base` in the direction of `sign`; None where one is unknown."""
    # + 0.0: no slippage is 0.0, not -0.0.
    return None if price is None or base is None else sign * 1e4 * (price / base - 1) + 0.0


def close(closed: ClosedTrade, regime: str, now: float, run_id: str) -> Close:
    """Return the event of a leg that went flat in this regime."""
    return Close(
        ts=now,
        run_id=run_id,
        position_id=closed.position_id,
        strategy=closed.strategy,
        symbol=closed.symbol,
        position_side=closed.position_side,
        opened_ts=closed.opened_ts,
        closed_ts=closed.closed_ts,
        qty=float(closed.qty),
        realized_usd=float(closed.realized_usd),
        fees_usd=float(closed.fees_usd),
        entry_usd=float(closed.entry_usd),
        risk_usd=None if closed.risk_usd is None else float(closed.risk_usd),
        regime=regime,
    )
