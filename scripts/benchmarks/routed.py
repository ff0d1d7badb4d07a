"""The same intents worked by one router or another: real desk, ledger and paper venue on recorded bars."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from execution import boot
from execution import settings as settings_door
from execution.boot import Replay
from execution.core import book, routing
from execution.core.payloads.route_metrics import route_metric
from execution.core.policy import Policy, Router
from execution.core.records import RouteEnd
from execution.core.seam import MarketSnapshot
from execution.core.types import (
    Approved,
    Decided,
    Decision,
    EngineState,
    OrderIntent,
    RoutePlan,
    TradingState,
)
from execution.executor_live import run_tick
from execution.settings import Settings
from execution.state_schema.order_journals import RouteMetric

ACTIVE = TradingState("ACTIVE")
# Nothing of this book is near a limit of its size: every intent is worked, whatever came before.
WEALTH_USD = Decimal(10) ** 12

# By symbol: when bars closed, and where.
Closes = dict[str, tuple[list[float], list[float]]]


class Recorded(Struct, frozen=True):
    """One replay's approved entries and exits by the time they were decided at, and every close.

    `at_once` is what exits that could not wait came to: deadlines, and stops that were hit.
    """

    intents: tuple[tuple[float, Approved], ...]
    at_once: tuple[RouteMetric, ...]
    closes: Closes
    policy: Policy
    window_ts: tuple[float, float]

    def of(self, action: str) -> tuple[tuple[float, Approved], ...]:
        """Select the intents that a router can choose for."""
        return tuple(
            (ts, each)
            for ts, each in self.intents
            if each.intent.action == action and not each.intent.urgent
        )


def record(folder: Path, symbols: tuple[str, ...]) -> Recorded:
    """Replay once, crossing at once, and keep what was decided.

    Taken from one run, the intents do not depend on how well either router fills them.
    """
    found: list[tuple[float, Approved]] = []
    at_once: list[RouteMetric] = []
    closes: Closes = {symbol: ([], []) for symbol in symbols}
    with _built(folder, symbols) as replayed:
        engine = replayed.engine
        router = replace(engine.live_policy.router, maker_first=False)
        engine.live_policy = policy = replace(engine.live_policy, router=router)
        for now in _minutes(replayed):
            report = run_tick(engine, engine.state)
            engine.state = report.state
            for symbol, quote in report.state.quotes.items():
                times, prices = closes[symbol]
                times.append(quote.ts)
                prices.append(quote.mark)
            verdicts = (decision.verdict for decision in report.live.decisions)
            found += ((now, each) for each in verdicts if isinstance(each, Approved))
            ends = (end for end in report.results if isinstance(end, RouteEnd))
            metrics = (route_metric(end, now, "recorded") for end in ends)
            at_once += (m for m in metrics if m.policy is None and m.filled_qty > 0)
        window_ts = replayed.market.window_ts
    return Recorded(tuple(found), tuple(at_once), closes, policy, window_ts)


def work(
    folder: Path,
    symbols: tuple[str, ...],
    intents: Iterable[tuple[float, Approved]],
    router: Router,
) -> dict[str, RouteMetric]:
    """Work intents by `router`, each for itself; return what every finished route came to."""
    due: dict[float, list[Approved]] = defaultdict(list)
    for ts, approved in intents:
        due[ts].append(_alone(approved))
    if not due:
        return {}
    last_ts, metrics, state = max(due), dict[str, RouteMetric](), EngineState()
    with _built(folder, symbols, rich=True) as replayed:
        engine = replayed.engine
        policy = replace(engine.live_policy, router=router)
        opening = [_opener(approved) for approved in _exits(due)]
        for now in _minutes(replayed):
            seen = engine.venue.observe(now)
            found = engine.desk.record(seen, now)
            state = book.observe(state, seen, found, policy.limits.book)
            bar_s = seen.bar_s if isinstance(seen, MarketSnapshot) else 0
            plans = [routing.plan(each, policy, bar_s) for each in due.get(now, ())]
            if opening and state.rules:
                plans, opening = plans + opening, []
            decisions = tuple(Decision(each.approved.intent, each.approved, each) for each in plans)
            done = engine.desk.act(Decided(ACTIVE, decisions=decisions), seen, state, now)
            for end in done:
                if isinstance(end, RouteEnd):
                    metrics[end.route.decision_id] = route_metric(end, now, "routed")
            if now > last_ts and not found.routes:
                break
    return metrics


def _alone(approved: Approved) -> Approved:
    """Free an intent of the position it was meant for: this account has legs of its own."""
    return replace(approved, intent=replace(approved.intent, position_id=None))


def _exits(due: Mapping[float, list[Approved]]) -> Iterator[Approved]:
    """Return one exit of each leg, sized like all of them together."""
    legs: dict[tuple[str, str], Approved] = {}
    for approved in (each for some in due.values() for each in some if each.intent.reduce_only):
        key = (approved.intent.symbol, approved.intent.position_side)
        before = legs.get(key)
        qty = approved.qty if before is None else before.qty + approved.qty
        legs[key] = replace(approved, qty=qty)
    yield from legs.values()


def _opener(approved: Approved) -> RoutePlan:
    """Return a plan that opens, at the market, twice what an exit closes."""
    wanted = approved.intent
    qty = 2 * approved.qty
    intent: OrderIntent = replace(
        wanted,
        decision_id=f"open-{wanted.symbol}-{wanted.position_side}",
        side="BUY" if wanted.position_side == "LONG" else "SELL",
        action="entry",
        qty=qty,
        reduce_only=False,
        exit=None,
    )
    return RoutePlan(replace(approved, intent=intent, qty=qty), (routing.TAKER,))


@contextmanager
def _built(folder: Path, symbols: tuple[str, ...], *, rich: bool = False) -> Iterator[Replay]:
    """Build a replay into a folder that is gone afterwards; `rich` with room for every intent."""
    with tempfile.TemporaryDirectory(prefix="hedge-routed-") as out:
        over = {"MARKET": f"replay:{folder.resolve()}", "HEDGE_LOG_DIR": out}
        settings = settings_door.load(over=over)
        if rich:
            settings = _rich(settings)
        settings_door.prepare_log_dir(settings)
        replayed = boot.build_replay(settings, folder, symbols)
        yield replayed
        replayed.engine.close()


def _rich(settings: Settings) -> Settings:
    paper = replace(settings.services.paper, start_usd=WEALTH_USD)
    return replace(settings, services=replace(settings.services, paper=paper))


def _minutes(replayed: Replay) -> Iterator[float]:
    """Move the clock from bar to bar, to the recording's end."""
    while (close_ts := replayed.market.next_close_ts()) is not None:
        replayed.clock.set(close_ts)
        yield close_ts
