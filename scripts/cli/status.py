"""`hedge status`: the book and the processes as their files tell them."""

from __future__ import annotations

from typing import Any

import click
import msgspec
from rich.table import Table

from execution import settings as settings_door
from execution.clock import SystemClock
from execution.state_schema import registry
from execution.state_schema.registry import StateFile
from execution.state_store import StateStore, Unreadable
from scripts.cli.terminal import Terminal, say

PROCESSES: dict[str, StateFile[Any]] = {
    "executor": registry.EXECUTOR_HEALTH,
    "sync_state": registry.PROCESS_SYNC_STATE,
    "pipeline-shadow-heartbeat": registry.PROCESS_SHADOW_HEARTBEAT,
    "pipeline-compare": registry.PROCESS_COMPARE,
}
BOOK: tuple[StateFile[Any], ...] = (
    registry.NAV,
    registry.POSITIONS,
    registry.RISK_SNAPSHOT,
    registry.SYNC_HEALTH,
)
PIPED_WIDTH = 120


class Reading(msgspec.Struct, frozen=True):
    """One state file: its payload, or why there is none; `stale` beyond its maximum age."""

    path: str
    age_s: float | None
    stale: bool
    problem: str | None
    content: Any


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(*, as_json: bool) -> None:
    """Show NAV, positions, trading state and processes, each with its age.

    Exits 78 when the settings, as they stand now, would refuse the next start, and names them; else
    1 when something is missing or stale.
    """
    clock = SystemClock()
    log_dir = settings_door.log_dir()
    store = StateStore(log_dir, clock)
    now = clock.now()
    readings = {file.name: _read(store, file, now) for file in (*BOOK, *PROCESSES.values())}
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(readings)).decode())
    elif all(each.content is None for each in readings.values()):
        say(f"nothing is published in {log_dir}: scripts/up starts the suite there")
    else:
        _print(readings)
    settings_door.load()
    if any(each.stale or each.problem for each in readings.values()):
        raise SystemExit(1)


def _read(store: StateStore, file: StateFile[Any], now: float) -> Reading:
    payload = store.inspect(file)
    if isinstance(payload, Unreadable):
        return Reading(file.path, None, stale=True, problem=str(payload), content=None)
    age_s = now - file.computed_ts(payload)
    return Reading(file.path, age_s, stale=age_s > file.max_age_s, problem=None, content=payload)


def _print(readings: dict[str, Reading]) -> None:
    console = Terminal(piped_width=PIPED_WIDTH)
    health, nav, risk = (
        readings[file.name].content
        for file in (registry.EXECUTOR_HEALTH, registry.NAV, registry.RISK_SNAPSHOT)
    )
    if health is not None:
        console.print(f"{health.mode}, {health.engine_version}")
    if nav is not None:
        day = "unknown" if nav.day_pnl_usd is None else f"{nav.day_pnl_usd:+,.2f} USD"
        down = "unknown" if nav.drawdown_pct is None else f"{nav.drawdown_pct:.2f} %"
        worth = f"{nav.nav_usd:,.2f} USD" if nav.known else "unknown"
        console.print(f"NAV {worth}{' (stale)' if nav.stale else ''}  day {day}  drawdown {down}")
    if risk is not None:
        reasons = ", ".join(risk.trading_state_reasons)
        console.print(f"trading {risk.trading_state} {reasons}".rstrip())
    held = readings["positions"].content
    if held is not None:
        title = f"open positions: {len(held.rows)}"
        console.print(_positions(title, held.rows) if held.rows else title)
    console.print(_processes(readings))


def _positions(title: str, rows: Any) -> Table:  # noqa: ANN401 - rows of a payload that was decoded by its schema
    table = Table(title=title, title_justify="left")
    for column in ("symbol", "side", "qty", "entry", "mark", "unrealized USD", "stop", "target"):
        table.add_column(column, justify="left" if column in ("symbol", "side") else "right")
    for row in rows:
        plan = row.exit
        numbers = (
            row.qty,
            row.entry_price,
            row.mark_price,
            row.unrealized,
            None if plan is None else plan.stop_price,
            None if plan is None else plan.take_profit_price,
        )
        table.add_row(row.symbol, row.position_side, *map(_number, numbers))
    return table


def _processes(readings: dict[str, Reading]) -> Table:
    table = Table(title="processes", title_justify="left")
    for column in ("process", "state", "age s", "rss MB", "errors"):
        table.add_column(column, justify="left" if column in ("process", "state") else "right")
    for name, file in PROCESSES.items():
        reading = readings[file.name]
        if reading.content is None:
            table.add_row(name, reading.problem or "missing", "", "", "")
            continue
        table.add_row(
            name,
            "stale" if reading.stale else "fresh",
            _number(reading.age_s, 1),
            _number(reading.content.rss_mb, 1),
            str(sum(reading.content.errors.values())),
        )
    return table


def _number(number: float | None, digits: int = 4) -> str:
    return "unknown" if number is None else f"{number:,.{digits}f}"
