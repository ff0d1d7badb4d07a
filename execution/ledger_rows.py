"""The ledger's tables, and its rows as values: decimals are stored as text and come back exact."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from execution.core.orders import is_refused_quote
from execution.core.records import (
    Action,
    CashTotals,
    ClosedTrade,
    ExitPlan,
    LegRecord,
    OrderRecord,
    Route,
    RouteLeg,
    Tuning,
)
from execution.core.seam import CashRow, PositionSide, Side, Trade
from execution.errors import LedgerError

SCHEMA_VERSION = 3
# What brings a ledger from this version to the next.
MIGRATIONS = {
    1: "ALTER TABLE orders ADD COLUMN clean_lookups INTEGER NOT NULL DEFAULT 0",
    # What was transferred until now is in the anchors already.
    2: """
ALTER TABLE intents ADD COLUMN tuning TEXT NOT NULL DEFAULT 'null';
ALTER TABLE intents ADD COLUMN first_attempt INTEGER NOT NULL DEFAULT 1;
ALTER TABLE anchors ADD COLUMN transfers_usd TEXT NOT NULL DEFAULT '0';
ALTER TABLE anchors ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE anchors ADD COLUMN stopped_ts REAL;
ALTER TABLE anchors ADD COLUMN resets INTEGER NOT NULL DEFAULT 0;
UPDATE anchors SET transfers_usd = (
    SELECT printf('%.8f', total(amount)) FROM cash
    WHERE asset = 'USDT' AND kind NOT IN ('start', 'funding'))""",
}
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE intents (
    decision_id TEXT PRIMARY KEY, ts REAL NOT NULL, strategy TEXT NOT NULL, symbol TEXT NOT NULL,
    position_side TEXT NOT NULL, side TEXT NOT NULL, action TEXT NOT NULL, qty TEXT NOT NULL,
    mark_price REAL NOT NULL, reduce_only INTEGER NOT NULL, position_id TEXT,
    exit TEXT NOT NULL, legs TEXT NOT NULL, retry_s REAL, done INTEGER NOT NULL,
    tuning TEXT NOT NULL DEFAULT 'null', first_attempt INTEGER NOT NULL DEFAULT 1) STRICT;
CREATE INDEX intents_open ON intents (decision_id) WHERE done = 0;
CREATE INDEX intents_entries ON intents (ts) WHERE action = 'entry';
CREATE TABLE orders (
    client_id TEXT PRIMARY KEY, decision_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    symbol TEXT NOT NULL, side TEXT NOT NULL, position_side TEXT NOT NULL, type TEXT NOT NULL,
    qty TEXT NOT NULL, price TEXT, stop_price TEXT, reduce_only INTEGER NOT NULL,
    close_position INTEGER NOT NULL, post_only INTEGER NOT NULL, state TEXT NOT NULL,
    filled_qty TEXT NOT NULL, signed_ts REAL NOT NULL, deadline_ts REAL NOT NULL,
    venue_order_id TEXT, code TEXT, "foreign" INTEGER NOT NULL,
    clean_lookups INTEGER NOT NULL DEFAULT 0,
    UNIQUE (decision_id, attempt)) STRICT;
CREATE INDEX orders_open ON orders (state) WHERE state IN ('PREP','LIVE','PARTIAL','UNKNOWN');
CREATE TABLE fills (
    symbol TEXT NOT NULL, trade_id TEXT NOT NULL, client_id TEXT NOT NULL,
    venue_order_id TEXT NOT NULL, side TEXT NOT NULL, position_side TEXT NOT NULL,
    qty TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, fee_asset TEXT NOT NULL,
    fee_usd TEXT NOT NULL, realized_usd TEXT NOT NULL, maker INTEGER NOT NULL, ts REAL NOT NULL,
    PRIMARY KEY (symbol, trade_id)) STRICT;
CREATE INDEX fills_order ON fills (client_id);
CREATE INDEX fills_time ON fills (symbol, ts);
CREATE TABLE cash (
    cash_id TEXT PRIMARY KEY, kind TEXT NOT NULL, asset TEXT NOT NULL, amount TEXT NOT NULL,
    symbol TEXT, ts REAL NOT NULL) STRICT;
CREATE TABLE legs (
    position_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, position_side TEXT NOT NULL,
    qty TEXT NOT NULL, strategy TEXT NOT NULL, opened_ts REAL NOT NULL, exit TEXT NOT NULL,
    traded_qty TEXT NOT NULL, realized_usd TEXT NOT NULL, fees_usd TEXT NOT NULL,
    closed_ts REAL) STRICT;
CREATE UNIQUE INDEX legs_open ON legs (symbol, position_side) WHERE closed_ts IS NULL;
CREATE TABLE anchors (
    id INTEGER PRIMARY KEY CHECK (id = 1), peak_usd REAL NOT NULL, day_start_usd REAL NOT NULL,
    day TEXT NOT NULL, transfers_usd TEXT NOT NULL DEFAULT '0',
    stopped INTEGER NOT NULL DEFAULT 0, stopped_ts REAL, resets INTEGER NOT NULL DEFAULT 0) STRICT;
"""


