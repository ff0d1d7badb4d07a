"""Who comes in: keys, signatures, time, weights, bans; and what goes wrong on the line."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from tests.exchange.caller import Caller
from tests.exchange.faults import ACCOUNT, FIND, SUBMIT, TRADES, Fault

ACCOUNT_PATH = "/fapi/v3/account"


def test_keys_and_signatures_are_checked(floor) -> None:
    port, clock = floor.exchange.port, floor.clock
    assert Caller(port, clock, key="").call("GET", ACCOUNT_PATH).code == -2014
    assert Caller(port, clock, key="another").call("GET", ACCOUNT_PATH).code == -2015
    assert Caller(port, clock, secret="another").call("GET", ACCOUNT_PATH).code == -1022
    assert floor.caller.send("GET", f"{ACCOUNT_PATH}?timestamp=1").code == -1102
    assert floor.caller.send("GET", "/fapi/v1/time").body == {
        "serverTime": round(clock.now() * 1000)
    }
    assert floor.caller.call("GET", "/fapi/v1/nothing").status == 404


@pytest.mark.parametrize(
    ("skew_s", "code"), [(0, 0), (3, 0), (5.1, -1021), (-0.9, 0), (-1.1, -1021), (-3, -1021)]
)
def test_a_clock_must_not_be_far_off(floor, skew_s: float, code: int) -> None:
    floor.exchange.ask("skew", seconds=skew_s)
    assert floor.caller.call("GET", ACCOUNT_PATH).code == code


def test_weights_are_counted_by_the_minute(floor) -> None:
    used = [
        floor.caller.call("GET", ACCOUNT_PATH).headers["X-MBX-USED-WEIGHT-1M"] for _ in range(3)
    ]
    floor.caller.call("GET", "/fapi/v1/openOrders")
    order = floor.caller.order("a")
    used.append(order.headers["X-MBX-USED-WEIGHT-1M"])
    assert used == ["5", "10", "15", "55"]
    assert order.headers["X-MBX-ORDER-COUNT-10S"] == order.headers["X-MBX-ORDER-COUNT-1M"] == "1"
    floor.clock.advance(60)
    assert floor.caller.call("GET", ACCOUNT_PATH).headers["X-MBX-USED-WEIGHT-1M"] == "5"


def test_too_much_is_refused_and_ignoring_that_is_a_ban(open_floor) -> None:
    floor = open_floor(weight_limit=50, patience=3, ban_s=30.0)
    replies = [floor.caller.call("GET", ACCOUNT_PATH) for _ in range(15)]
    assert [reply.status for reply in replies] == [200] * 10 + [429] * 3 + [418] * 2
    throttled, banned = replies[10], replies[13]
    assert (throttled.code, throttled.headers["Retry-After"]) == (-1003, "60")
    assert (banned.code, banned.headers["Retry-After"]) == (-1003, "30")
    until_ms = floor.exchange.truth["banned_until_ms"]
    assert str(until_ms) in banned.body["msg"]
    assert floor.caller.send("GET", "/fapi/v1/time").status == 418
    assert floor.caller.order("a").status == 418
    floor.clock.advance(61)
    assert floor.caller.call("GET", ACCOUNT_PATH).status == 200
    assert sum(each["banned"] for each in floor.exchange.requests) == 3


def test_orders_have_a_limit_of_their_own(floor) -> None:
    bid, _ = floor.touch()
    codes = [floor.caller.order(f"a{n}", "0.001", price=bid).code for n in range(301)]
    assert codes == [0] * 300 + [-1015]


# ---------------------------------------------------------------- faults

BROKEN = (ConnectionError, http.client.HTTPException, TimeoutError, json.JSONDecodeError)


@pytest.mark.parametrize(
    ("fault", "is_there"),
    [
        (Fault(kind="lost", arrives=False), False),
        (Fault(kind="lost"), True),
        (Fault(kind="html"), True),
        (Fault(kind="html", arrives=False), False),
        (Fault(kind="half"), True),
        (Fault(kind="empty"), True),
        (Fault(kind="error", code=-1006), True),
        (Fault(kind="error", code=-1007, arrives=False), False),
        (Fault(kind="error", status=400, code=-4116), True),
        (Fault(kind="error", status=502), True),
        (Fault(kind="stall", delay_s=0.2), True),
        (Fault(kind="throttle"), False),
        (Fault(kind="ban", delay_s=5.0), False),
    ],
    ids=lambda it: f"{it.kind}{it.code or ''}" if isinstance(it, Fault) else str(it),
)
def test_an_order_without_a_true_answer(floor, fault: Fault, is_there: bool) -> None:
    floor.exchange.suffer(fault)
    try:
        reply = floor.caller.order("a")
        assert (
            reply.status != 200 or not isinstance(reply.body, dict) or "orderId" not in reply.body
        )
    except BROKEN:
        pass
    floor.exchange.suffer()
    there = [order["client_id"] for order in floor.exchange.truth["orders"]]
    assert there == (["a"] if is_there else [])
    assert floor.exchange.posts() == {"a": 1}


@pytest.mark.parametrize(("delay_s", "is_there"), [(4.0, True), (6.0, False)])
def test_a_late_order_is_taken_within_its_window_only(
    floor, delay_s: float, is_there: bool
) -> None:
    floor.exchange.suffer(Fault(kind="late", on=(SUBMIT,), delay_s=delay_s))
    with pytest.raises(BROKEN):
        floor.caller.order("a")
    assert floor.caller.find("a").code == -2013
    floor.clock.advance(delay_s + 0.01)
    assert (floor.caller.find("a").code == 0) is is_there


def test_what_is_listed_may_lie(floor) -> None:
    call = floor.caller
    for name in ("a", "b", "c"):
        assert call.order(name).status == 200
    floor.exchange.suffer(Fault(kind="repeated", on=(TRADES,)))
    assert len(call.get("/fapi/v1/userTrades", symbol="BTCUSDT")) == 6
    floor.exchange.suffer(Fault(kind="no_positions", on=(ACCOUNT,)))
    assert call.get(ACCOUNT_PATH)["positions"] == []
    floor.exchange.suffer(Fault(kind="no_balance", on=(ACCOUNT,)))
    assert call.get(ACCOUNT_PATH)["assets"] == []
    floor.exchange.suffer(
        Fault(kind="trades_late", delay_s=5.0), Fault(kind="orders_late", delay_s=5.0)
    )
    assert call.get("/fapi/v1/userTrades", symbol="BTCUSDT") == []
    assert call.find("a").code == -2013
    floor.clock.advance(5.1)
    assert len(call.get("/fapi/v1/userTrades", symbol="BTCUSDT")) == 3
    assert call.find("a").code == 0


def test_a_fault_strikes_where_and_as_often_as_it_says(floor) -> None:
    floor.exchange.suffer(Fault(kind="error", code=-1000, on=(FIND,), times=2))
    assert [floor.caller.find("a").code for _ in range(3)] == [-1000, -1000, -2013]
    floor.exchange.suffer(Fault(kind="error", code=-1000, on=(FIND,), chance=0.5), seed=4)
    drawn = [floor.caller.find("a").code for _ in range(20)]
    floor.exchange.suffer(Fault(kind="error", code=-1000, on=(FIND,), chance=0.5), seed=4)
    assert [floor.caller.find("a").code for _ in range(20)] == drawn
    assert 3 < drawn.count(-1000) < 17


def test_a_stalled_reply_comes_byte_by_byte(floor) -> None:
    floor.exchange.suffer(Fault(kind="stall", on=(ACCOUNT,), delay_s=0.5))
    begun_s = time.monotonic()
    with pytest.raises(BROKEN):
        floor.caller.call("GET", ACCOUNT_PATH)
    assert time.monotonic() - begun_s > 0.4
