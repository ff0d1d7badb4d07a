"""The open legs and what was closed → rows: exit plans, distances to the stops, protection."""

from __future__ import annotations

from typing import Final

from dashboard import records, trouble
from dashboard.seen import Seen
from dashboard.shown import (
    UNKNOWN,
    Age,
    Column,
    Shown,
    Table,
    absent,
    amount,
    count,
    duration,
    price,
    quantity,
    ratio,
    stamp,
    usd,
)
from execution.state_schema import registry
from execution.state_schema.files import PositionRow
from execution.state_schema.order_journals import Close
from execution.state_store import Unreadable

POSITION_COLUMNS: Final = (
    Column("Symbol"),
    Column("Side"),
    Column("Unrealized USD", right=True),
    Column("To stop %", right=True),
    Column("To stop USD", right=True),
    Column("Quantity", right=True),
    Column("Notional USD", right=True),
    Column("Entry", right=True),
    Column("Mark", right=True),
    Column("Stop", right=True),
    Column("Target", right=True),
    Column("Exit by"),
    Column("Protection"),
    Column("Opened"),
    Column("Strategy"),
)


def positions(seen: Seen, now: float, symbol: str = "") -> Table:
    """List the open legs with their exit plans."""
    found = seen.of(registry.POSITIONS)
    if isinstance(found, Unreadable):
        return Table(POSITION_COLUMNS, (), absent(found), "Positions are unknown.")
    if not found.known:
        age = Age("unknown", "never read")
        return Table(POSITION_COLUMNS, (), age, "Positions are unknown: the account was not read.")
    rows = tuple(_position(row, now) for row in found.rows if symbol in {"", row.symbol})
    return Table(POSITION_COLUMNS, rows, trouble.positions_age(found, now), "No open position.")


def _position(row: PositionRow, now: float) -> tuple[str, ...]:
    plan = row.exit
    return (
        row.symbol,
        row.position_side,
        amount(row.unrealized, signed=True),
        to_stop(row),
        "no stop" if plan is None else amount(room_usd(row)),
        quantity(row.qty),
        amount(row.notional_usd),
        price(row.entry_price),
        price(row.mark_price),
        "none" if plan is None else price(plan.stop_price),
        "none" if plan is None else price(plan.take_profit_price),
        "none" if plan is None else _until(plan.deadline_ts, now),
        _protection(row, now),
        UNKNOWN if row.opened_ts is None else f"{duration(now - row.opened_ts)} ago",
        row.strategy or UNKNOWN,
    )


def _room(row: PositionRow) -> float | None:
    """Return by how much the mark may move against the leg, in its price."""
    if row.exit is None or row.mark_price is None or row.mark_price <= 0:
        return None
    is_long = row.position_side == "LONG" or (row.position_side == "BOTH" and row.qty > 0)
    return row.mark_price - row.exit.stop_price if is_long else row.exit.stop_price - row.mark_price


def room_usd(row: PositionRow) -> float | None:
    """Return what the leg loses from its mark to its stop, without costs."""
    room = _room(row)
    return None if room is None else room * abs(row.qty)


def to_stop(row: PositionRow) -> str:
    """Return how far the mark may move against the leg, in percent of the mark."""
    if row.exit is None:
        return "no stop"
    room, percent = _room(row), ratio(_room(row), row.mark_price)
    if room is None or percent is None:
        return UNKNOWN
    return amount(100 * percent) if room > 0 else f"{amount(100 * percent)} beyond"


def _until(deadline_ts: float, now: float) -> str:
    left_s = deadline_ts - now
    return f"{stamp(deadline_ts)[6:]}, {f'in {duration(left_s)}' if left_s > 0 else 'overdue'}"


def _protection(row: PositionRow, now: float) -> str:
    if row.exit is None:
        return "NO EXIT PLAN"
    if row.unprotected_since_ts is not None:
        return f"NO STOP for {duration(now - row.unprotected_since_ts)}"
    return "protected"


# ---------------------------------------------------------------- their sum


def tiles(seen: Seen, now: float) -> tuple[Shown, ...]:
    """Show what the open legs come to together."""
    labels = ("Open legs", "Unrealized", "To lose until every stop", "Without a stop in force")
    found = seen.of(registry.POSITIONS)
    if isinstance(found, Unreadable):
        return tuple(Shown(label, UNKNOWN, "", absent(found)) for label in labels)
    if not found.known:
        return tuple(Shown(label, UNKNOWN, "", Age("unknown", "never read")) for label in labels)
    age, rows = trouble.positions_age(found, now), found.rows
    longs = sum(row.qty > 0 for row in rows)
    bare = [row for row in rows if row.exit is None or row.unprotected_since_ts is not None]
    values = (
        (count(len(rows)), f"{longs} long, {len(rows) - longs} short"),
        (usd(_sum([row.unrealized for row in rows]), signed=True), "of all open legs"),
        (usd(_sum([room_usd(row) for row in rows])), "from the marks, without costs"),
        (count(len(bare)), _longest(bare, now)),
    )
    return tuple(Shown(label, *value, age) for label, value in zip(labels, values, strict=True))


def _sum(numbers: list[float | None]) -> float | None:
    """Return the sum, unknown as soon as one of them is."""
    known = [each for each in numbers if each is not None]
    return sum(known) if len(known) == len(numbers) else None


def _longest(bare: list[PositionRow], now: float) -> str:
    if any(row.exit is None for row in bare):
        return "a leg has no exit plan"
    since = [row.unprotected_since_ts for row in bare if row.unprotected_since_ts is not None]
    return f"longest {duration(now - min(since))}" if since else "every leg is protected"


# ---------------------------------------------------------------- what was closed

CLOSED_COLUMNS: Final = (
    Column("Closed UTC"),
    Column("Symbol"),
    Column("Side"),
    Column("Net USD", right=True),
    Column("Realized USD", right=True),
    Column("Fees USD", right=True),
    Column("Quantity", right=True),
    Column("Held"),
    Column("Regime"),
    Column("Strategy"),
)
CLOSED_SHOWN: Final = 50


def closed(seen: Seen, now: float, symbol: str = "") -> Table:
    """List the legs that went flat in the last 24 hours, newest first."""
    events = records.of_the_day(seen, registry.ORDERS_EXECUTED, now)
    ends = [
        each for each in reversed(events) if isinstance(each, Close) and symbol in {"", each.symbol}
    ]
    return Table(
        CLOSED_COLUMNS,
        tuple(_closed(each) for each in ends[:CLOSED_SHOWN]),
        records.age(seen, registry.ORDERS_EXECUTED, now),
        records.empty(seen, registry.ORDERS_EXECUTED, "No leg was closed in 24 hours."),
    )


def _closed(close: Close) -> tuple[str, ...]:
    return (
        stamp(close.closed_ts),
        close.symbol,
        close.position_side,
        amount(close.realized_usd - close.fees_usd, signed=True),
        amount(close.realized_usd, signed=True),
        amount(close.fees_usd),
        quantity(close.qty),
        duration(close.closed_ts - close.opened_ts),
        close.regime or UNKNOWN,
        close.strategy,
    )
