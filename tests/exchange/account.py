"""One account at the exchange: the paper venue's matching, with what a person can do beside it.

Time is the exchange's own, in whole milliseconds, and never stands still between two looks.
"""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from execution.clock import Clock
from execution.core.position_mode import PositionMode
from execution.core.seam import (
    ZERO,
    Accepted,
    CashRow,
    MarketSnapshot,
    NewOrder,
    Rejected,
    Trade,
    VenueOrder,
)
from execution.venue.paper import PaperVenue
from execution.venue.paper_store import PaperStore
from tests.exchange.floor import Floor
from tests.exchange.setup import Setup

OPEN = ("LIVE", "PARTIAL")


class Symbol(Struct):
    """What an account has set for one symbol."""

    leverage: int
    margin_type: str = "CROSSED"


class Exchange:
    """Prices and one account; `skew_s` is how far its clock is ahead of everybody else's.

    `now_ms` is the time of the last look: what is booked is not later.
    """

    def __init__(self, setup: Setup, clock: Clock, path: Path | None) -> None:
        self.setup = setup
        self.clock = clock
        self.skew_s = 0.0
        self.floor = Floor(setup)
        self.store = PaperStore(path, durable=False)
        self.mode: PositionMode = setup.position_mode
        self.multi_assets = setup.multi_assets
        self.symbols = {s.symbol: Symbol(setup.leverage) for s in setup.listings}
        self.tifs: dict[str, str] = {}
        self.ended: dict[str, float] = {}
        self._venue = self._made()
        self.now_ms = 0
        self._by_hand = 0
        self.look()

    def _made(self) -> PaperVenue:
        return PaperVenue(self.floor, self.store, self.setup.terms(), self.mode)

    # ------------------------------------------------------------ time and prices

    def time_ms(self) -> int:
        """Return what time it is here."""
        return math.floor((self.clock.now() + self.skew_s) * 1000)

    def look(self) -> MarketSnapshot:
        """Let everything that has happened happen; the exchange is never blind."""
        self.now_ms = max(self.time_ms(), self.now_ms + 1)
        seen = self._venue.observe(self.now_ms / 1000)
        if not isinstance(seen, MarketSnapshot):
            raise TypeError(f"the exchange cannot see itself: {seen}")
        return seen

    # ------------------------------------------------------------ orders

    def submit(self, order: NewOrder, tif: str) -> VenueOrder | Rejected:
        """Take an order; one that takes is met at once."""
        self.look()
        answer = self._venue.submit(replace(order, signed_ts=self.now_ms / 1000))
        if isinstance(answer, Rejected):
            return answer
        if not isinstance(answer, Accepted):
            raise TypeError(f"the exchange does not know what it did: {answer}")
        self.tifs[answer.venue_order_id] = tif
        taken = self.order(venue_order_id=answer.venue_order_id)
        self.look()
        if taken is None:
            raise LookupError(answer.venue_order_id)
        return taken

    def cancel(self, order: VenueOrder) -> VenueOrder:
        """End an open order."""
        self.look()
        if isinstance(self._venue.cancel(order.symbol, order.client_id), Accepted):
            self.ended[order.venue_order_id] = self.now_ms / 1000
        return self.order(venue_order_id=order.venue_order_id) or order

    def order(
        self, *, symbol: str | None = None, client_id: str = "", venue_order_id: str = ""
    ) -> VenueOrder | None:
        """Find one order by either id; of several with one client id the newest."""
        if venue_order_id:
            found = self.store._select(
                VenueOrder, "orders WHERE venue_order_id = ?", (venue_order_id,)
            )
            return found[0] if found else None
        if symbol is None:
            return None
        answer = self._venue.find_order(symbol, client_id)
        return answer if isinstance(answer, VenueOrder) else None

    def orders(self, symbol: str | None = None) -> tuple[VenueOrder, ...]:
        """List every order there ever was, oldest first."""
        where, values = ("WHERE symbol = ?", (symbol,)) if symbol else ("", ())
        return self.store._select(VenueOrder, f"orders {where} ORDER BY id", values)

    def trades(self, symbol: str | None = None) -> tuple[Trade, ...]:
        """List every trade there ever was, oldest first."""
        where, values = ("WHERE symbol = ?", (symbol,)) if symbol else ("", ())
        return self.store._select(Trade, f"trades {where} ORDER BY id", values)

    def trades_of(self, order: VenueOrder) -> tuple[Trade, ...]:
        """List the executions of one order."""
        return self.store._select(
            Trade, "trades WHERE venue_order_id = ? ORDER BY id", (order.venue_order_id,)
        )

    def cash(self) -> tuple[CashRow, ...]:
        """List the movements of the wallet that are no trades, oldest first."""
        return self.store.cash(0.0)

    # ------------------------------------------------------------ settings

    def switch(self, mode: PositionMode) -> None:
        """Change the position mode of an account without positions and orders."""
        self.mode = mode
        account, clock = self._venue._account, self._venue._clock
        self._venue = self._made()
        if account is not None and clock is not None:
            self._venue._hold(account, clock)
        self.look()

    # ------------------------------------------------------------ what people do

    def by_hand(
        self,
        symbol: str,
        side: str,
        position_side: str,
        qty: str,
        price: str | None = None,
        *,
        name: str = "web",
        reduce_only: bool = False,
    ) -> VenueOrder | Rejected:
        """Let the account's owner, or the exchange itself, send an order past the suite."""
        self._by_hand += 1
        return self.submit(
            NewOrder(
                client_id=f"{name}_{self._by_hand}",
                symbol=symbol,
                side="BUY" if side == "BUY" else "SELL",
                position_side=position_side,  # type: ignore[arg-type]  # checked by the venue
                type="MARKET" if price is None else "LIMIT",
                qty=Decimal(qty),
                price=None if price is None else Decimal(price),
                stop_price=None,
                reduce_only=reduce_only,
                close_position=False,
                post_only=False,
                signed_ts=0.0,
            ),
            "GTC",
        )

    def close_by_hand(self, symbol: str, *, name: str = "web", share: str = "1") -> list[str]:
        """Close every leg of a symbol, or a share of it, at the market; return the client ids."""
        ids = []
        step = self.floor.listings[symbol].step_size
        for leg in self.look().account.positions:
            qty = abs(leg.qty) * Decimal(share) // step * step
            if leg.symbol != symbol or qty == ZERO:
                continue
            side = "SELL" if leg.qty > 0 else "BUY"
            done = self.by_hand(
                symbol, side, leg.position_side, str(qty), name=name, reduce_only=True
            )
            if isinstance(done, Rejected):
                raise TypeError(f"cannot be closed: {done}")
            ids.append(done.client_id)
        return ids

    def delist(self, symbol: str, status: str) -> None:
        """Stop trading a symbol: orders end, positions are settled; as GONE it is not listed."""
        for order in self.look().account.open_orders:
            if order.symbol == symbol:
                self.cancel(order)
        self.close_by_hand(symbol, name="settlement_autoclose-")
        self.floor.status[symbol] = status
