"""The one path by which the ledger learns what the venue did, at start-up and at run time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from msgspec import Struct

from execution.core import reconcile
from execution.core.records import ClosedTrade, OrderChange, OrderRecord
from execution.core.seam import Account, Blind, CashRow, Trade, VenueOrder
from execution.ledger import Ledger
from execution.venue.base import Venue

log = logging.getLogger(__name__)

# Trades and cash are read again from this much before the newest known, and kept once by their id.
OVERLAP_S = 60.0
# Two settlings further apart than this, or in the wrong order, may have had the wall clock step
# between them; while an order is in doubt there is one every tick.
STEP_S = reconcile.VISIBLE_AFTER_S


class Settled(Struct, frozen=True):
    """What one reconciliation found; `complete` unless the venue left a question open.

    `unread` are the symbols that differ and whose trades could not be read.
    """

    complete: bool
    trades: tuple[Trade, ...] = ()
    closed: tuple[ClosedTrade, ...] = ()
    changes: tuple[OrderChange, ...] = ()
    halts: dict[str, str] = {}
    unread: frozenset[str] = frozenset()


class Reconciler:
    """Bring the ledger in line with the venue; it invents no fill and sends no order."""

    def __init__(self, ledger: Ledger, venue: Venue) -> None:
        self._ledger = ledger
        self._venue = venue
        self._last_ts: float | None = None
        self._counted_from_ts = 0.0

    def settle(self, account: Account, now: float) -> Settled:
        """Read the trades, cash and orders that `account` shows to differ, and record them."""
        self._mind_the_clock(now)
        ledger = self._ledger
        if ledger.begun_ts() is None and not self._begin(account):
            return Settled(complete=False)
        orders = ledger.open_orders()
        found = reconcile.compare(orders, ledger.legs(), ledger.cash.wallet_usd, account)
        adopted = [self._adopt(order) for order in found.foreign]
        changes = [change for change in adopted if change is not None]
        if not found.symbols and not found.orders and not found.cash:
            halts = _given_up(found.foreign, ledger.open_orders())
            return Settled(complete=True, changes=tuple(changes), halts=halts)
        trades, closed, unread = self._read_trades(found.symbols, orders)
        complete = self._read_cash(account) and not unread
        halts = {
            symbol: reason
            for symbol, reason in reconcile.mismatches(ledger.legs(), account).items()
            if symbol not in unread
        }
        halts |= _given_up(account.open_orders, ledger.open_orders())
        for order in ledger.open_orders():
            if order.symbol in unread:
                continue  # no state is final while fills may be missing
            change = self._look_up(order, account, order.symbol not in halts, now)
            if isinstance(change, Blind):
                complete = False
            elif change is not None:
                changes.append(change)
        for symbol, reason in halts.items():
            log.error("reconciliation symbol=%s halted: %s", symbol, reason)
        return Settled(complete, trades, closed, tuple(changes), halts, frozenset(unread))

    def _read_trades(
        self, symbols: Iterable[str], orders: Iterable[OrderRecord]
    ) -> tuple[tuple[Trade, ...], tuple[ClosedTrade, ...], set[str]]:
        """Record the fills of `symbols`; the last value names those that were not told in full."""
        ledger = self._ledger
        trades: list[Trade] = []
        closed: list[ClosedTrade] = []
        unread: set[str] = set()
        for symbol in sorted(symbols):
            heard = self._venue.trades(symbol, ledger.last_trade_ts(symbol) - OVERLAP_S)
            if isinstance(heard, Blind):
                unread.add(symbol)
                continue
            new, flat, whole = ledger.add_trades(self._of_this_ledger(heard, orders))
            trades.extend(new)
            closed.extend(flat)
            if not whole:
                unread.add(symbol)
        return tuple(trades), tuple(closed), unread

    def _begin(self, account: Account) -> bool:
        """Start a new ledger at the moment of `account`; False while its fills cannot be read.

        Only what is held has a past here: the fills that built it. What they realized and cost is in
        the wallet already, so the wallet without it is the start.
        """
        ledger = self._ledger
        if account.wallet_usd <= 0:
            return False  # a wallet that was not told looks like this; nothing can begin with it
        for symbol in sorted({position.symbol for position in account.positions}):
            heard = self._venue.trades(symbol, 0.0)
            if isinstance(heard, Blind):
                return False
            ledger.add_trades(trade for trade in heard if trade.ts <= account.ts)
        start_usd = account.wallet_usd - ledger.cash.wallet_usd
        ledger.add_cash((CashRow("start", "start", "USDT", start_usd, symbol=None, ts=account.ts),))
        return True

    def _of_this_ledger(
        self, trades: Iterable[Trade], orders: Iterable[OrderRecord]
    ) -> Iterator[Trade]:
        """Leave out what the start's wallet has in it already; an own order is younger than that."""
        begun_ts = self._ledger.begun_ts() or 0.0
        own = {order.client_id for order in orders}
        return (trade for trade in trades if trade.ts > begun_ts or trade.client_id in own)

    def _read_cash(self, account: Account) -> bool:
        ledger = self._ledger
        if ledger.cash.wallet_usd == account.wallet_usd:
            return True
        rows = self._venue.cash(ledger.last_cash_ts() - OVERLAP_S)
        if isinstance(rows, Blind):
            return False
        begun_ts = ledger.begun_ts() or 0.0
        ledger.add_cash(row for row in rows if row.kind != "start" and row.ts > begun_ts)
        return True

    def _look_up(
        self, order: OrderRecord, account: Account, agreed: bool, now: float
    ) -> OrderChange | Blind | None:
        there = next((o for o in account.open_orders if o.client_id == order.client_id), None)
        answer = there or self._venue.find_order(order.symbol, order.client_id)
        if isinstance(answer, Blind):
            return answer
        asked_ts = order.signed_ts + self._age_s(order, now) if order.state == "UNKNOWN" else now
        proven = reconcile.settled(order, answer, asked_ts)
        if proven is None:
            return None
        state, reason = proven
        if state == "NEVER" and not (agreed and self._is_clean(order)):
            return None
        venue_order_id = answer.venue_order_id if isinstance(answer, VenueOrder) else None
        return self._ledger.move_order(order, state, reason, venue_order_id=venue_order_id)

    def _mind_the_clock(self, now: float) -> None:
        """Count ages anew from here where the wall clock may have stepped, and at the start."""
        if self._last_ts is None or not 0 <= now - self._last_ts <= STEP_S:
            self._counted_from_ts = now
        self._last_ts = now

    def _age_s(self, order: OrderRecord, now: float) -> float:
        """Return how long ago an order was signed, at least: no age is known across a step."""
        since = self._counted_from_ts
        return now - (order.signed_ts if since <= order.signed_ts <= now else since)

    def _is_clean(self, order: OrderRecord) -> bool:
        """Count one more lookup in vain; tell whether there have been enough of them."""
        return self._ledger.count_lookup(order) >= reconcile.CLEAN_LOOKUPS

    def _adopt(self, there: VenueOrder) -> OrderChange | None:
        """Take an order into the ledger that it does not know; it is shown and never canceled."""
        record = OrderRecord(
            client_id=there.client_id or f"venue:{there.venue_order_id}",
            decision_id=f"foreign:{there.venue_order_id}",
            attempt=1,
            symbol=there.symbol,
            side=there.side,
            position_side=there.position_side,
            type=there.type,
            qty=there.qty,
            price=there.price,
            stop_price=there.stop_price,
            reduce_only=there.reduce_only,
            close_position=there.close_position,
            post_only=False,
            state=there.state,
            filled_qty=there.filled_qty,
            signed_ts=there.ts,
            deadline_ts=there.ts,
            venue_order_id=there.venue_order_id,
            foreign=True,
        )
        return OrderChange(record, "PREP", "foreign") if self._ledger.adopt(record) else None


def _given_up(there: Iterable[VenueOrder], ours: Iterable[OrderRecord]) -> dict[str, str]:
    """Return, by symbol, orders that rest at the venue and are over in the ledger."""
    known = {order.client_id for order in ours} | {order.venue_order_id for order in ours}
    return {
        order.symbol: f"order_given_up {order.client_id}: it rests at the venue"
        for order in there
        if order.client_id not in known and order.venue_order_id not in known
    }
