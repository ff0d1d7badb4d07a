"""The ledger: what was intended, sent, filled and paid, durable before anything depends on it.

One SQLite file, one writer. Money, prices and quantities are stored as text, so that they come
back as the decimals they were. `record` methods commit before they return.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core import orders
from execution.core.records import (
    Anchors,
    ClosedTrade,
    OrderChange,
    OrderRecord,
    Route,
    RouteEnd,
)
from execution.core.seam import ZERO, CashRow, NewOrder, OrderState, Trade
from execution.core.types import RoutePlan
from execution.ledger_doubt import LedgerDoubt
from execution.ledger_file import LedgerFile
from execution.ledger_rows import (
    IntentRow,
    LegRow,
    closed_trade,
    crosses_zero,
    first_leg,
    leg_after,
    of_row,
    split,
    to_json,
    to_row,
    with_cash,
    with_trade,
)
from execution.ledger_views import LedgerViews


class Ledger(LedgerViews):
    """The ledger of one account in one mode, in one file."""

    def __init__(self, file: LedgerFile) -> None:
        super().__init__(file)
        self.doubt = LedgerDoubt(file)
        self.transaction = file.transaction
        self.is_low_on_disk = file.is_low_on_disk
        self.close = file.close

    def _insert(self, table: str, value: Struct, conflict: str = "ABORT") -> bool:
        """Insert a value whose fields are the table's columns; tell whether a row came of it."""
        row = to_row(value)
        marks = ", ".join("?" * len(row))
        sql = f"INSERT OR {conflict} INTO {table} VALUES ({marks})"  # noqa: S608 - constants of this file
        return self._db.execute(sql, row).rowcount == 1

    # ------------------------------------------------------------ intents and orders

    def open_route(self, plan: RoutePlan, now: float) -> None:
        """Record an approved intent and how it will be worked.

        A finished exit is opened again; an entry is opened once, whatever its bar says after that.
        """
        approved = plan.approved
        intent = approved.intent
        # What its earlier attempts filled is counted in a route, so it is counted in its quantity.
        earlier = self._attempts(intent.decision_id)
        filled = sum((order.filled_qty for order in earlier), ZERO)
        row = IntentRow(
            decision_id=intent.decision_id,
            ts=now,
            strategy=intent.strategy,
            symbol=intent.symbol,
            position_side=intent.position_side,
            side=intent.side,
            action=intent.action,
            qty=approved.qty + filled,
            mark_price=intent.mark_price,
            reduce_only=intent.reduce_only,
            position_id=intent.position_id,
            exit=to_json(intent.exit),
            legs=to_json(plan.legs),
            retry_s=plan.retry_s,
            done=False,
            tuning=to_json(plan.tuning),
            first_attempt=len(earlier) + 1,
        )
        with self.transaction():
            self._insert("intents", row, "REPLACE" if intent.reduce_only else "IGNORE")

    def close_route(self, route: Route) -> RouteEnd:
        """Record that an intent needs no further order; return what became of it."""
        key = (route.decision_id,)
        with self.transaction():
            self._db.execute("UPDATE intents SET done = 1 WHERE decision_id = ?", key)
        row = self._db.execute(
            "SELECT ts, first_attempt FROM intents WHERE decision_id = ?", key
        ).fetchone()
        # An exit may have been worked and finished before: its earlier orders are told already.
        attempts = self._attempts(route.decision_id)
        orders = [order for order in attempts if order.attempt >= row["first_attempt"]]
        trades = [
            of_row(fill, Trade)
            for order in orders
            for fill in self._db.execute(
                "SELECT * FROM fills WHERE client_id = ? ORDER BY ts, trade_id", (order.client_id,)
            )
        ]
        return RouteEnd(route, row["ts"], tuple(orders), tuple(trades))

    def prepare(
        self, order: NewOrder, decision_id: str, attempt: int, deadline_ts: float
    ) -> OrderRecord:
        """Record an order that is about to be sent; durable when this returns."""
        record = OrderRecord(
            client_id=order.client_id,
            decision_id=decision_id,
            attempt=attempt,
            symbol=order.symbol,
            side=order.side,
            position_side=order.position_side,
            type=order.type,
            qty=order.qty,
            price=order.price,
            stop_price=order.stop_price,
            reduce_only=order.reduce_only,
            close_position=order.close_position,
            post_only=order.post_only,
            state="PREP",
            filled_qty=ZERO,
            signed_ts=order.signed_ts,
            deadline_ts=deadline_ts,
        )
        with self.transaction():
            self._insert("orders", record)
        return record

    def move_order(
        self,
        order: OrderRecord,
        state: OrderState,
        reason: str,
        *,
        venue_order_id: str | None = None,
        code: str | None = None,
    ) -> OrderChange:
        """Record an order's new state."""
        after = replace(
            order,
            state=state,
            venue_order_id=venue_order_id or order.venue_order_id,
            code=code or order.code,
        )
        with self.transaction():
            self._db.execute(
                "UPDATE orders SET state = ?, venue_order_id = ?, code = ? WHERE client_id = ?",
                (after.state, after.venue_order_id, after.code, after.client_id),
            )
        return OrderChange(after, order.state, reason)

    def count_lookup(self, order: OrderRecord) -> int:
        """Count one more answer that the venue does not have the order; return how many."""
        with self.transaction():
            self._db.execute(
                "UPDATE orders SET clean_lookups = clean_lookups + 1 WHERE client_id = ?",
                (order.client_id,),
            )
        return order.clean_lookups + 1

    def adopt(self, record: OrderRecord) -> bool:
        """Record an order that is not ours; False where its id is known already."""
        with self.transaction():
            return self._insert("orders", record, "IGNORE")

    # ------------------------------------------------------------ fills and cash

    def add_trades(
        self, trades: Iterable[Trade]
    ) -> tuple[tuple[Trade, ...], tuple[ClosedTrade, ...], bool]:
        """Record executions once by (symbol, trade id), with the legs they open, change and close.

        Returns the ones that were new, the legs that they made flat, and whether all could be
        placed: one that reduces what is not held is left out, until what opened it is told.
        """
        new: list[Trade] = []
        closed: list[ClosedTrade] = []
        whole = True
        with self.transaction():
            for trade in sorted(trades, key=_in_time):
                if self._is_booked(trade):
                    continue
                legs = self._legs_after(trade)
                if not legs:
                    whole = False
                    continue
                self._insert("fills", trade)
                for leg in legs:
                    self._insert("legs", leg, "REPLACE")
                self._fill_order(trade)
                new.append(trade)
                for leg in legs:
                    if leg.closed_ts is not None:
                        entry_usd = self._entry_usd(leg, trade)
                        closed.append(closed_trade(leg, leg.closed_ts, entry_usd))
        for trade in new:
            self._cash = with_trade(self._cash, trade)
        return tuple(new), tuple(closed), whole

    def _is_booked(self, trade: Trade) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM fills WHERE symbol = ? AND trade_id = ?", (trade.symbol, trade.trade_id)
        ).fetchone()
        return found is not None

    def _legs_after(self, trade: Trade) -> tuple[LegRow, ...]:
        """Return the leg that `trade` leaves; none where it reduces more than there is.

        In one-way mode a trade can cross zero: it leaves one leg closed and another open.
        """
        row = self._db.execute(
            "SELECT * FROM legs WHERE symbol = ? AND position_side = ? AND closed_ts IS NULL",
            (trade.symbol, trade.position_side),
        ).fetchone()
        if row is None:
            return () if self._only_reduces(trade) else (self._new_leg(trade),)
        leg = of_row(row, LegRow)
        if not crosses_zero(leg, trade):
            return (leg_after(leg, trade),)
        if self._only_reduces(trade):
            return ()
        closing, opening = split(trade, leg.qty.copy_abs())
        return leg_after(leg, closing), self._new_leg(opening)

    def _only_reduces(self, trade: Trade) -> bool:
        """Tell whether `trade` can open nothing: its sides say so, or the order that it is of."""
        if trade.position_side != "BOTH":
            return (trade.position_side == "LONG") == (trade.side == "SELL")
        if orders.is_of_venue(trade.client_id):
            return True
        row = self._db.execute(
            "SELECT reduce_only OR close_position FROM orders WHERE client_id = ?",
            (trade.client_id,),
        ).fetchone()
        return row is not None and bool(row[0])

    def _entry_usd(self, leg: LegRow, last: Trade) -> Decimal:
        """Sum what the fills that opened `leg` were worth; `last` made it flat."""
        rows = self._db.execute(
            "SELECT qty, price FROM fills WHERE symbol = ? AND position_side = ? AND side != ?"
            " AND ts BETWEEN ? AND ?",
            (leg.symbol, leg.position_side, last.side, leg.opened_ts, last.ts),
        )
        return sum((Decimal(qty) * Decimal(price) for qty, price in rows), ZERO)

    def _fill_order(self, trade: Trade) -> None:
        row = self._db.execute(
            'SELECT filled_qty FROM orders WHERE client_id = ? AND NOT "foreign"',
            (trade.client_id,),
        ).fetchone()
        if row is not None:
            self._db.execute(
                "UPDATE orders SET filled_qty = ? WHERE client_id = ?",
                (str(Decimal(row[0]) + trade.qty), trade.client_id),
            )

    def _new_leg(self, trade: Trade) -> LegRow:
        """Begin a leg; one that no intent of ours opened is foreign and has no plan."""
        intent = self._db.execute(
            "SELECT i.decision_id, i.strategy, i.exit FROM orders o JOIN intents i"
            " USING (decision_id) WHERE o.client_id = ?",
            (trade.client_id,),
        ).fetchone()
        foreign = (f"foreign:{trade.symbol}:{trade.trade_id}", "foreign", "null")
        decision_id, strategy, plan = intent or foreign
        used = self._db.execute(
            "SELECT 1 FROM legs WHERE position_id = ?", (decision_id,)
        ).fetchone()
        # A late fill can open a leg that its own decision had opened and closed before.
        position_id = decision_id if used is None else f"{decision_id}:{trade.trade_id}"
        return first_leg(position_id, strategy, plan, trade)

    def add_cash(self, rows: Iterable[CashRow]) -> None:
        """Record movements of the wallet once by their id."""
        new: list[CashRow] = []
        with self.transaction():
            new.extend(row for row in rows if self._insert("cash", row, "IGNORE"))
        for row in new:
            self._cash = with_cash(self._cash, row)

    def keep_anchors(self, anchors: Anchors) -> None:
        """Record the NAVs that drawdown and day loss are measured from."""
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO anchors VALUES (1, ?, ?, ?, ?, ?, ?, ?)", to_row(anchors)
            )

    def reset_limits(self, anchors: Anchors, request_id: str) -> None:
        """Record anchors that a person set anew, once; what was rejected before counts no more."""
        newest = self._db.execute("SELECT max(rowid) FROM orders").fetchone()[0] or 0
        rows = {"reset_by": request_id, "forgiven_row": str(newest)}
        with self.transaction():
            self.keep_anchors(anchors)
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows.items())


def _in_time(trade: Trade) -> tuple[float, int, str]:
    # Ids are numbers that grow, written as text: the longer one is the later one.
    return trade.ts, len(trade.trade_id), trade.trade_id
