"""What the slow cadence has read of the journals: closed trades, and finished routes by symbol.

Each read goes on where the last one ended and is bounded, and so is what is kept: a long history
costs a few loops after a start, and no memory. Nothing of it is stored: the journals are the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from msgspec.structs import replace

from execution.core import router_health
from execution.core.intel_terms import Intel
from execution.core.policy import Policy
from execution.core.router_health import Window
from execution.jsonl_log import read_from
from execution.state_schema import registry
from execution.state_schema.files import JournalPosition
from execution.state_schema.journals import Record
from execution.state_schema.order_journals import Close, OrderMetric, RouteMetric
from execution.state_schema.registry import Journal

R = TypeVar("R", bound=Record)
T = TypeVar("T")
KB = 1024
HOURS_A_DAY = 24
PRESENT_ROUTES = 500  # of a symbol: older ones than so many say nothing of the present market


class IntelJournals:
    """The newest closed trades and finished routes; `behind` until all that was written is read.

    `routes` is the window of the router's health, `present` the routes under the policy that each
    symbol has now, over autotune's own window.
    """

    def __init__(self, log_dir: Path, terms: Intel) -> None:
        self._log_dir = log_dir
        self._limit_bytes = terms.reading.loop_kb * KB
        self._present_hours = terms.autotune.lookback_days * HOURS_A_DAY
        self._at: dict[str, JournalPosition | None] = {}
        self.closes: deque[Close] = deque(maxlen=terms.reading.trades_kept)
        self.routes: Window = {}
        self.present: Window = {}
        self.behind = True

    def read(self, policy: Policy, now: float) -> None:
        """Take in what was written since, up to the limit; raises OSError."""
        self.behind = True
        metrics, all_metrics = self._next(registry.ORDER_METRICS)
        self._take_routes(metrics, policy, now)
        events, all_events = self._next(registry.ORDERS_EXECUTED)
        self.closes.extend(event for event in events if isinstance(event, Close))
        self.behind = not (all_metrics and all_events)

    def forget_present(self, symbol: str) -> None:
        """Begin the sample of a symbol anew, whose policy has changed."""
        self.present = {kept: routes for kept, routes in self.present.items() if kept != symbol}

    def _take_routes(self, metrics: Iterable[OrderMetric], policy: Policy, now: float) -> None:
        ended = [metric for metric in metrics if isinstance(metric, RouteMetric)]
        health = policy.router.health
        self.routes = router_health.take_in(self.routes, ended, health, now)
        present = [each for each in ended if each.policy == policy.route_policy(each.symbol)]
        longer = replace(health, window_hours=self._present_hours, max_routes=PRESENT_ROUTES)
        self.present = router_health.take_in(self.present, present, longer, now)

    def _next(self, journal: Journal[R]) -> tuple[tuple[R, ...], bool]:
        """Return what is new in a journal, and whether that is all of it."""
        decode = _Counted(journal.decoder.decode)
        path, at = self._log_dir / journal.path, self._at.get(journal.name)
        batch = read_from(path, at, decode, self._limit_bytes)
        self._at[journal.name] = batch.position
        return batch.records, decode.read_bytes < self._limit_bytes


class _Counted(Generic[T]):
    """A decoder that counts the bytes it was given, line ends included."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._decode = decode
        self.read_bytes = 0

    def __call__(self, line: bytes) -> T:
        self.read_bytes += len(line) + 1
        return self._decode(line)