class IntentRow(Struct, frozen=True):
    """One row of `intents`; `exit`, `legs` and `tuning` are JSON.

    `first_attempt` is the number of the first order since it was opened, the last time if again.
    """

    decision_id: str
    ts: float
    strategy: str
    symbol: str
    position_side: PositionSide
    side: Side
    action: Action
    qty: Decimal
    mark_price: float
    reduce_only: bool
    position_id: str | None
    exit: str
    legs: str
    retry_s: float | None
    done: bool
    tuning: str
    first_attempt: int


class LegRow(Struct, frozen=True):
    """One row of `legs`; `exit` is JSON, `traded_qty` all that was ever added."""

    position_id: str
    symbol: str
    position_side: PositionSide
    qty: Decimal
    strategy: str
    opened_ts: float
    exit: str
    traded_qty: Decimal
    realized_usd: Decimal
    fees_usd: Decimal
    closed_ts: float | None


FEE_STEP = Decimal("1e-8")

T = TypeVar("T")


def of_row(row: sqlite3.Row, kind: type[T]) -> T:
    """Return a row as a value of `kind`, field by column; raises LedgerError where one is not."""
    try:
        return msgspec.convert(dict(row), kind, strict=False)
    except msgspec.ValidationError as error:
        raise LedgerError(f"the ledger holds a row that is no {kind.__name__}: {error}") from error


def to_row(value: Struct) -> tuple[object, ...]:
    """Return a struct's fields in order, decimals as text."""
    return tuple(
        str(field) if isinstance(field, Decimal) else field
        for field in msgspec.structs.astuple(value)
    )


def to_json(value: object) -> str:
    """Encode a plan for a text column."""
    return msgspec.json.encode(value).decode()


def exit_of(text: str) -> ExitPlan | None:
    """Decode an `exit` column."""
    return msgspec.json.decode(text, type=ExitPlan | None)


def legs_of(text: str) -> tuple[RouteLeg, ...]:
    """Decode a `legs` column."""
    return msgspec.json.decode(text, type=tuple[RouteLeg, ...])


def tuning_of(text: str) -> Tuning | None:
    """Decode a `tuning` column."""
    return msgspec.json.decode(text, type=Tuning | None)


def route_of(intent: IntentRow, attempts: Sequence[OrderRecord]) -> Route:
    """Return an intent with its attempts, oldest first, as a route."""
    plan = exit_of(intent.exit)
    return Route(
        decision_id=intent.decision_id,
        strategy=intent.strategy,
        symbol=intent.symbol,
        position_side=intent.position_side,
        side=intent.side,
        action=intent.action,
        qty=intent.qty,
        filled_qty=sum((order.filled_qty for order in attempts), Decimal(0)),
        mark_price=intent.mark_price,
        reduce_only=intent.reduce_only,
        position_id=intent.position_id,
        stop_price=None if plan is None else plan.stop_price,
        legs=legs_of(intent.legs),
        retry_s=intent.retry_s,
        attempts=len(attempts),
        order=attempts[-1] if attempts else None,
        refused=sum(map(is_refused_quote, attempts)),
        tuning=tuning_of(intent.tuning),
    )


