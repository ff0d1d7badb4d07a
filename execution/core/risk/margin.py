"""Initial margin: what positions and orders bind, and what the wallet can carry."""

from __future__ import annotations

import math

from execution.core.policy import Policy
from execution.core.risk.exposure import Exposure
from execution.core.types import Book, EngineState


def leverages(state: EngineState, policy: Policy) -> dict[str, float]:
    """Return what the venue says of each symbol it holds, at most what it is set to.

    What it says and cannot be is 0.
    """
    found: dict[str, float] = {}
    for position in state.book.positions:
        before, said = found.get(position.symbol, policy.leverage), position.leverage
        if said is not None:
            found[position.symbol] = min(before, said) if said > 0 else 0.0
    return found


def bound_usd(held: Exposure, state: EngineState, policy: Policy) -> float:
    """Sum the margin of every leg at its leverage; without any leverage it is all that there is."""
    told = leverages(state, policy)
    total_usd = 0.0
    for (symbol, _), usd in held.by_leg.items():
        leverage = told.get(symbol, policy.leverage)
        total_usd += usd / leverage if leverage > 0 else math.inf
    return total_usd


def carried_usd(book: Book) -> float:
    """Return the margin that the wallet can carry; 0 while it is not known.

    What is gained and not realized yet carries nothing, what is lost carries less.
    """
    wallet_usd = book.wallet_usd
    if not book.known or wallet_usd is None:
        return 0.0
    return min(wallet_usd, book.nav_usd) if math.isfinite(wallet_usd + book.nav_usd) else 0.0
