"""One line of `run/inbox.jsonl`: what somebody's own model wants."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from execution.state_schema.envelope import Ts

IntentId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
Distance = Annotated[float, Meta(gt=0, lt=10_000)]
Price = Annotated[float, Meta(gt=0, le=1e12)]


class InboxIntent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An entry into a leg, or the exit from it; size, risk and routing are not the model's.

    `strategy` names an inbox of `strategy.toml`. `size_frac` is the share of the suite's own size.
    An entry may bring its exit plan: stop and take profit both as distances from the mark (bps) or
    both as prices, and how long it is held at most; what it leaves out is the strategy's.
    """

    id: IntentId
    ts: Ts
    valid_until_ts: Ts
    strategy: Annotated[str, Meta(min_length=1, max_length=24)]
    symbol: Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,20}\Z")]
    side: Literal["LONG", "SHORT"]
    action: Literal["entry", "exit"]
    size_frac: Annotated[float, Meta(gt=0, le=1)] = 1.0
    stop_bps: Distance | None = None
    take_profit_bps: Distance | None = None
    stop_price: Price | None = None
    take_profit_price: Price | None = None
    hold_s: Annotated[float, Meta(gt=0)] | None = None

    def __post_init__(self) -> None:
        bps = (self.stop_bps, self.take_profit_bps)
        prices = (self.stop_price, self.take_profit_price)
        for pair, names in ((bps, "stop_bps and take_profit_bps"), (prices, "both prices")):
            if pair.count(None) == 1:
                raise ValueError(f"{names} belong together: give both or neither")
        if None not in bps and None not in prices:
            raise ValueError("the plan is in bps and in prices: give one of them")
        if self.action == "exit" and {*bps, *prices, self.hold_s} != {None}:
            raise ValueError("an exit has no plan of its own: leave it out")