def leg_of(leg: LegRow) -> LegRecord:
    """Return an open leg as the tick knows it."""
    return LegRecord(
        position_id=leg.position_id,
        symbol=leg.symbol,
        position_side=leg.position_side,
        qty=leg.qty,
        strategy=leg.strategy,
        opened_ts=leg.opened_ts,
        exit=exit_of(leg.exit),
    )


def first_leg(position_id: str, strategy: str, plan: str, trade: Trade) -> LegRow:
    """Return the leg that a trade opens."""
    return LegRow(
        position_id=position_id,
        symbol=trade.symbol,
        position_side=trade.position_side,
        qty=_signed_qty(trade),
        strategy=strategy,
        opened_ts=trade.ts,
        exit=plan,
        traded_qty=trade.qty,
        realized_usd=trade.realized_usd,
        fees_usd=trade.fee_usd,
        closed_ts=None,
    )


def leg_after(leg: LegRow, trade: Trade) -> LegRow:
    """Return the leg after one more trade; it is closed by the trade that makes it flat."""
    qty = leg.qty + _signed_qty(trade)
    added = trade.qty if qty.copy_abs() > leg.qty.copy_abs() else Decimal(0)
    return replace(
        leg,
        qty=qty,
        traded_qty=leg.traded_qty + added,
        realized_usd=leg.realized_usd + trade.realized_usd,
        fees_usd=leg.fees_usd + trade.fee_usd,
        closed_ts=trade.ts if qty == 0 else None,
    )


def crosses_zero(leg: LegRow, trade: Trade) -> bool:
    """Tell whether a trade takes more off a leg than it holds."""
    return leg.qty * (leg.qty + _signed_qty(trade)) < 0


def split(trade: Trade, qty: Decimal) -> tuple[Trade, Trade]:
    """Return the part of a trade that closes `qty`, with all it realized, and the rest of it.

    The fee goes with the quantities, to the last digit.
    """
    fee_usd = (trade.fee_usd * qty / trade.qty).quantize(FEE_STEP)
    closing = replace(trade, qty=qty, fee_usd=fee_usd)
    opening = replace(
        trade, qty=trade.qty - qty, fee_usd=trade.fee_usd - fee_usd, realized_usd=Decimal(0)
    )
    return closing, opening


def closed_trade(leg: LegRow, closed_ts: float, entry_usd: Decimal) -> ClosedTrade:
    """Return the whole trade of a leg that is flat; `entry_usd` is what it was opened for."""
    plan = exit_of(leg.exit)
    stopped_usd = None if plan is None else Decimal(repr(plan.stop_price)) * leg.traded_qty
    return ClosedTrade(
        position_id=leg.position_id,
        symbol=leg.symbol,
        position_side=leg.position_side,
        strategy=leg.strategy,
        opened_ts=leg.opened_ts,
        closed_ts=closed_ts,
        qty=leg.traded_qty,
        realized_usd=leg.realized_usd,
        fees_usd=leg.fees_usd,
        entry_usd=entry_usd,
        risk_usd=None if stopped_usd is None else abs(entry_usd - stopped_usd),
    )


def _signed_qty(trade: Trade) -> Decimal:
    return trade.qty if trade.side == "BUY" else -trade.qty


def with_trade(totals: CashTotals, trade: Trade) -> CashTotals:
    """Book a trade; a fee in another asset than USDT leaves the USDT wallet alone."""
    fee_usd = trade.fee if trade.fee_asset == "USDT" else Decimal(0)
    return replace(
        totals,
        realized_usd=totals.realized_usd + trade.realized_usd,
        fees_usd=totals.fees_usd + fee_usd,
    )


def with_cash(totals: CashTotals, row: CashRow) -> CashTotals:
    """Book a movement of the USDT wallet; other assets are outside the identity."""
    if row.asset != "USDT":
        return totals
    if row.kind == "start":
        return replace(totals, start_usd=totals.start_usd + row.amount)
    if row.kind == "funding":
        return replace(totals, funding_usd=totals.funding_usd + row.amount)
    return replace(totals, transfers_usd=totals.transfers_usd + row.amount)
