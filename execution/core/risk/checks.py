"""The checks: one small pure function per limit, over one frozen context.

Each answers with its breach or None. A reduce-only intent meets the trading state and the checks
of validity; the exposure caps are for what adds exposure. Percentages are of NAV.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct

from execution.core.book import BELIEVABLE_USD
from execution.core.exits import encloses
from execution.core.policy import Listing, Policy
from execution.core.position_mode import direction_opened, opposes
from execution.core.risk import margin
from execution.core.risk.exposure import Exposure, leg_key
from execution.core.risk.trading_state import day_loss_pct
from execution.core.seam import Quote, SymbolRules
from execution.core.types import Breach, EngineState, OrderIntent, TradingState


class Context(Struct, frozen=True):
    """Everything the checks of one intent read; `lag_s` is the market's own (see MarketSnapshot)."""

    now: float
    bar_s: int
    lag_s: float
    intent: OrderIntent
    qty: Decimal
    trading: TradingState
    state: EngineState
    exposure: Exposure
    policy: Policy
    quote: Quote | None
    rules: SymbolRules | None
    listing: Listing | None

    @property
    def order_usd(self) -> float:
        """Return what the order is worth at the mark it was decided at."""
        return float(self.qty) * self.intent.mark_price

    @property
    def nav_usd(self) -> float:
        """Return NAV, or 0 while it is not known: every cap is then 0."""
        book = self.state.book
        return book.nav_usd if book.known and 0 < book.nav_usd < math.inf else 0.0


Check = Callable[[Context], Breach | None]


def trading_state(c: Context) -> Breach | None:
    """Refuse what the trading state does not allow; its first reason is the headline."""
    if c.trading.name == "ACTIVE" or c.intent.action == "flatten":
        return None
    if c.trading.name == "REDUCING" and c.intent.reduce_only:
        return None
    # A reason may say more after its name; vetoes are counted by the name.
    return Breach(c.trading.reasons[0].partition(" ")[0], "ACTIVE", c.trading.name, "state")


def nav_stale(c: Context) -> Breach | None:
    """Refuse entries on a NAV that is older than its limit."""
    limit = c.policy.limits.freshness.nav_max_age_s + c.lag_s
    as_of = c.state.book.as_of_ts
    age = math.inf if as_of is None else c.now - as_of
    if abs(age) <= limit and not c.state.book.stale:
        return None
    return Breach("nav_stale", limit, _finite(age), "s")


def reconciliation_stale(c: Context) -> Breach | None:
    """Refuse entries while ledger and venue were not compared lately."""
    limit = c.policy.limits.freshness.reconciliation_max_age_s + c.lag_s
    last = c.state.recorded.reconciled_ts
    age = math.inf if last is None else c.now - last
    return None if abs(age) <= limit else Breach("reconciliation_stale", limit, _finite(age), "s")


def symbol_not_allowed(c: Context) -> Breach | None:
    """Refuse a symbol outside the universe, or one that the exchange does not trade."""
    if c.listing is not None and c.rules is not None and c.rules.trading:
        return None
    return Breach("symbol_not_allowed", "universe and TRADING", c.intent.symbol, "symbol")


def side_blocked(c: Context) -> Breach | None:
    """Refuse a side that the symbol's limits block."""
    own = c.policy.limits.symbols.get(c.intent.symbol)
    direction = direction_opened(c.intent.side)
    if own is None or direction not in own.blocked_sides:
        return None
    return Breach("side_blocked", "allowed", direction, "side")


def leg_owned(c: Context) -> Breach | None:
    """Refuse an entry on a leg that another strategy holds or is opening."""
    owner = c.exposure.owners.get(leg_key(c.intent))
    if owner is None or owner == c.intent.strategy:
        return None
    return Breach("leg_owned", c.intent.strategy, owner, "strategy")


def crosses_zero(c: Context) -> Breach | None:
    """Refuse an entry against what its leg holds, unless that is being left: its order waits then."""
    key = leg_key(c.intent)
    held = c.exposure.held_qty.get(key, 0.0)
    if key in c.exposure.leaving or not opposes(c.intent.side, held):
        return None
    return Breach("crosses_zero", 0.0, held, "qty")


def nav_drawdown_limit(c: Context) -> Breach | None:
    """Refuse entries beyond the drawdown from the persisted peak."""
    limit, down = c.policy.limits.book.nav_drawdown_limit_pct, c.state.book.drawdown_pct
    if down is not None and 0 <= down < limit:
        return None
    return Breach("nav_drawdown_limit", limit, down, "pct")


def day_loss_limit(c: Context) -> Breach | None:
    """Refuse entries beyond the loss since the day's anchor."""
    book, limit = c.state.book, c.policy.limits.book.day_loss_limit_pct
    loss, pnl = day_loss_pct(book), book.day_pnl_usd
    if book.anchors is not None and pnl is not None and math.isfinite(pnl) and loss < limit:
        return None
    return Breach("day_loss_limit", limit, loss, "pct")


