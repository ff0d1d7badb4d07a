"""What the paper exchange refuses at the door, in the exchange's own codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import chain

from execution.core.seam import ZERO, NewOrder, Quote, Rejected, SymbolRules, VenueOrder
from execution.venue.paper_account import PaperAccount, PaperTerms, exact, reduces

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


def refuse(
    order: NewOrder,
    account: PaperAccount,
    rules: SymbolRules | None,
    quotes: Mapping[str, Quote],
    terms: PaperTerms,
) -> Rejected | None:
    """Return the first reason why the exchange would not take `order`, or None."""
    quote = quotes.get(order.symbol)
    if rules is None or quote is None:
        return Rejected("-1121", f"{order.symbol} has no rules or no price here")
    # Chained lazily: a check may rely on what those before it have refused.
    refusals = chain(
        _malformed(order),
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


def _malformed(order: NewOrder) -> Iterator[Rejected]:
    if _CLIENT_ID.fullmatch(order.client_id) is None:
        yield Rejected("-4015", "client id: 1 to 36 characters of [.A-Z:/a-z0-9_-]")
    if order.position_side == "BOTH":
        yield Rejected("-4061", "position side BOTH: this account is in hedge mode")
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
    closing = reduces(order.position_side, order.side)
    if (order.reduce_only or order.close_position) and not closing:
        yield Rejected("-2022", f"{order.side} does not reduce a {order.position_side} leg")
    if closing and (order.symbol, order.position_side) not in account.legs:
        yield Rejected("-2022", f"no {order.position_side} leg of {order.symbol} to reduce")
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
    if reduces(order.position_side, order.side):
        return
    quote = quotes[order.symbol]
    touch = exact(quote.ask if order.side == "BUY" else quote.bid)
    notional = order.qty * _asked(order, touch)
    if notional < rules.min_notional_usd:
        yield Rejected("-4164", f"notional {notional} is below {rules.min_notional_usd}")
    bound, equity = _bound_and_equity(account, quotes)
    needed = (bound + notional) / terms.leverage
    if needed > equity:
        yield Rejected("-2019", f"margin {needed:.2f} needed, {equity:.2f} there")


def _bound_and_equity(
    account: PaperAccount, quotes: Mapping[str, Quote]
) -> tuple[Decimal, Decimal]:
    """Return the notional that legs and entry orders bind, and the wallet marked to market."""
    bound, equity = ZERO, account.wallet_usd
    for leg in account.legs.values():
        quote = quotes.get(leg.symbol)
        worth = leg.cost_usd if quote is None else leg.qty * exact(quote.mark)
        gain = worth - leg.cost_usd
        bound += worth
        equity += gain if leg.position_side == "LONG" else -gain
    for resting in account.orders.values():
        seen = resting.seen
        if reduces(seen.position_side, seen.side):
            continue
        quote = quotes.get(seen.symbol)
        mark = ZERO if quote is None else exact(quote.mark)
        bound += (seen.qty - seen.filled_qty) * _asked(seen, mark)
    return bound, equity


def _asked(order: NewOrder | VenueOrder, market: Decimal) -> Decimal:
    """Return the price that an order names, else the market's."""
    named = order.stop_price if order.type == "STOP_MARKET" else order.price
    return market if named is None else named
