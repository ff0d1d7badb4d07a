"""What is used of each limit, by the name of the veto it gives; a symbol or tier follows a dot.

Exposure is prospective, as the checks count it: positions, orders and routes in flight, and what
this tick approved. Percentages are of NAV. A floor (the smallest order) is not used up and not here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from execution.core.policy import Policy
from execution.core.records import Route
from execution.core.risk import exposure, margin
from execution.core.risk.exposure import Exposure
from execution.core.risk.trading_state import day_loss_pct
from execution.core.seam import MarketSnapshot
from execution.core.types import Approved, Book, EngineState, TickReport

MINUTE_S = 60


class Limit(Struct, frozen=True, gc=False):
    """One limit as it is configured."""

    limit: float
    unit: str


def limits(policy: Policy, bar_lag_s: float = 0.0) -> dict[str, Limit]:
    """Return every limit that can be used up; `bar_lag_s` is the market's own age."""
    book, fresh = policy.limits.book, policy.limits.freshness
    found = {
        "nav_drawdown_limit": Limit(book.nav_drawdown_limit_pct, "pct"),
        "day_loss_limit": Limit(book.day_loss_limit_pct, "pct"),
        "cooldown": Limit(book.cooldown_s, "s"),
        "gross_cap": Limit(book.gross_cap_pct, "pct"),
        "net_cap": Limit(book.net_cap_pct, "pct"),
        "leverage_cap": Limit(book.leverage_cap, "x"),
        "margin_insufficient": Limit(100.0, "pct"),
        "trade_nav_cap": Limit(book.trade_cap_pct, "pct"),
        "max_order_notional": Limit(book.max_order_notional_usd, "usd"),
        "max_concurrent": Limit(book.max_concurrent, "legs"),
        "order_rate.second": Limit(book.entries_per_second, "entries"),
        "order_rate.minute": Limit(book.entries_per_minute, "entries"),
        "unknown_order_open": Limit(0.0, "orders"),
        "nav_stale": Limit(fresh.nav_max_age_s + bar_lag_s, "s"),
        "reconciliation_stale": Limit(fresh.reconciliation_max_age_s + bar_lag_s, "s"),
    }
    for tier, cap in policy.limits.tiers.items():
        found[f"tier_cap.{tier}"] = Limit(cap.cap_pct, "pct")
    for listing in policy.universe.listing:
        symbol, own = listing.symbol, policy.limits.symbols.get(listing.symbol)
        cap_pct, max_qty = book.symbol_cap_pct, float(listing.max_qty)
        if own is not None:
            cap_pct = min(cap_pct, cap_pct if own.cap_pct is None else own.cap_pct)
            max_qty = min(max_qty, max_qty if own.max_order_qty is None else own.max_order_qty)
        found[f"symbol_nav_cap.{symbol}"] = Limit(cap_pct, "pct")
        found[f"max_order_qty.{symbol}"] = Limit(max_qty, "qty")
        found[f"order_rate.{symbol}"] = Limit(book.entries_per_symbol_window, "entries")
        found[f"repeat_throttle.{symbol}"] = Limit(book.repeat_rejects, "rejects")
        found[f"price_collar.{symbol}"] = Limit(book.price_collar_bps, "bps")
        found[f"stale_market.{symbol}"] = Limit(fresh.market_max_age_s + bar_lag_s, "s")
    return found


def approvals(report: TickReport) -> list[Approved]:
    """List the entries that this tick approved."""
    verdicts = [decision.verdict for decision in report.live.decisions]
    return [v for v in verdicts if isinstance(v, Approved) and not v.intent.reduce_only]


def prospective(report: TickReport, policy: Policy, approved: Iterable[Approved]) -> Exposure:
    """Return what the book would hold if everything in flight and approved now were filled."""
    held = exposure.of(report.state, policy.universe)
    for each in approved:
        held = held.charged(each)
    return held


def used(report: TickReport, policy: Policy) -> dict[str, float]:
    """Return what is used of each limit in its unit; what is not known is not in it."""
    state, approved = report.state, approvals(report)
    held = prospective(report, policy, approved)
    caps = used_of_caps(state, policy, held)
    worked = [route for route in state.recorded.routes.values() if not route.reduce_only]
    orders = used_of_orders(approved, worked, state.book)
    figures = {
        **losses(state.book),
        **_pauses(state, policy),
        **({**unused_caps(policy), **caps, **orders} if caps else {}),
        **used_of_rates(report, policy, held),
        **_ages(state, report.now),
    }
    return {name: figure for name, figure in figures.items() if math.isfinite(figure)}


def unused_caps(policy: Policy) -> dict[str, float]:
    """Return 0 for each cap of one tier, one symbol or one order."""
    found = dict.fromkeys(("trade_nav_cap", "max_order_notional"), 0.0)
    found.update((f"tier_cap.{tier}", 0.0) for tier in policy.limits.tiers)
    for listing in policy.universe.listing:
        found[f"symbol_nav_cap.{listing.symbol}"] = found[f"max_order_qty.{listing.symbol}"] = 0.0
    return found


