"""What a ledger cannot account for, and what a person has said to take as it is."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from execution.core.seam import LegKey, PositionSide
from execution.ledger_file import LedgerFile
from execution.ledger_rows import to_json

Legs = dict[LegKey, Decimal]


class LedgerDoubt:
    """The doubt of one ledger: derived from its rows, but for what was acknowledged."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def unaccounted(self, own_prefix: str) -> frozenset[LegKey]:
        """Return the open legs with fills from before this ledger, or of own orders it never had.

        Every own order is journalled before it is sent: one that is not here was lost from here.
        """
        rows = self._file.db.execute(
            "SELECT DISTINCT l.symbol, l.position_side FROM legs l JOIN fills f"
            " ON f.symbol = l.symbol AND f.position_side = l.position_side AND f.ts >= l.opened_ts"
            " WHERE l.closed_ts IS NULL AND f.ts > ? AND NOT EXISTS"
            ' (SELECT 1 FROM orders o WHERE o.client_id = f.client_id AND NOT o."foreign") AND'
            " (f.ts <= (SELECT ts FROM cash WHERE cash_id = 'start') OR f.client_id GLOB ?)",
            (self._read()[0], f"{own_prefix}*"),
        )
        return frozenset((row["symbol"], row["position_side"]) for row in rows)

    def acknowledge(self, legs: Mapping[LegKey, Decimal]) -> None:
        """Record that a person takes every fill so far, and these legs, as they are."""
        newest_ts = self._file.db.execute("SELECT max(ts) FROM fills").fetchone()[0] or 0.0
        known = [(symbol, side, qty) for (symbol, side), qty in legs.items()]
        with self._file.transaction():
            self._file.db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('acknowledged', ?)",
                (to_json((newest_ts, known)),),
            )

    def acknowledged(self) -> Mapping[LegKey, Decimal]:
        """Return the legs that were acknowledged last, at the quantities they had."""
        return self._read()[1]

    def _read(self) -> tuple[float, Legs]:
        row = self._file.db.execute("SELECT value FROM meta WHERE key = 'acknowledged'").fetchone()
        if row is None:
            return 0.0, {}
        until_ts, legs = msgspec.json.decode(
            row[0], type=tuple[float, tuple[tuple[str, PositionSide, Decimal], ...]]
        )
        return until_ts, {(symbol, side): qty for symbol, side, qty in legs}
