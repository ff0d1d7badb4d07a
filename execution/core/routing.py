"""Routes as data: which orders an approved intent may become, and when the next one is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from execution.core.orders import OPEN, next_leg, remaining_qty
from execution.core.policy import Router
from execution.core.records import OrderRecord, Route, RouteLeg
from execution.core.seam import ZERO, LegKey, Quote, SymbolRules
from execution.core.types import Approved, Decided, EngineState, RoutePlan, TradingStateName

TAKER = RouteLeg(type="MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)
STOP = RouteLeg(type="STOP_MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)

Step = Literal["wait", "send", "cancel", "done"]


def plan(approved: Approved, router: Router, bar_s: int) -> RoutePlan:
    """Choose the legs for one approved intent; `bar_s` is the base bar that rests are counted in."""
    intent = approved.intent
    if intent.action == "protect":
        return RoutePlan(approved, (STOP,), retry_s=router.stop_retry_s)
    leaving = intent.reduce_only
    retry_s = router.stop_retry_s if leaving else None
    if not router.maker_first or intent.urgent:
        return RoutePlan(approved, (TAKER,), retry_s)
    passive = RouteLeg(
        "LIMIT", post_only=True, offset_bps=router.offset_bps, rest_s=router.rest_bars * bar_s
    )
    fallback = router.exit_taker_fallback if leaving else router.entry_taker_fallback
    legs = (passive,) * (1 + router.requotes) + ((TAKER,) if fallback else ())
    return RoutePlan(approved, legs, retry_s)


def step(route: Route, live: Decided, needed: bool, rules: SymbolRules | None, now: float) -> Step:
    """Say what the route needs now; `rules` None is a symbol that the venue does not show now.

    `needed` is False when the leg it would reduce is gone, or the leg it would open is being
    left. An order that may be at the venue in an unknown state is waited for; a new attempt exists
    only after the previous one is terminal.
    """
    state = live.symbol_trading.get(route.symbol, live.trading).name
    wanted = needed and _may_go_on(route, state)
    if route.order is not None and route.order.state in OPEN:
        return _rest(route.order, wanted, now)
    if not wanted or _filled(route, rules):
        return "done"
    if route.action == "protect" and state == "HALTED":
        return "wait"  # a stop that rests stays; none is made while nothing may be
    return _try(route, now)


def urgency(route: Route) -> int:
    """Rank the ways of leaving: 0 is no leaving, then at leisure, at once, and on a person's word.

    A more urgent one takes the place of the others on its leg.
    """
    if route.action == "flatten":
        return 3
    if route.action != "exit":
        return 0
    return 1 if route.legs[0].type == "LIMIT" else 2


def is_needed(route: Route, state: EngineState, leaving: Mapping[LegKey, int]) -> bool:
    """Tell whether what the route would reduce is still there, or its leg is still to be opened.

    An exit is not needed beside a more urgent one.
    """
    key: LegKey = (route.symbol, route.position_side)
    if not route.reduce_only:
        return leaving[key] == 0
    if route.action == "exit" and urgency(route) < leaving[key]:
        return False
    leg = state.recorded.legs.get(key)
    return leg is not None and route.position_id in (None, leg.position_id)


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


def _try(route: Route, now: float) -> Step:
    if route.order is None or route.attempts < len(route.legs):
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
