"""`hedge replay`: recorded bars through the trading tick, as fast as it goes."""

from __future__ import annotations

import contextlib
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.progress import Progress
from rich.table import Table

from execution import boot
from execution import settings as settings_door
from execution.boot import Engine, Replay
from execution.clock import SystemClock
from execution.core.payloads import day_figures, intel
from execution.core.payloads.day_figures import DayFigures, Worst
from execution.core.policy import Policy
from execution.core.risk import usage
from execution.core.seam import MarketSnapshot
from execution.core.types import TickReport, Vetoed
from execution.errors import ConfigError
from execution.executor_live import _pub_tick, refresh_intel, run_tick, write_journals
from execution.service_loop import Timer
from execution.state_schema import registry
from scripts.cli.terminal import Terminal

TICKS_A_STEP = 2_000


class LimitUse(Struct, frozen=True):
    """One limit, and the most that was used of it over the whole run."""

    limit: float
    worst: float
    unit: str
    ts: float


class Figures(Struct, frozen=True):
    """What one replay came to; money is exact and printed as text.

    `limits` are by the name of their veto. `day_loss_stops` began so often, and so many of them
    were followed by a cooldown.
    """

    market: str
    symbols: tuple[str, ...]
    bars: int
    ticks: int
    bars_per_s: float
    orders: int
    fills: int
    trades_closed: int
    vetoes: dict[str, int]
    day_loss_stops: int
    cooldowns: int
    limits: dict[str, LimitUse]
    maker_share: float | None
    fees_usd: Decimal
    funding_usd: Decimal
    realized_usd: Decimal
    pnl_usd: Decimal
    max_drawdown_pct: float
    identity_residual_usd: Decimal
    peak_rss_mb: float
    wall_s: float


class Tally:
    """What is added up tick by tick."""

    def __init__(self) -> None:
        self.bars = self.ticks = self.closed = 0
        self.max_drawdown_pct = 0.0
        self.maker_usd = self.traded_usd = Decimal(0)
        self.vetoes: Counter[str] = Counter()
        self.day_loss_stops = self.cooldowns = 0
        self._day = DayFigures()
        self._worst: dict[str, Worst] = {}
        self._stopped = False

    @property
    def worst(self) -> dict[str, Worst]:
        """Return the worst use of each limit until now."""
        return day_figures.worst_of(self._worst, self._day.worst)

    def add(self, report: TickReport, day: DayFigures) -> None:
        """Take in one tick, and what is remembered of its day."""
        self.ticks += 1
        if day.day != self._day.day:
            self._worst = self.worst
        self._day = day
        for decision in report.live.decisions:
            if isinstance(decision.verdict, Vetoed):
                self.vetoes[decision.verdict.reason] += 1
        anchors = report.state.book.anchors
        if anchors is not None and anchors.stopped != self._stopped:
            self._stopped = anchors.stopped
            self.day_loss_stops += anchors.stopped
            self.cooldowns += not anchors.stopped
        if isinstance(report.seen, MarketSnapshot):
            self.bars += sum(map(len, report.seen.bars.values()))
        down = report.state.book.drawdown_pct
        if down is not None and down > self.max_drawdown_pct:
            self.max_drawdown_pct = down
        found = report.state.recorded
        self.closed += len(found.closed)
        for trade in found.trades:
            usd = trade.qty * trade.price
            self.traded_usd += usd
            if trade.maker:
                self.maker_usd += usd


@click.command()
@click.option(
    "--market",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder of recorded bars.",
)
@click.option("--symbols", required=True, help="Symbols to trade, separated by commas.")
@click.option("--out", help="Folder to keep ledger, journals and state files in; new or empty.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(folder: str, symbols: str, out: str | None, *, as_json: bool) -> None:
    """Run a whole recording through the same tick that trades, with a fresh ledger.

    It never touches the suite's log folder. The result is the same on every run.
    """
    with _folder(out) as log_dir:
        settings = settings_door.load(
            over={"MARKET": f"replay:{Path(folder).resolve()}", "HEDGE_LOG_DIR": str(log_dir)}
        )
        settings_door.prepare_log_dir(settings)
        wanted = tuple(dict.fromkeys(filter(None, symbols.upper().replace(" ", "").split(","))))
        figures = _replay(boot.build_replay(settings, Path(folder), wanted), folder, wanted)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(figures)).decode())
    else:
        _print(figures)


