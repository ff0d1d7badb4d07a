"""The open positions as the executor last published them, and which of them have no stop."""

from __future__ import annotations

from msgspec import Struct
from rich.table import Table

from execution.clock import Clock
from execution.state_schema.files import PositionRow
from execution.state_schema.registry import POSITIONS
from execution.state_store import StateStore, Unreadable
from scripts.cli.asking import Place
from scripts.cli.terminal import Terminal


class Leg(Struct, frozen=True):
    """One open leg; `unprotected_s` counts since it lost its stop, null where that is unknown.

    `stop_resting`: its stop rests at the venue. Where it does not, only the executor follows the
    plan, and not while the kill latch is on.
    """

    symbol: str
    position_side: str
    qty: float
    notional_usd: float | None
    unrealized_usd: float | None
    stop_price: float | None
    protected: bool
    stop_resting: bool
    unprotected_s: float | None


class OpenLegs(Struct, frozen=True):
    """The legs, how old they are, and why they may be wrong; `age_s` null where nothing is known."""

    legs: tuple[Leg, ...]
    age_s: float | None
    problem: str | None

    @property
    def unprotected(self) -> tuple[Leg, ...]:
        """Return those that nothing protects while no order is sent."""
        return tuple(leg for leg in self.legs if not (leg.protected and leg.stop_resting))


def read(place: Place, clock: Clock, symbol: str | None = None) -> OpenLegs:
    """Read `state/positions.json`: the legs of `symbol`, or all."""
    found = StateStore(place.log_dir, clock).inspect(POSITIONS)
    if isinstance(found, Unreadable):
        return OpenLegs((), None, f"positions are unknown: {found}")
    if not found.known or found.as_of_ts is None:
        return OpenLegs((), None, "positions are unknown: the executor has not read the venue yet")
    now = clock.now()
    age_s = now - found.as_of_ts
    problem = None
    if found.stale or age_s > POSITIONS.max_age_s:
        problem = f"positions are {age_s:.0f} s old and may be others by now"
    rows = (row for row in found.rows if symbol in (None, row.symbol))
    return OpenLegs(tuple(_leg(row, now) for row in rows), age_s, problem)


def show(console: Terminal, found: OpenLegs) -> None:
    """Print a table, and above it what is wrong with it."""
    if found.problem is not None:
        console.print(f"WARNING: {found.problem}")
    if found.age_s is None:
        return
    title = f"open positions: {len(found.legs)}, {found.age_s:.0f} s ago"
    if not found.legs:
        console.print(title)
        return
    table = Table(title=title, title_justify="left")
    for column in ("symbol", "side", "qty", "notional USD", "unrealized USD", "stop"):
        table.add_column(column, justify="left" if column in ("symbol", "side") else "right")
    for leg in found.legs:
        table.add_row(
            leg.symbol,
            leg.position_side,
            f"{leg.qty:g}",
            _number(leg.notional_usd, ",.2f"),
            _number(leg.unrealized_usd, "+,.2f"),
            _stop(leg),
        )
    console.print(table)


def _leg(row: PositionRow, now: float) -> Leg:
    since_ts = row.unprotected_since_ts
    return Leg(
        symbol=row.symbol,
        position_side=row.position_side,
        qty=row.qty,
        notional_usd=row.notional_usd,
        unrealized_usd=row.unrealized,
        stop_price=None if row.exit is None else row.exit.stop_price,
        protected=row.exit is not None and since_ts is None,
        stop_resting=row.stop_resting,
        unprotected_s=None if since_ts is None else now - since_ts,
    )


def _stop(leg: Leg) -> str:
    if not leg.protected:
        return "NONE"
    return _number(leg.stop_price, ",.4f") + ("" if leg.stop_resting else " (plan)")


def _number(number: float | None, form: str) -> str:
    return "unknown" if number is None else format(number, form)
