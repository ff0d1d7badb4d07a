"""The wire to Binance USD-M futures: one request, its raw reply, and a deadline that is total.

ccxt knows the endpoints and signs; it is asked through its raw endpoints only, and what came back is
kept as it came, because it makes orders without an id and empty accounts of replies that broke off.
Nothing here retries, follows a redirect or tells a secret.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol

import ccxt
from msgspec import Struct

from execution.environment import Secret

# Requests that were given up and still hang; beyond so many none is begun.
MOST_HANGING: Final = 8
# The longest that the exchange allows; an order that is later than this is refused by it.
RECEIVE_WINDOW_MS: Final = 5_000
FUTURES: Final = "https://fapi.binance.com/"
# Where each group of endpoints lies under a base of its own.
PATHS: Final = {
    "fapiPublic": "/fapi/v1",
    "fapiPublicV2": "/fapi/v2",
    "fapiPublicV3": "/fapi/v3",
    "fapiPrivate": "/fapi/v1",
    "fapiPrivateV2": "/fapi/v2",
    "fapiPrivateV3": "/fapi/v3",
    "fapiData": "/futures/data",
    "sapi": "/sapi/v1",
    "sapiV2": "/sapi/v2",
    "sapiV3": "/sapi/v3",
    "sapiV4": "/sapi/v4",
}

Params = Mapping[str, str | int | bool]


class Reply(Struct, frozen=True):
    """What came back, as it came; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


class Unanswered(Struct, frozen=True):
    """Nothing came back that is a reply; whether the request arrived is unknown."""

    reason: str


class Wire(Protocol):
    """Whatever carries one request."""

    def call(self, name: str, params: Params, deadline_s: float) -> Reply | Unanswered:
        """Send the request once and wait at most `deadline_s` for the whole of its reply."""

    def close(self) -> None:
        """Let go of the sockets."""


class _Futures(ccxt.binanceusdm):  # type: ignore[misc]  # ccxt tells no types
    """ccxt's exchange, which keeps each thread's reply, and its own error table under any host."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.kept = threading.local()
        super().__init__(config)

    def on_rest_response(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        response_headers: Mapping[str, str],
        response_body: str,
        request_headers: object,
        request_body: object,
    ) -> str:
        headers = {name.lower(): value for name, value in response_headers.items()}
        self.kept.reply = Reply(code, headers, response_body)
        text: str = super().on_rest_response(
            code,
            reason,
            url,
            method,
            response_headers,
            response_body,
            request_headers,
            request_body,
        )
        return text

    def get_exceptions_by_url(self, url: str, exactOrBroad: str) -> dict[str, Any]:  # noqa: ARG002, N803  as ccxt has it
        table: dict[str, Any] = super().get_exceptions_by_url(FUTURES, exactOrBroad)
        return table


class _Box:
    """What a request's own thread hands back."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.error = "no reply"


class CcxtWire:
    """Requests through ccxt, each in a thread that is given up at its deadline.

    A socket's timeout bounds each wait and not their sum, nor the look-up of a name; so whoever asks
    waits for the thread, and no longer.
    """

    def __init__(
        self, key: Secret, secret: Secret, *, demo: bool, base_url: str | None, call_s: float
    ) -> None:
        self._key, self._secret = key, secret
        self._exchange = build(key, secret, demo=demo, base_url=base_url, call_s=call_s)
        self._hanging: list[threading.Thread] = []

    def call(self, name: str, params: Params, deadline_s: float) -> Reply | Unanswered:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= MOST_HANGING:
            return Unanswered(f"{name} was not sent: {MOST_HANGING} requests hang")
        box = _Box()
        thread = threading.Thread(target=self._run, args=(name, params, box), daemon=True)
        thread.start()
        thread.join(deadline_s)
        if thread.is_alive():
            self._hanging.append(thread)
            return Unanswered(f"{name}: no answer within {deadline_s:.1f} s")
        if box.reply is None:
            return Unanswered(f"{name}: {box.error}")
        return box.reply

    def _run(self, name: str, params: Params, box: _Box) -> None:
        try:
            getattr(self._exchange, name)(dict(params))
        except (ccxt.BaseError, OSError, ValueError) as error:
            # Its kind alone: the text holds the signed address.
            box.error = type(error).__name__
        finally:
            reply: Reply | None = getattr(self._exchange.kept, "reply", None)
            box.reply = None if reply is None else self._redact(reply)

    def _redact(self, reply: Reply) -> Reply:
        text = reply.text
        for secret in (self._key, self._secret):
            if secret:
                text = text.replace(secret.reveal(), "(redacted)")
        return Reply(reply.status, reply.headers, text)

    def close(self) -> None:
        self._exchange.session.close()


def build(
    key: Secret, secret: Secret, *, demo: bool, base_url: str | None, call_s: float
) -> _Futures:
    """Build ccxt's exchange so that a request is sent once, as it was written, to where it was told."""
    # Both write signed addresses and keys at the level of debugging, whatever level is asked for.
    for name in ("ccxt", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    exchange = _Futures(
        {
            "apiKey": key.reveal(),
            "secret": secret.reveal(),
            "enableRateLimit": False,
            "timeout": int(call_s * 1000),
            "enableLastHttpResponse": False,
            "enableLastJsonResponse": False,
            "enableLastResponseHeaders": False,
            "options": {
                "maxRetriesOnFailure": 0,
                "recvWindow": RECEIVE_WINDOW_MS,
                "adjustForTimeDifference": False,  # the timestamp is always given
                "warnOnFetchOpenOrdersWithoutSymbol": False,
            },
        }
    )
    exchange.has["fetchCurrencies"] = False
    if demo:
        exchange.enable_demo_trading(True)
    if base_url is not None:
        exchange.urls["api"] = {name: f"{base_url}{path}" for name, path in PATHS.items()}
    exchange.session.max_redirects = 0  # following one would send an order twice
    return exchange
