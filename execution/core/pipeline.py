"""One policy's decision: signals and due exits → intents → verdicts → routes. Pure.

Signals are read from bars that closed, or came from outside with the tick's state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial

from execution.core import exits, orders, outside, routing, signals, sizing
from execution.core.guarded import Failed, guarded
from execution.core.policy import Inbox, Listing, Module, Policy, Strategy
from execution.core.position_mode import OPENS, Direction, direction_of, direction_opened, leg_side
from execution.core.records import ExitPlan, Route
from execution.core.risk import engine, exposure, trading_state
from execution.core.risk.checks import Context
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import (
    Approved,
    Decided,
    Decision,
    EngineState,
    OrderIntent,
    Signal,
    TradingState,
)


def decide(seen: MarketSnapshot | Blind, state: EngineState, policy: Policy, now: float) -> Decided:
    """Decide once for every frame that closed, every signal from outside and every exit due."""
    trading = trading_state.derive(seen, state, policy, now)
    if isinstance(seen, Blind):
        return Decided(trading)
    halted = trading_state.by_symbol(state, trading)
    held_back = dict(_held_back(seen, state, policy, trading, now))
    heard = state.closed or state.outside.intents or state.outside.answers
    if not heard and not state.book.positions:
        return Decided(trading, halted, held_back=held_back)
    said, answered, failures = _read_signals(state, policy, seen.bar_s, now)
    due = tuple(exits.due(state, policy.account, now))
    intents = (*due, *_intents(said, due, state, policy)) if said else due
    withdrawn = frozenset(_withdrawn(said, state))
    decisions = _assess(intents, seen, state, policy, trading, halted, now) if intents else ()
    return Decided(
        trading, halted, tuple(decisions), said, answered, failures, held_back, withdrawn
    )


def _assess(
    intents: Iterable[OrderIntent],
    seen: MarketSnapshot,
    state: EngineState,
    policy: Policy,
    trading: TradingState,
    halted: Mapping[str, TradingState],
    now: float,
) -> Iterator[Decision]:
    """Judge each intent on what the book would hold with every approval before it."""
    prospective = exposure.of(state, policy.universe)
    for intent in intents:
        symbol_state = halted.get(intent.symbol, trading)
        waits = intent.reduce_only and intent.action != "flatten"
        if waits and symbol_state.name == "HALTED":
            continue  # its trigger stays true: it is asked again when the halt is over
        context = _context(intent, seen, state, policy, symbol_state, prospective, now)
        verdict = engine.assess(context)
        if isinstance(verdict, Approved):
            prospective = prospective.charged(verdict)
            plan = routing.plan(verdict, policy, seen.bar_s)
            yield Decision(intent, verdict, plan)
        else:
            yield Decision(intent, verdict, None)


def _held_back(
    seen: MarketSnapshot, state: EngineState, policy: Policy, trading: TradingState, now: float
) -> Iterator[tuple[str, str]]:
    """Yield the entries in flight that may send no further attempt now, with the reason."""
    entries = _opening(state)
    if not entries:
        return
    prospective = exposure.of(state, policy.universe)
    for route in entries:
        intent = OrderIntent(
            decision_id=route.decision_id,
            strategy=route.strategy,
            symbol=route.symbol,
            position_side=route.position_side,
            side=route.side,
            action=route.action,
            qty=route.qty,
            mark_price=route.mark_price,
            bar_open_ts=None,
            reduce_only=False,
            urgent=False,
            reason="in flight",
        )
        context = _context(intent, seen, state, policy, trading, prospective, now)
        reason = engine.still_refused(context)
        if reason is not None:
            yield route.decision_id, reason


def _context(
    intent: OrderIntent,
    seen: MarketSnapshot,
    state: EngineState,
    policy: Policy,
    trading: TradingState,
    prospective: exposure.Exposure,
    now: float,
) -> Context:
    return Context(
        now=now,
        bar_s=seen.bar_s,
        lag_s=seen.lag_s,
        intent=intent,
        qty=intent.qty,
        trading=trading,
        state=state,
        exposure=prospective,
        policy=policy,
        quote=state.quotes.get(intent.symbol),
        rules=state.rules.get(intent.symbol),
        listing=_listing(policy, intent.symbol),
    )


def _read_signals(
    state: EngineState, policy: Policy, base_s: int, now: float
) -> tuple[tuple[Signal, ...], dict[tuple[str, str], float], tuple[Failed, ...]]:
    """Ask every strategy whose frame closed; a bar is answered once, also by silence.

    A bar that closed more than a base bar ago belongs to history, and one that closes later than
    the clocks may differ belongs to nothing: they are not acted upon.
    """
    said: list[Signal] = []
    answered: dict[tuple[str, str], float] = {}
    failures: list[Failed] = []
    held = _held(state)
    for strategy in policy.strategies if state.closed else ():
        if isinstance(strategy, Inbox | Module):
            continue
        for symbol in strategy.symbols:
            if (symbol, strategy.bar_s) not in state.closed:
                continue
            frame = state.frames[symbol, strategy.bar_s]
            bar_open_ts = frame.bars[-1].ts
            key = (strategy.name, symbol)
            timely = outside.is_timely(bar_open_ts, strategy.bar_s, base_s, now)
            if not timely or bar_open_ts <= state.decided.get(key, 0.0):
                continue
            answered[key] = bar_open_ts
            read = guarded(
                strategy.name,
                partial(signals.read, strategy, symbol, frame.bars, held.get(key, ())),
            )
            if isinstance(read, Failed):
                failures.append(read)
            else:
                said.extend(read)
    for module, answer in outside.answered(state, policy, base_s, now):
        key = (module.name, answer.symbol)
        answered[key] = answer.bar_open_ts
        said.extend(outside.from_module(module, answer, state, held.get(key, ())))
    said.extend(outside.from_inbox(state, policy))
    return tuple(said), answered, tuple(failures)


def _held(state: EngineState) -> Mapping[tuple[str | None, str], list[Direction]]:
    """Return which ways each (strategy, symbol) leans; a leg being opened is left as one held."""
    held: dict[tuple[str | None, str], list[Direction]] = {}
    for position in state.book.positions:
        leans = held.setdefault((position.strategy, position.symbol), [])
        leans.append(direction_of(position.qty))
    for route in _opening(state):
        leans = held.setdefault((route.strategy, route.symbol), [])
        leans.append(direction_opened(route.side))
    return held


def _opening(state: EngineState) -> list[Route]:
    return [route for route in state.recorded.routes.values() if route.action == "entry"]


def _withdrawn(said: tuple[Signal, ...], state: EngineState) -> Iterator[str]:
    """Yield the entries in flight whose own strategy says exit."""
    left = {(s.strategy, s.symbol, s.position_side) for s in said if s.action == "exit"}
    for route in _opening(state) if left else ():
        if (route.strategy, route.symbol, direction_opened(route.side)) in left:
            yield route.decision_id


def _intents(
    said: tuple[Signal, ...], due: tuple[OrderIntent, ...], state: EngineState, policy: Policy
) -> Iterator[OrderIntent]:
    """Turn signals into intents: exits for legs the strategy holds, entries for empty ones.

    A leg that is being left is not left twice, one that is being opened is not opened twice. Dust
    holds its leg: what is added to it would inherit its old plan. In one-way mode an opposite entry
    first leaves what is held, and its own order waits for that.
    """
    held = {(p.symbol, p.position_side): p for p in state.book.positions}
    worked: tuple[Route | OrderIntent, ...] = (*state.recorded.routes.values(), *due)
    leaving = {(w.symbol, w.position_side) for w in worked if w.action in ("exit", "flatten")}
    opening = {(w.strategy, w.symbol, w.position_side) for w in worked if w.action == "entry"}
    strategies = {strategy.name: strategy for strategy in policy.strategies}
    for signal in said:
        key = (signal.symbol, leg_side(policy.position_mode, signal.position_side))
        position = held.get(key)
        own = position if position is not None and position.strategy == signal.strategy else None
        ahead = own is not None and direction_of(own.qty) == signal.position_side
        if own is not None and key not in leaving and ahead == (signal.action == "exit"):
            leaving.add(key)
            if not exits.is_dust(own.qty, state.rules.get(own.symbol)):
                yield exits.leave(own, policy.account, "exit", exits.SIGNAL)
        if signal.action == "entry" and not ahead and (signal.strategy, *key) not in opening:
            intent = _entry(signal, strategies[signal.strategy], state, policy)
            if intent is not None:
                opening.add((signal.strategy, *key))
                yield intent


def _entry(
    signal: Signal, strategy: Strategy, state: EngineState, policy: Policy
) -> OrderIntent | None:
    if _listing(policy, signal.symbol) is None:
        # Only the inbox can name it. Without price and size it passes no check, and risk says why.
        return _opens(signal, policy, Decimal(0), 0.0, None, None)
    quote, rules = state.quotes.get(signal.symbol), state.rules.get(signal.symbol)
    frame = state.frames.get((signal.symbol, strategy.bar_s))
    if quote is None or rules is None or frame is None or not quote.sound:
        return None  # the symbol left the market between its bar and now
    factor = sizing.multiplier(policy.sizing, frame) * signal.size_frac
    nav_usd = state.book.nav_usd if state.book.known else 0.0
    if signal.intent is not None and isinstance(strategy, Inbox):
        plan = outside.plan(signal.intent, quote.mark, signal.atr, strategy)
    else:
        plan = exits.plan(signal, quote.mark, strategy.exits, strategy.bar_s)
    if plan is None:
        return None
    qty = sizing.size(nav_usd, factor, quote.mark, policy.sizing, rules)
    return _opens(signal, policy, qty, quote.mark, plan, factor)


def _opens(
    signal: Signal,
    policy: Policy,
    qty: Decimal,
    mark: float,
    plan: ExitPlan | None,
    factor: float | None,
) -> OrderIntent:
    if signal.intent is not None:
        name = outside.entry_id(policy.account, signal.intent)
    else:
        bar = signal.bar_open_ts
        occasion = repr(None if bar is None else float(bar))
        name = orders.decision_id(policy.account, signal.strategy, signal.symbol, occasion, "entry")
    return OrderIntent(
        decision_id=name,
        strategy=signal.strategy,
        symbol=signal.symbol,
        position_side=leg_side(policy.position_mode, signal.position_side),
        side=OPENS[signal.position_side],
        action="entry",
        qty=qty,
        mark_price=mark,
        bar_open_ts=signal.bar_open_ts,
        reduce_only=False,
        urgent=False,
        reason=signal.reason,
        exit=plan,
        size_factor=factor,
    )


def _listing(policy: Policy, symbol: str) -> Listing | None:
    return next((each for each in policy.universe.listing if each.symbol == symbol), None)
