"""Random books for the property tests of the caps, and an own sum of what they would hold."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from hypothesis import strategies as st
from msgspec import Struct

from execution.core.policy import Policy, Universe
from execution.core.seam import LegKey
from execution.core.types import Approved, EngineState
from tests.support import builders
from tests.support import policies as written

TIERS = {"BTCUSDT": "CORE", "ETHUSDT": "CORE", "SOLUSDT": "SATELLITE", "LAYERUSDT": "ALT-EXT"}
UNIVERSE = Universe(listing=tuple(written.listing(s, tier) for s, tier in TIERS.items()))
SIDES = (("LONG", "BUY"), ("SHORT", "SELL"))
LEGS = [(symbol, side) for symbol in TIERS for side in SIDES]
# Rounding of sums of floats, and nothing that anybody could trade.
SLACK = 1 + 1e-9

PCT = st.sampled_from([1.0, 5.0, 10.0, 20.0, 40.0, 75.0, 100.0])
QTY = st.integers(min_value=1, max_value=20_000).map(lambda n: Decimal(n).scaleb(-3))
# What one tight limit leaves room for, among limits that are in nobody's way.
WIDE = {
    "gross_cap_pct": 1000.0,
    "net_cap_pct": 1000.0,
    "symbol_cap_pct": 1000.0,
    "trade_cap_pct": 100.0,
    "leverage_cap": 100.0,
    "max_concurrent": 50,
    "entries_per_symbol_window": 50,
    "max_order_notional_usd": 1e9,
}
TIGHT = {
    "gross_cap_pct": st.sampled_from([10.0, 40.0, 100.0]),
    "net_cap_pct": st.sampled_from([5.0, 20.0, 50.0]),
    "symbol_cap_pct": st.sampled_from([5.0, 20.0, 50.0]),
    "trade_cap_pct": st.sampled_from([1.0, 5.0, 20.0]),
    "leverage_cap": st.sampled_from([0.1, 0.4, 1.0]),
    "max_concurrent": st.integers(min_value=1, max_value=5),
    "entries_per_symbol_window": st.integers(min_value=1, max_value=3),
    "max_order_notional_usd": st.sampled_from([100.0, 500.0, 2000.0]),
}


class Sums(Struct):
    """What a book would hold if everything in flight filled, added up anew."""

    legs: dict[LegKey, float]
    long_usd: float
    short_usd: float

    @property
    def gross(self) -> float:
        return sum(self.legs.values())

    def symbol(self, symbol: str) -> float:
        return sum(usd for key, usd in self.legs.items() if key[0] == symbol)

    def tier(self, tier: str) -> float:
        return sum(usd for key, usd in self.legs.items() if TIERS[key[0]] == tier)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw limits of which one or two are about as large as the orders."""
    names = [*TIGHT, "tiers", "leverage"]
    tight = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    caps = {name: draw(TIGHT[name]) for name in tight if name in TIGHT}
    pct = PCT if "tiers" in tight else st.just(1000.0)
    return written.policy(
        universe=UNIVERSE,
        leverage=draw(st.sampled_from([0.1, 0.4, 1.0])) if "leverage" in tight else 100.0,
        clamp=draw(st.booleans()),
        limits=written.limits(
            tiers={tier: draw(pct) for tier in ("CORE", "SATELLITE", "ALT-EXT")}, **{**WIDE, **caps}
        ),
        sizing=written.sizing(base_trade_pct=draw(PCT)),
    )


