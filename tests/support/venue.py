"""A venue that does what the test tells it to, and keeps what it was asked to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from msgspec.structs import replace

from execution.core.seam import (
    Accepted,
    Account,
    Ambiguous,
    Bar,
    Blind,
    CashRow,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Quote,
    Rejected,
    Trade,
    VenueHealth,
    VenueOrder,
    VenuePosition,
)
from tests.support import builders

OPEN = {"LIVE", "PARTIAL"}
# What a test lets happen happens after the last look at the account, which does not show it.
SOON_S = 0.001


class FakeVenue:
    """An exchange account in hedge mode whose market stands still.

    Every submit takes the next of `answers`, and accepts when there is none. With `lost` it takes
    in what it answers Ambiguous; `hidden` orders are not found, open or done; `mute` names the
    questions that are answered Blind. `watch` is called with each order before it is answered.
    """

    name = "fake"

    def __init__(self, *, rests_stops: bool = True, wallet: str = "10000") -> None:
        self.rests_stops = rests_stops
        self.answers: deque[Accepted | Rejected | Ambiguous] = deque()
        self.lost = False
        self.hidden: set[str] = set()
        self.mute: set[str] = set()
        self.watch: Callable[[NewOrder], None] | None = None
        self.sent: list[NewOrder] = []
        self.canceled: list[str] = []
        self.asked: list[str] = []
        self.quotes: dict[str, Quote] = {s: builders.quote() for s in builders.SYMBOLS}
        self.rules = {symbol: builders.rules() for symbol in builders.SYMBOLS}
        self.bars: dict[str, tuple[Bar, ...]] = {}
        self.wallet = Decimal(wallet)
        self.orders: dict[str, VenueOrder] = {}
        self.held: dict[tuple[str, str], Decimal] = {}
        self.done: list[Trade] = []
        self.rows: list[CashRow] = []
        self._now = builders.NOW
        self._shown: Account | None = None

    # ------------------------------------------------------------ what the test does

    def fill(
        self, client_id: str, qty: str | None = None, price: str = "100", *, maker: bool = True
    ) -> Trade:
        """Let an order be executed, wholly or by `qty`."""
        order = self.orders[client_id]
        amount = order.qty - order.filled_qty if qty is None else Decimal(qty)
        filled = order.filled_qty + amount
        state = "FILLED" if filled == order.qty else "PARTIAL"
        self.orders[client_id] = replace(order, filled_qty=filled, state=state)
        return self.execute(
            order.symbol, order.position_side, order.side, amount, price, client_id, maker=maker
        )

    def execute(
        self,
        symbol: str,
        position_side: str,
        side: str,
        qty: Decimal,
        price: str = "100",
        client_id: str = "by-hand",
        realized: str = "0",
        *,
        maker: bool = True,
    ) -> Trade:
        """Book one execution, of whoever's order."""
        trade = builders.trade(
            f"t{len(self.done) + 1}",
            str(qty),
            symbol=symbol,
            client_id=client_id,
            side=side,
            position_side=position_side,
            price=Decimal(price),
            realized_usd=Decimal(realized),
            maker=maker,
            ts=self._now + SOON_S,
        )
        self.done.append(trade)
        key = (symbol, position_side)
        self.held[key] = self.held.get(key, Decimal(0)) + (qty if side == "BUY" else -qty)
        self.wallet += trade.realized_usd - trade.fee
        self.change()
        return trade

    def pay(self, cash_id: str, amount: str, kind: str = "funding") -> None:
        """Pay or take funding, or another kind of cash."""
        row = CashRow(cash_id, kind, "USDT", Decimal(amount), "BTCUSDT", self._now + SOON_S)
        self.rows.append(row)
        self.wallet += row.amount
        self.change()

    def end(self, client_id: str, state: str = "CANCELED") -> None:
        """Let an order end without the desk."""
        self.orders[client_id] = replace(self.orders[client_id], state=state)
        self.change()

    def change(self) -> None:
        """Make the next look show a new account object."""
        self._shown = None

    def open_ids(self) -> list[str]:
        return [order.client_id for order in self.orders.values() if order.state in OPEN]

    # ------------------------------------------------------------ what the desk asks

    def observe(self, now: float) -> MarketSnapshot | Blind:
        self._now = now
        if "observe" in self.mute:
            return Blind(now, "muted")
        if self._shown is None:
            self._shown = Account(
                ts=now,
                wallet_usd=self.wallet,
                positions=tuple(
                    VenuePosition(symbol, side, qty, Decimal(100))
                    for (symbol, side), qty in self.held.items()
                    if qty != 0
                ),
                open_orders=tuple(
                    order
                    for order in self.orders.values()
                    if order.state in OPEN and order.client_id not in self.hidden
                ),
                other_assets={},
            )
        quotes = {symbol: replace(quote, ts=now) for symbol, quote in self.quotes.items()}
        return MarketSnapshot(now, 60, 0.0, quotes, self.bars, self.rules, self._shown)

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        if self.watch is not None:
            self.watch(order)
        self.sent.append(order)
        answer = self.answers.popleft() if self.answers else Accepted(f"v{len(self.sent)}")
        if isinstance(answer, Accepted) or (isinstance(answer, Ambiguous) and self.lost):
            self.orders[order.client_id] = VenueOrder(
                client_id=order.client_id,
                venue_order_id=f"v{len(self.sent)}",
                symbol=order.symbol,
                side=order.side,
                position_side=order.position_side,
                type=order.type,
                qty=order.qty,
                price=order.price,
                stop_price=order.stop_price,
                reduce_only=order.reduce_only,
                close_position=order.close_position,
                filled_qty=Decimal(0),
                state="LIVE",
                ts=order.signed_ts,
            )
            self.change()
        return answer

    def cancel(self, symbol: str, client_id: str) -> Accepted | NotFound | Ambiguous:
        self.asked.append(f"cancel {client_id}")
        self.canceled.append(client_id)
        if "cancel" in self.mute:
            return Ambiguous("muted")
        order = self.orders.get(client_id)
        if order is None or order.symbol != symbol or order.state not in OPEN:
            return NotFound()
        self.end(client_id)
        return Accepted(order.venue_order_id)

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:
        self.asked.append(f"find {client_id}")
        if "find_order" in self.mute:
            return Blind(self._now, "muted")
        order = self.orders.get(client_id)
        if order is None or order.symbol != symbol or client_id in self.hidden:
            return NotFound()
        return order

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        self.asked.append(f"trades {symbol}")
        if {"trades", f"trades {symbol}"} & self.mute:
            return Blind(self._now, "muted")
        return tuple(t for t in self.done if t.symbol == symbol and t.ts >= since_ts)

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:
        self.asked.append("cash")
        if "cash" in self.mute:
            return Blind(self._now, "muted")
        return tuple(row for row in self.rows if row.ts >= since_ts)

    def health(self) -> VenueHealth:
        return VenueHealth()

    def close(self) -> None:
        return
