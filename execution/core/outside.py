"""Signals from outside: what the inbox and users' modules say, as far as the policy lets them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec import Struct

from execution.core import exits, indicators, orders
from execution.core.policy import Inbox, Module, Policy, Strategy
from execution.core.records import ExitPlan
from execution.core.seam import Bar
from execution.core.types import (
    Decided,
    Decision,
    EngineState,
    InboxReply,
    ModuleAnswer,
    Signal,
    TickReport,
    Vetoed,
)
from execution.state_schema.inbox_intent import InboxIntent

S = TypeVar("S", Inbox, Module)

AHEAD_S = 5.0  # how far a writer's clock may run ahead of ours


# ---------------------------------------------------------------- the inbox


def refusal(intent: InboxIntent, policy: Policy, now: float) -> str | None:
    """Say why an intent is nothing to decide on; None where it is.

    A symbol that nobody lists is not refused here: risk says so, as for every other.
    """
    strategy = _find(Inbox, intent.strategy, policy.strategies)
    if strategy is None:
        return f"no inbox of strategy.toml is called {intent.strategy} on this market"
    listed = {listing.symbol for listing in policy.universe.listing}
    if intent.symbol in listed and intent.symbol not in strategy.symbols:
        return f"{intent.symbol} is not among the symbols of {strategy.name} in strategy.toml"
    if intent.ts > now + AHEAD_S:
        return f"dated {intent.ts - now:.0f} s ahead of the executor's clock"
    if now - intent.ts > strategy.max_age_s:
        return f"late: {now - intent.ts:.1f} s old, limit {strategy.max_age_s:g} s (max_age_s)"
    if now > intent.valid_until_ts:
        return f"late: valid until {now - intent.valid_until_ts:.1f} s ago"
    return None


def entry_id(account: str, intent: InboxIntent) -> str:
    """Name the decision about an entry from the inbox: its own id is the occasion."""
    return orders.decision_id(account, intent.strategy, intent.symbol, intent.id, "entry")


def plan(intent: InboxIntent, mark: float, atr: float | None, strategy: Inbox) -> ExitPlan | None:
    """Return the intent's own exit plan, else the strategy's; None where it is none at `mark`.

    Its stop is no farther than `max_stop_bps`, and it is held no longer than the strategy holds.
    """
    long = intent.side == "LONG"
    rules, farthest = strategy.exits, strategy.max_stop_bps / 1e4 * mark
    if intent.stop_bps is not None and intent.take_profit_bps is not None:
        unit = mark / 1e4 if long else -mark / 1e4
        stop, target = mark - intent.stop_bps * unit, mark + intent.take_profit_bps * unit
    elif intent.stop_price is not None and intent.take_profit_price is not None:
        stop, target = intent.stop_price, intent.take_profit_price
    elif atr is not None:
        stop, target = exits.by_range(intent.side, mark, atr, rules)
        farthest = mark
    else:
        return None
    hold_s = float(rules.max_hold_bars * strategy.bar_s)
    if intent.hold_s is not None:
        hold_s = min(hold_s, intent.hold_s)
    made = ExitPlan(stop, target, intent.ts + hold_s)
    fits = exits.encloses(made, mark, intent.side) and abs(mark - stop) <= farthest * (1 + 1e-9)
    return made if fits else None


def from_inbox(state: EngineState, policy: Policy) -> Iterator[Signal]:
    """Yield what the inbox wants of this policy's strategies."""
    for intent in state.outside.intents:
        strategy = _find(Inbox, intent.strategy, policy.strategies)
        if strategy is not None:
            frame = state.frames.get((intent.symbol, strategy.bar_s))
            atr = None if frame is None else indicators.atr(frame.bars, strategy.exits.atr_bars)
            yield Signal(
                strategy=strategy.name,
                symbol=intent.symbol,
                position_side=intent.side,
                action=intent.action,
                bar_open_ts=None,
                strength=intent.size_frac,
                reason=f"inbox={intent.id}",
                atr=atr,
                size_frac=intent.size_frac,
                intent=intent,
            )


