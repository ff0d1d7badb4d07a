"""The venue of real money before anybody may arm it: it opens no connection and takes no order."""

from __future__ import annotations

from execution.core.seam import (
    Ambiguous,
    Blind,
    CashRow,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Rejected,
    Trade,
    VenueHealth,
    VenueOrder,
)

REASON = "disarmed: this version does not trade real money"


class DisarmedVenue:
    """Nothing is read, so nothing is known; nothing is sent."""

    name = "binance"
    rests_stops = False

    def observe(self, now: float) -> MarketSnapshot | Blind:
        return Blind(now, REASON)

    def submit(self, order: NewOrder) -> Rejected:  # noqa: ARG002  whatever it is
        return Rejected("disarmed", REASON)

    def cancel(self, symbol: str, client_id: str) -> Ambiguous:  # noqa: ARG002  likewise
        return Ambiguous(REASON)

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:  # noqa: ARG002  likewise
        return Blind(0.0, REASON)

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:  # noqa: ARG002  likewise
        return Blind(0.0, REASON)

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:  # noqa: ARG002  likewise
        return Blind(0.0, REASON)

    def health(self) -> VenueHealth:
        return VenueHealth()

    def close(self) -> None:
        pass
