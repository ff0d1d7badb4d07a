"""The ledger and the exchange's own books as two files that somebody else reads and compares."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from execution.state_schema import registry
from execution.state_store import StateStore

Row = dict[str, Any]
LedgerLegs = dict[tuple[str, str], Decimal]

FILL = (
    "symbol",
    "trade_id",
    "client_id",
    "venue_order_id",
    "side",
    "position_side",
    "qty",
    "price",
    "fee",
    "fee_asset",
    "fee_usd",
    "realized_usd",
    "maker",
    "ts",
)
EXACT = ("qty", "price", "fee", "fee_usd", "realized_usd")


def _exact(row: Row) -> Row:
    """Turn texts into numbers: each book writes as many zeros as it likes."""
    return {**row, **{name: Decimal(row[name]) for name in EXACT}}


def read(path: Path, sql: str) -> list[Row]:
    """Ask a file that another process may be writing, or has left behind."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(sql)]


class Accounts:
    """Both books of one log folder, and what is published of them.

    `books` are those of the exchange, where it is not the paper venue of the same folder.
    """

    def __init__(
        self, log_dir: Path, store: StateStore, mode: str = "paper", books: Path | None = None
    ) -> None:
        self._ledger = log_dir / "ledger" / f"{mode}-main.sqlite"
        self._venue = log_dir / "run" / "paper.sqlite" if books is None else books
        self._store = store

    def of_ledger(self, sql: str) -> list[Row]:
        return read(self._ledger, sql)

    def of_venue(self, sql: str) -> list[Row]:
        return read(self._venue, sql)

    # ------------------------------------------------------------ parts

    def orders(self) -> list[Row]:
        """List the ledger's orders with the action of their intent, oldest first."""
        return self.of_ledger(
            "SELECT o.*, i.action FROM orders o JOIN intents i USING (decision_id)"
            " ORDER BY o.signed_ts, o.rowid"
        )

    def resting(self) -> list[Row]:
        """List what rests at the venue, with the action of the ledger's intent."""
        # The venue first: what is sent between the two reads stood in the ledger before it.
        there = self.of_venue("SELECT * FROM orders WHERE state IN ('LIVE', 'PARTIAL')")
        action = {row["client_id"]: row["action"] for row in self.orders()}
        return [{**row, "action": action[row["client_id"]]} for row in there]

    def fills(self) -> list[Row]:
        found = self.of_ledger(f"SELECT {', '.join(FILL)} FROM fills ORDER BY symbol, trade_id")
        return [_exact(row) for row in found]

    def trades(self) -> list[Row]:
        found = self.of_venue(f"SELECT {', '.join(FILL)} FROM trades ORDER BY symbol, trade_id")
        return [_exact(row) for row in found]

    def ledger_legs(self) -> LedgerLegs:
        rows = self.of_ledger("SELECT * FROM legs WHERE closed_ts IS NULL")
        return {(r["symbol"], r["position_side"]): Decimal(r["qty"]) for r in rows}

    def venue_legs(self) -> LedgerLegs:
        rows = self.of_venue("SELECT * FROM legs")
        return {(r["symbol"], r["position_side"]): Decimal(r["qty"]) for r in rows}

    def bare_legs(self) -> set[tuple[str, str]]:
        """List the venue's legs without a resting stop, as they are at one moment."""
        rows = self.of_venue(
            "SELECT * FROM legs l WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.close_position"
            " AND o.state IN ('LIVE', 'PARTIAL') AND o.symbol = l.symbol"
            " AND o.position_side = l.position_side)"
        )
        return {(r["symbol"], r["position_side"]) for r in rows}

    def canceled_stops(self) -> list[str]:
        """List the stops that were canceled under a position that is still held."""
        rows = self.of_ledger(
            "SELECT o.client_id FROM legs l JOIN intents i USING (position_id)"
            " JOIN orders o USING (decision_id) WHERE l.closed_ts IS NULL"
            " AND i.action = 'protect' AND o.state = 'CANCELED'"
        )
        return [row["client_id"] for row in rows]

    def published_legs(self) -> dict[tuple[str, str], float]:
        positions = self._store.read(registry.POSITIONS)
        assert positions is not None
        return {(row.symbol, row.position_side): row.qty for row in positions.rows}

    # ------------------------------------------------------------ what must hold

    def check_any_moment(self) -> None:
        """Assert what holds whenever the process dies: nothing unjournalled, nothing twice."""
        ledger = {row["client_id"]: row for row in self.orders()}
        venue = self.of_venue("SELECT * FROM orders WHERE client_id LIKE 'hg%' ORDER BY id")
        assert {row["client_id"] for row in venue} <= ledger.keys(), "an order without a PREP"
        taken = """SELECT * FROM orders WHERE "foreign" AND client_id LIKE 'hg%'"""
        assert self.of_ledger(taken) == [], "own, taken for another's"
        twice = [name for name, n in Counter(r["client_id"] for r in venue).items() if n > 1]
        assert twice == [], "one attempt, two orders at the venue"
        live: Counter[str] = Counter()
        for row in venue:
            ours = ledger[row["client_id"]]
            there, here = (
                (each["symbol"], each["side"], Decimal(each["qty"]), each["type"])
                for each in (row, ours)
            )
            assert there == here
            live[ours["decision_id"]] += row["state"] in ("LIVE", "PARTIAL")
        assert max(live.values(), default=0) <= 1, "two live attempts at one decision"
        self._check_quantities(venue, ledger)
        trades = [tuple(row.values()) for row in self.trades()]
        fills = [tuple(row.values()) for row in self.fills()]
        assert len(set(fills)) == len(fills)
        assert set(fills) <= set(trades), "a fill that the venue does not know"

    def _check_quantities(self, venue: list[Row], ledger: dict[str, Row]) -> None:
        """Assert that all attempts at one entry together fill no more than was approved."""
        approved = self.of_ledger("SELECT decision_id, qty FROM intents WHERE action = 'entry'")
        filled: defaultdict[str, Decimal] = defaultdict(Decimal)
        for row in venue:
            filled[ledger[row["client_id"]]["decision_id"]] += Decimal(row["filled_qty"])
        over = [r["decision_id"] for r in approved if filled[r["decision_id"]] > Decimal(r["qty"])]
        assert over == [], "more was filled than was approved"

    def check_at_rest(self) -> None:
        """Assert what holds once it has reconciled and ended: three books, one account."""
        self.check_any_moment()
        assert self.fills() == self.trades()
        assert self.ledger_legs() == self.venue_legs()
        published = {key: float(qty) for key, qty in self.ledger_legs().items()}
        assert self.published_legs() == published
        (account,) = self.of_venue("SELECT wallet_usd FROM account")
        booked = sum(
            Decimal(r["realized_usd"]) - Decimal(r["fee_usd"]) for r in self.fills()
        ) + sum(Decimal(r["amount"]) for r in self.of_ledger("SELECT amount FROM cash"))
        assert booked == Decimal(account["wallet_usd"])
        nav = self._store.read(registry.NAV)
        assert nav is not None
        assert nav.identity_residual_usd == 0.0