def cooldown(c: Context) -> Breach | None:
    """Refuse entries for a while after a day-loss stop, also where the loss has recovered."""
    limit, since_s = c.policy.limits.book.cooldown_s, c.state.book.cooling_from_s
    if since_s is None:
        return None
    past_s = c.state.recorded.steady_s - since_s
    return None if past_s >= limit else Breach("cooldown", limit, _finite(past_s), "s")


def below_min_notional(c: Context) -> Breach | None:
    """Refuse an order smaller than the exchange's or our own minimum."""
    if c.rules is None:
        return None  # symbol_not_allowed has said so
    limit = max(c.policy.limits.book.min_notional_usd, float(c.rules.min_notional_usd))
    if c.order_usd >= limit and c.qty >= c.rules.min_qty:
        return None
    return Breach("below_min_notional", limit, c.order_usd, "usd")


def max_order_notional(c: Context) -> Breach | None:
    """Refuse one order worth more than its cap."""
    return _cap("max_order_notional", c.policy.limits.book.max_order_notional_usd, 0.0, c)


def max_order_qty(c: Context) -> Breach | None:
    """Refuse more units than the symbol's limit or the exchange's."""
    if c.rules is None:
        return None
    own = c.policy.limits.symbols.get(c.intent.symbol)
    limit = float(c.rules.max_qty)
    if own is not None and own.max_order_qty is not None:
        limit = min(limit, own.max_order_qty)
    if float(c.qty) <= limit:
        return None
    return Breach("max_order_qty", limit, float(c.qty), "qty", limit * c.intent.mark_price)


def price_collar(c: Context) -> Breach | None:
    """Refuse when the price it was decided at, or the touch it would be sent at, is off the mark."""
    limit = min(c.policy.limits.book.price_collar_bps, _band_bps(c.rules))
    if c.quote is None or not c.quote.sound or not 0 < c.intent.mark_price < math.inf:
        return Breach("price_collar", limit, None, "bps")
    prices = (c.intent.mark_price, c.quote.bid, c.quote.ask)
    away = max(1e4 * abs(price / c.quote.mark - 1) for price in prices)
    return None if away <= limit else Breach("price_collar", limit, _finite(away), "bps")


def _band_bps(rules: SymbolRules | None) -> float:
    """Return how far from the mark the exchange itself takes a price."""
    bounds = () if rules is None else (rules.price_down_mult, rules.price_up_mult)
    return min(
        (abs(1e4 * float(each - 1)) for each in bounds if each is not None), default=math.inf
    )


def leverage_cap(c: Context) -> Breach | None:
    """Refuse prospective gross beyond the leverage cap."""
    limit_usd = c.policy.limits.book.leverage_cap * c.nav_usd
    return _cap("leverage_cap", limit_usd, c.exposure.gross_usd, c)


def trade_nav_cap(c: Context) -> Breach | None:
    """Refuse one trade beyond its share of NAV."""
    return _cap("trade_nav_cap", _share(c.policy.limits.book.trade_cap_pct, c), 0.0, c)


def symbol_nav_cap(c: Context) -> Breach | None:
    """Refuse prospective exposure to one symbol beyond its share of NAV."""
    own = c.policy.limits.symbols.get(c.intent.symbol)
    pct = c.policy.limits.book.symbol_cap_pct
    if own is not None and own.cap_pct is not None:
        pct = min(pct, own.cap_pct)
    return _cap("symbol_nav_cap", _share(pct, c), c.exposure.symbol_usd(c.intent.symbol), c)


def tier_cap(c: Context) -> Breach | None:
    """Refuse prospective exposure to one tier beyond its share of NAV."""
    if c.listing is None:
        return None
    pct = c.policy.limits.tiers[c.listing.tier].cap_pct
    return _cap("tier_cap", _share(pct, c), c.exposure.tier_usd(c.listing.tier), c)


def gross_cap(c: Context) -> Breach | None:
    """Refuse prospective gross beyond its share of NAV."""
    return _cap("gross_cap", _share(c.policy.limits.book.gross_cap_pct, c), c.exposure.gross_usd, c)


def net_cap(c: Context) -> Breach | None:
    """Refuse prospective net, long or short, beyond its share of NAV."""
    towards = c.exposure.net_towards_usd(c.intent.side)
    return _cap("net_cap", _share(c.policy.limits.book.net_cap_pct, c), towards, c)


def max_concurrent(c: Context) -> Breach | None:
    """Refuse one more leg than may be open or opening at once."""
    limit = c.policy.limits.book.max_concurrent
    legs = set(c.exposure.by_leg) | {leg_key(c.intent)}
    return None if len(legs) <= limit else Breach("max_concurrent", limit, len(legs), "legs")


def order_rate(c: Context) -> Breach | None:
    """Refuse more entries than a second, a minute, or the symbol's window of bars allows."""
    book, entries, approved = c.policy.limits.book, c.state.recorded.entries, c.exposure.entries
    all_times = [at_s for times in entries.values() for at_s in times]
    all_now = sum(approved.values())
    own_times, own_now = entries.get(c.intent.symbol, ()), approved.get(c.intent.symbol, 0)
    window_s = book.entries_window_bars * c.bar_s
    for limit, length_s, times, now, unit in (
        (book.entries_per_second, 1, all_times, all_now, "entries_per_second"),
        (book.entries_per_minute, 60, all_times, all_now, "entries_per_minute"),
        (book.entries_per_symbol_window, window_s, own_times, own_now, "entries"),
    ):
        since_s = c.state.recorded.steady_s - length_s
        recent = 1 + now + sum(not at_s <= since_s for at_s in times)
        if recent > limit:
            return Breach("order_rate", limit, recent, unit)
    return None