@contextlib.contextmanager
def _folder(out: str | None) -> Iterator[Path]:
    """Give the folder that was asked for, or one that is gone afterwards."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="hedge-replay-") as folder:
            yield Path(folder)
        return
    path = Path(out).resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"--out {out}: is not an empty folder: name a new one")
    yield path


def _replay(replayed: Replay, folder: str, symbols: tuple[str, ...]) -> Figures:
    engine = replayed.engine
    tally, watch = Tally(), SystemClock()
    started_s = watch.monotonic()
    drive(replayed, tally)
    wall_s = watch.monotonic() - started_s
    engine.journals.flush()  # the slow cadence and the comparison read them
    engine.faults.note(_pub_tick(engine).failures)
    engine.journals.flush()
    _compare(engine)
    book, cash, counts = engine.state.book, engine.ledger.cash, engine.ledger.counts()
    residual = book.identity_residual_usd
    figures = Figures(
        market=folder,
        symbols=symbols,
        bars=tally.bars,
        ticks=tally.ticks,
        bars_per_s=round(tally.bars / wall_s, 1),
        orders=counts["orders"],
        fills=counts["fills"],
        trades_closed=tally.closed,
        vetoes=dict(tally.vetoes.most_common()),
        day_loss_stops=tally.day_loss_stops,
        cooldowns=tally.cooldowns,
        limits=_uses(tally.worst, engine.live_policy),
        maker_share=_share(tally.maker_usd, tally.traded_usd),
        fees_usd=cash.fees_usd,
        funding_usd=cash.funding_usd,
        realized_usd=cash.realized_usd,
        pnl_usd=Decimal(repr(round(book.nav_usd, 8))) - cash.start_usd,
        max_drawdown_pct=tally.max_drawdown_pct,
        identity_residual_usd=Decimal("NaN") if residual is None else residual.normalize(),
        peak_rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        wall_s=round(wall_s, 3),
    )
    engine.close()
    return figures


def _compare(engine: Engine) -> None:
    """Count the shadow's journals to their ends; a tick of the suite counts one step."""
    run, now = engine.telling.run, engine.clock.now()
    while not engine.pair.refresh_head(run.run_id, now)[1]:
        pass
    while not engine.pair.refresh_compare(run.deciding, now)[1]:
        pass


def drive(replayed: Replay, tally: Tally) -> None:
    """Tick once for every minute that the recording has, to its end."""
    engine, market, clock = replayed.engine, replayed.market, replayed.clock
    first_ts, last_ts = market.window_ts
    slow = _slow_timer(replayed)
    console = Terminal(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("replay", total=last_ts - first_ts)
        while (close_ts := market.next_close_ts()) is not None:
            clock.set(close_ts)
            report = engine.report = run_tick(engine, engine.state)
            engine.state = report.state
            engine.faults.note(report.state.outside.failures)
            write_journals(engine, report)
            tally.add(report, engine.telling.run.day)
            if slow is not None and slow.is_due():
                slow.done()
                _tune(engine, report)
            if tally.ticks % TICKS_A_STEP == 0:
                progress.update(task, completed=close_ts - first_ts)


def _uses(worst: Mapping[str, Worst], policy: Policy) -> dict[str, LimitUse]:
    return {
        name: LimitUse(limit.limit, worst[name].used, limit.unit, worst[name].ts)
        for name, limit in usage.limits(policy).items()
        if name in worst
    }


def _slow_timer(replayed: Replay) -> Timer | None:
    """Return when the slow cadence may tune the router; None where the flags let it tune nothing."""
    settings = replayed.engine.settings
    names = ("ROUTER_AUTOTUNE_V6_ENABLED", "ROUTER_AUTOTUNE_V6_APPLY_ENABLED")
    applies = all(settings.flags[name] for name in names)
    return Timer(settings.intel.autotune.every_s, replayed.clock) if applies else None


def _tune(engine: Engine, report: TickReport) -> None:
    """Let the slow cadence read on and apply; the one state file that it reads is written for it."""
    engine.journals.flush()
    refresh_intel(engine, report)
    told = engine.telling
    engine.faults.note(told.intel_failures)
    if told.intel is not None:
        engine.store.write(
            registry.ALLOCATION_SUGGESTIONS, intel.allocation_suggestions(told.intel, told.run)
        )


def _share(part: Decimal, whole: Decimal) -> float | None:
    return round(float(part / whole), 4) if whole else None


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name} {count:,}" for name, count in value.items()) or "none"
    if isinstance(value, float):
        value = round(value, 4)
    return "unknown" if value is None else f"{value:,}"


def _print(figures: Figures) -> None:
    table = Table(title=f"replay of {', '.join(figures.symbols)}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in msgspec.structs.asdict(figures).items():
        if name not in ("market", "symbols", "limits"):
            table.add_row(name, _text(value))
    uses = Table(title="worst prospective use of each limit", title_justify="left")
    for column in ("limit", "worst", "of", "unit", "at (UTC)"):
        uses.add_column(column, justify="left" if column in ("limit", "unit") else "right")
    for name, use in figures.limits.items():
        at = datetime.fromtimestamp(use.ts, UTC).isoformat(" ", "minutes").removesuffix("+00:00")
        uses.add_row(name, f"{use.worst:,.2f}", f"{use.limit:,g}", use.unit, at)
    console = Terminal()
    console.print(table)
    console.print(uses)
