"""A pytest plugin that takes one rule out of risk, so that the tests can be asked whether they notice.

`RISK_MUTANT=<name> pytest -p tests.support.risk_mutants ...`. A check that is taken out stays in its
place by its name and allows everything.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import hypothesis
from msgspec.structs import replace

from execution.core.risk import checks, engine, exposure
from execution.core.risk.checks import Check, Context
from execution.core.risk.exposure import Exposure
from execution.core.types import Approved

VARIABLE = "RISK_MUTANT"
LISTS = ("ENTRY", "VALIDITY", "RESEND")

Change = Callable[[], None]


def names() -> list[str]:
    """List every mutant: each check of each list, and each rule around them."""
    listed = [f"{name}.{check.__name__}" for name in LISTS for check in getattr(checks, name)]
    return [*listed, *(f"rule.{name}" for name in RULES)]


def pytest_configure() -> None:
    """Change what the environment names, before any test is collected."""
    where, _, what = os.environ[VARIABLE].partition(".")
    if where == "rule":
        RULES[what]()
    elif where in LISTS:
        kept = getattr(checks, where)
        assert what in {check.__name__ for check in kept}, what
        setattr(checks, where, tuple(_allowing(c) if c.__name__ == what else c for c in kept))
    else:
        assert where == "none", where


def pytest_sessionstart() -> None:
    """Leave a failing example as it was found: whether it fails is all that is asked."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", hypothesis.settings.default, phases=phases)
    hypothesis.settings.load_profile("mutants")


def _allowing(check: Check) -> Check:
    def allow(_: Context) -> None:
        return None

    allow.__name__ = check.__name__
    return allow


# ---------------------------------------------------------------- what is counted


def _charge_nothing() -> None:
    Exposure.charged = lambda self, _: self  # type: ignore[method-assign]


def _charge_without(**left_out: str) -> Change:
    """Charge an approval without one of the things that it is charged with."""

    def change() -> None:
        charged = Exposure.charged

        def forgetful(self: Exposure, approved: Approved) -> Exposure:
            before = {field: getattr(self, field) for field in left_out.values()}
            return replace(charged(self, approved), **before)

        Exposure.charged = forgetful  # type: ignore[method-assign]

    return change


def _charge_what_was_asked() -> None:
    charged = Exposure.charged

    def greedy(self: Exposure, approved: Approved) -> Exposure:
        return charged(self, replace(approved, qty=approved.intent.qty))

    Exposure.charged = greedy  # type: ignore[method-assign]


def _forget(change_recorded: Callable[[Any], Mapping[str, object]]) -> Change:
    """Measure exposure on a ledger's view that lacks something, but for whose state is unknown."""

    def change() -> None:
        of = exposure.of

        def forgetful(state: Any, universe: Any) -> Exposure:
            recorded = replace(state.recorded, **change_recorded(state.recorded))
            found = of(replace(state, recorded=recorded), universe)
            return replace(found, unknown=of(state, universe).unknown)

        exposure.of = forgetful

    return change


def _without_doubtful(recorded: Any) -> Mapping[str, object]:
    kept = tuple(o for o in recorded.open_orders if o.state not in ("UNKNOWN", "PREP"))
    return {"open_orders": kept}


def _count_half(recorded: Any) -> Mapping[str, object]:
    """Count a route at what it has filled, as if the rest would never come."""
    return {"routes": {k: replace(r, qty=r.filled_qty) for k, r in recorded.routes.items()}}


def _hedge_by_orders() -> None:
    def towards(self: Exposure, side: str) -> float:
        buys, sells = (self.opening_usd.get(each, 0.0) for each in ("BUY", "SELL"))
        net = self.held_net_usd + buys - sells
        return net if side == "BUY" else -net

    Exposure.net_towards_usd = towards  # type: ignore[method-assign,assignment]


def _one_leg_per_symbol() -> None:
    def symbol_usd(self: Exposure, symbol: str) -> float:
        return max((usd for key, usd in self.by_leg.items() if key[0] == symbol), default=0.0)

    Exposure.symbol_usd = symbol_usd  # type: ignore[method-assign]


