"""The faults of a rehearsal, typed as the toml file that PAPER_FAULTS names states them.

What a fault may do is bounded by what an exchange does: it takes no request that is older than its
receive window, and what it took can be seen some seconds later. Order safety stands on these
bounds; what no exchange does would prove nothing about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal, get_args

from msgspec import Meta, Struct

RECEIVE_WINDOW_S: Final = 5.0
ORDER_LAG_S: Final = 10.0
TRADE_LAG_S: Final = 50.0
SLOW_S: Final = 5.0

Call = Literal["observe", "submit", "cancel", "find_order", "trades", "cash"]
CALLS: Final[tuple[Call, ...]] = get_args(Call)

Calls = Annotated[tuple[Call, ...], Meta(min_length=1)]
Chance = Annotated[float, Meta(gt=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Offset = Annotated[float, Meta(ge=0, le=86_400)]
Span = Annotated[float, Meta(gt=0, le=86_400)]

NO_ANSWER: Final = "no answer within the deadline"
BREAKS: Final[Mapping[str, str]] = {
    "reset": "the connection was reset",
    "server_error": "HTTP 503 from the exchange",
    "garbage": "HTTP 200 whose body is no order",
}

# Answers after which an order certainly does not exist; any other code leaves that open.
REFUSALS: Final[Mapping[str, str]] = {
    "-1021": "the timestamp is outside the receive window",
    "-1111": "more decimals than this symbol takes",
    "-2010": "the exchange does not want this order",
    "-2018": "the balance does not suffice",
    "-2019": "the margin does not suffice",
    "-2021": "the stop would trigger at once",
    "-2022": "there is nothing to reduce",
    "-2027": "the position would be above what its leverage allows",
    "-4131": "the market is too far from its mark",
    "-4164": "the notional is below the minimum",
    "-5022": "post-only, and it would take",
}


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """When a fault strikes: with chance `frac`, while its window is open.

    The window opens `from_s` after the start for `for_s` seconds (without it to the end), and with
    `every_s` again and again at that distance.
    """

    frac: Chance
    from_s: Offset = 0.0
    for_s: Span | None = None
    every_s: Span | None = None

    def __post_init__(self) -> None:
        if self.every_s is not None and (self.for_s is None or self.for_s >= self.every_s):
            raise ValueError(f"every_s {self.every_s:g} needs a for_s that is shorter")

    def is_open(self, at_s: float) -> bool:
        """Tell whether the window is open, so long after the start."""
        since_s = at_s - self.from_s
        if since_s < 0 or self.for_s is None:
            return since_s >= 0
        return (since_s if self.every_s is None else since_s % self.every_s) < self.for_s


# ---------------------------------------------------------------- on any call


class Unanswered(Rule, frozen=True, kw_only=True):
    """No answer that can be believed: `Blind` for a question, `Ambiguous` for an order or cancel."""

    calls: Calls = CALLS

    @property
    def reason(self) -> str:
        """Say what the caller sees of it: the same for a lost request and for a lost reply."""
        return NO_ANSWER

    def arrives(self, _drawn: float, /) -> bool:
        """Tell whether an order or cancel is carried out all the same."""
        return False


class RequestLost(Unanswered, frozen=True, tag="request_lost"):
    """The request reaches nobody; on every call, and with a window, this is an outage."""


class ReplyLost(Unanswered, frozen=True, tag="reply_lost"):
    """The request is carried out, and nobody hears of it."""

    def arrives(self, _drawn: float, /) -> bool:
        return True


class BrokenReply(Unanswered, frozen=True, kw_only=True, tag="broken_reply"):
    """A reply that says nothing; a share of `arrived_frac` of the requests was carried out."""

    how: Literal["reset", "server_error", "garbage"]
    arrived_frac: Share

    @property
    def reason(self) -> str:
        return BREAKS[self.how]

    def arrives(self, drawn: float, /) -> bool:
        return drawn < self.arrived_frac


class Slow(Rule, frozen=True, kw_only=True, tag="slow"):
    """The call takes `delay_s` longer, whatever else becomes of it."""

    delay_s: Annotated[float, Meta(gt=0, le=SLOW_S)]
    calls: Calls = CALLS


# ---------------------------------------------------------------- on a submit


class LateArrival(Rule, frozen=True, kw_only=True, tag="late_arrival"):
    """The order arrives `delay_s` later, unless it is then older than the receive window."""

    delay_s: Annotated[float, Meta(gt=0, le=RECEIVE_WINDOW_S)]
    calls: ClassVar[tuple[Call, ...]] = ("submit",)


class Refused(Rule, frozen=True, kw_only=True, tag="refused"):
    """The order is refused with one of `codes`, and does not exist."""

    codes: Annotated[tuple[str, ...], Meta(min_length=1)]
    calls: ClassVar[tuple[Call, ...]] = ("submit",)

    def __post_init__(self) -> None:
        super().__post_init__()
        for code in self.codes:
            if code not in REFUSALS:
                raise ValueError(f"codes: {code} is none of {', '.join(REFUSALS)}")


class DuplicateId(Rule, frozen=True, tag="duplicate_id"):
    """The order arrives twice on the way; the answer is the second one's, -4116."""

    calls: ClassVar[tuple[Call, ...]] = ("submit",)


# ---------------------------------------------------------------- on a look at the account


class PositionsEmpty(Rule, frozen=True, tag="positions_empty"):
    """The account shows no position, as an adapter does that takes an error for an empty list."""

    calls: ClassVar[tuple[Call, ...]] = ("observe",)


class MissingBalance(Rule, frozen=True, tag="missing_balance"):
    """The account shows a wallet of 0, as an adapter does that lacks the row of its asset."""

    calls: ClassVar[tuple[Call, ...]] = ("observe",)


# ---------------------------------------------------------------- on what is listed


class TradesRepeated(Rule, frozen=True, tag="trades_repeated"):
    """Every trade is listed twice, as by two pages that overlap."""

    calls: ClassVar[tuple[Call, ...]] = ("trades",)


class TradesReordered(Rule, frozen=True, tag="trades_reordered"):
    """The trades are listed in any order."""

    calls: ClassVar[tuple[Call, ...]] = ("trades",)


class TradesLate(Rule, frozen=True, kw_only=True, tag="trades_late"):
    """A share of `frac` of the trades is not listed until it is `lag_s` old."""

    lag_s: Annotated[float, Meta(gt=0, le=TRADE_LAG_S)]


class OrdersLate(Rule, frozen=True, kw_only=True, tag="orders_late"):
    """A share of `frac` of the orders is not found, open or done, until it is `lag_s` old."""

    lag_s: Annotated[float, Meta(gt=0, le=ORDER_LAG_S)]


Late = OrdersLate | TradesLate
Strike = (
    RequestLost
    | ReplyLost
    | BrokenReply
    | Slow
    | LateArrival
    | Refused
    | DuplicateId
    | PositionsEmpty
    | MissingBalance
    | TradesRepeated
    | TradesReordered
)


class FaultPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """A rehearsal: its faults, and when it is over, in seconds since the executor's start."""

    seed: Annotated[int, Meta(ge=0, le=2**53)]
    calm_after_s: Span
    fault: Annotated[tuple[Strike | Late, ...], Meta(min_length=1)]

    def __post_init__(self) -> None:
        for place, rule in enumerate(self.fault):
            if rule.from_s >= self.calm_after_s:
                raise ValueError(
                    f"fault[{place}].from_s {rule.from_s:g} is not before calm_after_s"
                    f" {self.calm_after_s:g}: it would never strike"
                )
