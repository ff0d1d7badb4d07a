"""A recording through the whole tick, beside a plain loop over the same bars in the same run."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from execution import boot
from execution import settings as settings_door
from execution.boot import Replay
from execution.clock import SystemClock
from execution.core.seam import Bar
from scripts.benchmarks import table
from scripts.cli.replay import Tally, drive

GOAL_BARS_PER_S = 20_000
RECORDED = Path(__file__).parents[3] / "shared" / "market"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
MADE_MINUTES = 20_000
FIRST_MS = 1_746_372_780_000


class ReplayCost(Struct, frozen=True):
    """Bars of one symbol per second: the whole tick with its journals, and a loop that only adds."""

    source: str
    bars: int
    orders: int
    bars_per_s: float
    goal_bars_per_s: int
    plain_bars_per_s: float
    ratio_to_plain: float


def measure(folder: Path, symbols: tuple[str, ...], source: str) -> ReplayCost:
    """Replay `folder`, and run a plain loop over the same bars once they are loaded."""
    watch = SystemClock()
    with _built(folder, symbols) as replayed:
        tally = Tally()
        started_s = watch.monotonic()
        drive(replayed, tally)
        tick_s = watch.monotonic() - started_s
        orders = replayed.engine.ledger.counts()["orders"]
    with _built(folder, symbols) as replayed:
        tapes = _tapes(replayed)
    started_s = watch.monotonic()
    count = sum(map(_plain, tapes))
    plain_s = watch.monotonic() - started_s
    return ReplayCost(
        source=source,
        bars=tally.bars,
        orders=orders,
        bars_per_s=round(tally.bars / tick_s),
        goal_bars_per_s=GOAL_BARS_PER_S,
        plain_bars_per_s=round(count / plain_s),
        ratio_to_plain=round((tick_s / tally.bars) / (plain_s / count), 1),
    )


@contextmanager
def _built(folder: Path, symbols: tuple[str, ...]) -> Iterator[Replay]:
    """Build a replay into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hedge-bench-") as out:
        over = {"MARKET": f"replay:{folder.resolve()}", "HEDGE_LOG_DIR": out}
        settings = settings_door.load(over=over)
        settings_door.prepare_log_dir(settings)
        replayed = boot.build_replay(settings, folder, symbols)
        yield replayed
        replayed.engine.close()


def _tapes(replayed: Replay) -> list[list[Bar]]:
    tapes: dict[str, list[Bar]] = {}
    while (close_ts := replayed.market.next_close_ts()) is not None:
        view = replayed.market.read(close_ts)
        for symbol, bars in getattr(view, "bars", {}).items():
            tapes.setdefault(symbol, []).extend(bars)
    return list(tapes.values())


def _plain(bars: list[Bar]) -> int:
    """Trade one unit on two averages, with nothing around it."""
    fast = slow = bars[0].close
    held = cash = 0.0
    for bar in bars:
        close = bar.close
        fast += 0.2 * (close - fast)
        slow += 0.04 * (close - slow)
        wanted = 1.0 if fast > slow else -1.0
        if wanted != held:
            cash -= (wanted - held) * close
            held = wanted
    return len(bars)


def make(folder: Path, symbols: tuple[str, ...], minutes: int = MADE_MINUTES) -> None:
    """Write a random walk, without funding, where there is no recording at hand."""
    for seed, symbol in enumerate(symbols):
        lines = ["ts_ms,open,high,low,close,volume", *_walk(random.Random(seed), minutes)]  # noqa: S311 - prices, not secrets
        (folder / f"{symbol}-1m.csv").write_text("\n".join(lines) + "\n")
        (folder / f"{symbol}-8h-funding_rate.csv").write_text("ts_ms,funding_rate\n")


def _walk(chance: random.Random, minutes: int) -> Iterator[str]:
    price = 2_000.0
    for minute in range(minutes):
        close = round(price * (1 + chance.gauss(0, 6e-4)), 1)
        high, low = round(max(price, close) * 1.0003, 1), round(min(price, close) * 0.9997, 1)
        yield f"{FIRST_MS + minute * 60_000},{price:.1f},{high:.1f},{low:.1f},{close:.1f},500.0"
        price = close


@contextmanager
def lent_market(given: Path | None, symbols: tuple[str, ...]) -> Iterator[Path]:
    """Lend the folder given, else the recorded month beside the checkout, else a made one."""
    if given is not None or RECORDED.is_dir():
        yield given or RECORDED
        return
    with tempfile.TemporaryDirectory(prefix="hedge-made-") as made:
        make(Path(made), symbols)
        yield Path(made)


@click.command()
@table.json_option
def main(*, as_json: bool) -> None:
    """Measure on the recorded month beside the checkout, or on a made one where there is none."""
    with lent_market(None, SYMBOLS) as folder:
        source = "recorded month" if folder == RECORDED else "random walk"
        cost = measure(folder, SYMBOLS, source)
    table.tell("replay", [cost], as_json=as_json)


if __name__ == "__main__":
    main()