def duplicate_intent(c: Context) -> Breach | None:
    """Refuse an intent whose decision is already being worked."""
    if c.intent.decision_id not in c.state.recorded.routes:
        return None
    return Breach("duplicate_intent", 1, 2, "intents")


def repeat_throttle(c: Context) -> Breach | None:
    """Refuse entries for a while after the exchange refused the symbol's orders N times alike."""
    book, now_s = c.policy.limits.book, c.state.recorded.steady_s
    last = book.repeat_rejects - 1
    for (symbol, _), told in c.state.recorded.rejects.items():
        times = sorted(told) if symbol == c.intent.symbol else []
        for first_s, last_s in zip(times, times[last:], strict=False):
            alike = last_s - first_s <= book.repeat_window_s
            if alike and not now_s - last_s >= book.repeat_pause_s:
                return Breach("repeat_throttle", book.repeat_rejects, len(times), "rejects")
    return None


def unknown_order_open(c: Context) -> Breach | None:
    """Refuse entries while an order of the symbol is in an unknown state."""
    if c.intent.symbol not in c.exposure.unknown:
        return None
    return Breach("unknown_order_open", 0, 1, "orders")


def margin_insufficient(c: Context) -> Breach | None:
    """Refuse what the wallet could not carry as initial margin at the venue's leverage."""
    own = margin.leverages(c.state, c.policy).get(c.intent.symbol, c.policy.leverage)
    held_usd = own * margin.bound_usd(c.exposure, c.state, c.policy)
    return _cap("margin_insufficient", own * margin.carried_usd(c.state.book), held_usd, c)


def stale_market(c: Context) -> Breach | None:
    """Refuse on a quote that is older than its limit."""
    limit = c.policy.limits.freshness.market_max_age_s + c.lag_s
    age = math.inf if c.quote is None else c.now - c.quote.ts
    return None if abs(age) <= limit else Breach("stale_market", limit, _finite(age), "s")


def bad_number(c: Context) -> Breach | None:
    """Refuse an intent whose own numbers are not positive, or more than any account holds."""
    if c.qty.is_finite() and c.qty > 0 and 0 < c.order_usd < BELIEVABLE_USD:
        return None
    return Breach("below_min_notional", None, None, "usd")


def exit_plan_missing(c: Context) -> Breach | None:
    """Refuse an entry that has no stop and take profit on their own sides of its price."""
    plan, direction = c.intent.exit, direction_opened(c.intent.side)
    if plan is not None and encloses(plan, c.intent.mark_price, direction):
        return None
    return Breach("exit_plan_missing", "stop and take profit", None, "plan")


def reduce_only_enlarges(c: Context) -> Breach | None:
    """Refuse a reduce-only order that is more than its leg, or on the side that adds to it."""
    key = leg_key(c.intent)
    positions = c.state.book.positions
    held = sum(p.qty for p in positions if (p.symbol, p.position_side) == key)
    reducible = held if c.intent.side == "SELL" else -held
    if float(c.qty) <= reducible:
        return None
    return Breach("reduce_only_enlarges", reducible, _finite(float(c.qty)), "qty")


VALIDITY: tuple[Check, ...] = (
    trading_state,
    duplicate_intent,
    bad_number,
    reduce_only_enlarges,
)
ENTRY: tuple[Check, ...] = (
    trading_state,
    nav_stale,
    reconciliation_stale,
    symbol_not_allowed,
    side_blocked,
    leg_owned,
    nav_drawdown_limit,
    day_loss_limit,
    cooldown,
    below_min_notional,
    max_order_notional,
    max_order_qty,
    price_collar,
    leverage_cap,
    trade_nav_cap,
    symbol_nav_cap,
    tier_cap,
    gross_cap,
    net_cap,
    max_concurrent,
    order_rate,
    duplicate_intent,
    repeat_throttle,
    unknown_order_open,
    margin_insufficient,
    stale_market,
    bad_number,
    exit_plan_missing,
    crosses_zero,
)
# What must still hold when an entry that was approved before is sent once more.
RESEND: tuple[Check, ...] = (
    nav_stale,
    reconciliation_stale,
    symbol_not_allowed,
    crosses_zero,
    cooldown,
    price_collar,
    repeat_throttle,
    unknown_order_open,
    stale_market,
)


def _share(pct: float, c: Context) -> float:
    return pct / 100 * c.nav_usd


def _cap(reason: str, limit_usd: float, held_usd: float, c: Context) -> Breach | None:
    observed = held_usd + c.order_usd
    if observed <= limit_usd:
        return None
    return Breach(reason, limit_usd, _finite(observed), "usd", max(0.0, limit_usd - held_usd))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
