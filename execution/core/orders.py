"""Orders as data: identities, the closed state machine, and the one builder of what is sent."""

from __future__ import annotations

import hashlib
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from execution.core import sizing
from execution.core.records import OrderRecord, Route, RouteLeg
from execution.core.seam import ZERO, NewOrder, OrderState, Quote, Side, SymbolRules

TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    "PREP": frozenset({"LIVE", "PARTIAL", "FILLED", "CANCELED", "EXPIRED", "REJECTED", "UNKNOWN"}),
    "LIVE": frozenset({"PARTIAL", "FILLED", "CANCELED", "EXPIRED", "UNKNOWN"}),
    "PARTIAL": frozenset({"FILLED", "CANCELED", "EXPIRED", "UNKNOWN"}),
    "UNKNOWN": frozenset(
        {"LIVE", "PARTIAL", "FILLED", "CANCELED", "EXPIRED", "REJECTED", "NEVER", "ABANDONED"}
    ),
    "FILLED": frozenset(),
    "CANCELED": frozenset(),
    "EXPIRED": frozenset(),
    "REJECTED": frozenset(),
    "NEVER": frozenset(),
    "ABANDONED": frozenset(),
}
TERMINAL = frozenset(state for state, after in TRANSITIONS.items() if not after)
OPEN = frozenset(TRANSITIONS) - TERMINAL
# The exchange's word for a post-only order that would have traded at once.
WOULD_CROSS = "-5022"


def moved(before: OrderState, after: OrderState) -> OrderState:
    """Return the state after hearing `after`; what the machine does not allow changes nothing."""
    return after if after in TRANSITIONS[before] else before


def decision_id(account: str, strategy: str, symbol: str, occasion: str, action: str) -> str:
    """Name one decision; `occasion` is the bar's open time, or a position's id and trigger.

    No policy, size or attempt is in it, so live and shadow give the same decision the same name.
    """
    text = f"{account}|{strategy}|{symbol}|{occasion}|{action}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def client_id(mode: str, decision: str, attempt: int) -> str:
    """Name one attempt at one decision: at most 36 characters, and the same after a restart."""
    return f"{own_prefix(mode)}{decision}-{attempt}"


def own_prefix(mode: str) -> str:
    """Return how every order id begins that this suite makes in this mode."""
    return f"hg{mode[0]}-"


def is_own(client: str, mode: str) -> bool:
    """Tell whether an order id of the venue's was made by this suite in this mode."""
    return client.startswith(own_prefix(mode))


def is_of_venue(client: str) -> bool:
    """Tell whether the venue itself closed a leg: by liquidation, deleveraging or settlement."""
    return client.startswith(("autoclose-", "adl_autoclose", "settlement_autoclose-"))


def is_refused_quote(order: OrderRecord) -> bool:
    """Tell whether the venue took no post-only order because it would have crossed.

    Some answer with a code, some take the order and let it expire at once.
    """
    ended = order.state == "REJECTED" and order.code == WOULD_CROSS
    ended = ended or (order.state == "EXPIRED" and order.filled_qty == ZERO)
    return order.post_only and ended


def quotes_spent(route: Route) -> int:
    """Return how many legs are used up; a refused quote uses none, as often as its leg allows."""
    return route.attempts - min(route.refused, route.legs[0].refusals)


def next_leg(route: Route) -> RouteLeg:
    """Return the leg of the next attempt: in order, and then the last one again."""
    return route.legs[min(quotes_spent(route), len(route.legs) - 1)]


def build(route: Route, quote: Quote, rules: SymbolRules, mode: str, now: float) -> NewOrder:
    """Build the order of the route's next attempt, for what the route still lacks.

    It is on the grids, and on the passive side when post-only.
    """
    leg = next_leg(route)
    return NewOrder(
        client_id=client_id(mode, route.decision_id, route.attempts + 1),
        symbol=route.symbol,
        side=route.side,
        position_side=route.position_side,
        type=leg.type,
        qty=sizing.snap_qty(_at_once(remaining_qty(route), leg, rules), rules),
        price=_price(route, leg, quote, rules.tick_size) if leg.type == "LIMIT" else None,
        stop_price=_stop_price(route, leg, rules.tick_size),
        reduce_only=route.reduce_only,
        close_position=leg.type == "STOP_MARKET",
        post_only=leg.post_only,
        signed_ts=now,
    )


def _at_once(qty: Decimal, leg: RouteLeg, rules: SymbolRules) -> Decimal:
    """Return what one order may ask for: some markets bound a market order lower than others."""
    if leg.type == "LIMIT" or rules.market_max_qty is None:
        return qty
    return min(qty, rules.market_max_qty)


def remaining_qty(route: Route) -> Decimal:
    """Return what the route still has to fill."""
    return max(ZERO, route.qty - route.filled_qty)


def limit_price(side: Side, leg: RouteLeg, quote: Quote, tick: Decimal) -> Decimal:
    """Return the price `offset_bps` behind the own side of the touch.

    It is rounded away from the market, so that no post-only order crosses by rounding.
    """
    if side == "BUY":
        return sizing.snap_price(quote.bid * (1 - leg.offset_bps / 1e4), tick, ROUND_FLOOR)
    return sizing.snap_price(quote.ask * (1 + leg.offset_bps / 1e4), tick, ROUND_CEILING)


def budget_price(side: Side, mark_price: float, budget_bps: float, tick: Decimal) -> Decimal:
    """Return the worst price within `budget_bps` of the decision price, rounded to the better."""
    if side == "BUY":
        return sizing.snap_price(mark_price * (1 + budget_bps / 1e4), tick, ROUND_FLOOR)
    return sizing.snap_price(mark_price * (1 - budget_bps / 1e4), tick, ROUND_CEILING)


def _price(route: Route, leg: RouteLeg, quote: Quote, tick: Decimal) -> Decimal:
    if leg.budget_bps is not None:
        return budget_price(route.side, route.mark_price, leg.budget_bps, tick)
    return limit_price(route.side, leg, quote, tick)


def _stop_price(route: Route, leg: RouteLeg, tick: Decimal) -> Decimal | None:
    # Rounded towards the market: a stop may fire a tick early, never late.
    if leg.type != "STOP_MARKET" or route.stop_price is None:
        return None
    rounding = ROUND_CEILING if route.side == "SELL" else ROUND_FLOOR
    return sizing.snap_price(route.stop_price, tick, rounding)
