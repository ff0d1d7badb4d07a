"""Prospective exposure: what the book would hold if everything in flight filled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from execution.core import routing
from execution.core.policy import Universe
from execution.core.seam import LegKey, Side
from execution.core.types import Approved, EngineState, OrderIntent, Tier


class Exposure(Struct, frozen=True):
    """Worth in USD by leg, sums by symbol and tier, and who holds or is opening what.

    Gross counts both legs of a symbol. Orders count at full remaining size, those in an unknown
    state included; reduce-only orders count nothing. `held_net_usd` is what positions alone come
    to, `opening_usd` what orders may add to either side. `held_qty` is signed, `leaving` the legs
    that an exit is closing. `entries` counts this tick's approvals.
    """

    by_leg: Mapping[LegKey, float]
    tiers: Mapping[str, Tier]
    owners: Mapping[LegKey, str]
    unknown: frozenset[str]
    held_net_usd: float
    opening_usd: Mapping[Side, float]
    held_qty: Mapping[LegKey, float] = {}
    leaving: frozenset[LegKey] = frozenset()
    entries: Mapping[str, int] = {}

    @property
    def gross_usd(self) -> float:
        """Sum the worth of all legs."""
        return sum(self.by_leg.values())

    @property
    def net_usd(self) -> float:
        """Return the widest net there can be, whichever way it leans."""
        return max(self.net_towards_usd("BUY"), self.net_towards_usd("SELL"))

    def net_towards_usd(self, side: Side) -> float:
        """Return the net once every order of `side` is filled, and none of the other side is.

        An order that may never fill is no hedge, so it makes no room.
        """
        held = self.held_net_usd if side == "BUY" else -self.held_net_usd
        return held + self.opening_usd.get(side, 0.0)

    def symbol_usd(self, symbol: str) -> float:
        """Sum both legs of `symbol`."""
        return sum(usd for key, usd in self.by_leg.items() if key[0] == symbol)

    def tier_usd(self, tier: Tier | None) -> float:
        """Sum the legs of every symbol in `tier`."""
        return sum(usd for key, usd in self.by_leg.items() if self.tiers.get(key[0]) == tier)

    def charged(self, approved: Approved) -> Exposure:
        """Return the exposure with one more approval in it."""
        intent = approved.intent
        if intent.action in ("exit", "flatten"):
            return replace(self, leaving=self.leaving | {leg_key(intent)})
        if intent.reduce_only:
            return self
        key, side, symbol = leg_key(intent), intent.side, intent.symbol
        usd = float(approved.qty) * intent.mark_price
        return replace(
            self,
            by_leg={**self.by_leg, key: self.by_leg.get(key, 0.0) + usd},
            owners={**self.owners, key: intent.strategy},
            opening_usd={**self.opening_usd, side: self.opening_usd.get(side, 0.0) + usd},
            entries={**self.entries, symbol: self.entries.get(symbol, 0) + 1},
        )


def of(state: EngineState, universe: Universe) -> Exposure:
    """Add up positions, routes being worked, and orders that belong to no route."""
    recorded = state.recorded
    by_leg: dict[LegKey, float] = {}
    owners: dict[LegKey, str] = {}
    opening_usd: dict[Side, float] = {}
    held_qty: dict[LegKey, float] = {}
    held_net_usd = 0.0
    for key, qty, price in _held(state):
        held_qty[key] = held_qty.get(key, 0.0) + qty
        by_leg[key] = by_leg.get(key, 0.0) + abs(qty) * price
        held_net_usd += qty * price
    for position in state.book.positions:
        # A leg that the ledger does not know is somebody's: nobody may add to it.
        owners[position.symbol, position.position_side] = position.strategy or "foreign"
    leaving: set[LegKey] = set()
    for route in recorded.routes.values():
        if routing.urgency(route) != routing.NOT_LEFT:
            leaving.add((route.symbol, route.position_side))
        if route.reduce_only:
            continue
        key = (route.symbol, route.position_side)
        price = _price(state, route.symbol, route.mark_price)
        usd = max(0.0, float(route.qty - route.filled_qty)) * price
        by_leg[key] = by_leg.get(key, 0.0) + usd
        opening_usd[route.side] = opening_usd.get(route.side, 0.0) + usd
        owners.setdefault(key, route.strategy)
    for order in recorded.open_orders:
        if order.reduce_only or order.close_position or order.decision_id in recorded.routes:
            continue
        key = (order.symbol, order.position_side)
        told = order.price or order.stop_price
        price = _price(state, order.symbol, None if told is None else float(told))
        usd = float(order.qty - order.filled_qty) * price
        by_leg[key] = by_leg.get(key, 0.0) + usd
        opening_usd[order.side] = opening_usd.get(order.side, 0.0) + usd
    return Exposure(
        by_leg=by_leg,
        tiers={listing.symbol: listing.tier for listing in universe.listing},
        owners=owners,
        unknown=frozenset(o.symbol for o in recorded.open_orders if o.state in ("UNKNOWN", "PREP")),
        held_net_usd=held_net_usd,
        opening_usd=opening_usd,
        held_qty=held_qty,
        leaving=frozenset(leaving),
    )


def _held(state: EngineState) -> Iterator[tuple[LegKey, float, float]]:
    """Yield leg, signed quantity and price of what is held, by the venue or only by the ledger.

    The venue's positions can be older than the fills that the ledger has already taken off a route.
    """
    shown: dict[LegKey, float] = {}
    for position in state.book.positions:
        key: LegKey = (position.symbol, position.position_side)
        shown[key] = position.qty
        price = position.entry_price if position.mark_price is None else position.mark_price
        yield key, position.qty, price if 0 < price < math.inf else math.inf
    for key, leg in state.recorded.legs.items():
        qty, there = float(leg.qty), shown.get(key, 0.0)
        if abs(qty) > abs(there):
            yield key, qty - there, _price(state, key[0], None)


def _price(state: EngineState, symbol: str, told: float | None) -> float:
    """Return the worse of a price that was told and the mark; without either nothing is too much."""
    quote = state.quotes.get(symbol)
    prices = (told, None if quote is None else quote.mark)
    return max((p for p in prices if p is not None and 0 < p < math.inf), default=math.inf)


def leg_key(intent: OrderIntent) -> LegKey:
    """Return the leg an intent would change."""
    return (intent.symbol, intent.position_side)
