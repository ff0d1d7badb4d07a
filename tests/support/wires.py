"""A wire without an exchange: each endpoint answers as the test says, and what was asked is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from execution.clock import ManualClock
from execution.venue.ccxt_limits import Limits
from execution.venue.ccxt_session import Session
from execution.venue.ccxt_wire import Params, Reply, Unanswered

NOW = 1_800_014_400.0
CALL_S, ROUND_S = 3.0, 5.0

Answer = Reply | Unanswered | Callable[[Params], Reply | Unanswered]


def reply(content: object, status: int = 200, **headers: str) -> Reply:
    """Return a reply with this content as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps(content))


def refusal(code: int, status: int = 400, msg: str = "no", **headers: str) -> Reply:
    """Return the exchange's error."""
    return reply({"code": code, "msg": msg}, status, **headers)


class FakeWire:
    """A wire whose endpoints answer by ccxt's name for them; the time is the clock's, plus `skew_s`."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.skew_s = 0.0
        self.takes_s = 0.0
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.closed = False

    def call(self, name: str, params: Params, deadline_s: float) -> Reply | Unanswered:
        self.calls.append((name, dict(params)))
        self.clock.advance(min(self.takes_s, deadline_s))
        if self.takes_s > deadline_s:
            return Unanswered(f"{name}: no answer within {deadline_s:.1f} s")
        if name == "fapiPublicGetTime" and name not in self.answers:
            middle = self.clock.now() - self.takes_s / 2
            return reply({"serverTime": round((middle + self.skew_s) * 1000)})
        answer = self.answers[name]
        return answer(params) if callable(answer) else answer

    def close(self) -> None:
        self.closed = True

    def names(self) -> list[str]:
        """List what was asked, in order, without the questions for the time."""
        return [name for name, _ in self.calls if name != "fapiPublicGetTime"]

    def asked(self, name: str) -> list[dict[str, Any]]:
        """Return the parameters of each request to one endpoint."""
        return [params for asked, params in self.calls if asked == name]


class Line:
    """A session over a fake wire, on a clock that the test moves; `again` is the next process."""

    def __init__(self, folder: Path, now: float = NOW) -> None:
        self.folder = folder
        self.clock = ManualClock(now)
        self.wire = FakeWire(self.clock)
        self.again()

    def again(self) -> None:
        self.limits = Limits(self.folder, self.clock)
        self.session = Session(self.wire, self.limits, self.clock, CALL_S, ROUND_S)

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, and begin a round."""
        self.clock.advance(seconds)
        self.session.begin()


# ---------------------------------------------------------------- replies as the exchange shapes them


def account(
    *positions: dict[str, object], wallet: str = "10000", margin: str = "0", **assets: str
) -> dict[str, object]:
    """Return GET v3/account; the keywords are further balances."""
    balances = {"USDT": wallet, **assets}
    return {
        "totalOpenOrderInitialMargin": margin,
        "assets": [
            {"asset": name, "walletBalance": amount, "unrealizedProfit": "0"}
            for name, amount in balances.items()
        ],
        "positions": list(positions),
    }


def position(
    amount: str, symbol: str = "BTCUSDT", side: str = "LONG", at_ms: int = 1
) -> dict[str, object]:
    """Return one position, as both GET v3/account and GET v3/positionRisk may tell it."""
    return {
        "symbol": symbol,
        "positionSide": side,
        "positionAmt": amount,
        "entryPrice": "50000.5",
        "updateTime": at_ms,
    }


def order(order_id: int = 7, client_id: str = "hgt-a-1", **fields: object) -> dict[str, object]:
    """Return one order."""
    known: dict[str, object] = {
        "orderId": order_id,
        "clientOrderId": client_id,
        "symbol": "BTCUSDT",
        "status": "NEW",
        "side": "BUY",
        "positionSide": "LONG",
        "type": "LIMIT",
        "origQty": "0.010",
        "executedQty": "0.000",
        "price": "50000.00",
        "stopPrice": "0",
        "reduceOnly": False,
        "closePosition": False,
        "time": 1_800_014_399_000,
        "updateTime": 1_800_014_399_000,
    }
    return {**known, **fields}


def trade(
    trade_id: int, order_id: int = 7, at_s: float = -1.0, **fields: object
) -> dict[str, object]:
    """Return one row of GET userTrades, `at_s` from NOW."""
    known: dict[str, object] = {
        "id": trade_id,
        "orderId": order_id,
        "symbol": "BTCUSDT",
        "side": "BUY",
        "positionSide": "LONG",
        "qty": "0.010",
        "price": "50000.0",
        "commission": "0.2",
        "commissionAsset": "USDT",
        "realizedPnl": "0",
        "maker": False,
        "time": round((NOW + at_s) * 1000),
    }
    return {**known, **fields}


def income(
    tran_id: int, kind: str, amount: str, at_s: float = -1.0, **fields: object
) -> dict[str, object]:
    """Return one row of GET income, `at_s` from NOW."""
    known: dict[str, object] = {
        "symbol": "BTCUSDT",
        "incomeType": kind,
        "income": amount,
        "asset": "USDT",
        "time": round((NOW + at_s) * 1000),
        "tranId": tran_id,
    }
    return {**known, **fields}
