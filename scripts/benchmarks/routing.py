"""Maker-first beside taker-only: the same intents, on the same recorded bars, under the same venue.

What is decided comes from one replay that crosses at once. Each entry, and each exit that can wait,
is then worked by the configured router and by one that only crosses; what cannot wait costs both of
them the same and is shown with them. Costs are the mean over routes, in bps of what was filled, and
positive when paid. A missed entry costs what the price went its way until the strategy's horizon.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import fsum
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from execution import settings as settings_door
from execution.core.policy import Router
from execution.core.types import Approved
from execution.state_schema.order_journals import RouteMetric
from scripts.benchmarks import routed, table
from scripts.benchmarks.replay import SYMBOLS, lent_market
from scripts.benchmarks.routed import Recorded

DRAWS = 2_000
# Wide enough that the taker-only router misses nothing: it is what crossing costs.
ANY_BUDGET_BPS = 200.0

Intents = tuple[tuple[float, Approved], ...]
Interval = tuple[float, float] | None
T = TypeVar("T")


class Line(Struct, frozen=True):
    """What one router paid for one kind of intent; intervals are of 95 %."""

    what: str
    router: str
    n: int
    filled: int
    maker_share: float | None
    fee_bps: float | None
    slippage_bps: float | None
    cost_bps: float | None
    cost_interval: Interval
    missed: int
    missed_cost_bps: float | None
    missed_interval: Interval


class Saving(Struct, frozen=True):
    """By how much the first router's mean cost is below the second's, in percent."""

    what: str
    saved_pct: float
    interval: Interval


class Pair(Struct, frozen=True):
    """One intent under both routers; `missed_bps` is what the first one's unfilled part cost."""

    maker: RouteMetric
    taker: RouteMetric
    missed_bps: float | None


def compare(
    recorded: Recorded, folder: Path, symbols: tuple[str, ...], router: Router, half: str
) -> tuple[list[Line], list[Saving]]:
    """Work the intents of one half of the recording both ways."""
    first_ts, last_ts = recorded.window_ts
    middle_ts = (first_ts + last_ts) / 2
    crossing = replace(router, maker_first=False, taker_budget_bps=ANY_BUDGET_BPS)

    def within(ts: float) -> bool:
        return half == "all" or (ts < middle_ts) == (half == "first")

    kinds: dict[str, list[Pair]] = {}
    for what, action in (("entries", "entry"), ("exits that can wait", "exit")):
        intents = tuple(each for each in recorded.of(action) if within(each[0]))
        maker = routed.work(folder, symbols, intents, router)
        taker = routed.work(folder, symbols, intents, crossing)
        kinds[what] = list(_pairs(recorded, intents, maker, taker))
    kinds["exits at once"] = [
        Pair(metric, metric, None) for metric in recorded.at_once if within(metric.opened_ts)
    ]
    kinds["everything"] = [pair for pairs in kinds.values() for pair in pairs]
    lines, savings = [], []
    for what, pairs in kinds.items():
        missed = [pair.missed_bps for pair in pairs if pair.missed_bps is not None]
        lines.append(_line(what, "configured", [pair.maker for pair in pairs], missed))
        lines.append(_line(what, "taker only", [pair.taker for pair in pairs], []))
        savings.append(Saving(what, _saved_pct(pairs), interval(pairs, _saved_pct)))
    return lines, savings


def _pairs(
    recorded: Recorded,
    intents: Intents,
    maker: dict[str, RouteMetric],
    taker: dict[str, RouteMetric],
) -> Iterable[Pair]:
    """Yield the intents whose routes both came to an end before the recording did."""
    for ts, approved in intents:
        name = approved.intent.decision_id
        if name in maker and name in taker:
            yield Pair(maker[name], taker[name], _missed_bps(recorded, ts, approved, maker[name]))


