"""Routes as data: which orders an approved intent may become, and when the next one is due."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from execution.core.orders import OPEN, budget_price, next_leg, quotes_spent, remaining_qty
from execution.core.policy import Policy, Router
from execution.core.position_mode import opposes
from execution.core.records import LegRecord, OrderRecord, Route, RouteLeg, RoutePolicy, Tuning
from execution.core.seam import ZERO, LegKey, Quote, SymbolRules
from execution.core.types import Approved, Decided, RoutePlan, TradingStateName

TAKER = RouteLeg(type="MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)
STOP = RouteLeg(type="STOP_MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)

Step = Literal["wait", "send", "cancel", "done"]

# How urgently a leg is left; a higher one takes the place of the others.
NOT_LEFT, AT_LEISURE, AT_ONCE, ON_A_WORD = range(4)


def plan(approved: Approved, policy: Policy, bar_s: int) -> RoutePlan:
    """Choose the legs for one approved intent; `bar_s` is the base bar that rests are counted in."""
    intent, router = approved.intent, policy.router
    if intent.action == "protect":
        return RoutePlan(approved, (STOP,), retry_s=router.stop_retry_s)
    leaving = intent.reduce_only
    retry_s = router.stop_retry_s if leaving else None
    if intent.urgent:
        return RoutePlan(approved, (TAKER,), retry_s)
    used = policy.route_policy(intent.symbol)
    tuning = Tuning(configured=router.default, used=used)
    falls_back = router.exit_taker_fallback if leaving else router.entry_taker_fallback
    crossing = (TAKER if leaving else _within_budget(router, bar_s),)
    if not used.maker_first:
        return RoutePlan(approved, crossing, retry_s, tuning)
    quotes = _quotes(router, used, bar_s, hurry=falls_back)
    return RoutePlan(approved, quotes + (crossing if falls_back else ()), retry_s, tuning)


def _within_budget(router: Router, bar_s: int) -> RouteLeg:
    # A bar is long enough to meet what there is; what is then left over is not chased.
    return RouteLeg(
        "LIMIT",
        post_only=False,
        offset_bps=0.0,
        rest_s=float(bar_s),
        budget_bps=router.taker_budget_bps,
    )


def _quotes(router: Router, used: RoutePolicy, bar_s: int, *, hurry: bool) -> tuple[RouteLeg, ...]:
    """Return the post-only legs; together they rest for all the patience that the bias leaves.

    Where nothing may cross afterwards there is nothing to hurry to, and the bias takes none of it.
    """
    patience = (1 + router.requotes) * (1 - used.taker_bias if hurry else 1.0)
    count = math.ceil(patience)
    if count == 0:
        return ()
    rest_s = router.rest_bars * bar_s * patience / count
    quote = RouteLeg(
        "LIMIT",
        post_only=True,
        offset_bps=used.offset_bps,
        rest_s=rest_s,
        refusals=router.post_only_refusals,
    )
    return (quote,) * count


def leaving(routes: Iterable[Route], legs: Mapping[LegKey, LegRecord]) -> Mapping[LegKey, int]:
    """Return how urgently legs are being left; one that is gone is left no more."""
    found: dict[LegKey, int] = {}
    for route in routes:
        key = (route.symbol, route.position_side)
        if key in legs or route.position_side != "BOTH":
            found[key] = max(urgency(route), found.get(key, NOT_LEFT))
    return found


def is_needed(route: Route, leg: LegRecord | None, leaving: Mapping[LegKey, int]) -> bool:
    """Tell whether what the route would reduce is still there, or its leg is still to be opened.

    An exit is not needed beside a more urgent one. An entry is not while its leg is being left,
    unless that makes room for it.
    """
    now_left = leaving.get((route.symbol, route.position_side), NOT_LEFT)
    if not route.reduce_only:
        return now_left == NOT_LEFT or must_wait(route, leg)
    if route.action == "exit" and urgency(route) < now_left:
        return False
    return leg is not None and route.position_id in (None, leg.position_id)


def must_wait(route: Route, leg: LegRecord | None) -> bool:
    """Tell whether an entry would cross zero: in one-way mode what is held is left first."""
    return not route.reduce_only and leg is not None and opposes(route.side, leg.qty)


def step(
    route: Route,
    live: Decided,
    needed: bool,
    rules: SymbolRules | None,
    quote: Quote | None,
    now: float,
) -> Step:
    """Say what the route needs now; `rules` None is a symbol that the venue does not show now.

    `needed` is False when the leg it would reduce is gone, or the leg it would open is being
    left. An order that may be at the venue in an unknown state is waited for; a new attempt exists
    only after the previous one is terminal, and one that would cross beyond its budget never.
    """
    state = live.symbol_trading.get(route.symbol, live.trading).name
    wanted = needed and _may_go_on(route, state)
    if route.order is not None and route.order.state in OPEN:
        return _rest(route.order, wanted, now)
    if not wanted or _filled(route, rules):
        return "done"
    if route.action == "protect" and state == "HALTED":
        return "wait"  # a stop that rests stays; none is made while nothing may be
    if _is_too_dear(route, rules, quote):
        return "done"
    return _try(route, now)


def urgency(route: Route) -> int:
    """Rank how a route leaves its leg: not at all, at leisure, at once, or on a person's word."""
    if route.action == "flatten":
        return ON_A_WORD
    if route.action != "exit":
        return NOT_LEFT
    return AT_LEISURE if route.legs[0].type == "LIMIT" else AT_ONCE


