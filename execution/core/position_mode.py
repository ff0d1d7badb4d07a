"""How an account holds a symbol: in hedge mode a long and a short leg, in one-way mode their sum.

A direction is LONG or SHORT and belongs to what is wanted; a position side names a leg, which in
one-way mode is BOTH, whatever its direction.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from execution.core.seam import PositionSide, Side

PositionMode = Literal["hedge", "one_way"]
Direction = Literal["LONG", "SHORT"]

OPENS: dict[Direction, Side] = {"LONG": "BUY", "SHORT": "SELL"}


def leg_side(mode: PositionMode, direction: Direction) -> PositionSide:
    """Return the leg that a wish for `direction` is about."""
    return direction if mode == "hedge" else "BOTH"


def direction_of(qty: float | Decimal) -> Direction:
    """Return which way a signed quantity leans."""
    return "SHORT" if qty < 0 else "LONG"


def direction_opened(side: Side) -> Direction:
    """Return which way an order leans that opens or adds."""
    return "LONG" if side == "BUY" else "SHORT"


def opposes(side: Side, held_qty: float | Decimal) -> bool:
    """Tell whether an order of `side` would take from what is held: more of it would cross zero."""
    return held_qty > 0 if side == "SELL" else held_qty < 0