def _missed_bps(
    recorded: Recorded, ts: float, approved: Approved, metric: RouteMetric
) -> float | None:
    """Return what the unfilled part of an entry would have gained by its strategy's horizon."""
    intent = approved.intent
    if metric.outcome == "filled" or intent.reduce_only:
        return None
    strategy = next(s for s in recorded.policy.strategies if s.name == intent.strategy)
    until_ts = ts + strategy.exits.max_hold_bars * strategy.bar_s
    times, closes = recorded.closes[intent.symbol]
    close = closes[bisect_right(times, until_ts) - 1]
    gained_bps = 1e4 * (close / intent.mark_price - 1)
    lacking = 1 - metric.filled_qty / metric.qty
    return lacking * (gained_bps if intent.side == "BUY" else -gained_bps)


def _line(what: str, router: str, metrics: Sequence[RouteMetric], missed: list[float]) -> Line:
    filled = [metric for metric in metrics if metric.filled_usd > 0]
    costs = _known(metric.cost_bps for metric in filled)
    usd = fsum(metric.filled_usd for metric in filled)
    maker_usd = fsum(metric.filled_usd * metric.maker_qty / metric.filled_qty for metric in filled)
    return Line(
        what=what,
        router=router,
        n=len(metrics),
        filled=len(filled),
        maker_share=maker_usd / usd if usd else None,
        fee_bps=mean(_known(metric.fee_bps for metric in filled)),
        slippage_bps=mean(_known(metric.slippage_bps for metric in filled)),
        cost_bps=mean(costs),
        cost_interval=interval(costs, mean),
        missed=len(missed),
        missed_cost_bps=mean(missed),
        missed_interval=interval(missed, mean),
    )


def _saved_pct(pairs: Sequence[Pair]) -> float:
    maker = mean(_known(pair.maker.cost_bps for pair in pairs))
    taker = mean(_known(pair.taker.cost_bps for pair in pairs))
    return 0.0 if maker is None or not taker else 100 * (1 - maker / taker)


def _known(numbers: Iterable[float | None]) -> list[float]:
    return [number for number in numbers if number is not None]


def mean(numbers: Sequence[float]) -> float | None:
    """Return the arithmetic mean; None of nothing."""
    return fsum(numbers) / len(numbers) if numbers else None


def interval(sample: Sequence[T], figure: Callable[[Sequence[T]], float | None]) -> Interval:
    """Return the middle 95 % of a figure over samples drawn anew from `sample`; same every run."""
    if len(sample) <= 1:
        return None
    chance = random.Random(1)  # noqa: S311 - a resample, no secret
    drawn = sorted(_known(figure(chance.choices(sample, k=len(sample))) for _ in range(DRAWS)))
    return drawn[int(0.025 * len(drawn))], drawn[int(0.975 * len(drawn)) - 1]


@click.command()
@click.option("--market", type=Path, help="Folder of recorded bars.")
@click.option("--symbols", default=",".join(SYMBOLS), help="Symbols, separated by commas.")
@click.option(
    "--half",
    type=click.Choice(["first", "second", "all"]),
    default="second",
    help="The defaults were tuned on the first half of the month.",
)
@click.option("--no-fallback", is_flag=True, help="Let entries go that no maker's fill took.")
@table.json_option
def main(market: Path | None, symbols: str, half: str, *, no_fallback: bool, as_json: bool) -> None:
    """Compare the router of ops/router.toml with crossing at once, on the month or a made one."""
    wanted = tuple(symbols.split(","))
    with lent_market(market, wanted) as folder:
        router = settings_door.load(over={"MARKET": f"replay:{folder.resolve()}"}).policy.router
        if no_fallback:
            router = replace(router, entry_taker_fallback=False)
        lines, savings = compare(routed.record(folder, wanted), folder, wanted, router, half)
    if as_json:
        click.echo(msgspec.json.encode({"lines": lines, "savings": savings}).decode())
    else:
        table.show(f"routing of {', '.join(wanted)}, {half} half", lines)
        table.show("saved by the configured router", savings)


if __name__ == "__main__":
    main()
