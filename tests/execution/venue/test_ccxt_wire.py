"""The wire on real sockets: a total deadline, one request, no secret told, no word from elsewhere."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ccxt
import pytest

from execution.environment import Secret
from execution.venue.ccxt_wire import MOST_HANGING, PATHS, CcxtWire, Reply, Unanswered, build

KEY, SECRET = "PlantedKey0123456789", "PlantedSecret9876543210"
ORDER = "fapiPrivatePostOrder"
PARAMS = {"symbol": "BTCUSDT", "newClientOrderId": "hgt-a-1", "timestamp": 1_800_014_400_000}

Serve = Callable[[socket.socket], None]


class Server:
    """A socket that answers each connection as it is told, and keeps what came."""

    def __init__(self, serve: Serve) -> None:
        self.heard: list[bytes] = []
        self.ending = threading.Event()
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line:
            try:
                self.heard.append(_request(line))
                self._serve(line)
            except OSError:
                return

    def close(self) -> None:
        self.ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _request(line: socket.socket) -> bytes:
    """Read one request, its body included."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        piece = line.recv(65536)
        if not piece:
            return heard
        heard += piece
    head, _, body = heard.partition(b"\r\n\r\n")
    length = next(
        (
            int(row.split(b":")[1])
            for row in head.split(b"\r\n")
            if row.lower().startswith(b"content-l")
        ),
        0,
    )
    while len(body) < length:
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def serving(serve: Serve) -> Iterator[Server]:
    server = Server(serve)
    try:
        yield server
    finally:
        server.close()


def answering(text: str, status: str = "200 OK", *headers: str) -> Serve:
    lines = "\r\n".join(["HTTP/1.1 " + status, f"Content-Length: {len(text)}", *headers, "", text])
    return lambda line: line.sendall(lines.encode())


def wire(url: str, call_s: float = 5.0) -> CcxtWire:
    return CcxtWire(Secret(KEY), Secret(SECRET), demo=True, base_url=url, call_s=call_s)


# ---------------------------------------------------------------- what comes back


def test_a_reply_comes_back_as_it_came() -> None:
    with serving(answering('{"orderId":7}', "200 OK", "X-MBX-USED-WEIGHT-1M: 12")) as server:
        answer = wire(server.url).call(ORDER, PARAMS, 5.0)
    assert isinstance(answer, Reply)
    assert (answer.status, answer.text) == (200, '{"orderId":7}')
    assert answer.headers["x-mbx-used-weight-1m"] == "12"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("400 Bad Request", '{"code":-2019,"msg":"Margin is insufficient."}'),
        ("418 I'm a teapot", '{"code":-1003,"msg":"banned"}'),
        ("503 Service Unavailable", "<html>"),
        ("200 OK", "<html>maintenance</html>"),
        ("200 OK", '{"orderId":7,"cli'),
    ],
)
def test_what_ccxt_makes_an_error_or_an_empty_order_of_is_kept_too(status: str, text: str) -> None:
    with serving(answering(text, status, "Retry-After: 9")) as server:
        answer = wire(server.url).call(ORDER, PARAMS, 5.0)
    assert isinstance(answer, Reply)
    assert (answer.status, answer.text) == (int(status[:3]), text)
    assert answer.headers["retry-after"] == "9"


def test_one_request_is_sent_with_our_id_and_a_short_window() -> None:
    with serving(answering("{}")) as server:
        wire(server.url).call(ORDER, PARAMS, 5.0)
        (heard,) = server.heard
    head, body = heard.decode().split("\r\n\r\n")
    assert head.startswith("POST /fapi/v1/order HTTP")
    assert f"X-MBX-APIKEY: {KEY}" in head
    fields = dict(pair.split("=") for pair in body.split("&"))
    assert fields.pop("signature")
    assert fields == {
        "symbol": "BTCUSDT",
        "newClientOrderId": "hgt-a-1",
        "timestamp": "1800014400000",
        "recvWindow": "5000",
    }


# ---------------------------------------------------------------- what does not come back


def reset(line: socket.socket) -> None:
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@pytest.mark.parametrize("serve", [reset, lambda _line: None, lambda line: line.sendall(b"?")])
def test_a_line_that_breaks_is_no_answer_and_is_not_tried_again(serve: Serve) -> None:
    with serving(serve) as server:
        answer = wire(server.url).call(ORDER, PARAMS, 5.0)
        assert isinstance(answer, Unanswered)
        assert len(server.heard) == 1
    for told in (KEY, SECRET, "signature", "BTCUSDT"):
        assert told not in answer.reason


def test_nobody_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert isinstance(wire(url).call(ORDER, PARAMS, 5.0), Unanswered)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(status: str) -> None:
    with (
        serving(answering("{}")) as elsewhere,
        serving(answering("", status, f"Location: {elsewhere.url}/fapi/v1/order")) as server,
    ):
        answer = wire(server.url).call(ORDER, PARAMS, 5.0)
        assert isinstance(answer, Unanswered)
        assert (len(server.heard), elsewhere.heard) == (1, [])


