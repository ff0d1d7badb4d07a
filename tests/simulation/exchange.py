"""The exchange as it truly is: prices, orders, fills, positions and the wallet of one account.

Nothing here fails or lies; what gets lost on the way is the wire's doing. Two rules of the real
exchange matter most: a client id is unique among open orders only, and a request can arrive late,
within its receive window.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from execution.core.position_mode import PositionMode
from execution.core.seam import (
    ZERO,
    Accepted,
    Bar,
    CashRow,
    LegKey,
    NewOrder,
    NotFound,
    Quote,
    Rejected,
    SymbolRules,
    Trade,
    VenueOrder,
    VenuePosition,
)
from tests.simulation.prices import BAR_S, Walk

FUNDING_S = 60.0
LEVERAGE = Decimal(5)
CENT = Decimal("1e-8")
MAKER_FRAC = Decimal("0.0002")
TAKER_FRAC = Decimal("0.0005")
RULES = SymbolRules(
    tick_size=Decimal("0.1"),
    step_size=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    min_notional_usd=Decimal(5),
)
STEP_S = 2.0


class Heard(Protocol):
    """Whoever is told what truly happens."""

    def accepted(self, order: NewOrder, before: tuple[VenueOrder, ...]) -> None:
        """Hear of an order, with every earlier one of its decision."""

    def filled(self, order: VenueOrder, trade: Trade) -> None:
        """Hear of an execution."""

    def crossed(self, order: VenueOrder | NewOrder) -> None:
        """Hear of an execution that would turn a leg around."""


class Leg(Struct):
    """One open leg and what it cost; both below 0 for a short."""

    qty: Decimal
    cost_usd: Decimal


class Letter(Struct):
    """A request under way, an order or the client id of one to cancel; it arrives at `due_ts`."""

    due_ts: float
    content: NewOrder | str


def decision_of(client_id: str) -> str:
    """Return the decision that one of our client ids names; "" for anybody else's."""
    return client_id.split("-")[1] if client_id.startswith("hg") else ""


