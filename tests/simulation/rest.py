"""What must hold when the storm is over: ledger and exchange tell the same story to the last digit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from execution.core.seam import ZERO, Trade, VenueOrder
from execution.ledger_rows import of_row
from tests.simulation.exchange import decision_of

if TYPE_CHECKING:
    from tests.simulation.world import Node, World


def is_quiet(world: World, node: Node) -> bool:
    """Tell whether nothing is left to be done: only stops rest, and only they are being worked."""
    exchange, recorded = world.exchange, node.state.recorded
    return (
        not exchange.letters
        and all(o.close_position for o in exchange.open.values() if decision_of(o.client_id))
        and all(route.action == "protect" for route in recorded.routes.values())
        and not any(True for _ in differences(world, node))
    )


def differences(world: World, node: Node) -> Iterator[str]:
    """Name what ledger and exchange do not agree on, and what is open without protection."""
    yield from _orders(world, node)
    yield from _money(world, node)
    yield from _positions(world, node)


def _orders(world: World, node: Node) -> Iterator[str]:
    exchange = world.exchange
    rows = node.ledger._db.execute('SELECT client_id, state, filled_qty, "foreign" FROM orders')
    known = {row["client_id"]: row for row in rows}
    for row in known.values():
        yield from _unlike(row, exchange.of(row["client_id"]))
    for order in exchange.orders.values():
        is_own_or_open = decision_of(order.client_id) or order.venue_order_id in exchange.open
        if is_own_or_open and order.client_id not in known:
            yield f"{order.client_id} is {order.state} and not in the ledger"
    for order in exchange.open.values():
        if order.close_position and (order.symbol, order.position_side) not in exchange.legs:
            yield f"the stop {order.client_id} rests and there is no position"
    for client_id, posts in exchange.posts.items():
        if posts > 1:
            yield f"{client_id} was posted {posts} times"


def _unlike(row: sqlite3.Row, there: Sequence[VenueOrder]) -> Iterator[str]:
    """Name what the exchange says otherwise of one order of the ledger."""
    client_id, state = row["client_id"], row["state"]
    if state in ("PREP", "UNKNOWN"):
        yield f"{client_id} is still {state}"
    elif not there:
        if state not in ("REJECTED", "NEVER"):
            yield f"{client_id} is {state} and the exchange never had it"
    elif there[-1].state != state:
        yield f"{client_id} is {there[-1].state}, in the ledger {state}"
    elif not row["foreign"] and Decimal(row["filled_qty"]) != there[-1].filled_qty:
        yield f"{client_id} filled {there[-1].filled_qty}, in the ledger {row['filled_qty']}"


def _money(world: World, node: Node) -> Iterator[str]:
    exchange, ledger = world.exchange, node.ledger
    rows = ledger._db.execute("SELECT * FROM fills").fetchall()
    here = {(row["symbol"], row["trade_id"]): of_row(row, Trade) for row in rows}
    there = {(t.symbol, t.trade_id): t for trades in exchange.trades.values() for t in trades}
    for key in sorted(here.keys() | there.keys()):
        if here.get(key) != there.get(key):
            sides = [
                None if t is None else f"{t.client_id} {t.qty}"
                for t in (here.get(key), there.get(key))
            ]
            yield f"fill {key}: ledger {sides[0]}, exchange {sides[1]}"
    if ledger.cash.wallet_usd != exchange.wallet:
        yield f"wallet: ledger {ledger.cash.wallet_usd}, exchange {exchange.wallet}"
    # Summed anew from the rows: what is kept in memory might hide what is not on the disk.
    again = type(ledger)(node.file).cash.wallet_usd
    if again != exchange.wallet:
        yield f"wallet: ledger's rows {again}, exchange {exchange.wallet}"


def _positions(world: World, node: Node) -> Iterator[str]:
    exchange, recorded = world.exchange, node.state.recorded
    legs = node.ledger.legs()
    here = {key: leg.qty for key, leg in legs.items()}
    there = {key: leg.qty for key, leg in exchange.legs.items()}
    for key in sorted(here.keys() | there.keys()):
        if here.get(key, ZERO) != there.get(key, ZERO):
            yield f"position {key}: ledger {here.get(key, ZERO)}, exchange {there.get(key, ZERO)}"
    stopped = {(o.symbol, o.position_side) for o in exchange.open.values() if o.close_position}
    for key, leg in legs.items():
        if leg.exit is None:
            yield f"position {key} has no plan"
        elif world.rests_stops and key not in stopped:
            yield f"position {key} has no stop"
        elif key not in recorded.protected:
            yield f"position {key} is protected and does not count as such"
    for symbol, reason in recorded.halts.items():
        yield f"{symbol} is halted: {reason}"
