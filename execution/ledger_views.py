"""What the ledger shows: its rows as the values that the tick reads, asked once between writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from execution.core.records import (
    Anchors,
    CashTotals,
    LegRecord,
    OrderRecord,
    RejectKey,
    Route,
)
from execution.core.seam import CashRow, LegKey, Trade
from execution.ledger_file import LedgerFile
from execution.ledger_rows import (
    IntentRow,
    LegRow,
    leg_of,
    of_row,
    route_of,
    with_cash,
    with_trade,
)

V = TypeVar("V")


class LedgerViews:
    """The reading half of the ledger."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._db = file.db
        self._views: dict[str, tuple[int, Any]] = {}
        self._cash = self._sum_cash()

    @property
    def cash(self) -> CashTotals:
        """The exact sums of everything booked."""
        return self._cash

    def anchors(self) -> Anchors | None:
        """Return the anchors, or None before the first."""
        row = self._db.execute("SELECT * FROM anchors").fetchone()
        return None if row is None else of_row(row, Anchors)

    def reset_by(self) -> str | None:
        """Return the id of the newest request that set the limits anew."""
        return self._meta("reset_by")

    def open_orders(self) -> tuple[OrderRecord, ...]:
        """List the orders that are not terminal, oldest first."""
        return self._since_write("open_orders", self._read_open_orders)

    def routes(self) -> Mapping[str, Route]:
        """List the intents that are not done, by decision id, with their newest attempt."""
        return self._since_write("routes", self._read_routes)

    def is_decided(self, decision_id: str) -> bool:
        """Tell whether a decision was ever journalled, whatever became of it."""
        found = self._db.execute("SELECT 1 FROM intents WHERE decision_id = ?", (decision_id,))
        return found.fetchone() is not None

    def legs(self) -> Mapping[LegKey, LegRecord]:
        """List the open legs."""
        return self._since_write("legs", self._read_legs)

    def _since_write(self, view: str, read: Callable[[], V]) -> V:
        """Return what `read` gives, asked once until something is written."""
        commits = self._file.commits
        kept = self._views.get(view)
        if kept is None or kept[0] != commits or self._db.in_transaction:
            kept = self._views[view] = (commits, read())
        found: V = kept[1]
        return found

    def _read_open_orders(self) -> tuple[OrderRecord, ...]:
        rows = self._db.execute(
            "SELECT * FROM orders WHERE state IN ('PREP','LIVE','PARTIAL','UNKNOWN')"
            " ORDER BY signed_ts, client_id"
        )
        return tuple(of_row(row, OrderRecord) for row in rows)

    def _read_routes(self) -> dict[str, Route]:
        rows = self._db.execute("SELECT * FROM intents WHERE done = 0 ORDER BY ts, decision_id")
        intents = [of_row(row, IntentRow) for row in rows]
        return {
            each.decision_id: route_of(each, self._attempts(each.decision_id)) for each in intents
        }

    def _attempts(self, decision_id: str) -> list[OrderRecord]:
        rows = self._db.execute(
            "SELECT * FROM orders WHERE decision_id = ? ORDER BY attempt", (decision_id,)
        )
        return [of_row(row, OrderRecord) for row in rows]

    def _read_legs(self) -> dict[LegKey, LegRecord]:
        rows = self._db.execute(
            "SELECT * FROM legs WHERE closed_ts IS NULL ORDER BY opened_ts, position_id"
        )
        legs = [of_row(row, LegRow) for row in rows]
        return {(leg.symbol, leg.position_side): leg_of(leg) for leg in legs}

    def newest_rows(self) -> tuple[int, int]:
        """Return the places of the newest intent and the newest order; 0 before the first."""
        found = self._db.execute("SELECT (SELECT max(rowid) FROM intents), max(rowid) FROM orders")
        intent, order = found.fetchone()
        return intent or 0, order or 0

    def entries(self, since_ts: float, after_row: int = 0) -> list[tuple[str, float]]:
        """List symbol and time of the entries after `since_ts` and after a place, oldest first."""
        rows = self._db.execute(
            "SELECT symbol, ts FROM intents WHERE action = 'entry' AND ts > ? AND rowid > ?"
            " ORDER BY rowid",
            (since_ts, after_row),
        )
        return [(symbol, ts) for symbol, ts in rows]

    def rejects(self, since_ts: float, after_row: int = 0) -> list[tuple[RejectKey, float]]:
        """List symbol, code and time of own orders that were refused, as `entries` does.

        What a person has forgiven is left out.
        """
        rows = self._db.execute(
            "SELECT symbol, code, signed_ts FROM orders WHERE state = 'REJECTED' AND code IS NOT NULL"
            " AND signed_ts > ? AND rowid > ? ORDER BY rowid",
            (since_ts, max(after_row, int(self._meta("forgiven_row") or 0))),
        )
        return [((symbol, code), ts) for symbol, code, ts in rows]

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def last_trade_ts(self, symbol: str) -> float:
        """Return when `symbol` last traded for us; 0 when never."""
        row = self._db.execute("SELECT max(ts) FROM fills WHERE symbol = ?", (symbol,)).fetchone()
        return float(row[0] or 0.0)

    def begun_ts(self) -> float | None:
        """Return the moment that the cash identity starts from; None before the first account."""
        row = self._db.execute("SELECT ts FROM cash WHERE cash_id = 'start'").fetchone()
        return None if row is None else float(row[0])

    def last_cash_ts(self) -> float:
        """Return when cash last moved; 0 when never."""
        return float(self._db.execute("SELECT max(ts) FROM cash").fetchone()[0] or 0.0)

    def counts(self) -> dict[str, int]:
        """Count intents, orders, fills and maker fills, and legs, for reports."""
        tables = {"intents": "intents", "orders": "orders", "fills": "fills", "legs": "legs"}
        counted = {
            name: int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - constants above
            for name, table in tables.items()
        }
        maker = self._db.execute("SELECT count(*) FROM fills WHERE maker = 1").fetchone()[0]
        return {**counted, "maker_fills": int(maker)}

    def _sum_cash(self) -> CashTotals:
        # Summed here and not in SQL, whose sum() of text is a float.
        totals = CashTotals()
        for row in self._db.execute("SELECT * FROM fills"):
            totals = with_trade(totals, of_row(row, Trade))
        for row in self._db.execute("SELECT * FROM cash"):
            totals = with_cash(totals, of_row(row, CashRow))
        return totals