def test_the_deadline_is_the_whole_answers_and_not_each_bytes() -> None:
    """A byte every so often keeps a socket's own timeout from ever striking."""
    ending = threading.Event()

    def dribble(line: socket.socket) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ending.wait(0.05):
            line.sendall(b" ")

    with serving(dribble) as server:
        slow = wire(server.url, call_s=20.0)
        begun_s = time.monotonic()
        answer = slow.call(ORDER, PARAMS, 0.5)
        took_s = time.monotonic() - begun_s
        ending.set()
    assert answer == Unanswered(f"{ORDER}: no answer within 0.5 s")
    assert took_s < 10  # and not the 20 s that the socket would wait each time


def test_after_an_answer_that_hangs_the_next_request_goes_through_but_not_without_end() -> None:
    hang, ending = threading.Event(), threading.Event()

    def serve(line: socket.socket) -> None:
        if hang.is_set():
            ending.wait(30)
        answering("{}")(line)

    with serving(serve) as server:
        patient = wire(server.url, call_s=30.0)
        hang.set()
        assert isinstance(patient.call(ORDER, PARAMS, 0.05), Unanswered)
        hang.clear()
        assert isinstance(patient.call(ORDER, PARAMS, 5.0), Reply)
        hang.set()
        for _ in range(MOST_HANGING):
            answer = patient.call(ORDER, PARAMS, 0.05)
        begun = len(server.heard)
        answer = patient.call(ORDER, PARAMS, 0.05)
        assert answer == Unanswered(f"{ORDER} was not sent: {MOST_HANGING} requests hang")
        assert len(server.heard) <= max(begun, MOST_HANGING + 2)
        ending.set()


# ---------------------------------------------------------------- secrets


def test_a_key_that_the_exchange_sends_back_is_not_passed_on() -> None:
    text = f'{{"code":-2015,"msg":"bad key {KEY} {SECRET}"}}'
    with serving(answering(text, "401 Unauthorized")) as server:
        answer = wire(server.url).call(ORDER, PARAMS, 5.0)
    assert isinstance(answer, Reply)
    assert answer.text == '{"code":-2015,"msg":"bad key (redacted) (redacted)"}'


def test_no_log_line_holds_a_secret_or_a_signed_address(caplog: pytest.LogCaptureFixture) -> None:
    with serving(answering("{}")) as server:
        spoken = wire(server.url)
        with caplog.at_level(logging.DEBUG):
            spoken.call("fapiPrivateGetOrder", PARAMS, 5.0)
        told = "\n".join([caplog.text, repr(spoken), str(spoken), repr(spoken._exchange)])
        assert server.heard
    for word in (KEY, SECRET, "signature="):
        assert word not in told


# ---------------------------------------------------------------- how ccxt is built


def made(**changes: object) -> ccxt.binanceusdm:
    told = {"demo": False, "base_url": None, "call_s": 3.0, **changes}
    return build(Secret(KEY), Secret(SECRET), **told)  # type: ignore[arg-type]  # a builder


def test_it_neither_retries_nor_waits_nor_looks_at_the_environment() -> None:
    exchange = made()
    assert exchange.options["maxRetriesOnFailure"] == 0
    assert exchange.options["recvWindow"] <= 5000
    assert exchange.enableRateLimit is False
    assert exchange.timeout == 3000
    assert exchange.has["fetchCurrencies"] is False
    assert exchange.session.trust_env is False
    assert exchange.session.max_redirects == 0


def test_demo_trading_leads_to_the_test_environment() -> None:
    assert made(demo=True).urls["api"]["fapiPrivate"] == "https://demo-fapi.binance.com/fapi/v1"
    assert made().urls["api"]["fapiPrivate"] == "https://fapi.binance.com/fapi/v1"


@pytest.mark.parametrize("demo", [True, False])
def test_a_base_url_covers_every_endpoint_and_leaves_no_other(demo: bool) -> None:
    base = "http://127.0.0.1:8080"
    urls = made(demo=demo, base_url=base).urls["api"]
    assert urls.keys() == PATHS.keys()
    assert all(url.startswith(f"{base}/") for url in urls.values())
    for name in ("fapiPublic", "fapiPrivate", "fapiPrivateV2", "fapiPrivateV3", "fapiData", "sapi"):
        assert name in urls


def test_the_exchanges_own_error_table_holds_under_any_host() -> None:
    with serving(answering('{"code":-5022,"msg":"GTX"}', "400 Bad Request")) as server:
        exchange = made(base_url=server.url)
        with pytest.raises(ccxt.OrderNotFillable):
            exchange.fapiPrivatePostOrder(dict(PARAMS))
    bare = ccxt.binanceusdm({"apiKey": KEY, "secret": SECRET})
    assert bare.get_exceptions_by_url("http://127.0.0.1:1/fapi", "exact") == {}  # what it cures
