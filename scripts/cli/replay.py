"""`hedge replay`: recorded bars through the trading tick, as fast as it goes."""

from __future__ import annotations

import contextlib
import resource
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from execution import boot
from execution import settings as settings_door
from execution.boot import Engine, Replay
from execution.clock import SystemClock
from execution.core.seam import MarketSnapshot
from execution.core.types import TickReport
from execution.errors import ConfigError
from execution.executor_live import _pub_tick, run_tick, write_journals

TICKS_A_STEP = 2_000


class Figures(Struct, frozen=True):
    """What one replay came to; money is exact and printed as text."""

    market: str
    symbols: tuple[str, ...]
    bars: int
    ticks: int
    bars_per_s: float
    orders: int
    fills: int
    trades_closed: int
    vetoes: dict[str, int]
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

    def add(self, report: TickReport) -> None:
        """Take in one tick."""
        self.ticks += 1
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
@click.option("--market", "folder", required=True, help="Folder of recorded bars.")
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
    engine.journals.flush()  # what is compared is read from them
    _pub_tick(engine)
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
        vetoes=dict(engine.state.vetoes),
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
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("replay", total=last_ts - first_ts)
        while (close_ts := market.next_close_ts()) is not None:
            clock.set(close_ts)
            report = engine.report = run_tick(engine, engine.state)
            engine.state = report.state
            write_journals(engine, report)
            tally.add(report)
            if tally.ticks % TICKS_A_STEP == 0:
                progress.update(task, completed=close_ts - first_ts)


def _share(part: Decimal, whole: Decimal) -> float | None:
    return round(float(part / whole), 4) if whole else None


def _print(figures: Figures) -> None:
    table = Table(title=f"replay of {', '.join(figures.symbols)}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in msgspec.structs.asdict(figures).items():
        if name not in ("market", "symbols"):
            table.add_row(name, f"{value:,}" if isinstance(value, int | float) else str(value))
    Console(markup=False, highlight=False).print(table)