@st.composite
def states(draw: st.DrawFn) -> EngineState:
    """Draw a book: marks, positions, routes in flight, and orders in doubt without a route."""
    marks = {s: draw(st.sampled_from([7.5, 99.97, 100.0, 1234.5])) for s in TIERS}
    held = draw(st.lists(st.sampled_from(LEGS), unique=True, max_size=3))
    positions = tuple(
        builders.position(
            symbol,
            side,
            float(draw(QTY)) * (1 if order == "BUY" else -1),
            mark_price=marks[symbol],
            strategy=draw(st.sampled_from(["fade", "follow"])),
        )
        for symbol, (side, order) in held
    )
    routes = {}
    for i, (symbol, (side, order)) in enumerate(draw(st.lists(st.sampled_from(LEGS), max_size=3))):
        qty = draw(QTY)
        routes[f"r{i}"] = builders.route(
            f"r{i}",
            symbol=symbol,
            position_side=side,
            side=order,
            qty=qty,
            filled_qty=draw(st.sampled_from([Decimal(0), qty / 2])),
            mark_price=marks[symbol] * draw(st.sampled_from([0.9, 1.0, 1.1])),
        )
    orders = tuple(
        builders.order_record(
            f"o{i}",
            decision_id=f"o{i}",
            symbol=symbol,
            position_side=side,
            side=order,
            qty=draw(QTY),
            price=None,
            state=draw(st.sampled_from(["UNKNOWN", "PREP", "LIVE"])),
        )
        for i, (symbol, (side, order)) in enumerate(
            draw(st.lists(st.sampled_from(LEGS), max_size=2))
        )
    )
    return builders.state(
        book=builders.book(
            draw(st.sampled_from([2000.0, 10_000.0, 123_456.7])), positions=positions
        ),
        quotes={s: builders.quote(mark, half=mark / 1000) for s, mark in marks.items()},
        rules={s: builders.rules() for s in TIERS},
        recorded=builders.recorded(routes=routes, open_orders=orders),
    )


def total(state: EngineState, approvals: Iterable[Approved] = ()) -> Sums:
    """Add up a book and the approvals of a tick, the plain way."""
    sums = Sums({}, 0.0, 0.0)

    def add(symbol: str, side: str, order: str, usd: float) -> None:
        sums.legs[symbol, side] = sums.legs.get((symbol, side), 0.0) + usd
        if order == "BUY":
            sums.long_usd += usd
        else:
            sums.short_usd += usd

    for p in state.book.positions:
        usd = abs(p.qty) * p.mark_price
        add(p.symbol, p.position_side, "BUY" if p.qty > 0 else "SELL", usd)
        # A position is a hedge for the other side; an order is none.
        if p.qty > 0:
            sums.short_usd -= usd
        else:
            sums.long_usd -= usd
    for r in state.recorded.routes.values():
        mark = max(r.mark_price, state.quotes[r.symbol].mark)
        add(r.symbol, r.position_side, r.side, float(r.qty - r.filled_qty) * mark)
    for o in state.recorded.open_orders:
        mark = state.quotes[o.symbol].mark
        add(o.symbol, o.position_side, o.side, float(o.qty - o.filled_qty) * mark)
    for a in approvals:
        i = a.intent
        if not i.reduce_only:
            add(i.symbol, i.position_side, i.side, float(a.qty) * i.mark_price)
    return sums


def overruns(state: EngineState, approvals: list[Approved], policy: Policy) -> list[str]:
    """Name every limit that these approvals, all filled, would break."""
    nav, book = state.book.nav_usd, policy.limits.book
    after = total(state, approvals)
    entries = [a for a in approvals if not a.intent.reduce_only]
    found = [
        f"order of {float(a.qty) * a.intent.mark_price} USD"
        for a in entries
        if float(a.qty) * a.intent.mark_price
        > min(book.trade_cap_pct / 100 * nav, book.max_order_notional_usd) * SLACK
    ]
    measured = {
        "gross": (after.gross, book.gross_cap_pct / 100 * nav, entries),
        "leverage": (after.gross, book.leverage_cap * nav, entries),
        "margin": (after.gross, policy.leverage * nav, entries),
        "net long": (
            after.long_usd,
            book.net_cap_pct / 100 * nav,
            [a for a in entries if a.intent.side == "BUY"],
        ),
        "net short": (
            after.short_usd,
            book.net_cap_pct / 100 * nav,
            [a for a in entries if a.intent.side == "SELL"],
        ),
        "legs": (len(after.legs), book.max_concurrent, entries),
    }
    for symbol, tier in TIERS.items():
        own = [a for a in entries if a.intent.symbol == symbol]
        same = [a for a in entries if TIERS[a.intent.symbol] == tier]
        measured[symbol] = (after.symbol(symbol), book.symbol_cap_pct / 100 * nav, own)
        measured[tier] = (after.tier(tier), policy.limits.tiers[tier].cap_pct / 100 * nav, same)
        measured[f"entries of {symbol}"] = (len(own), book.entries_per_symbol_window, own)
    # A book that was beyond a limit before may stay there, but nothing may be added to it.
    found += [
        f"{name}: {observed} over {limit}"
        for name, (observed, limit, added) in measured.items()
        if added and observed > limit * SLACK
    ]
    return found
