"""Somebody who speaks to the exchange in plain HTTP, and signs by hand."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from execution.clock import Clock
from tests.exchange.planted import KEY, SECRET


class Reply(Struct):
    """What came back; `body` is parsed where it is JSON."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> int:
        """Return the exchange's error code, or 0."""
        return int(self.body.get("code", 0)) if isinstance(self.body, dict) else 0


class Caller:
    """A client without any cleverness."""

    def __init__(self, port: int, clock: Clock, *, key: str = KEY, secret: str = SECRET) -> None:
        self._port = port
        self._clock = clock
        self._key = key
        self._secret = secret

    def call(self, method: str, path: str, **params: object) -> Reply:
        """Send one signed request; `timestamp` and `recvWindow` may be among the params."""
        asked = {"timestamp": round(self._clock.now() * 1000), "recvWindow": 5000, **params}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        signed = hmac.new(self._secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return self.send(method, f"{path}?{query}&signature={signed}")

    def send(self, method: str, url: str) -> Reply:
        """Send one request as it stands."""
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            line.request(method, url, headers={"X-MBX-APIKEY": self._key} if self._key else {})
            reply = line.getresponse()
            raw = reply.read().decode()
            is_json = "json" in (reply.getheader("Content-Type") or "")
            body = json.loads(raw) if is_json else raw
            return Reply(reply.status, body, dict(reply.getheaders()))
        finally:
            line.close()

    # ------------------------------------------------------------ what is asked most

    def order(self, client_id: str, qty: str = "0.01", **params: object) -> Reply:
        """Send an order: without a price at the market, with one post-only."""
        known: dict[str, object] = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "positionSide": "LONG",
            "type": "MARKET" if params.get("price") is None else "LIMIT",
            "timeInForce": None if params.get("price") is None else "GTX",
            "quantity": qty,
            "newClientOrderId": client_id,
        }
        return self.call("POST", "/fapi/v1/order", **{**known, **params})

    def find(self, client_id: str, symbol: str = "BTCUSDT") -> Reply:
        return self.call("GET", "/fapi/v1/order", symbol=symbol, origClientOrderId=client_id)

    def cancel(self, client_id: str, symbol: str = "BTCUSDT") -> Reply:
        return self.call("DELETE", "/fapi/v1/order", symbol=symbol, origClientOrderId=client_id)

    def get(self, path: str, **params: object) -> Any:
        """Ask, and return what was answered; it must be an answer."""
        reply = self.call("GET", path, **params)
        assert reply.status == 200, reply
        return reply.body
