"""A market that plays the bars it is given, and a paper venue on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from execution.core.policy import Listing
from execution.core.position_mode import PositionMode
from execution.core.seam import Bar, Blind, MarketSnapshot, NewOrder, Quote, Trade, VenueHealth
from execution.errors import VenueUnavailable
from execution.venue.base import MarketView
from execution.venue.listings import TickGrid, half_spreads_of, rules_of
from execution.venue.paper import PaperVenue
from execution.venue.paper_account import PaperTerms
from execution.venue.paper_store import Changes, PaperStore
from tests.support import builders, policies

BAR_S = 60
ORIGIN = builders.NOW
SYMBOL = "BTCUSDT"

Candle = tuple[float, float, float, float, float]  # open, high, low, close, volume
Funding = Mapping[str, Sequence[tuple[float, float]]]

# Tick 0.1, step 0.01: a price near 100 and quantities of a few units.
LISTING = policies.listing(SYMBOL, step_size=Decimal("0.01"), min_qty=Decimal("0.01"))


def terms(**fields: Any) -> PaperTerms:
    known = {
        "start_usd": Decimal(10_000),
        "maker_fee_bps": Decimal(2),
        "taker_fee_bps": Decimal(5),
        "slippage_bps": Decimal(1),
        "volume_share_frac": Decimal("0.1"),
        "leverage": Decimal(4),
        "maintenance_margin_pct": Decimal("0.5"),
        "liquidation_fee_pct": Decimal("1.25"),
    }
    return PaperTerms(**{**known, **fields})


def order(client_id: str, **fields: Any) -> NewOrder:
    """Return a market buy of one unit; the keywords make it another order."""
    known: dict[str, Any] = {
        "type": "MARKET",
        "price": None,
        "post_only": False,
        "signed_ts": ORIGIN,
    }
    for name in ("qty", "price", "stop_price"):
        if isinstance(fields.get(name), str):
            fields[name] = Decimal(fields[name])
    return builders.new_order(client_id, **{**known, **fields})


def candle(price: float, *, low: float | None = None, high: float | None = None) -> Candle:
    return (price, high or price, low or price, price, 100.0)


class ScriptedMarket:
    """Plays `candles` of each symbol, one a minute from ORIGIN on; a None is a missing bar.

    After each opening it tells everything again from the beginning, as a market may.
    """

    name = "scripted"
    series = "scripted"

    def __init__(
        self,
        candles: Mapping[str, Sequence[Candle | None]],
        listings: Sequence[Listing] = (LISTING,),
        funding: Funding | None = None,
    ) -> None:
        self.listings = listings
        self.rules = rules_of(listings)
        self.bars = {
            symbol: [
                Bar(ORIGIN + BAR_S * at, *values)
                for at, values in enumerate(played)
                if values is not None
            ]
            for symbol, played in candles.items()
        }
        self.funding = funding or {}
        self.blind: str | None = None
        self.closed_ts = ORIGIN
        self.opened: list[float | None] = []

    def open(self, _now: float, origin_ts: float | None, matched_ts: float | None) -> float:
        self.opened.append(matched_ts)
        self.closed_ts = ORIGIN if matched_ts is None else matched_ts
        self.first = True
        return ORIGIN if origin_ts is None else origin_ts

    def read(self, now: float) -> MarketView | Blind:
        if self.blind is not None:
            return Blind(now, self.blind)
        since_ts = -math.inf if self.first else self.closed_ts
        self.first = False
        self.closed_ts = max(self.closed_ts, now // BAR_S * BAR_S)
        grids = {listing.symbol: TickGrid(listing) for listing in self.listings}
        seen = {
            symbol: tuple(bar for bar in bars if bar.ts + BAR_S <= self.closed_ts)
            for symbol, bars in self.bars.items()
        }
        quotes: dict[str, Quote] = {}
        for symbol, bars in seen.items():
            close, ts = (bars[-1].close, bars[-1].ts + BAR_S) if bars else (100.0, ORIGIN)
            quotes[symbol] = grids[symbol].touch(ts, close)
        new = {s: tuple(bar for bar in bars if bar.ts >= since_ts) for s, bars in seen.items()}
        due = {
            symbol: tuple(due for due in dues if since_ts < due[0] <= self.closed_ts)
            for symbol, dues in self.funding.items()
        }
        return MarketView(
            ts=now,
            closed_ts=self.closed_ts,
            bar_s=BAR_S,
            lag_s=BAR_S,
            quotes=quotes,
            bars={symbol: bars for symbol, bars in new.items() if bars},
            rules=self.rules,
            half_spread_bps=half_spreads_of(self.listings),
            funding={symbol: dues for symbol, dues in due.items() if dues},
        )

    def health(self) -> VenueHealth:
        return VenueHealth()


class BrokenDisk(PaperStore):
    """A store whose disk fails while `broken`."""

    broken = False

    def commit(self, changes: Changes) -> None:
        if self.broken:
            raise VenueUnavailable("paper.sqlite cannot be written: disk I/O error")
        super().commit(changes)


class Bench:
    """A venue on a scripted market, moved one bar at a time."""

    def __init__(
        self,
        candles: Sequence[Candle | None],
        *,
        path: Path | None = None,
        funding: Funding | None = None,
        listing: Listing = LISTING,
        mode: PositionMode = "hedge",
        **money: Any,
    ) -> None:
        self.market = ScriptedMarket({SYMBOL: candles}, (listing,), funding)
        self.mode = mode
        self.path = path
        self.money = money
        self.now = ORIGIN
        self.start()

    def start(self) -> None:
        """Build the venue, or build it again as a new process does."""
        self.store = BrokenDisk(self.path, durable=self.path is not None)
        self.venue = PaperVenue(self.market, self.store, terms(**self.money), self.mode)
        self.seen: MarketSnapshot | Blind = self.venue.observe(self.now)

    def restart(self) -> None:
        self.venue.close()
        self.start()

    def step(self, bars: int = 1) -> MarketSnapshot:
        self.now += BAR_S * bars
        self.seen = self.venue.observe(self.now)
        assert isinstance(self.seen, MarketSnapshot)
        return self.seen

    def submit(self, client_id: str, **fields: Any) -> str:
        """Submit and return the code of the refusal, or nothing."""
        answer = self.venue.submit(order(client_id, signed_ts=self.now, **fields))
        return getattr(answer, "code", "")

    def state(self, client_id: str) -> str:
        return self.venue.find_order(SYMBOL, client_id).state

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self.venue.trades(SYMBOL, 0.0)

    @property
    def legs(self) -> dict[str, Decimal]:
        assert isinstance(self.seen, MarketSnapshot)
        return {leg.position_side: leg.qty for leg in self.seen.account.positions}

    @property
    def wallet(self) -> Decimal:
        assert isinstance(self.seen, MarketSnapshot)
        return self.seen.account.wallet_usd
