"""Cross margin on paper: what the legs and orders of an account bind, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from execution.core.seam import ZERO, LegKey, NewOrder, VenueOrder
from execution.venue.paper_account import Leg, PaperAccount, only_reduces

Marks = Mapping[str, Decimal]


def equity_usd(account: PaperAccount, marks: Marks) -> Decimal:
    """Return the wallet marked to market."""
    gains = (worth_usd(leg, marks) - leg.cost_usd for leg in account.legs.values())
    return account.wallet_usd + sum(gains, ZERO)


def worth_usd(leg: Leg, marks: Marks) -> Decimal:
    """Return what a leg is worth, below 0 for a short; without a mark what it cost."""
    mark = marks.get(leg.symbol)
    return leg.cost_usd if mark is None else leg.qty * mark


def bound_usd(
    account: PaperAccount, marks: Marks, order: NewOrder, notional_usd: Decimal
) -> Decimal:
    """Return the notional that needs initial margin once `order` is there as well.

    Of each leg it is the widest that its open orders can make it, whichever side of them fills.
    """
    legs = {key: worth_usd(leg, marks) for key, leg in account.legs.items()}
    opening: dict[tuple[LegKey, str], Decimal] = {}
    for resting in account.orders.values():
        seen = resting.seen
        if not only_reduces(seen):
            each = ((seen.symbol, seen.position_side), seen.side)
            left_usd = (seen.qty - seen.filled_qty) * asked_price(
                seen, marks.get(seen.symbol, ZERO)
            )
            opening[each] = opening.get(each, ZERO) + left_usd
    here = ((order.symbol, order.position_side), order.side)
    opening[here] = opening.get(here, ZERO) + notional_usd
    keys = legs.keys() | {key for key, _ in opening}
    return sum((_widest(legs.get(key, ZERO), opening, key) for key in keys), ZERO)


def _widest(
    held_usd: Decimal, opening: Mapping[tuple[LegKey, str], Decimal], key: LegKey
) -> Decimal:
    up, down = opening.get((key, "BUY"), ZERO), opening.get((key, "SELL"), ZERO)
    return max(held_usd + up, down - held_usd)


def asked_price(order: NewOrder | VenueOrder, market: Decimal) -> Decimal:
    """Return the price that an order names, else the market's."""
    named = order.stop_price if order.type == "STOP_MARKET" else order.price
    return market if named is None else named