def used_of_caps(state: EngineState, policy: Policy, held: Exposure) -> dict[str, float]:
    """Return what is used of the caps on exposure; nothing while NAV is unknown.

    Caps of one tier or symbol of which nothing is used are left out.
    """
    book = state.book
    if not _has_nav(book):
        return {}
    pct, gross_usd = 100 / book.nav_usd, held.gross_usd
    figures: dict[str, float] = {
        "gross_cap": gross_usd * pct,
        "net_cap": max(0.0, held.net_usd) * pct,
        "leverage_cap": gross_usd / book.nav_usd,
        "max_concurrent": len(held.by_leg),
    }
    for (symbol, _), usd in held.by_leg.items():
        tier = held.tiers.get(symbol)
        if tier is not None:
            for name in (f"symbol_nav_cap.{symbol}", f"tier_cap.{tier}"):
                figures[name] = figures.get(name, 0.0) + usd * pct
    carried_usd = margin.carried_usd(book)
    if carried_usd > 0:
        bound_usd = margin.bound_usd(held, state, policy)
        figures["margin_insufficient"] = 100 * bound_usd / carried_usd
    return figures


def used_of_orders(
    approved: Iterable[Approved], worked: Iterable[Route], book: Book
) -> dict[str, float]:
    """Return what the largest of these entries use of the caps on one order."""
    entries = [(each.intent.symbol, each.qty, each.intent.mark_price) for each in approved]
    entries += [(route.symbol, route.qty, route.mark_price) for route in worked]
    figures: dict[str, float] = {}
    for symbol, qty, price in entries:
        usd, name = float(qty) * price, f"max_order_qty.{symbol}"
        figures["max_order_notional"] = max(usd, figures.get("max_order_notional", 0.0))
        figures[name] = max(float(qty), figures.get(name, 0.0))
    if figures and _has_nav(book):
        figures["trade_nav_cap"] = 100 * figures["max_order_notional"] / book.nav_usd
    return figures


def _has_nav(book: Book) -> bool:
    return book.known and 0 < book.nav_usd < math.inf


def used_of_rates(report: TickReport, policy: Policy, held: Exposure) -> dict[str, float]:
    """Count the entries of each window, those that this tick approved among them."""
    recorded, book = report.state.recorded, policy.limits.book
    every = [at_s for times in recorded.entries.values() for at_s in times]
    approved, now_s = sum(held.entries.values()), recorded.steady_s
    figures: dict[str, float] = {
        "order_rate.second": approved + _recent(every, now_s - 1),
        "order_rate.minute": approved + _recent(every, now_s - MINUTE_S),
    }
    if isinstance(report.seen, MarketSnapshot):
        since_s = now_s - book.entries_window_bars * report.seen.bar_s
        for listing in policy.universe.listing:
            symbol = listing.symbol
            recent = _recent(recorded.entries.get(symbol, ()), since_s)
            figures[f"order_rate.{symbol}"] = recent + held.entries.get(symbol, 0)
    return figures


def losses(book: Book) -> dict[str, float]:
    """Return drawdown and the day's loss, where they are known."""
    figures = {}
    if book.drawdown_pct is not None:
        figures["nav_drawdown_limit"] = book.drawdown_pct
    if book.day_pnl_usd is not None and book.anchors is not None:
        figures["day_loss_limit"] = day_loss_pct(book)
    return figures


def _pauses(state: EngineState, policy: Policy) -> dict[str, float]:
    """Return the seconds that a cooldown still lasts, and what counts towards other pauses.

    While the loss itself stops entries, all of its cooldown is still to come.
    """
    book, recorded, rules = state.book, state.recorded, policy.limits.book
    cooling_s = 0.0
    if book.anchors is not None and book.anchors.stopped:
        cooling_s = rules.cooldown_s
    elif book.cooling_from_s is not None:
        cooling_s = max(0.0, rules.cooldown_s - (recorded.steady_s - book.cooling_from_s))
    in_doubt = sum(order.state in ("UNKNOWN", "PREP") for order in recorded.open_orders)
    figures = {"cooldown": cooling_s, "unknown_order_open": in_doubt}
    for listing in policy.universe.listing:
        figures[f"repeat_throttle.{listing.symbol}"] = 0
    for (symbol, _), times in recorded.rejects.items():
        name = f"repeat_throttle.{symbol}"
        alike = _alike(times, recorded.steady_s, rules.repeat_window_s, rules.repeat_pause_s)
        figures[name] = max(figures.get(name, 0), alike)
    return figures


def _ages(state: EngineState, now: float) -> dict[str, float]:
    figures: dict[str, float] = {}
    if state.book.as_of_ts is not None:
        figures["nav_stale"] = abs(now - state.book.as_of_ts)
    if state.recorded.reconciled_ts is not None:
        figures["reconciliation_stale"] = abs(now - state.recorded.reconciled_ts)
    for symbol, quote in state.quotes.items():
        figures[f"stale_market.{symbol}"] = abs(now - quote.ts)
        if quote.sound:
            away = max(abs(price / quote.mark - 1) for price in (quote.bid, quote.ask))
            figures[f"price_collar.{symbol}"] = 1e4 * away
    return figures


def _recent(times: Iterable[float], since_s: float) -> int:
    return sum(not at_s <= since_s for at_s in times)


def _alike(times: Sequence[float], now_s: float, window_s: float, pause_s: float) -> int:
    """Count the most rejects within one window that ended no longer ago than the pause."""
    ends = [end_s for end_s in times if not now_s - end_s >= pause_s]
    return max(
        (sum(end_s - window_s <= at_s <= end_s for at_s in times) for end_s in ends), default=0
    )
