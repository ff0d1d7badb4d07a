"""The exchange over HTTP on this machine, and the door of whoever runs the test.

Everything under `/test/` is the operator's: it passes no gate, meets no fault, and is not written
down.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from execution.clock import Clock
from execution.core.seam import Rejected
from tests.exchange import replies
from tests.exchange.account import Exchange
from tests.exchange.endpoints import Endpoints
from tests.exchange.faults import HTML, Fault, Faults
from tests.exchange.gate import Asked, Gate, Refusal
from tests.exchange.setup import Setup

DRIP_S = 0.05
MOST_PIECES = 40


class Server:
    """One exchange that answers requests; made and run in one thread."""

    def __init__(self, setup: Setup, clock: Clock, path: Path | None) -> None:
        self.exchange = Exchange(setup, clock, path)
        self.faults = Faults(setup.seed)
        self.gate = Gate(self.exchange)
        self._endpoints = Endpoints(self.exchange, self.faults)
        self._letters: list[tuple[int, Asked]] = []
        self._people: dict[str, Callable[[dict[str, Any]], Any]] = {
            "truth": lambda _: self._truth(),
            "requests": lambda _: self.gate.requests,
            "faults": self._set_faults,
            "skew": self._skew,
            "move": lambda w: self.exchange.floor.move(w["symbol"], w["factor"]),
            "fund": self._fund,
            "order": lambda w: _told(self.exchange.by_hand(**w)),
            "cancel": self._cancel,
            "close": lambda w: self.exchange.close_by_hand(**w),
            "delist": lambda w: self.exchange.delist(**w),
            "status": self.exchange.floor.status.update,
            "relist": self._relist,
            "limit": self._limit,
            "ban": lambda w: self.gate.ban(w["seconds"]).msg,
        }

    async def start(self) -> tuple[web.AppRunner, int]:
        """Listen; return what to clean up, and the port."""
        app = web.Application()
        app.router.add_post("/test/{verb}", self._meddle)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (address,) = runner.addresses
        return runner, int(address[1])

    # ------------------------------------------------------------ requests

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = await _read(request)
        await self._deliver()
        fault = self.faults.draw(f"{asked.method} {asked.path}")
        if fault is None:
            return self._carry_out(asked)
        return await self._spoil(request, asked, fault)

    def _carry_out(
        self, asked: Asked, fault: Fault | None = None, *, is_known: bool = False
    ) -> web.Response:
        """Answer one request; the fault bends what the answer says."""
        try:
            if not is_known:
                self.gate.count(asked)
            self.gate.check(asked)
            reply = self._endpoints.answer(asked.method, asked.path, asked.params)
        except Refusal as refusal:
            return self._refuse(asked, refusal)
        if fault is not None:
            reply = self.faults.bend(fault, reply)
        return web.json_response(reply, headers=self.gate.headers(asked))

    def _refuse(self, asked: Asked, refusal: Refusal) -> web.Response:
        headers = {**self.gate.headers(asked), **refusal.headers}
        told = {"code": refusal.code, "msg": refusal.msg}
        return web.json_response(told, status=refusal.status, headers=headers)

    async def _deliver(self) -> None:
        """Carry out what arrives late and is due."""
        now_ms = self.exchange.time_ms()
        due = [letter for letter in self._letters if letter[0] <= now_ms]
        self._letters = [letter for letter in self._letters if letter[0] > now_ms]
        for _, asked in due:
            self._carry_out(asked, is_known=True)

    async def _spoil(self, request: web.Request, asked: Asked, fault: Fault) -> web.StreamResponse:
        if fault.kind == "late":
            due_ms = self.exchange.time_ms() + round(fault.delay_s * 1000)
            self._letters.append((due_ms, asked))
            self._note(asked)
            return _broken(request)
        if fault.kind in ("throttle", "ban"):
            self._note(asked)
            throttled = fault.kind == "throttle"
            refusal = self.gate.throttle() if throttled else self.gate.ban(fault.delay_s)
            return self._refuse(asked, refusal)
        if not fault.arrives:
            self._note(asked)
        reply = self._carry_out(asked, fault) if fault.arrives else web.json_response({})
        return await self._garble(request, reply, fault)

    async def _garble(
        self, request: web.Request, reply: web.Response, fault: Fault
    ) -> web.StreamResponse:
        whole = reply.text or ""
        if fault.kind == "lost":
            return _broken(request)
        if fault.kind == "stall":
            return await _drip(request, whole, fault.delay_s)
        if fault.kind == "slow":
            await asyncio.sleep(fault.delay_s)
        told = json.dumps({"code": fault.code, "msg": fault.msg}) if fault.code else HTML
        garbled = {"error": told, "html": HTML, "half": whole[: max(1, len(whole) // 2)]}
        text = garbled.get(fault.kind)
        if text is None:
            return reply
        return web.Response(
            text=text,
            status=fault.status if fault.kind == "error" else 200,
            content_type="text/html" if text == HTML else "application/json",
            headers={k: v for k, v in reply.headers.items() if k.startswith("X-MBX")},
        )

    def _note(self, asked: Asked) -> None:
        """Write down a request that the gate did not see."""
        try:
            self.gate.count(asked)
        except Refusal:
            return

    # ------------------------------------------------------------ by hand

    async def _meddle(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]
        wish = msgspec.json.decode(await request.read() or b"{}")
        await self._deliver()
        if verb == "faults":
            return web.json_response(self._people[verb](wish))
        self.exchange.look()
        done = self._people[verb](wish)
        self.exchange.look()
        return web.json_response(done)

    def _truth(self) -> dict[str, Any]:
        """Return everything that is so."""
        exchange, seen = self.exchange, self.exchange.look()
        return {
            "ts": exchange.time_ms() / 1000,
            "wallet": str(seen.account.wallet_usd),
            "legs": {
                f"{leg.symbol} {leg.position_side}": str(leg.qty) for leg in seen.account.positions
            },
            "orders": [_told(order) for order in exchange.orders()],
            "trades": [msgspec.to_builtins(done) for done in exchange.trades()],
            "cash": [replies.cash_row(row) for row in exchange.cash()],
            "marks": {symbol: quote.mark for symbol, quote in seen.quotes.items()},
            "symbols": {s: msgspec.to_builtins(own) for s, own in exchange.symbols.items()},
            "struck": self.faults.struck,
            "letters": len(self._letters),
            "banned_until_ms": self.gate.banned_until_ms,
        }

    def _set_faults(self, wish: dict[str, Any]) -> None:
        self.faults.set(msgspec.convert(wish["faults"], list[Fault]), wish.get("seed"))

    def _skew(self, wish: dict[str, Any]) -> None:
        self.exchange.skew_s = wish["seconds"]

    def _fund(self, wish: dict[str, Any]) -> None:
        # Due at the next look: what fell due before the last one is paid.
        due_ts = (self.exchange.now_ms + 1) / 1000
        self.exchange.floor.fund(wish["symbol"], wish["rate"], due_ts)

    def _cancel(self, wish: dict[str, Any]) -> Any:
        found = self.exchange.order(**wish)
        return None if found is None else _told(self.exchange.cancel(found))

    def _relist(self, wish: dict[str, Any]) -> None:
        listing = self.exchange.floor.listings[wish["symbol"]]
        self.exchange.floor.relist(
            msgspec.convert({**msgspec.to_builtins(listing), **wish}, type(listing))
        )

    def _limit(self, wish: dict[str, Any]) -> None:
        self.gate.limit = wish["weight"]


def _told(order: Any) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(order)
    return {**told, "refused": isinstance(order, Rejected)}


async def _read(request: web.Request) -> Asked:
    query = request.raw_path.partition("?")[2]
    body = (await request.read()).decode()
    pairs = [pair for part in (query, body) for pair in part.split("&") if pair]
    signed = [part for part in (_unsigned(query), _unsigned(body)) if part]
    return Asked(
        method=request.method,
        path=request.path,
        params=dict(parse_qsl("&".join(pairs), keep_blank_values=True)),
        total="".join(signed),
        key=request.headers.get("X-MBX-APIKEY", ""),
    )


def _unsigned(part: str) -> str:
    return "&".join(pair for pair in part.split("&") if not pair.startswith("signature="))


def _broken(request: web.Request) -> web.Response:
    """Break the connection: nothing that is written now reaches anybody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _drip(request: web.Request, text: str, seconds: float) -> web.StreamResponse:
    """Send a byte now and then, so that no single wait is long, and break off before the end."""
    drip = web.StreamResponse(headers={"Content-Type": "application/json"})
    drip.enable_chunked_encoding()
    await drip.prepare(request)
    pieces = max(1, min(round(seconds / DRIP_S), len(text) // 2, MOST_PIECES))
    for place in range(pieces):
        await drip.write(text[place].encode())
        await asyncio.sleep(seconds / pieces)
    return _broken(request)


async def serve(
    setup: Setup, clock: Clock, path: Path | None, ready: Callable[[int], Awaitable[None]]
) -> None:
    """Run an exchange until `ready` returns, which is told the port."""
    runner, port = await Server(setup, clock, path).start()
    try:
        await ready(port)
    finally:
        await runner.cleanup()
