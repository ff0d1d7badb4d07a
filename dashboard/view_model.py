"""Payloads and now → what to draw of the book: banner, tiles, rows, ages. Nothing here draws."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import Final, Literal

from msgspec import Struct

from dashboard import trouble
from dashboard.seen import Seen, Viewer
from dashboard.shown import (
    UNKNOWN,
    Age,
    Column,
    Shown,
    Table,
    absent,
    amount,
    clock_time,
    date_time,
    duration,
    figure,
    measured,
    multiple,
    pct,
    price,
    quantity,
    spaced,
    usd,
)
from dashboard.trouble import Level, Trouble
from execution.state_schema import registry
from execution.state_schema.files import LimitRow, Nav, PositionRow
from execution.state_schema.mirror_files import Mirror
from execution.state_store import Unreadable

Tone = Literal["paper", "testnet", "live", "unknown"]
TIGHT_FRAC: Final = 0.75


# ---------------------------------------------------------------- the frame of every page


class Frame(Struct, frozen=True):
    """What stands on top of every page: the mode, the time, and the worst thing."""

    tone: Tone
    mode: str
    mirror: str | None
    clock: str
    worst: Trouble
    others: tuple[Trouble, ...]


def frame(seen: Seen, viewer: Viewer, now: float, zone: tzinfo = UTC) -> Frame:
    """Say in which mode the book trades, and name the worst thing."""
    health = seen.of(registry.EXECUTOR_HEALTH)
    if not isinstance(health, Unreadable):
        tone: Tone = health.mode
        mode = health.mode.upper()
    elif seen.mirror is not None:
        tone, mode = "unknown", "MODE UNKNOWN"
    else:
        tone, mode = viewer.mode, f"{viewer.mode.upper()} (configured; the executor has not said)"
    troubles = trouble.find(seen, viewer, now)
    calm = Trouble("ok", "Nothing needs attention")
    local = "" if zone is UTC else f"  \N{MIDDLE DOT}  {clock_time(now, zone)}"
    return Frame(
        tone=tone,
        mode=mode,
        mirror=_mirror(seen.mirror, now),
        clock=f"{date_time(now)}{local}",
        worst=troubles[0] if troubles else calm,
        others=troubles[1:],
    )


def _mirror(mirror: Mirror | Unreadable | None, now: float) -> str | None:
    match mirror:
        case None:
            return None
        case Unreadable():
            return "MIRROR: a copy of unknown source and age"
        case Mirror(source=source, pulled_ts=pulled_ts):
            return f"MIRROR of {source}, pulled {duration(now - pulled_ts)} ago"


# ---------------------------------------------------------------- the account


def tiles(seen: Seen, now: float) -> tuple[Shown, ...]:
    """Show NAV and what hangs on it."""
    labels = ("NAV", "Day P&L", "Drawdown", "Gross exposure", "Net exposure")
    nav = seen.of(registry.NAV)
    if isinstance(nav, Unreadable):
        return tuple(Shown(label, UNKNOWN, "", absent(nav)) for label in labels)
    if not nav.known:
        age = Age("unknown", "never read")
        return tuple(Shown(label, UNKNOWN, "", age) for label in labels)
    age = trouble.nav_age(nav, now)
    parts = f"wallet {usd(nav.wallet_usd)}, open {usd(nav.unrealized_usd, signed=True)}"
    values = (
        (usd(nav.nav_usd), parts),
        (usd(nav.day_pnl_usd, signed=True), _day_detail(nav)),
        (pct(nav.drawdown_pct), f"below the peak of {usd(nav.peak_usd)}"),
        (usd(nav.gross_usd), multiple(_over(nav.gross_usd, nav.nav_usd), "NAV")),
        (usd(nav.net_usd, signed=True), multiple(_over(nav.net_usd, nav.nav_usd), "NAV")),
    )
    return tuple(Shown(label, *value, age) for label, value in zip(labels, values, strict=True))


def _day_detail(nav: Nav) -> str:
    share = _over(nav.day_pnl_usd, nav.day_start_usd)
    percent = pct(None if share is None else 100 * share, signed=True)
    return f"{percent} since {usd(nav.day_start_usd)}"


def _over(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None or whole <= 0 else part / whole


POSITION_COLUMNS: Final = (
    Column("Symbol"),
    Column("Side"),
    Column("Unrealized USD", right=True),
    Column("To stop %", right=True),
    Column("Quantity", right=True),
    Column("Notional USD", right=True),
    Column("Entry", right=True),
    Column("Mark", right=True),
    Column("Stop", right=True),
    Column("Target", right=True),
    Column("Exit by"),
    Column("Protection"),
    Column("Strategy"),
)


def positions(seen: Seen, now: float) -> Table:
    """List the open legs with their exit plans."""
    found = seen.of(registry.POSITIONS)
    if isinstance(found, Unreadable):
        return Table(POSITION_COLUMNS, (), absent(found), "Positions are unknown.")
    if not found.known:
        age = Age("unknown", "never read")
        return Table(POSITION_COLUMNS, (), age, "Positions are unknown: the account was not read.")
    rows = tuple(_position(row, now) for row in found.rows)
    return Table(POSITION_COLUMNS, rows, trouble.positions_age(found, now), "No open position.")


def _position(row: PositionRow, now: float) -> tuple[str, ...]:
    plan = row.exit
    return (
        row.symbol,
        row.position_side,
        amount(row.unrealized, signed=True),
        to_stop(row),
        quantity(row.qty),
        amount(row.notional_usd),
        price(row.entry_price),
        price(row.mark_price),
        "none" if plan is None else price(plan.stop_price),
        "none" if plan is None else price(plan.take_profit_price),
        "none" if plan is None else date_time(plan.deadline_ts),
        _protection(row, now),
        row.strategy or UNKNOWN,
    )


def to_stop(row: PositionRow) -> str:
    """Return how far the mark may move against the leg, in percent of the mark."""
    if row.exit is None:
        return "no stop"
    if row.mark_price is None or row.mark_price <= 0:
        return UNKNOWN
    is_long = row.position_side == "LONG" or (row.position_side == "BOTH" and row.qty > 0)
    room = row.mark_price - row.exit.stop_price if is_long else row.exit.stop_price - row.mark_price
    percent = amount(100 * room / row.mark_price)
    return percent if room > 0 else f"{percent} beyond"


def _protection(row: PositionRow, now: float) -> str:
    if row.exit is None:
        return "NO EXIT PLAN"
    if row.unprotected_since_ts is not None:
        return f"NO STOP for {duration(now - row.unprotected_since_ts)}"
    return "protected"


# ---------------------------------------------------------------- risk


def trading_state(seen: Seen, now: float) -> Shown:
    """Show what may be sent, and why."""
    health = seen.of(registry.EXECUTOR_HEALTH)
    if isinstance(health, Unreadable):
        return Shown("Trading state", UNKNOWN, "", absent(health))
    age = trouble.age(seen, registry.EXECUTOR_HEALTH, now)
    reasons = [spaced(each) for each in trouble.trading_reasons(seen, health)]
    if health.kill_latch:
        reasons.append("kill latch on")
    if health.blind_since_ts is not None:
        reasons.append(f"venue unread for {duration(now - health.blind_since_ts)}")
    why = ", ".join(reasons)
    if age.status != "fresh":
        why = f"last said, not known now{': ' if why else ''}{why}"
    elif not why:
        why = "everything allowed" if health.trading_state == "ACTIVE" else "no reason written"
    return Shown("Trading state", health.trading_state, why, age)


class Limit(Struct, frozen=True):
    """One limit as a bar; `frac` is how much is used, 0..1, or None where that is unknown."""

    name: str
    used: str
    headroom: str
    frac: float | None
    level: Level


class Limits(Struct, frozen=True):
    """The limits, the most used first."""

    rows: tuple[Limit, ...]
    age: Age


def limits(seen: Seen, now: float) -> Limits:
    """Show what is used of each limit, and what is left."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return Limits((), absent(snapshot))
    rows = [_limit(name, row) for name, row in snapshot.limits.items()]
    rows.sort(key=lambda row: (row.frac is not None, -(row.frac or 0.0)))
    return Limits(tuple(rows), trouble.age(seen, registry.RISK_SNAPSHOT, now))


def _limit(name: str, row: LimitRow) -> Limit:
    frac = _over(row.used, row.limit)
    if frac is None:
        level: Level = "note"
    else:
        level = "critical" if frac >= 1 else "warning" if frac >= TIGHT_FRAC else "ok"
    left = "left unknown" if row.headroom is None else f"{measured(row.headroom, row.unit)} left"
    return Limit(
        name=spaced(name),
        used=f"{figure(row.used, row.unit)} of {measured(row.limit, row.unit)}",
        headroom=left,
        frac=None if frac is None else min(1.0, max(0.0, frac)),
        level=level,
    )