def replies(report: TickReport, account: str) -> Iterator[InboxReply]:
    """Yield what became of every intent that this tick heard of."""
    yield from report.state.outside.replies
    for intent in report.state.outside.intents:
        decision = _decision(intent, report.live, account)
        if decision is None:
            yield InboxReply(intent.id, "refused", _why_not(intent, report.live))
        elif isinstance(decision.verdict, Vetoed):
            reason = decision.verdict.reason
            yield InboxReply(intent.id, "vetoed", reason, decision.intent.decision_id)
        else:
            yield InboxReply(intent.id, "accepted", "", decision.intent.decision_id)


def _decision(intent: InboxIntent, live: Decided, account: str) -> Decision | None:
    """Find what was decided about it; several who ask for one exit share its decision."""
    entry = entry_id(account, intent) if intent.action == "entry" else None
    for decision in live.decisions:
        made = decision.intent
        leaves = made.action == "exit" and made.reason == exits.SIGNAL
        asked = leaves and made.position_side in (intent.side, "BOTH")
        if entry is None and asked:
            if (made.strategy, made.symbol) == (intent.strategy, intent.symbol):
                return decision
        elif made.decision_id == entry:
            return decision
    return None


def _why_not(intent: InboxIntent, live: Decided) -> str:
    trading = live.symbol_trading.get(intent.symbol, live.trading)
    if trading.name == "HALTED":
        return f"halted: {', '.join(trading.reasons)}"
    if intent.action == "exit":
        return "nothing to leave: the strategy does not hold this leg, or is leaving it already"
    return "no entry: the leg is held or being opened, or there is no price, or no plan fits it"


# ---------------------------------------------------------------- users' modules


class Asking(Struct, frozen=True):
    """One closed bar that a module is to be asked about, the last of `bars`."""

    strategy: str
    symbol: str
    bar_s: int
    bars: tuple[Bar, ...]


def is_timely(bar_open_ts: float, bar_s: int, base_s: float, now: float) -> bool:
    """Tell whether a bar has just closed: within a base bar, and no later than clocks may differ."""
    return abs(now - (bar_open_ts + bar_s)) <= base_s


def askings(
    state: EngineState, strategies: Iterable[Module], base_s: int, now: float
) -> list[Asking]:
    """List the bars that closed in this tick and that nobody has answered for."""
    return [
        Asking(strategy.name, symbol, strategy.bar_s, bars[-strategy.window_bars :])
        for strategy in strategies
        for symbol in strategy.symbols
        if (symbol, strategy.bar_s) in state.closed
        and (bars := state.frames[symbol, strategy.bar_s].bars)
        and is_timely(bars[-1].ts, strategy.bar_s, base_s, now)
        and bars[-1].ts > state.decided.get((strategy.name, symbol), 0.0)
    ]


def answered(
    state: EngineState, policy: Policy, base_s: int, now: float
) -> Iterator[tuple[Module, ModuleAnswer]]:
    """Yield the answers to act on: in time, and the first for their bar.

    An answer may come a tick after its bar, so it has `answer_s` beyond what a bar itself has.
    """
    for answer in state.outside.answers:
        strategy = _find(Module, answer.strategy, policy.strategies)
        if strategy is None or answer.symbol not in strategy.symbols:
            continue
        bar_s, in_s = strategy.bar_s, base_s + strategy.answer_s
        key = (answer.strategy, answer.symbol)
        newer = answer.bar_open_ts > state.decided.get(key, 0.0)
        if newer and is_timely(answer.bar_open_ts, bar_s, in_s, now):
            yield strategy, answer


def from_module(
    strategy: Module, answer: ModuleAnswer, state: EngineState, held: Iterable[str]
) -> Iterator[Signal]:
    """Yield what a module wants: exits of what it holds, then entries."""
    frame = state.frames.get((answer.symbol, strategy.bar_s))
    atr = None if frame is None else indicators.atr(frame.bars, strategy.exits.atr_bars)
    for want in sorted(answer.wants, key=lambda want: want.action == "entry"):
        if want.action == "entry" or want.side in held:
            yield Signal(
                strategy=strategy.name,
                symbol=answer.symbol,
                position_side=want.side,
                action=want.action,
                bar_open_ts=answer.bar_open_ts,
                strength=want.strength,
                reason=want.reason or "module",
                atr=atr,
                size_frac=want.size_frac,
            )


def _find(kind: type[S], name: str, strategies: Iterable[Strategy]) -> S | None:
    return next((s for s in strategies if isinstance(s, kind) and s.name == name), None)
