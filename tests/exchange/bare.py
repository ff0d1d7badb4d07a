"""The least that can answer an order over HTTP: a process that echoes, for measuring what is before it.

`python -m tests.exchange.bare` prints its port and ends with its standard input. It checks nothing,
so that what a client costs is not hidden behind what an exchange does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import parse_qsl

ROOT = Path(__file__).resolve().parents[2]
SYMBOL = {
    "symbol": "BTCUSDT",
    "pair": "BTCUSDT",
    "contractType": "PERPETUAL",
    "deliveryDate": 4_133_404_800_000,
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "marginAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 3,
    "orderTypes": ["LIMIT", "MARKET"],
    "timeInForce": ["GTC", "GTX"],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "9999999", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ],
}


class Echo:
    """Answers orders with themselves."""

    def __init__(self) -> None:
        self._ids = count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            request, *lines = head.split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            text = json.dumps(self._reply(request, body.decode()))
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(text), text.encode())
            )
            await writer.drain()
        writer.close()

    def _reply(self, request: str, body: str) -> object:
        _, url, _ = request.split(" ")
        path = url.partition("?")[0]
        if path.endswith("/time"):
            return {"serverTime": round(time.time() * 1000)}
        if path.endswith("/exchangeInfo"):
            return {"rateLimits": [], "symbols": [SYMBOL]}
        if not path.endswith("/order"):
            return []
        asked = dict(parse_qsl(body))
        return {
            "orderId": next(self._ids),
            "symbol": asked["symbol"],
            "status": "NEW",
            "clientOrderId": asked["newClientOrderId"],
            "price": asked.get("price", "0.00"),
            "avgPrice": "0.00",
            "origQty": asked["quantity"],
            "executedQty": "0.000",
            "cumQuote": "0.00",
            "timeInForce": asked.get("timeInForce", "GTC"),
            "type": asked["type"],
            "reduceOnly": False,
            "closePosition": False,
            "side": asked["side"],
            "positionSide": asked.get("positionSide", "BOTH"),
            "stopPrice": "0.00",
            "workingType": "CONTRACT_PRICE",
            "origType": asked["type"],
            "updateTime": round(time.time() * 1000),
        }


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode().removesuffix("\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.CancelledError):
        return ""  # whoever asked is gone, or everything ends


async def _run() -> None:
    server = await asyncio.start_server(Echo().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def echoing() -> Iterator[str]:
    """Run one beside the test; yield its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.exchange.bare"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(30)


if __name__ == "__main__":
    asyncio.run(_run())