class Exchange:
    """One account in either position mode, on a few symbols whose prices walk."""

    def __init__(
        self, seed: int, symbols: tuple[str, ...], now: float, heard: Heard, mode: PositionMode
    ) -> None:
        self.now = now
        self.mode = mode
        self.heard = heard
        self.rng = random.Random(f"{seed} exchange")
        self.walks = {s: Walk(random.Random(f"{seed} {s}"), now) for s in symbols}
        self.wallet = Decimal(10_000)
        self.legs: dict[LegKey, Leg] = {}
        self.orders: dict[str, VenueOrder] = {}
        self.open: dict[str, VenueOrder] = {}
        self.of_decision: dict[str, dict[str, VenueOrder]] = {}
        self.known_from: dict[str, float] = {}
        self.trades: dict[str, list[Trade]] = {s: [] for s in symbols}
        self.told_from: dict[tuple[str, str], float] = {}
        self.rows = [CashRow("start", "start", "USDT", self.wallet, None, now)]
        self.letters: list[Letter] = []
        self.posts: dict[str, int] = {}
        self.is_frozen = False
        self.is_slow_to_show = False
        self.order_lag_s = self.trade_lag_s = 0.0
        self._funding_ts = now + FUNDING_S

    # ------------------------------------------------------------ time

    def advance(self, seconds: float) -> None:
        """Let time pass: prices move, letters arrive, orders fill, funding is paid."""
        until = self.now + seconds
        while self.now < until:
            due = min((letter.due_ts for letter in self.letters), default=until)
            self._move(min(until, self.now + STEP_S, max(due, self.now)))
            while arrived := next((x for x in self.letters if x.due_ts <= self.now), None):
                self.letters.remove(arrived)
                if isinstance(arrived.content, NewOrder):
                    self.submit(arrived.content)
                else:
                    self.cancel(arrived.content)

    def _move(self, now: float) -> None:
        self.now = now
        if self.is_frozen:
            return
        for walk in self.walks.values():
            walk.move(now)
        for order in tuple(self.open.values()):
            self._meet(order)
        if now >= self._funding_ts:
            self._funding_ts += FUNDING_S
            self._pay_funding()

    def _pay_funding(self) -> None:
        for (symbol, side), leg in self.legs.items():
            rate = Decimal(self.rng.choice((-1, 1))) / 10_000
            amount = (abs(leg.cost_usd) * rate).quantize(CENT)
            cash_id = f"funding:{symbol}:{side}:{self.now:.3f}"
            self.rows.append(CashRow(cash_id, "funding", "USDT", amount, symbol, self.now))
            self.wallet += amount

    def freeze(self) -> None:
        """Let the market stand still; what is to be shown is shown."""
        self.is_frozen = True

    # ------------------------------------------------------------ requests

    def submit(self, order: NewOrder) -> Accepted | Rejected:
        """Take an order, or say why not."""
        refused = next(self._refusals(order), None)
        if refused is not None:
            return refused
        decision = decision_of(order.client_id)
        self.heard.accepted(order, tuple(self.of_decision.get(decision, {}).values()))
        venue_id = str(len(self.orders) + 1)
        fields = {f: getattr(order, f) for f in order.__struct_fields__}
        del fields["post_only"], fields["signed_ts"]
        taken = VenueOrder(
            venue_order_id=venue_id, filled_qty=ZERO, state="LIVE", ts=self.now, **fields
        )
        self._keep(taken)
        lags = self.is_slow_to_show and self.rng.random() < 0.3
        self.known_from[venue_id] = self.now + (self.rng.random() * self.order_lag_s if lags else 0)
        if order.type == "MARKET":
            self._meet(taken)
        return Accepted(venue_id)

    def _refusals(self, order: NewOrder) -> Iterator[Rejected]:
        if any(o.client_id == order.client_id for o in self.open.values()):
            yield Rejected("-4116", "client id is in use by an open order")
        if _is_off_grid(order):
            yield Rejected("-1111", f"off the grid: {order}")
        quote = self.walks[order.symbol].quote
        if (order.position_side == "BOTH") != (self.mode == "one_way"):
            yield Rejected("-4061", f"this account is in {self.mode} mode")
        if _only_reduces(order):
            if not self._reducible(order):
                yield Rejected("-2022", "nothing to reduce")
        elif order.qty * Decimal(repr(quote.mark)) < RULES.min_notional_usd:
            yield Rejected("-4164", "notional below the minimum")
        if order.type == "STOP_MARKET" and _is_hit(order, quote):
            yield Rejected("-2021", "would trigger at once")
        if order.post_only and _crosses(order, quote):
            yield Rejected("-5022", "post-only and would take")

    def cancel(self, client_id: str) -> Accepted | NotFound:
        """End an open order."""
        order = next((o for o in self.open.values() if o.client_id == client_id), None)
        if order is None:
            return NotFound()
        self._keep(replace(order, state="CANCELED"))
        return Accepted(order.venue_order_id)

    # ------------------------------------------------------------ matching

    def _meet(self, order: VenueOrder) -> None:
        quote = self.walks[order.symbol].quote
        touch = quote.ask if order.side == "BUY" else quote.bid
        price = Decimal(repr(touch)).quantize(RULES.tick_size)
        if order.type == "LIMIT":
            if order.price is None or not _crosses(order, quote):
                return
            price = order.price
        elif order.type == "STOP_MARKET" and not _is_hit(order, quote):
            return
        left = order.qty - order.filled_qty
        if _only_reduces(order):
            held = self._reducible(order)
            if not held:
                self._keep(replace(order, state="EXPIRED"))
                return
            left = held if order.close_position else min(left, held)
        # Most fill at once; some in pieces, and a taker's rest may find nobody.
        drawn = self.rng.random()
        piece = left
        if drawn < 0.2 and not order.close_position:
            piece = (left * Decimal("0.4")).quantize(RULES.step_size, ROUND_DOWN) or left
        self._execute(order, piece, price)

    def _execute(self, order: VenueOrder, qty: Decimal, price: Decimal) -> None:
        realized = self._turn_leg(order, qty, (qty * price).quantize(CENT))
        maker = order.type == "LIMIT"
        fee = (qty * price * (MAKER_FRAC if maker else TAKER_FRAC)).quantize(CENT)
        done = order.filled_qty + qty
        if order.close_position:
            after = replace(order, qty=qty, filled_qty=qty, state="FILLED")
        elif done == order.qty:
            after = replace(order, filled_qty=done, state="FILLED")
        elif maker and (not _only_reduces(order) or self._reducible(order)):
            after = replace(order, filled_qty=done, state="PARTIAL")
        else:
            after = replace(order, filled_qty=done, state="EXPIRED")
        self.wallet += realized - fee
        self._keep(after)
        self.heard.filled(after, self._book(after, qty, price, fee, realized, maker))

    def _reducible(self, order: VenueOrder | NewOrder) -> Decimal:
        """Return how much of its leg an order can take off; 0 where it adds."""
        leg = self.legs.get((order.symbol, order.position_side))
        against = leg is not None and (leg.qty > 0) == (order.side == "SELL")
        return abs(leg.qty) if leg is not None and against else ZERO

    def _turn_leg(self, order: VenueOrder | NewOrder, qty: Decimal, worth: Decimal) -> Decimal:
        key: LegKey = (order.symbol, order.position_side)
        held = self._reducible(order)
        leg = self.legs.setdefault(key, Leg(ZERO, ZERO))
        sign = 1 if order.side == "BUY" else -1
        if not held:
            leg.qty += sign * qty
            leg.cost_usd += sign * worth
            return ZERO
        if qty > held:
            self.heard.crossed(order)  # and it is booked as if the rest had found nobody
        cost = leg.cost_usd if qty >= held else (leg.cost_usd * qty / held).quantize(CENT)
        leg.qty += sign * min(qty, held)
        leg.cost_usd -= cost
        if leg.qty == 0:
            del self.legs[key]
        return -sign * worth - cost

    def _book(
        self,
        order: VenueOrder,
        qty: Decimal,
        price: Decimal,
        fee: Decimal,
        realized: Decimal,
        maker: bool,
    ) -> Trade:
        trades = self.trades[order.symbol]
        trade = Trade(
            symbol=order.symbol,
            trade_id=str(len(trades) + 1),  # unique within its symbol, as the exchange's are
            client_id=order.client_id,
            venue_order_id=order.venue_order_id,
            side=order.side,
            position_side=order.position_side,
            qty=qty,
            price=price,
            fee=fee,
            fee_asset="USDT",
            fee_usd=fee,
            realized_usd=realized,
            maker=maker,
            ts=self.now,
        )
        trades.append(trade)
        lags = self.is_slow_to_show and self.rng.random() < 0.15
        self.told_from[order.symbol, trade.trade_id] = self.now + (
            self.rng.random() * self.trade_lag_s if lags else 0
        )
        return trade

    def close_by_hand(self, key: LegKey, qty: Decimal) -> None:
        """Let the account's owner close a part of a leg past the suite."""
        self._close(key, qty, f"web_{len(self.orders)}")

    def liquidate(self, key: LegKey) -> None:
        """Close a leg as the exchange does: its symbol's orders are gone, and then the leg is."""
        for order in tuple(self.open.values()):
            if order.symbol == key[0]:
                self._keep(replace(order, state="CANCELED"))
        self._close(key, abs(self.legs[key].qty), f"autoclose-{len(self.orders)}")

    def _close(self, key: LegKey, qty: Decimal, client_id: str) -> None:
        side = "SELL" if self.legs[key].qty > 0 else "BUY"
        order = VenueOrder(
            client_id, str(len(self.orders) + 1), key[0], side, key[1], "MARKET",
            qty, None, None, True, False, ZERO, "LIVE", self.now,
        )  # fmt: skip
        quote = self.walks[key[0]].quote
        self._execute(order, qty, Decimal(repr(quote.bid)).quantize(RULES.tick_size))

    def rest_by_hand(self, key: LegKey, ticks: int) -> None:
        """Let the owner leave an order of their own that would close a leg, so far from the market."""
        symbol, position_side = key
        held, quote = self.legs[key].qty, self.walks[symbol].quote
        long = held > 0
        touch = Decimal(repr(quote.ask if long else quote.bid)).quantize(RULES.tick_size)
        away = ticks * RULES.tick_size
        self.submit(
            NewOrder(
                client_id=f"web_{len(self.orders)}",
                symbol=symbol,
                side="SELL" if long else "BUY",
                position_side=position_side,
                type="LIMIT",
                qty=abs(held),
                price=touch + away if long else touch - away,
                stop_price=None,
                reduce_only=True,
                close_position=False,
                post_only=True,
                signed_ts=self.now,
            )
        )

    def _keep(self, order: VenueOrder) -> None:
        self.orders[order.venue_order_id] = order
        self.of_decision.setdefault(decision_of(order.client_id), {})[order.venue_order_id] = order
        if order.state in ("LIVE", "PARTIAL"):
            self.open[order.venue_order_id] = order
        else:
            self.open.pop(order.venue_order_id, None)

    # ------------------------------------------------------------ what it shows

    def of(self, client_id: str) -> list[VenueOrder]:
        """List the orders that ever had this client id, oldest first."""
        same = self.of_decision.get(decision_of(client_id), {})
        return [order for order in same.values() if order.client_id == client_id]

    def is_shown(self, order: VenueOrder) -> bool:
        """Tell whether lookups see an order yet."""
        return not self.is_slow_to_show or self.known_from.get(order.venue_order_id, 0) <= self.now

    def is_told(self, trade: Trade) -> bool:
        """Tell whether the list of trades has one yet."""
        known_from = self.told_from[trade.symbol, trade.trade_id]
        return not self.is_slow_to_show or known_from <= self.now

    def positions(self) -> tuple[VenuePosition, ...]:
        """List the open legs."""
        return tuple(
            VenuePosition(
                symbol,
                side,
                leg.qty,
                (leg.cost_usd / leg.qty).quantize(CENT),
                LEVERAGE,
            )
            for (symbol, side), leg in self.legs.items()
        )

    def bars(self, symbol: str, since_ts: float) -> tuple[Bar, ...]:
        """List the bars that closed after `since_ts`."""
        bars = self.walks[symbol].bars
        missed = int((self.now - since_ts) // BAR_S) + 2
        return tuple(bar for bar in bars[-min(missed, 40) :] if bar.ts + BAR_S > since_ts)


def _is_off_grid(order: NewOrder) -> bool:
    prices = (order.price, order.stop_price)
    if any(price is not None and price % RULES.tick_size for price in prices):
        return True
    return not order.close_position and (
        order.qty % RULES.step_size != 0 or order.qty < RULES.min_qty
    )


def _only_reduces(order: VenueOrder | NewOrder) -> bool:
    if order.position_side == "BOTH":
        return order.reduce_only or order.close_position
    return (order.position_side == "LONG") == (order.side == "SELL")


def _crosses(order: VenueOrder | NewOrder, quote: Quote) -> bool:
    if order.price is None:
        return False
    if order.side == "BUY":
        return float(order.price) >= quote.ask
    return float(order.price) <= quote.bid


def _is_hit(order: VenueOrder | NewOrder, quote: Quote) -> bool:
    stop = float(order.stop_price or 0)
    return quote.mark <= stop if order.side == "SELL" else quote.mark >= stop