def is_priced(route: Route, quote: Quote) -> bool:
    """Tell whether the next attempt can be sent on this quote; a market exit needs no touch."""
    return quote.sound or (route.reduce_only and next_leg(route).type != "LIMIT")


def _rest(order: OrderRecord, wanted: bool, now: float) -> Step:
    if order.state in ("PREP", "UNKNOWN"):
        return "wait"
    if not wanted:
        return "cancel"
    # Before it was signed: the clock stepped back, and the deadline is nobody's.
    over = not order.signed_ts <= now < order.deadline_ts
    return "cancel" if order.type == "LIMIT" and over else "wait"


def _is_too_dear(route: Route, rules: SymbolRules | None, quote: Quote | None) -> bool:
    budget_bps = next_leg(route).budget_bps
    if budget_bps is None or rules is None or quote is None or not quote.sound:
        return False  # it is not sent on such a quote either, and waits for a better one
    price = float(budget_price(route.side, route.mark_price, budget_bps, rules.tick_size))
    return quote.ask > price if route.side == "BUY" else quote.bid < price


def _try(route: Route, now: float) -> Step:
    """Go on to the next leg; after the last one an entry is over, and an exit takes it again.

    A refused attempt, or one that was not sent at all, is spent. A signal is perishable: an entry
    whose only leg met a ban is given up, and the strategy's next bar says whether it still wants it.
    """
    if route.order is None or quotes_spent(route) < len(route.legs):
        return "send"
    if route.retry_s is None:
        return "done"
    return "wait" if 0 <= now - route.order.signed_ts < route.retry_s else "send"


def _filled(route: Route, rules: SymbolRules | None) -> bool:
    # A stop closes what the leg then holds: it is over when the leg is flat, not by quantity.
    if route.action == "protect":
        return False
    left = remaining_qty(route)
    if rules is None or left == ZERO or left >= rules.min_qty:
        return left == ZERO
    # A rest below the smallest order is asked out of an exit once; some exchanges take it.
    asked = route.order is None or route.order.qty < rules.min_qty
    return not route.reduce_only or asked or left < rules.step_size


def _may_go_on(route: Route, state: TradingStateName) -> bool:
    """Entries go on only while both the book and the symbol are ACTIVE; stops always rest."""
    if route.action in ("protect", "flatten"):
        return True
    return state == "ACTIVE" if route.action == "entry" else state != "HALTED"
