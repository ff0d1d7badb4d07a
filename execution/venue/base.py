"""What the suite asks of a venue, and what a paper venue asks of a market.

Failure is a value here: a venue answers `Blind` or `Ambiguous` where it cannot know, and never
raises for what the network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from execution.core.seam import (
    Accepted,
    Ambiguous,
    Bar,
    Blind,
    CashRow,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Quote,
    Rejected,
    SymbolRules,
    Trade,
    VenueHealth,
    VenueOrder,
)


class Venue(Protocol):
    """An account at an exchange, real or simulated."""

    name: str
    rests_stops: bool

    def observe(self, now: float) -> MarketSnapshot | Blind:
        """Look at market and account once."""

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        """Send `order` exactly once."""

    def cancel(self, symbol: str, client_id: str) -> Accepted | NotFound | Ambiguous:
        """Ask for the order to be canceled; whether it was is read with `find_order`."""

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:
        """Look up one order, open or done."""

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        """List the account's trades of `symbol` at or after `since_ts`, oldest first."""

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:
        """List movements of the wallet that are not trades, at or after `since_ts`."""

    def health(self) -> VenueHealth:
        """Report on the connection itself."""

    def close(self) -> None:
        """Let go of files and sockets."""


class MarketView(Struct, frozen=True):
    """One look at prices; the same fields as in `MarketSnapshot`.

    `closed_ts` is the time until which every bar and every funding has now been told; a symbol
    without a bar by then has none. `half_spread_bps` is what crossing costs beside the mid.
    `funding` holds, by symbol, the (time, rate) pairs that fell due since the last read, oldest
    first; the rate is the fraction of notional that longs pay when positive.
    """

    ts: float
    closed_ts: float
    bar_s: int
    lag_s: float
    quotes: Mapping[str, Quote]
    bars: Mapping[str, tuple[Bar, ...]]
    rules: Mapping[str, SymbolRules]
    half_spread_bps: Mapping[str, float]
    funding: Mapping[str, tuple[tuple[float, float], ...]]


class Market(Protocol):
    """Prices without an account.

    `series` names the series of prices itself: an `origin_ts` means nothing on another series.
    """

    @property
    def name(self) -> str:
        """Name the kind of market: sim, replay, binance."""

    @property
    def series(self) -> str:
        """Name the series of prices, so that a restart can tell whether it is the same."""

    def open(self, now: float, origin_ts: float | None, matched_ts: float | None) -> float:
        """Place the series on the clock and return its origin, the open time of its first new bar.

        The first two Nones begin anew at `now`; else `origin_ts` is what an earlier call returned
        and `matched_ts` when the last bar closed that orders have met. The next read then brings
        the history before that moment, and whatever was missed since.
        """

    def read(self, now: float) -> MarketView | Blind:
        """Return what has happened since the last read, never going back in time.

        A long absence is caught up over several reads; until then the quotes are old and say so.
        """

    def health(self) -> VenueHealth:
        """Report on the connection itself."""
