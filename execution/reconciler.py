"""The one path by which the ledger learns what the venue did, at start-up and at run time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from msgspec.structs import replace

from execution.clock import Clock
from execution.core import orders, reconcile
from execution.core.records import ClosedTrade, OrderChange, OrderRecord, Settled
from execution.core.seam import Account, Blind, CashRow, LegKey, Trade, VenueOrder
from execution.ledger import Ledger
from execution.venue.base import Venue

log = logging.getLogger(__name__)

# Trades and cash are read again from this much before the newest known, and kept once by their id.
OVERLAP_S = 60.0


class Reconciler:
    """Bring the ledger in line with the venue; it invents no fill and sends no order."""

    def __init__(self, ledger: Ledger, venue: Venue, clock: Clock, mode: str) -> None:
        self._ledger = ledger
        self._venue = venue
        self._clock = clock
        self._mode = mode
        self._first_s: dict[str, float] = {}
        self._unexplained: frozenset[LegKey] | None = None
        self._halts: Mapping[str, str] = {}

    def settle(self, account: Account) -> Settled:
        """Read the trades, cash and orders that `account` shows to differ, and record them."""
        settled = self._settle(account)
        self._log_new_halts(settled.halts)
        unaccounted = self._unaccounted(account, settled.complete)
        return replace(settled, unaccounted=unaccounted) if unaccounted else settled

    def acknowledge(self, legs: Mapping[LegKey, Decimal]) -> None:
        """Take these legs as they are, at the quantities that a person has looked at."""
        self._ledger.doubt.acknowledge(legs)

    def _log_new_halts(self, halts: Mapping[str, str]) -> None:
        """Log a halt when it begins, and not for as long as it lasts."""
        for symbol, reason in halts.items():
            if self._halts.get(symbol) != reason:
                log.error("reconciliation symbol=%s halted: %s", symbol, reason)
        self._halts = halts

    def _settle(self, account: Account) -> Settled:
        self._note_age()
        ledger = self._ledger
        if ledger.begun_ts() is None and not self._begin(account):
            return Settled(complete=False)
        ours = ledger.open_orders()
        found = reconcile.compare(ours, ledger.legs(), ledger.cash.wallet_usd, account)
        adopted = [self._adopt(order) for order in found.foreign]
        changes = [change for change in adopted if change is not None]
        if not found.symbols and not found.orders and not found.cash:
            halts = _given_up(found.foreign, ledger.open_orders())
            return Settled(complete=True, changes=tuple(changes), halts=halts)
        trades, closed, unread = self._read_trades(found.symbols, ours)
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
            change = self._look_up(order, account, order.symbol not in halts)
            if isinstance(change, Blind):
                complete = False
            elif change is not None:
                changes.append(change)
        return Settled(complete, trades, closed, tuple(changes), halts, frozenset(unread))

    def _read_trades(
        self, symbols: Iterable[str], ours: Iterable[OrderRecord]
    ) -> tuple[tuple[Trade, ...], tuple[ClosedTrade, ...], set[str]]:
        """Record the fills of `symbols`; the last value names those that were not told in full."""
        ledger = self._ledger
        trades: list[Trade] = []
        closed: list[ClosedTrade] = []
        unread: set[str] = set()
        for symbol in sorted(symbols):
            since_ts = max(ledger.last_trade_ts(symbol), ledger.begun_ts() or 0.0)
            heard = self._venue.trades(symbol, since_ts - OVERLAP_S)
            if isinstance(heard, Blind):
                unread.add(symbol)
                continue
            new, flat, whole = ledger.add_trades(self._of_this_ledger(heard, ours))
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
        self, trades: Iterable[Trade], ours: Iterable[OrderRecord]
    ) -> Iterator[Trade]:
        """Leave out what the start's wallet has in it already; an own order is younger than that."""
        begun_ts = self._ledger.begun_ts() or 0.0
        own = {order.client_id for order in ours}
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
        self, order: OrderRecord, account: Account, agreed: bool
    ) -> OrderChange | Blind | None:
        there = next((o for o in account.open_orders if o.client_id == order.client_id), None)
        answer = there or self._venue.find_order(order.symbol, order.client_id)
        if isinstance(answer, Blind):
            return answer
        proven = reconcile.settled(order, answer, self._age_s(order))
        if proven is None:
            return None
        state, reason = proven
        if state == "NEVER" and not (agreed and self._is_clean(order)):
            return None
        venue_order_id = answer.venue_order_id if isinstance(answer, VenueOrder) else None
        return self._ledger.move_order(order, state, reason, venue_order_id=venue_order_id)

    def _note_age(self) -> None:
        """Count how long orders have been open by the clock that nobody sets, from here on."""
        now_s = self._clock.monotonic()
        ids = [order.client_id for order in self._ledger.open_orders()]
        self._first_s = {each: self._first_s.get(each, now_s) for each in ids}

    def _age_s(self, order: OrderRecord) -> float:
        """Return how long ago an order was signed, at least: a former process's time counts not."""
        now_s = self._clock.monotonic()
        return now_s - self._first_s.get(order.client_id, now_s)

    def _unaccounted(self, account: Account, complete: bool) -> frozenset[LegKey]:
        """Return the held legs of a missing or an older ledger, less what was acknowledged.

        Missing: it began when the leg was there. Older: it does not know orders that carry our own
        ids, or its fills did not explain the leg when this process had first read everything.
        """
        if self._mode == "paper":
            return frozenset()
        unlike = reconcile.unlike(self._ledger.legs(), account)
        if self._unexplained is None:
            if not complete:
                return frozenset()  # nothing is known yet, and no entry goes out
            self._unexplained = frozenset(unlike)
        self._unexplained &= unlike.keys()
        known = self._ledger.doubt.acknowledged()
        held = {(p.symbol, p.position_side): p.qty for p in account.positions}
        unexplained = {key for key in self._unexplained if known.get(key) != held.get(key)}
        unknown = unexplained | self._ledger.doubt.unaccounted(orders.own_prefix(self._mode))
        return frozenset(held.keys() & unknown)

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
