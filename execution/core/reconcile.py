"""Compare what the ledger believes with what the venue shows; say what must be asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from execution.core.orders import TERMINAL, moved
from execution.core.records import LegRecord, OrderRecord
from execution.core.seam import ZERO, Account, LegKey, NotFound, OrderState, VenueOrder

# A request that was signed may still be accepted this long after: the exchange's receive window,
# the lag until a lookup sees it, and a margin.
VISIBLE_AFTER_S = 5.0 + 10.0 + 5.0
# Answers that it is not there, after that time, before an order counts as never sent.
CLEAN_LOOKUPS = 2


class Findings(Struct, frozen=True):
    """What differs: symbols whose trades are to be read, orders to be looked up, and the cash."""

    symbols: frozenset[str]
    orders: tuple[OrderRecord, ...]
    foreign: tuple[VenueOrder, ...]
    cash: bool


def compare(
    open_orders: Iterable[OrderRecord],
    legs: Mapping[LegKey, LegRecord],
    wallet_usd: Decimal,
    account: Account,
) -> Findings:
    """Return what the venue's account shows differently from the ledger."""
    there = {order.client_id: order for order in account.open_orders}
    ours = {order.client_id: order for order in open_orders}
    changed = tuple(order for order in ours.values() if _differs(order, there.get(order.client_id)))
    symbols = {order.symbol for order in changed} | set(mismatches(legs, account))
    return Findings(
        symbols=frozenset(symbols),
        orders=changed,
        foreign=tuple(order for order in account.open_orders if order.client_id not in ours),
        cash=wallet_usd != account.wallet_usd,
    )


def mismatches(legs: Mapping[LegKey, LegRecord], account: Account) -> dict[str, str]:
    """Return, by symbol, where the venue's position is not the sum of the ledger's fills."""
    return {
        symbol: f"position_mismatch {side}: ledger {here}, venue {there}"
        for (symbol, side), (here, there) in unlike(legs, account).items()
    }


def unlike(
    legs: Mapping[LegKey, LegRecord], account: Account
) -> dict[LegKey, tuple[Decimal, Decimal]]:
    """Return the legs that differ, with what the ledger and what the venue holds."""
    here: dict[LegKey, Decimal] = {key: leg.qty for key, leg in legs.items()}
    there: dict[LegKey, Decimal] = {
        (position.symbol, position.position_side): position.qty for position in account.positions
    }
    return {
        key: (here.get(key, ZERO), there.get(key, ZERO))
        for key in sorted(here.keys() | there.keys())
        if here.get(key, ZERO) != there.get(key, ZERO)
    }


def settled(
    order: OrderRecord, answer: VenueOrder | NotFound, age_s: float
) -> tuple[OrderState, str] | None:
    """Return the state that a lookup proves, with its reason; None while it proves nothing.

    A terminal state counts once every fill that the venue reports is in the ledger, and is UNKNOWN
    until then. "Not found" is final only when the request can no longer arrive; `age_s` is for how
    long, at least, it has been under way.
    """
    if isinstance(answer, NotFound):
        early = age_s < VISIBLE_AFTER_S
        if order.state != "UNKNOWN":
            return "UNKNOWN", "not found yet" if early else "lost at the venue"
        return None if early or order.filled_qty > 0 else ("NEVER", "never reached the venue")
    if answer.state in TERMINAL and not order.foreign and order.filled_qty != answer.filled_qty:
        return None if order.state == "UNKNOWN" else ("UNKNOWN", "fills not visible yet")
    after = moved(order.state, answer.state)
    return None if after == order.state else (after, _REASONS.get(after, "venue"))


_REASONS: dict[
    OrderState, Literal["filled", "canceled", "expired", "accepted", "partly filled"]
] = {
    "FILLED": "filled",
    "CANCELED": "canceled",
    "EXPIRED": "expired",
    "LIVE": "accepted",
    "PARTIAL": "partly filled",
}


def _differs(order: OrderRecord, there: VenueOrder | None) -> bool:
    if there is None or order.state != there.state:
        return True
    # What somebody else's order had filled before it was adopted is not in this ledger.
    return not order.foreign and order.filled_qty != there.filled_qty
