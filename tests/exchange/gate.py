"""What every request must pass before it is looked at: bans, weights, keys, signatures, time."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tests.exchange.account import Exchange

MINUTE_MS = 60_000
DEFAULT_WINDOW_MS = 5_000
MAX_WINDOW_MS = 60_000
AHEAD_MS = 1_000
ORDERS_10S, ORDERS_1M = 300, 1200

PUBLIC = {
    "/fapi/v1/ping",
    "/fapi/v1/time",
    "/fapi/v1/exchangeInfo",
    "/fapi/v1/klines",
    "/fapi/v1/premiumIndex",
    "/fapi/v1/ticker/bookTicker",
    "/fapi/v1/fundingRate",
    "/fapi/v1/fundingInfo",
}
WEIGHTS = {
    "/fapi/v2/account": 5,
    "/fapi/v3/account": 5,
    "/fapi/v2/positionRisk": 5,
    "/fapi/v3/positionRisk": 5,
    "/fapi/v2/balance": 5,
    "/fapi/v3/balance": 5,
    "/fapi/v1/allOrders": 5,
    "/fapi/v1/userTrades": 5,
    "/fapi/v1/income": 30,
    "/fapi/v1/symbolConfig": 5,
    "/fapi/v1/accountConfig": 5,
    "/fapi/v1/commissionRate": 20,
}
# With a symbol, and without.
BY_SYMBOL = {
    "/fapi/v1/openOrders": (1, 40),
    "/fapi/v1/ticker/bookTicker": (2, 5),
    "/fapi/v1/premiumIndex": (1, 10),
    "/fapi/v1/positionSide/dual": (30, 30),
    "/fapi/v1/multiAssetsMargin": (30, 30),
}


class Refusal(Exception):
    """An answer that is an error, in the exchange's own words."""

    def __init__(self, status: int, code: int, msg: str, **headers: str) -> None:
        super().__init__(msg)
        self.status = status
        self.code = code
        self.msg = msg
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Asked(Struct):
    """One request as it came; `total` is what was signed."""

    method: str
    path: str
    params: dict[str, str]
    total: str
    key: str

    @property
    def is_order(self) -> bool:
        return (self.method, self.path) == ("POST", "/fapi/v1/order")


def weight(method: str, path: str, params: Mapping[str, str]) -> int:
    """Return what a request costs."""
    if (method, path) == ("POST", "/fapi/v1/order"):
        return 0
    if path == "/fapi/v1/klines":
        limit = int(params.get("limit", "500"))
        return next((w for most, w in ((99, 1), (499, 2), (1000, 5)) if limit <= most), 10)
    if method == "GET" and path in BY_SYMBOL:
        return BY_SYMBOL[path]["symbol" not in params]
    return WEIGHTS.get(path, 1)


class Gate:
    """The door of one exchange, and its book of who came in."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.limit = exchange.setup.weight_limit
        self.banned_until_ms = 0
        self.requests: list[dict[str, Any]] = []
        self._minute = -1
        self._used = 0
        self._ignored = 0
        self._orders: deque[int] = deque()

    def headers(self, asked: Asked) -> dict[str, str]:
        """Return what every answer says about the limits."""
        self._turn(self._exchange.time_ms())
        told = {"X-MBX-USED-WEIGHT-1M": str(self._used)}
        if asked.is_order:
            now = self._exchange.time_ms()
            told["X-MBX-ORDER-COUNT-10S"] = str(sum(at > now - 10_000 for at in self._orders))
            told["X-MBX-ORDER-COUNT-1M"] = str(len(self._orders))
        return told

    def _turn(self, now_ms: int) -> None:
        if now_ms // MINUTE_MS != self._minute:
            self._minute, self._used, self._ignored = now_ms // MINUTE_MS, 0, 0
        while self._orders and self._orders[0] <= now_ms - MINUTE_MS:
            self._orders.popleft()

    def ban(self, seconds: float) -> Refusal:
        """Let nobody in for so long."""
        now_ms = self._exchange.time_ms()
        self.banned_until_ms = max(self.banned_until_ms, now_ms + round(seconds * 1000))
        return self._banned(now_ms)

    def _banned(self, now_ms: int) -> Refusal:
        left_s = -((now_ms - self.banned_until_ms) // 1000)
        said = (
            f"Way too many requests; IP(127.0.0.1) banned until {self.banned_until_ms}. Please use"
            " the websocket for live updates to avoid bans."
        )
        return Refusal(418, -1003, said, Retry_After=str(left_s))

    def throttle(self) -> Refusal:
        """Say that the weight is used up, until the minute is over."""
        left_s = -((self._exchange.time_ms() % MINUTE_MS - MINUTE_MS) // 1000)
        said = f"Too many requests; current limit of IP is {self.limit} requests per minute."
        return Refusal(429, -1003, said, Retry_After=str(left_s))

    def count(self, asked: Asked) -> None:
        """Write a request down, and raise Refusal for one too many."""
        now_ms = self._exchange.time_ms()
        self._turn(now_ms)
        cost = weight(asked.method, asked.path, asked.params)
        row = {
            "ts": now_ms / 1000,
            "method": asked.method,
            "path": asked.path,
            "symbol": asked.params.get("symbol"),
            "client_id": asked.params.get("newClientOrderId")
            or asked.params.get("origClientOrderId"),
            "weight": cost,
            "used": self._used + cost,
            "banned": now_ms < self.banned_until_ms,
        }
        self.requests.append(row)
        if row["banned"]:
            raise self._banned(now_ms)
        self._used += cost
        if self._used > self.limit:
            self._ignored += 1
            if self._ignored > self._exchange.setup.patience:
                raise self.ban(self._exchange.setup.ban_s)
            raise self.throttle()
        if asked.is_order:
            self._count_order(now_ms)

    def _count_order(self, now_ms: int) -> None:
        self._orders.append(now_ms)
        if (
            len(self._orders) > ORDERS_1M
            or sum(at > now_ms - 10_000 for at in self._orders) > ORDERS_10S
        ):
            raise Refusal(429, -1015, "Too many new orders; current limit is 300 per 10 SECOND.")

    def check(self, asked: Asked) -> None:
        """Raise Refusal for a key, a signature or a time that is not right."""
        if asked.path in PUBLIC:
            return
        if not asked.key:
            raise Refusal(401, -2014, "API-key format invalid.")
        if asked.key != self._exchange.setup.key:
            raise Refusal(401, -2015, "Invalid API-key, IP, or permissions for action.")
        self._check_signature(asked)
        self._check_time(asked)

    def _check_signature(self, asked: Asked) -> None:
        signature = asked.params.get("signature")
        if signature is None:
            raise missing("signature")
        secret = self._exchange.setup.secret.encode()
        wanted = hmac.new(secret, asked.total.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, signature):
            raise Refusal(400, -1022, "Signature for this request is not valid.")

    def _check_time(self, asked: Asked) -> None:
        sent = asked.params.get("timestamp", "")
        if not sent.isdigit():
            raise missing("timestamp")
        window_ms = int(asked.params.get("recvWindow", DEFAULT_WINDOW_MS))
        if window_ms > MAX_WINDOW_MS:
            raise Refusal(400, -1131, "recvWindow must be less than 60000")
        late_ms = self._exchange.time_ms() - int(sent)
        if late_ms < -AHEAD_MS:
            raise Refusal(
                400, -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if late_ms > window_ms:
            raise Refusal(400, -1021, "Timestamp for this request is outside of the recvWindow.")


def missing(name: str) -> Refusal:
    """Refuse a request that lacks something."""
    said = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    return Refusal(400, -1102, said)
