"""What goes wrong between the exchange and whoever asks it, on the line and not inside.

A fault is drawn for each request that it names; the first one that strikes decides what becomes of
it. The same seed and the same requests meet the same faults.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from msgspec import Struct

SUBMIT, CANCEL, FIND = "POST /fapi/v1/order", "DELETE /fapi/v1/order", "GET /fapi/v1/order"
ACCOUNT, TRADES, INCOME = "GET /fapi/v3/account", "GET /fapi/v1/userTrades", "GET /fapi/v1/income"
OPEN_ORDERS, POSITIONS = "GET /fapi/v1/openOrders", "GET /fapi/v3/positionRisk"

HTML = "<html><head><title>502 Bad Gateway</title></head><body>cloudfront</body></html>"

Kind = Literal[
    "lost",  # the connection breaks; with `arrives` after the request was carried out
    "late",  # the connection breaks, and the request is carried out `delay_s` later
    "error",  # `status` with `code`, or HTML where `code` is 0
    "html",  # 200 with HTML
    "half",  # 200 with the first half of the reply
    "empty",  # 200 with an empty list, or an empty object
    "stall",  # `delay_s` (of real time) byte by byte, and then nothing
    "slow",  # the reply, `delay_s` (of real time) later
    "throttle",  # 429
    "ban",  # 418 for `delay_s`, for every request
    "no_positions",  # 200, and the account shows no position
    "no_balance",  # 200, and the account shows no asset
    "repeated",  # every row of a list twice
    "shuffled",  # the rows of a list in any order
    "orders_late",  # a share of `chance` of the orders is not found until they are `delay_s` old
    "trades_late",  # a share of `chance` of the trades is not listed until they are `delay_s` old
]
LAGS = ("orders_late", "trades_late")


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong, for the requests that `on` names ("" is every one)."""

    kind: Kind
    on: tuple[str, ...] = ("",)
    chance: float = 1.0
    times: int | None = None
    arrives: bool = True
    delay_s: float = 0.0
    status: int = 503
    code: int = 0
    msg: str = "Unknown error, please check your request or try again later."


class Faults:
    """The faults of one exchange, with how often each has struck."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = random.Random(f"{seed} faults")
        self._faults: list[Fault] = []
        self._left: list[int | None] = []
        self.struck: dict[str, int] = {}

    def set(self, faults: list[Fault], seed: int | None = None) -> None:
        """Forget what there was, and let these strike from now on."""
        if seed is not None:
            self._seed = seed
            self._rng = random.Random(f"{seed} faults")
        self._faults = faults
        self._left = [fault.times for fault in faults]

    def hides(self, kind: str, name: str, age_s: float) -> bool:
        """Tell whether something so old is not seen yet; the same things each time."""
        return any(
            fault.kind == kind
            and age_s < fault.delay_s
            and random.Random(f"{self._seed} {kind} {name}").random() < fault.chance
            for fault in self._faults
        )

    def draw(self, request: str) -> Fault | None:
        """Draw what becomes of a request, such as "GET /fapi/v1/order"."""
        # Every fault draws every time: what strikes does not shift what comes.
        drawn = [self._rng.random() for _ in self._faults]
        for place, fault in enumerate(self._faults):
            if fault.kind in LAGS or not {"", request} & {*fault.on}:
                continue
            left = self._left[place]
            if drawn[place] >= fault.chance or left == 0:
                continue
            self._left[place] = None if left is None else left - 1
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
            return fault
        return None

    def bend(self, fault: Fault, reply: Any) -> Any:
        """Return what a reply says instead, where the fault is in what it says."""
        if isinstance(reply, list) and fault.kind in ("repeated", "shuffled"):
            rows = [row for row in reply for _ in range(2 if fault.kind == "repeated" else 1)]
            if fault.kind == "shuffled":
                self._rng.shuffle(rows)
            return rows
        if fault.kind == "no_positions":
            return {**reply, "positions": []} if isinstance(reply, dict) else []
        if fault.kind == "no_balance" and isinstance(reply, dict):
            return {**reply, "assets": [], "totalWalletBalance": "0.00000000"}
        if fault.kind == "empty":
            return [] if isinstance(reply, list) else {}
        return reply
