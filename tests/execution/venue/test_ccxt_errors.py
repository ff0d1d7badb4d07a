"""What an answer means is decided by its code, and what is no answer is a doubt."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.venue.ccxt_errors import LONGEST_BAN_S, Doubt, Refusal, judge, meaning
from execution.venue.ccxt_replies import AccountInfo, OrderAck, OrderInfo
from execution.venue.ccxt_wire import Reply, Unanswered

NOW = 1_800_014_400.0
CODES = Path(__file__).resolve().parents[4] / "shared/venue/error_codes.json"
ACK = msgspec.json.Decoder(OrderAck)
TAKEN = '{"orderId": 7, "clientOrderId": "hgt-a-1", "status": "NEW"}'

# What the reference says is to be done → what the code must mean here.
ACTIONS = {
    "reconcile": "doubt",
    "reconcile by client id": "doubt",
    "reconcile by client id, never blind resend": "doubt",
    "stop all REST until Retry-After / banned-until": "banned",
    "resync clock offset, retry once": "clock",
    "resync clock": "clock",
    "query order; treat as maybe filled": "unknown_order",
    "retry query before declaring lost": "unknown_order",
    "fatal": "keys",
    "requantize": "filters",
    "split": "filters",
    "re-price": "filters",
    "re-price / limit IOC": "filters",
    "skip or reduceOnly": "filters",
    "treat as success": "set",
}
# Where the action alone does not decide.
SPECIAL = {-1022: "keys", -1121: "filters"}


def ask(text: str, status: int = 200, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(Reply(status, named, text), ACK, NOW)


def known() -> list[dict[str, object]]:
    if not CODES.exists():
        pytest.skip("the reference folder is not beside this checkout")
    codes: list[dict[str, object]] = json.loads(CODES.read_text())["codes"]
    assert len(codes) == 42
    return codes


def test_every_code_of_the_reference_means_what_its_action_calls_for() -> None:
    for each in known():
        code = int(str(each["code"]))
        action = str(each["suggested_action"])
        wanted = SPECIAL.get(code, ACTIONS.get(action, "refused"))
        assert meaning(code) == wanted, (code, action)


def test_every_code_of_the_reference_is_a_doubt_or_a_refusal_and_never_an_order() -> None:
    doubts = set()
    for each in known():
        code = int(str(each["code"]))
        answer = ask(json.dumps({"code": code, "msg": "told"}), 400)
        if isinstance(answer, Doubt):
            doubts.add(code)
        else:
            assert isinstance(answer, Refusal)
            assert (answer.code, answer.reason) == (str(code), "told")
            assert (answer.until_ts is not None) == (code == -1003)
    assert doubts == {-1000, -1001, -1006, -1007}


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("text", ["", "<html>", '{"code":-1008,"msg":"busy"}', TAKEN])
def test_what_comes_with_5xx_is_a_doubt_whatever_it_says(status: int, text: str) -> None:
    assert isinstance(ask(text, status), Doubt)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><body>maintenance</body></html>",
        TAKEN[:-20],
        "{}",
        "[]",
        "null",
        '{"orderId": null, "clientOrderId": "hgt-a-1"}',
        '{"orderId": 7}',
        '{"code": 200, "msg": "success"}',
        '{"code": -2019, "msg": "Margin is ins',
        '{"code": "-2019", "msg": "Margin is insufficient."}',
        "[" * 100_000,
    ],
)
def test_a_200_without_an_order_in_it_is_a_doubt(text: str) -> None:
    assert isinstance(ask(text), Doubt)


def test_an_order_is_one() -> None:
    assert ask(TAKEN) == OrderAck(order_id=7, client_order_id="hgt-a-1")


def test_an_error_that_comes_with_200_is_none_the_less_an_error() -> None:
    assert ask('{"code": -2019, "msg": "Margin is insufficient."}') == Refusal(
        "-2019", "Margin is insufficient.", "refused"
    )
    assert isinstance(ask('{"code": -1007, "msg": "Timeout"}'), Doubt)


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 408, 451])
@pytest.mark.parametrize(
    "text", ["<html>Forbidden</html>", '{"code": -2019, "msg": "Margin is ins']
)
def test_a_refusal_without_a_code_proves_nothing(status: int, text: str) -> None:
    assert ask(text, status) == Doubt(f"HTTP {status}")


def test_nothing_at_all_is_a_doubt() -> None:
    assert judge(Unanswered("no answer within 3.0 s"), ACK, NOW) == Doubt("no answer within 3.0 s")


@pytest.mark.parametrize(
    ("status", "text", "headers", "until_ts"),
    [
        (429, "", {"retry_after": "7"}, NOW + 7),
        (418, "", {"retry_after": "120"}, NOW + 120),
        (429, "", {}, NOW + 60),
        (418, "<html>", {}, NOW + 300),
        (429, "", {"retry_after": "soon"}, NOW + 60),
        (
            418,
            '{"code":-1003,"msg":"Way too many requests; IP banned until 1800015000000. Please"}',
            {},
            1_800_015_000.0,
        ),
        (
            418,
            '{"code":-1003,"msg":"IP banned until 1800015000000"}',
            {"retry_after": "900"},
            NOW + 900,
        ),
        (400, '{"code":-1003,"msg":"Too many requests"}', {}, NOW + 60),
        (429, '{"code":-1015,"msg":"Too many new orders"}', {"retry_after": "10"}, NOW + 10),
        (418, '{"code":-1003,"msg":"banned until 9999999999999"}', {}, NOW + LONGEST_BAN_S),
    ],
)
def test_a_ban_ends_when_the_exchange_says(status, text, headers, until_ts) -> None:
    answer = ask(text, status, **headers)
    assert isinstance(answer, Refusal)
    assert answer.meaning == "banned"
    assert answer.until_ts == until_ts


def test_an_account_that_broke_off_is_not_an_empty_one() -> None:
    decoder = msgspec.json.Decoder(AccountInfo)
    whole = '{"assets":[{"asset":"USDT","walletBalance":"1"}],"positions":[],"totalOpenOrderInitialMargin":"0"}'
    assert isinstance(judge(Reply(200, {}, whole), decoder, NOW), AccountInfo)
    for end in range(len(whole)):
        assert isinstance(judge(Reply(200, {}, whole[:end]), decoder, NOW), Doubt)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "sNaN", "", "one", None, True])
def test_a_number_that_is_none_makes_the_reply_a_doubt(bad: object) -> None:
    order = {
        "orderId": 7,
        "clientOrderId": "a",
        "symbol": "BTCUSDT",
        "status": "NEW",
        "side": "BUY",
        "positionSide": "LONG",
        "type": "LIMIT",
        "origQty": "1",
        "executedQty": "0",
        "price": "100",
    }
    decoder = msgspec.json.Decoder(OrderInfo)
    assert isinstance(judge(Reply(200, {}, json.dumps(order)), decoder, NOW), OrderInfo)
    for name in ("origQty", "executedQty", "price"):
        broken = json.dumps({**order, name: bad})
        assert isinstance(judge(Reply(200, {}, broken), decoder, NOW), Doubt)


@given(text=st.text(max_size=60), status=st.integers(100, 599), after=st.text(max_size=8))
def test_no_reply_whatsoever_raises_or_is_taken_for_an_order(text, status, after) -> None:
    answer = judge(Reply(status, {"retry-after": after}, text), ACK, NOW)
    assert isinstance(answer, Doubt | Refusal)
