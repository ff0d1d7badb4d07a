"""Autotune on beside off, over the same recorded month: from the configured offset, and a bad one.

Each is a whole replay: what is tuned in it changes what fills, and so what is held afterwards. The
curve of each symbol's offset is printed over days of recorded time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from execution import boot
from execution import settings as settings_door
from execution.jsonl_log import read_batches
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.order_journals import OrderMetric, PolicyChange, RouteMetric
from scripts.benchmarks import table
from scripts.benchmarks.replay import SYMBOLS, lent_market
from scripts.benchmarks.routing import Interval, interval, mean
from scripts.cli.replay import Tally, drive

FAR_TOO_WIDE_BPS = 12.0
DAY_S = 86_400
TUNING = (
    "INTEL_V6_ENABLED",
    "ROUTER_AUTOTUNE_V6_ENABLED",
    "ROUTER_AUTOTUNE_V6_APPLY_ENABLED",
    "FEEDBACK_ALLOCATOR_V6_ENABLED",
)

Curve = tuple[tuple[float, float], ...]


class Half(Struct, frozen=True):
    """What the routes of one half of one replay came to; those without a choice are left out."""

    router: str
    half: str
    routes: int
    maker_fill: float | None
    unfilled: int
    slippage_bps: float | None
    cost_bps: float | None
    cost_interval: Interval


class Run(Struct, frozen=True):
    """One replay: its halves, each symbol's offset by day, and what the book made of it."""

    router: str
    halves: tuple[Half, ...]
    curves: dict[str, Curve]
    fees_usd: float
    pnl_usd: float


def measure(
    folder: Path, symbols: tuple[str, ...], offset_bps: float | None, *, tuned: bool
) -> Run:
    """Replay with the offset of `ops/`, or another, tuned or left as it is."""
    with tempfile.TemporaryDirectory(prefix="hedge-autotune-") as out:
        settings = _settings(folder, Path(out), symbols, offset_bps, tuned=tuned)
        settings_door.prepare_log_dir(settings)
        replayed = boot.build_replay(settings, folder, symbols)
        engine = replayed.engine
        drive(replayed, Tally())
        engine.journals.flush()
        journal = registry.ORDER_METRICS
        batches = read_batches(Path(out) / journal.path, None, journal.decoder.decode)
        records = [record for batch in batches for record in batch.records]
        first_ts, last_ts = replayed.market.window_ts
        start_bps = settings.policy.router.offset_bps
        name = f"{start_bps:g} bps{', tuned' if tuned else ''}"
        chosen = [r for r in records if isinstance(r, RouteMetric) and r.policy is not None]
        middle_ts = (first_ts + last_ts) / 2
        cash = engine.ledger.cash
        run = Run(
            router=name,
            halves=(
                _half(name, "first", [r for r in chosen if r.opened_ts < middle_ts]),
                _half(name, "second", [r for r in chosen if r.opened_ts >= middle_ts]),
            ),
            curves={s: _curve(records, s, start_bps, first_ts) for s in symbols},
            fees_usd=round(float(cash.fees_usd), 2),
            pnl_usd=round(engine.state.book.nav_usd - float(cash.start_usd), 2),
        )
        engine.close()
        return run


def _settings(
    folder: Path, out: Path, symbols: tuple[str, ...], offset_bps: float | None, *, tuned: bool
) -> Settings:
    flags = dict.fromkeys(TUNING, "1" if tuned else "0")
    over = {"MARKET": f"replay:{folder.resolve()}", "HEDGE_LOG_DIR": str(out), **flags}
    settings = settings_door.load(over=over)
    router = settings.policy.router
    if offset_bps is not None:
        router = replace(router, offset_bps=offset_bps)
    apply = replace(settings.intel.apply, symbols=symbols)
    return replace(
        settings,
        policy=replace(settings.policy, router=router),
        intel=replace(settings.intel, apply=apply),
    )


def _half(router: str, half: str, routes: Sequence[RouteMetric]) -> Half:
    costs = [route.cost_bps for route in routes if route.cost_bps is not None]
    return Half(
        router=router,
        half=half,
        routes=len(routes),
        maker_fill=mean([route.maker_qty / route.qty for route in routes if route.quoted]),
        unfilled=sum(route.outcome == "unfilled" for route in routes),
        slippage_bps=mean([r.slippage_bps for r in routes if r.slippage_bps is not None]),
        cost_bps=mean(costs),
        cost_interval=interval(costs, mean),
    )


def _curve(records: Sequence[OrderMetric], symbol: str, start_bps: float, first_ts: float) -> Curve:
    """Return (day, offset) at the start and at each change of the offset."""
    points = [(0.0, start_bps)]
    for change in records:
        if isinstance(change, PolicyChange) and change.symbol == symbol:
            offset_bps = change.after.offset_bps
            if offset_bps != points[-1][1]:
                points.append((round((change.ts - first_ts) / DAY_S, 1), offset_bps))
    return tuple(points)


def show(runs: Sequence[Run]) -> None:
    """Print the halves side by side, and each book with its curves."""
    table.show("autotune beside none", [half for run in runs for half in run.halves])
    for run in runs:
        print(f"{run.router}: fees {run.fees_usd:g} USD, profit {run.pnl_usd:g} USD")
        for symbol, curve in run.curves.items():
            told = "  ".join(f"{day:g}d {offset:g}" for day, offset in curve)
            print(f"  {symbol} offset_bps: {told}")


@click.command()
@click.option("--market", type=Path, help="Folder of recorded bars.")
@click.option("--symbols", default=",".join(SYMBOLS), help="Symbols, separated by commas.")
@table.json_option
def main(market: Path | None, symbols: str, *, as_json: bool) -> None:
    """Replay four times: configured and far too wide, each left alone and tuned."""
    wanted = tuple(symbols.split(","))
    with lent_market(market, wanted) as folder:
        runs = [
            measure(folder, wanted, offset_bps, tuned=tuned)
            for offset_bps in (None, FAR_TOO_WIDE_BPS)
            for tuned in (False, True)
        ]
    if as_json:
        click.echo(msgspec.json.encode(runs).decode())
    else:
        show(runs)


if __name__ == "__main__":
    main()
