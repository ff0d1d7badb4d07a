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
    Shown,
    absent,
    clock_time,
    date_time,
    duration,
    multiple,
    pct,
    ratio,
    usd,
)
from dashboard.trouble import Trouble
from execution.state_schema import registry
from execution.state_schema.files import Nav
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
        (usd(nav.gross_usd), multiple(ratio(nav.gross_usd, nav.nav_usd), "NAV")),
        (usd(nav.net_usd, signed=True), multiple(ratio(nav.net_usd, nav.nav_usd), "NAV")),
    )
    return tuple(Shown(label, *value, age) for label, value in zip(labels, values, strict=True))


def _day_detail(nav: Nav) -> str:
    share = ratio(nav.day_pnl_usd, nav.day_start_usd)
    percent = pct(None if share is None else 100 * share, signed=True)
    return f"{percent} since {usd(nav.day_start_usd)}"