def _believe_any_nav() -> None:
    Context.nav_usd = property(lambda c: c.state.book.nav_usd)  # type: ignore[method-assign,assignment]


def _price_without_a_mark_at_nothing() -> None:
    def price(state: Any, symbol: str, told: float | None) -> float:
        quote = state.quotes.get(symbol)
        prices = (told, None if quote is None else quote.mark)
        return max((p for p in prices if p is not None and 0 < p < math.inf), default=0.0)

    exposure._price = price


# ---------------------------------------------------------------- how it is answered


def _allow_what_raises() -> None:
    answer = engine._answer

    def lenient(check: Check, context: Context) -> Any:
        found = answer(check, context)
        return None if found is not None and found.unit == "error" else found

    engine._answer = lenient


def _change_assess(make: Callable[[Any, Context], Any]) -> Change:
    """Put something in the place of `assess`, which is asked first."""

    def change() -> None:
        assess = engine.assess
        engine.assess = lambda context: make(assess, context)

    return change


def _clamp_without_asking_again(assess: Any, context: Context) -> Any:
    asked, again = engine._ask, []

    def once(*words: Any) -> Any:
        again.append(words)
        return asked(*words) if len(again) == 1 else ()

    engine._ask = once
    try:
        return assess(context)
    finally:
        engine._ask = asked


def _clamp_up(assess: Any, context: Context) -> Any:
    verdict = assess(context)
    if isinstance(verdict, Approved) and verdict.clamped_by is not None:
        return replace(verdict, qty=verdict.intent.qty + verdict.intent.qty)
    return verdict


def _clamp_to_the_widest() -> None:
    engine.min = max  # type: ignore[attr-defined]  # the smallest headroom, and the smaller quantity


def _ask_exits_nothing() -> None:
    ask = engine._ask

    def lenient(context: Context, asked: Any = None) -> Any:
        return () if context.intent.reduce_only else ask(context, asked)

    engine._ask = lenient


def _ask_exits_everything() -> None:
    ask = engine._ask
    engine._ask = lambda context, asked=None: ask(context, asked or checks.ENTRY)


RULES: dict[str, Change] = {
    "charges_of_the_same_tick": _charge_nothing,
    "same_tick_exposure": _charge_without(a="by_leg"),
    "same_tick_net": _charge_without(a="opening_usd"),
    "same_tick_owner": _charge_without(a="owners"),
    "same_tick_entries": _charge_without(a="entries"),
    "charge_of_what_was_approved": _charge_what_was_asked,
    "unknown_orders_count": _forget(_without_doubtful),
    "orders_count": _forget(lambda _: {"open_orders": ()}),
    "routes_count": _forget(lambda _: {"routes": {}}),
    "routes_count_what_is_left": _forget(_count_half),
    "fills_only_the_ledger_has_count": _forget(lambda _: {"legs": {}}),
    "orders_are_no_hedge": _hedge_by_orders,
    "both_legs_of_a_symbol_count": _one_leg_per_symbol,
    "unknown_nav_leaves_no_room": _believe_any_nav,
    "what_has_no_price_is_too_much": _price_without_a_mark_at_nothing,
    "an_error_is_a_veto": _allow_what_raises,
    "the_gate_does_not_clamp": _change_assess(
        lambda assess, c: assess(replace(c, policy=replace(c.policy, clamp=True)))
    ),
    "the_engine_clamps": _change_assess(
        lambda assess, c: assess(replace(c, policy=replace(c.policy, clamp=False)))
    ),
    "a_clamped_order_is_asked_again": _change_assess(_clamp_without_asking_again),
    "clamping_only_makes_smaller": _change_assess(_clamp_up),
    "the_smallest_headroom_counts": _clamp_to_the_widest,
    "exits_are_asked": _ask_exits_nothing,
    "exits_skip_the_caps": _ask_exits_everything,
}


def told(lines: list[str]) -> Iterator[str]:
    """Yield the tests that a run's summary names as failed."""
    for line in lines:
        if line.startswith(("FAILED ", "ERROR ")):
            yield line.partition(" ")[2].partition(" - ")[0]
