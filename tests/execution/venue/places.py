"""One account at two venues, on a clock that the test moves: on paper, and at the exchange by HTTP.

A place lets time go by, moves the price and pays funding; what it is asked, it asks its venue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from execution import settings
from execution.clock import ManualClock
from execution.core.policy import SimPath
from execution.core.position_mode import PositionMode
from execution.core.seam import (
    Accepted,
    Ambiguous,
    Bar,
    MarketSnapshot,
    NewOrder,
    Rejected,
    VenueOrder,
)
from execution.venue import ccxt_assembly
from execution.venue.base import Venue
from execution.venue.paper import PaperVenue
from execution.venue.paper_store import PaperStore
from tests.exchange.planted import KEY, SECRET
from tests.exchange.running import Running, in_thread
from tests.exchange.setup import Setup
from tests.execution.venue.scripted import BAR_S, LISTING, ORIGIN, SYMBOL, ScriptedMarket, terms
from tests.support import builders
from tests.support.executors import write_ops

PRICE = 100.0
VOLUME = 1_000_000.0


class Place(Protocol):
    """A venue, and what a test may do with the world around it."""

    clock: ManualClock
    venue: Venue
    mode: PositionMode

    def wait(self, seconds: float) -> MarketSnapshot:
        """Let time go by, and look."""

    def move(self, factor: float) -> None:
        """Let the price jump."""

    def fund(self, rate: float) -> None:
        """Let funding fall due within the next minute."""


class PaperPlace:
    """The paper venue on a market that plays what the test says."""

    def __init__(self, mode: PositionMode) -> None:
        self.mode = mode
        self.clock = ManualClock(ORIGIN + BAR_S * 30)
        self._price = self._next = PRICE
        self._market = ScriptedMarket({SYMBOL: [self._candle()] * 30})
        self._market.funding = {SYMBOL: []}
        self.venue: Venue = PaperVenue(self._market, PaperStore(None), terms(), mode)
        self.wait(0)

    def _candle(self) -> tuple[float, float, float, float, float]:
        before, self._price = self._price, self._next
        ends = (before, self._price)
        return (before, max(ends), min(ends), self._price, VOLUME)

    def wait(self, seconds: float) -> MarketSnapshot:
        self.clock.advance(seconds)
        bars = self._market.bars[SYMBOL]
        while bars[-1].ts + 2 * BAR_S <= self.clock.now():
            bars.append(Bar(bars[-1].ts + BAR_S, *self._candle()))
        return _seen(self)

    def move(self, factor: float) -> None:
        self._next *= factor

    def fund(self, rate: float) -> None:
        due_ts = self._market.bars[SYMBOL][-1].ts + 1.5 * BAR_S
        self._market.funding[SYMBOL] = [*self._market.funding[SYMBOL], (due_ts, rate)]


def _seen(place: Place) -> MarketSnapshot:
    seen = place.venue.observe(place.clock.now())
    assert isinstance(seen, MarketSnapshot), seen
    return seen


@contextmanager
def paper(mode: PositionMode, _folder: Path) -> Iterator[Place]:
    yield PaperPlace(mode)


class ExchangePlace:
    """The exchange venue, put together as the executor does it, at the exchange on this machine."""

    def __init__(self, mode: PositionMode, folder: Path, clock: ManualClock, exchange: Running):
        self.mode = mode
        self.clock = clock
        self.exchange = exchange
        ops = write_ops(folder, position_mode=f'"{mode}"')
        loaded = settings.load(
            {
                "DRY_RUN": "0",
                "BINANCE_BASE_URL": exchange.url,
                "BINANCE_API_KEY": KEY,
                "BINANCE_API_SECRET": SECRET,
                "HEDGE_LOG_DIR": str(folder / "logs"),
                "HEDGE_OPS_DIR": str(ops),
            }
        )
        settings.prepare_log_dir(loaded)
        self.venue: Venue = ccxt_assembly.exchange(loaded, clock)
        self.wait(0)

    def wait(self, seconds: float) -> MarketSnapshot:
        self.clock.advance(seconds)
        return _seen(self)

    def move(self, factor: float) -> None:
        self.exchange.ask("move", symbol=SYMBOL, factor=factor)

    def fund(self, rate: float) -> None:
        self.exchange.ask("fund", symbol=SYMBOL, rate=rate)


@contextmanager
def ccxt(mode: PositionMode, folder: Path) -> Iterator[Place]:
    clock = ManualClock(ORIGIN)
    path = SimPath(price_usd=PRICE, vol_bps=0.1, beta=0.0, volume_usd=VOLUME)
    setup = Setup(listings=(replace(LISTING, sim=path),), position_mode=mode, leverage=4)
    with in_thread(setup, clock) as exchange:
        place = ExchangePlace(mode, folder, clock, exchange)
        yield place
        place.venue.close()


class Trader:
    """Somebody who trades at a place: the same words at both."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.venue = place.venue

    def order(self, client_id: str, qty: str = "1", **fields: Any) -> NewOrder:
        """Return a market order that opens a long; `price` makes it rest, `closes` end it."""
        closes = fields.pop("closes", False)
        short = fields.pop("short", False)
        price = fields.pop("price", None)
        hedge = self.place.mode == "hedge"
        side = "SHORT" if short else "LONG"
        known: dict[str, Any] = {
            "symbol": SYMBOL,
            "side": "BUY" if short == closes else "SELL",
            "position_side": side if hedge else "BOTH",
            "type": "MARKET" if price is None else "LIMIT",
            "qty": Decimal(qty),
            "price": None if price is None else Decimal(price),
            "post_only": price is not None,
            "reduce_only": closes,
            "signed_ts": self.place.clock.now(),
        }
        return builders.new_order(client_id, **{**known, **fields})

    def submit(
        self, client_id: str, qty: str = "1", **fields: Any
    ) -> Accepted | Rejected | Ambiguous:
        return self.venue.submit(self.order(client_id, qty, **fields))

    def found(self, client_id: str) -> VenueOrder:
        found = self.venue.find_order(SYMBOL, client_id)
        assert isinstance(found, VenueOrder), found
        return found

    def far(self, below_pct: float = 5.0) -> str:
        """Return a price on the tick, so far below the touch."""
        bid = _seen(self.place).quotes[SYMBOL].bid
        tick = LISTING.tick_size
        return str(Decimal(str(bid * (1 - below_pct / 100))) // tick * tick)
