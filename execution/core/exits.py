"""How positions end: the plan made at entry, the stop that rests, and the exits that fall due."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

from execution.core import orders, routing
from execution.core.policy import ExitRules
from execution.core.position_mode import Direction
from execution.core.records import Action, ExitPlan, FlattenRequest, OrderRecord
from execution.core.seam import LegKey, Side, SymbolRules
from execution.core.types import EngineState, OrderIntent, Position, Signal

# The exchange's word for a stop that the market has reached already.
WOULD_TRIGGER = "-2021"

# The triggers that can wait for a maker's price; what crosses a stop or a deadline cannot.
TAKE_PROFIT, SIGNAL = "take_profit", "signal"
PATIENT = frozenset({TAKE_PROFIT, SIGNAL})


def plan(signal: Signal, mark: float, rules: ExitRules, bar_s: int) -> ExitPlan | None:
    """Return stop, take profit and deadline for an entry at `mark`; None where they make no plan."""
    if signal.atr is None or signal.bar_open_ts is None:
        return None
    stop, target = by_range(signal.position_side, mark, signal.atr, rules)
    closed_ts = signal.bar_open_ts + bar_s
    made = ExitPlan(stop, target, closed_ts + rules.max_hold_bars * bar_s)
    return made if encloses(made, mark, signal.position_side) else None


def by_range(
    direction: Direction, mark: float, atr: float, rules: ExitRules
) -> tuple[float, float]:
    """Return stop and take profit in multiples of the ATR."""
    away = atr if direction == "LONG" else -atr
    return mark - rules.stop_atr * away, mark + rules.take_profit_atr * away


def encloses(plan: ExitPlan, mark: float, direction: Direction) -> bool:
    """Tell whether stop and take profit are prices on their own sides of `mark`."""
    if direction == "SHORT":
        low, high = plan.take_profit_price, plan.stop_price
    else:
        low, high = plan.stop_price, plan.take_profit_price
    return 0 < low < mark < high < math.inf and math.isfinite(plan.deadline_ts)


def due(state: EngineState, account: str, now: float) -> Iterator[OrderIntent]:
    """Yield the exits that plans call for, once per leg while none is being worked.

    Dust keeps its stop, which closes whatever the leg then holds, and is asked out of nothing else.
    """
    routes = state.recorded.routes.values()
    # By position and not by leg: what worked for the one before it does nothing for this one.
    stopping = {route.position_id for route in routes if route.action == "protect"}
    reached = {
        route.position_id
        for route in routes
        if route.action == "protect" and route.order is not None and _is_reached(route.order)
    }
    worked: dict[str | None, int] = {}
    for route in routes:
        worked[route.position_id] = max(
            routing.urgency(route), worked.get(route.position_id, routing.NOT_LEFT)
        )
    for position in state.book.positions:
        key: LegKey = (position.symbol, position.position_side)
        if position.position_id is None or position.qty == 0:
            continue
        planned = position.exit is not None
        if planned and position.position_id not in stopping and key not in state.recorded.protected:
            yield leave(position, account, "protect", "stop")
        if is_dust(position.qty, state.rules.get(position.symbol)):
            continue
        now_worked = worked.get(position.position_id, routing.NOT_LEFT)
        wish = _wished(position, state.recorded.flatten)
        stop_rests = key in state.recorded.protected
        trigger = _trigger(position, stop_rests, position.position_id in reached, now)
        if wish is not None:
            if now_worked < routing.ON_A_WORD:
                yield leave(position, account, "flatten", f"flatten:{wish.request_id}")
        elif trigger is not None and now_worked < _urgency(trigger):
            yield leave(position, account, "exit", trigger)


def is_dust(qty: float | Decimal, rules: SymbolRules | None) -> bool:
    """Tell whether a leg is smaller than the smallest order that the exchange takes."""
    return rules is not None and abs(float(qty)) < float(rules.min_qty)


def _wished(position: Position, wishes: tuple[FlattenRequest, ...]) -> FlattenRequest | None:
    return next((wish for wish in wishes if wish.symbol in (None, position.symbol)), None)


def leave(position: Position, account: str, action: Action, trigger: str) -> OrderIntent:
    """Return the reduce-only intent that ends `position`; its id is the position's, not a bar's."""
    side: Side = "SELL" if position.qty > 0 else "BUY"
    owner = position.strategy or "foreign"
    occasion = f"{position.position_id}:{trigger}"
    mark = position.entry_price if position.mark_price is None else position.mark_price
    return OrderIntent(
        decision_id=orders.decision_id(account, owner, position.symbol, occasion, action),
        strategy=owner,
        symbol=position.symbol,
        position_side=position.position_side,
        side=side,
        action=action,
        qty=Decimal(repr(abs(position.qty))),
        mark_price=mark,
        bar_open_ts=None,
        reduce_only=True,
        urgent=trigger not in PATIENT,
        reason=trigger,
        exit=position.exit,
        position_id=position.position_id,
    )


def _urgency(trigger: str) -> int:
    return routing.AT_LEISURE if trigger in PATIENT else routing.AT_ONCE


def _is_reached(stop: OrderRecord) -> bool:
    return stop.state == "REJECTED" and stop.code == WOULD_TRIGGER


def _trigger(position: Position, stop_rests: bool, reached: bool, now: float) -> str | None:
    """Name why a position is due; `reached` when the exchange refused its stop as already hit."""
    plan, mark = position.exit, position.mark_price
    if plan is None:
        return None
    if now >= plan.deadline_ts:
        return "deadline"
    if mark is None:
        return None
    long = position.qty > 0
    crossed = reached or (mark <= plan.stop_price if long else mark >= plan.stop_price)
    if crossed and not stop_rests:
        return "stop_crossed"
    if mark >= plan.take_profit_price if long else mark <= plan.take_profit_price:
        return TAKE_PROFIT
    return None
