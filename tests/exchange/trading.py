"""The whole executor on the test environment, in the test's own process, at the local exchange.

It is put together by production's own `boot` from the environment; the clock is the test's, and the
exchange's as well, so that minutes of trading pass within seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from execution import executor_live, settings
from execution.core.seam import Blind, NewOrder
from execution.core.types import TickReport
from execution.venue.base import Venue
from tests.exchange.planted import KEY, SECRET
from tests.exchange.running import Running, in_thread
from tests.exchange.setup import Setup
from tests.support.accounts import Accounts
from tests.support.engines import NOW, Rehearsed, SteppedClock
from tests.support.executors import write_ops

CALM_TICKS = 60
CALM_TICK_S = 2.5


def write_exchange_ops(folder: Path, **changes: object) -> Path:
    """Copy `ops/` made brisk, for the bars of a minute that an exchange tells."""
    ops = write_ops(folder, **{"loop_s": 0.25, **changes})
    strategy = (ops / "strategy.toml").read_text()
    strategy = strategy.replace('markets = ["sim"]', 'markets = ["binance"]')
    strategy = re.sub(
        r"^bar_s = (\d+)$", lambda m: f"bar_s = {int(m[1]) * 60}", strategy, flags=re.MULTILINE
    )
    (ops / "strategy.toml").write_text(strategy)
    services = (ops / "services.toml").read_text()
    head, exchange = services.split("[exchange]")
    exchange = re.sub(
        r"^history_bars = .*$", "history_bars = 60", exchange, count=1, flags=re.MULTILINE
    )
    (ops / "services.toml").write_text(f"{head}[exchange]{exchange}")
    return ops


def narrow(ops: Path, count: int) -> None:
    """Let `ops` list and trade so many symbols: its own first, and then more like them."""
    universe = tomlkit.parse((ops / "universe.toml").read_text())
    known = {each["symbol"]: each for each in universe["listing"]}
    first = ["BTCUSDT", "ETHUSDT", "LAYERUSDT"]
    names = [*first, *(name for name in known if name not in first)]
    names += [f"M{number}USDT" for number in range(count)]
    listing = [{**known.get(name, known["S0USDT"]), "symbol": name} for name in names[:count]]
    (ops / "universe.toml").write_text(tomlkit.dumps({"listing": listing}))
    strategy = tomlkit.parse((ops / "strategy.toml").read_text())
    for each in strategy["strategy"]:
        each["symbols"] = names[:count]
    (ops / "strategy.toml").write_text(tomlkit.dumps(strategy))


def environment(exchange: Running, folder: Path) -> dict[str, str]:
    """Return what an executor is told that trades at `exchange`."""
    return {
        "DRY_RUN": "0",
        "BINANCE_TESTNET": "1",
        "BINANCE_BASE_URL": exchange.url,
        "BINANCE_API_KEY": KEY,
        "BINANCE_API_SECRET": SECRET,
        "HEDGE_LOG_DIR": str(folder / "logs"),
        "HEDGE_OPS_DIR": str(folder / "ops"),
    }


def setup_for(ops: Path, **fields: Any) -> Setup:
    """Return an exchange that lists what `ops` may trade."""
    universe = settings.load({"HEDGE_OPS_DIR": str(ops)}).policy.universe
    return Setup(**{"listings": universe.listing, "start_usd": Decimal(100_000), **fields})


class Killed(BaseException):
    """The process ends here and now."""


class Dying:
    """A venue whose process dies when the exchange has answered an order."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def submit(self, order: NewOrder) -> object:
        answer = self._venue.submit(order)
        raise Killed(answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)


class Trading(Rehearsed):
    """An executor that trades at the exchange, and both books."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, exchange: Running, clock: SteppedClock
    ) -> None:
        for name, value in environment(exchange, folder).items():
            monkeypatch.setenv(name, value)
        self.exchange = exchange
        self.clock = clock
        self.log_dir = folder / "logs"
        self._begin()

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.log_dir, self.store, "testnet", self.exchange.books)

    def look(self, seconds: float) -> TickReport:
        """Let time pass and tick once, without publishing; a tick that raises is a failure."""
        self.clock.advance(seconds)
        before = len(self.heard.sent)
        report = executor_live.run_tick(self.engine, self.engine.state)
        self.engine.report, self.engine.state = report, report.state
        if isinstance(report.seen, Blind):
            assert len(self.heard.sent) == before, "an order was sent while blind"
        return report

    def die_at_the_next_order(self) -> None:
        """Let the process end as soon as the exchange has answered an order."""
        self.heard._venue = Dying(self.heard._venue)

    def is_settled(self) -> bool:
        """Tell whether no order is in doubt, and the books agree."""
        orders = self.accounts.orders()
        return (
            not any(row["state"] in ("PREP", "UNKNOWN") for row in orders)
            and self.accounts.fills() == self.accounts.trades()
            and self.engine.state.book.identity_residual_usd == 0
            and not self.engine.state.recorded.halts
        )

    def calm(self) -> None:
        """Let everything be answered until the books agree, and check them."""
        self.exchange.suffer()
        for _ in range(CALM_TICKS):
            self.look(CALM_TICK_S)
            if self.is_settled():
                break
        # The end of a process: it looks once more, decides nothing, and publishes.
        self.clock.advance(CALM_TICK_S)
        executor_live._stand_down(self.engine)
        self.accounts.check_at_rest()
        doubled = {name: n for name, n in self.exchange.posts().items() if n > 1}
        assert doubled == {}, "one attempt, sent more than once"
        assert self.heard.unjournalled == []
        unknown = [row for row in self.accounts.orders() if row["state"] in ("PREP", "UNKNOWN")]
        assert unknown == []
        assert self.engine.state.recorded.halts == {}


@contextmanager
def trading(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    seed: int = 1,
    symbols: int | None = None,
    **fields: Any,
) -> Iterator[Trading]:
    """Run an exchange and an executor beside each other; `fields` are the exchange's and `ops`'s."""
    of_exchange = {name: fields.pop(name) for name in Setup.__struct_fields__ if name in fields}
    changes = dict(fields)
    if "position_mode" in of_exchange:
        changes["position_mode"] = f'"{of_exchange["position_mode"]}"'
    ops = write_exchange_ops(folder, **changes)
    if symbols is not None:
        narrow(ops, symbols)
    clock = SteppedClock(NOW)
    with in_thread(
        setup_for(ops, seed=seed, **of_exchange), clock, folder / "exchange.sqlite"
    ) as exchange:
        made = Trading(monkeypatch, folder, exchange, clock)
        yield made
        made.engine.close()
