"""A ledger with a story in it, and everything that it tells."""

from __future__ import annotations

from decimal import Decimal

from execution.core.records import Anchors
from execution.core.seam import CashRow
from execution.ledger import Ledger
from tests.support import builders

NOW = builders.NOW


def views(ledger: Ledger) -> dict[str, object]:
    return {
        "open_orders": ledger.open_orders(),
        "routes": ledger.routes(),
        "legs": ledger.legs(),
        "cash": ledger.cash,
        "anchors": ledger.anchors(),
        "entries": ledger.entries(0.0),
        "last_trade_ts": ledger.last_trade_ts("BTCUSDT"),
        "begun_ts": ledger.begun_ts(),
        "counts": ledger.counts(),
    }


def prepare(ledger: Ledger, decision: str = "d1", attempt: int = 1, **fields):
    order = builders.new_order(f"hgp-{decision}-{attempt}", **fields)
    return ledger.prepare(order, decision, attempt, NOW + 120)


def start_row(amount: str = "10000") -> CashRow:
    return CashRow("start", "start", "USDT", Decimal(amount), None, NOW)


def fill_story(ledger: Ledger) -> None:
    """Open a leg by a route in two fills, and leave half an order open."""
    ledger.add_cash([start_row()])
    ledger.open_route(builders.plan(), NOW)
    record = prepare(ledger, qty=Decimal(10))
    ledger.move_order(record, "LIVE", "accepted", venue_order_id="v9")
    ledger.add_trades([builders.trade("t1", "2"), builders.trade("t2", "3", ts=NOW + 5)])
    ledger.add_cash([CashRow("f1", "funding", "USDT", Decimal("-0.123"), "BTCUSDT", NOW + 9)])
    ledger.keep_anchors(Anchors(10_500.25, 10_100.5, "2023-11-15"))
