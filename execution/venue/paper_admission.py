"""What the paper exchange refuses at the door, in the exchange's own codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import chain

from execution.core.position_mode import PositionMode
from execution.core.seam import NewOrder, Quote, Rejected, SymbolRules
from execution.venue import paper_margin
from execution.venue.paper_account import (
    PaperAccount,
    PaperTerms,
    exact,
    only_reduces,
    reducible_qty,
)

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


def refuse(
    order: NewOrder,
    account: PaperAccount,
    rules: SymbolRules | None,
    quotes: Mapping[str, Quote],
    terms: PaperTerms,
    mode: PositionMode,
) -> Rejected | None:
    """Return the first reason why the exchange would not take `order`, or None."""
    quote = quotes.get(order.symbol)
    if rules is None or quote is None:
        return Rejected("-1121", f"{order.symbol} has no rules or no price here")
    # Chained lazily: a check may rely on what those before it have refused.
    refusals = chain(
        _malformed(order, mode),
        _off_limits(order, account, rules),
        _off_grid(order, rules),
        _mistimed(order, quote),
        _unaffordable(order, account, quotes, rules, terms),
    )
    return next(refusals, None)


def crosses(order: NewOrder, quote: Quote) -> bool:
    """Tell whether an order would trade at once against the touch."""
    if order.type != "LIMIT" or order.price is None:
        return order.type == "MARKET"
    if order.side == "BUY":
        return order.price >= exact(quote.ask)
    return order.price <= exact(quote.bid)


def _malformed(order: NewOrder, mode: PositionMode) -> Iterator[Rejected]:
    if _CLIENT_ID.fullmatch(order.client_id) is None:
        yield Rejected("-4015", "client id: 1 to 36 characters of [.A-Z:/a-z0-9_-]")
    if (order.position_side == "BOTH") != (mode == "one_way"):
        yield Rejected(
            "-4061", f"position side {order.position_side}: this account is in {mode} mode"
        )
    needs = {"LIMIT": ("price", order.price), "STOP_MARKET": ("stop_price", order.stop_price)}
    name, value = needs.get(order.type, ("qty", order.qty))
    if value is None or not value.is_finite() or value <= 0:
        yield Rejected("-1102", f"{name} must be a number above 0, not {value}")
    if not order.qty.is_finite() or (order.qty <= 0 and not order.close_position):
        yield Rejected("-4003", f"quantity must be above 0, not {order.qty}")
    if order.close_position and order.type != "STOP_MARKET":
        yield Rejected("-1102", "close_position goes with STOP_MARKET only")


def _off_limits(order: NewOrder, account: PaperAccount, rules: SymbolRules) -> Iterator[Rejected]:
    if any(order.client_id == known.seen.client_id for known in account.orders.values()):
        yield Rejected("-4116", f"client id {order.client_id} is in use by an open order")
    closing = only_reduces(order)
    if closing and reducible_qty(account, order) == 0:
        yield Rejected("-2022", f"{order.side} reduces no {order.position_side} leg there is")
    if not rules.trading and not closing:
        yield Rejected("-4140", f"{order.symbol} is not trading")


def _off_grid(order: NewOrder, rules: SymbolRules) -> Iterator[Rejected]:
    for name, price in (("price", order.price), ("stop_price", order.stop_price)):
        if price is not None and price % rules.tick_size != 0:
            code = "-1111" if _is_finer(price, rules.tick_size) else "-4014"
            yield Rejected(code, f"{name} {price} is not on the tick of {rules.tick_size}")
    if order.close_position:
        return
    if order.qty % rules.step_size != 0:
        code = "-1111" if _is_finer(order.qty, rules.step_size) else "-4023"
        yield Rejected(code, f"quantity {order.qty} is not on the step of {rules.step_size}")
    if order.qty < rules.min_qty:
        yield Rejected("-4004", f"quantity {order.qty} is below {rules.min_qty}")
    if order.qty > rules.max_qty:
        yield Rejected("-4005", f"quantity {order.qty} is above {rules.max_qty}")


def _is_finer(value: Decimal, grid: Decimal) -> bool:
    return _places(value) > _places(grid)


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _mistimed(order: NewOrder, quote: Quote) -> Iterator[Rejected]:
    if order.post_only and crosses(order, quote):
        yield Rejected("-5022", f"post-only at {order.price} would take: {quote.bid}/{quote.ask}")
    if order.type == "STOP_MARKET" and order.stop_price is not None:
        mark = exact(quote.mark)
        if order.stop_price >= mark if order.side == "SELL" else order.stop_price <= mark:
            yield Rejected("-2021", f"stop {order.stop_price} would trigger at once: {mark}")


def _unaffordable(
    order: NewOrder,
    account: PaperAccount,
    quotes: Mapping[str, Quote],
    rules: SymbolRules,
    terms: PaperTerms,
) -> Iterator[Rejected]:
    if only_reduces(order):
        return
    quote = quotes[order.symbol]
    touch = exact(quote.ask if order.side == "BUY" else quote.bid)
    notional = order.qty * paper_margin.asked_price(order, touch)
    if notional < rules.min_notional_usd:
        yield Rejected("-4164", f"notional {notional} is below {rules.min_notional_usd}")
    marks = {symbol: exact(each.mark) for symbol, each in quotes.items()}
    needed = paper_margin.bound_usd(account, marks, order, notional) / terms.leverage
    equity = paper_margin.equity_usd(account, marks)
    if needed > equity:
        yield Rejected("-2019", f"margin {needed:.2f} needed, {equity:.2f} there")
