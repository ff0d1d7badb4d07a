"""The line between one executor and the exchange: it loses, delays, repeats and invents nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from execution.core.seam import (
    ZERO,
    Accepted,
    Account,
    Ambiguous,
    Blind,
    CashRow,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Rejected,
    Trade,
    VenueHealth,
    VenueOrder,
)
from tests.simulation.exchange import RULES, Letter
from tests.simulation.prices import BAR_S

if TYPE_CHECKING:
    from tests.simulation.world import World

HISTORY_S = 300.0
# Codes after which an order certainly does not exist.
REFUSALS = ("-2010", "-2019", "-4131")


class Line:
    """The venue as one process sees it, from its start to its end."""

    name = "simulated exchange"

    def __init__(self, world: World, asks: Callable[[NewOrder], None]) -> None:
        self.rests_stops = world.rests_stops
        self.seen: MarketSnapshot | Blind | None = None
        self.tick_ts = 0.0
        self.was_silent = False
        self._world = world
        self._asks = asks
        self._bars_from = world.exchange.now - HISTORY_S
        self._shown: Account | None = None
        self._quotes = {s: walk.quote for s, walk in world.exchange.walks.items()}

    # ------------------------------------------------------------ time and silence

    def _passes(self, call: str, fault: str = "slow") -> bool:
        """Let the request travel; tell whether it may be answered."""
        world = self._world
        world.crash.point(f"before {call}")
        slow = world.weather.strikes("slow", world.exchange.now)
        world.advance(world.weather.rng.uniform(0.2, 1.5) if slow else 0.01)
        now = world.exchange.now
        struck = fault != "slow" and world.weather.strikes(fault, now)
        return not struck and not world.weather.holds(call, now)

    def _blind(self, call: str) -> Blind:
        self.was_silent = True
        self._world.tell(f"{call} unanswered")
        return Blind(self._world.clock.now(), f"{call} unanswered")

    # ------------------------------------------------------------ seeing

    def observe(self, now: float) -> MarketSnapshot | Blind:
        self.tick_ts, self.was_silent = now, False
        if not self._passes("observe", "blind"):
            self.seen = self._blind("observe")
            return self.seen
        world, exchange = self._world, self._world.exchange
        if not world.weather.holds("quotes", exchange.now):
            self._quotes = {s: replace(walk.quote, ts=now) for s, walk in exchange.walks.items()}
        since, self._bars_from = self._bars_from, exchange.now
        bars = {} if exchange.is_frozen else {s: exchange.bars(s, since) for s in exchange.walks}
        account = self._account()
        self.seen = MarketSnapshot(
            ts=now,
            bar_s=BAR_S,
            lag_s=0.0,
            quotes=self._quotes,
            bars={symbol: new for symbol, new in bars.items() if new},
            rules=dict.fromkeys(exchange.walks, RULES),
            account=account,
        )
        world.crash.point("after observe")
        return self.seen

    def _account(self) -> Account:
        world, exchange = self._world, self._world.exchange
        orders = tuple(order for order in exchange.open.values() if exchange.is_shown(order))
        if world.weather.strikes("torn_look", exchange.now):
            world.advance(0.3)  # what happens now is in the positions and not in the orders
        account = Account(exchange.now, exchange.wallet, exchange.positions(), orders, {})
        if world.weather.strikes("positions_empty", exchange.now):
            return replace(account, positions=())
        if world.weather.strikes("balance_missing", exchange.now):
            return replace(account, wallet_usd=ZERO)
        shown = self._shown
        if shown is None or replace(shown, ts=account.ts) != account:
            self._shown = shown = account
        return shown

    # ------------------------------------------------------------ orders

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        world, exchange = self._world, self._world.exchange
        exchange.posts[order.client_id] = exchange.posts.get(order.client_id, 0) + 1
        self._asks(order)
        answer = self._sent(order)
        world.tell(
            f"submit {order.client_id} {order.symbol} {order.side} {order.position_side}"
            f" {order.type} {order.qty} -> {answer}"
        )
        world.crash.point("after submit")
        return answer

    def _sent(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        world, exchange = self._world, self._world.exchange
        passes = self._passes("submit")
        strikes, rng, now = world.weather.strikes, world.weather.rng, exchange.now
        if not passes:
            if rng.random() < 0.5:
                exchange.submit(order)
            return Ambiguous("outage")
        if strikes("submit_lost", now):
            return Ambiguous("the request was lost")
        if strikes("submit_late", now):
            exchange.letters.append(Letter(now + rng.uniform(0.1, 5.0), order))
            return Ambiguous("late")
        if strikes("submit_rejected", now):
            return Rejected(rng.choice(REFUSALS), "refused")
        return self._taken(order)

    def _taken(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        """Let the exchange answer; tell what of it comes back."""
        world = self._world
        answer = world.exchange.submit(order)
        world.crash.point("taken")
        world.advance(0.01)
        if world.weather.strikes("submit_reply_lost", world.exchange.now):
            return Ambiguous("the reply was lost")
        said_twice = world.weather.strikes("submit_said_twice", world.exchange.now)
        if isinstance(answer, Accepted) and said_twice:
            return Rejected("-4116", "client id is in use by an open order")
        return answer

    def cancel(self, symbol: str, client_id: str) -> Accepted | NotFound | Ambiguous:
        self._world.watch.canceled(client_id)
        answer = self._canceled(client_id)
        self._world.tell(f"cancel {client_id} {symbol} -> {answer}")
        self._world.crash.point("after cancel")
        return answer

    def _canceled(self, client_id: str) -> Accepted | NotFound | Ambiguous:
        world, exchange = self._world, self._world.exchange
        passes = self._passes("cancel")
        strikes, rng, now = world.weather.strikes, world.weather.rng, exchange.now
        if not passes or strikes("cancel_lost", now):
            return Ambiguous("lost")
        if strikes("cancel_not_found", now):
            return NotFound()
        if strikes("cancel_late", now):
            exchange.letters.append(Letter(now + rng.uniform(0.1, 5.0), client_id))
            return Ambiguous("late")
        answer = exchange.cancel(client_id)
        return Ambiguous("reply lost") if strikes("cancel_reply_lost", now) else answer

    # ------------------------------------------------------------ looking up

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:
        if not self._passes("find_order", "find_blind"):
            return self._blind("find_order")
        exchange = self._world.exchange
        # Of several with one id the exchange shows the newest.
        found = [o for o in exchange.of(client_id) if o.symbol == symbol and exchange.is_shown(o)]
        return found[-1] if found else NotFound()

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        if not self._passes("trades", "trades_blind"):
            return self._blind("trades")
        world, exchange = self._world, self._world.exchange
        told = [t for t in exchange.trades[symbol] if t.ts >= since_ts and exchange.is_told(t)]
        if world.weather.strikes("trades_repeated", exchange.now):
            told += told
        if world.weather.strikes("trades_shuffled", exchange.now):
            world.weather.rng.shuffle(told)
        world.tell(f"trades {symbol} since {since_ts:.1f}: {[t.trade_id for t in told]}")
        return tuple(told)

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:
        if not self._passes("cash", "cash_blind"):
            return self._blind("cash")
        return tuple(row for row in self._world.exchange.rows if row.ts >= since_ts)

    def health(self) -> VenueHealth:
        return VenueHealth()

    def close(self) -> None:
        return
