"""The local exchange answers as the real one does: shapes, orders, modes, settings, what people do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import ccxt
import pytest

from execution.clock import ManualClock, SystemClock
from tests.exchange.caller import Caller
from tests.exchange.conftest import NOW, Floor
from tests.exchange.planted import KEY, SECRET
from tests.exchange.running import in_process, in_thread
from tests.exchange.setup import LISTINGS, Setup

SHARED = Path(__file__).resolve().parents[3] / "shared" / "venue"
D = Decimal


def client(url: str) -> ccxt.binanceusdm:
    """Return ccxt itself, as it comes, pointed at this machine."""
    made = ccxt.binanceusdm({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False})
    for name, there in made.urls["api"].items():
        if isinstance(there, str):
            made.urls["api"][name] = f"{url}{urlsplit(there).path}"
    made.has["fetchCurrencies"] = False
    made.options["warnOnFetchOpenOrdersWithoutSymbol"] = False
    return made


# ---------------------------------------------------------------- ccxt believes it


def test_ccxt_trades_on_it(open_floor) -> None:
    floor = open_floor()
    here = client(floor.exchange.url)
    here.nonce = here.milliseconds = lambda: round(floor.clock.now() * 1000)
    market = here.load_markets()["BTC/USDT:USDT"]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.001)
    assert here.fetch_balance()["USDT"]["total"] == 10_000.0
    side = {"positionSide": "LONG"}
    bought = here.create_order(
        "BTC/USDT:USDT", "market", "buy", 0.01, None, {**side, "newClientOrderId": "hgt-a-1"}
    )
    assert (bought["status"], bought["filled"], bought["clientOrderId"]) == (
        "closed",
        0.01,
        "hgt-a-1",
    )
    (held,) = here.fetch_positions()
    assert (held["side"], held["contracts"]) == ("long", 0.01)
    bid = here.fetch_bids_asks(["BTC/USDT:USDT"])["BTC/USDT:USDT"]["bid"]
    rests = here.create_order(
        "BTC/USDT:USDT",
        "limit",
        "buy",
        0.01,
        bid,
        {**side, "newClientOrderId": "hgt-b-1", "timeInForce": "GTX"},
    )
    assert rests["status"] == "open"
    assert [each["clientOrderId"] for each in here.fetch_open_orders()] == ["hgt-b-1"]
    ended = here.cancel_order(None, "BTC/USDT:USDT", {"origClientOrderId": "hgt-b-1"})
    assert ended["status"] == "canceled"
    (trade,) = here.fetch_my_trades("BTC/USDT:USDT")
    assert (trade["order"], trade["takerOrMaker"], trade["fee"]["currency"]) == (
        bought["id"],
        "taker",
        "USDT",
    )
    assert trade["fee"]["cost"] == pytest.approx(trade["cost"] * 0.0005)
    bars = here.fetch_ohlcv("BTC/USDT:USDT", "1m", limit=3)
    assert [later[0] - before[0] for before, later in pairwise(bars)] == [
        60_000,
        60_000,
    ]
    with pytest.raises(ccxt.OrderNotFound):
        here.fetch_order(None, "BTC/USDT:USDT", {"origClientOrderId": "never"})


@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference folder is not beside this checkout")
def test_its_shapes_are_the_real_ones(floor) -> None:
    call = floor.caller
    assert call.order("hgt-a-1").status == 200
    order = json.loads((SHARED / "payloads" / "order_response.json").read_text())
    assert call.find("hgt-a-1").body.keys() == order.keys()
    (balance,) = json.loads((SHARED / "payloads" / "balance.json").read_text())
    assert call.get("/fapi/v3/balance")[0].keys() == balance.keys()
    account = json.loads((SHARED / "payloads" / "account_info_v2.json").read_text())
    of_v2 = {"feeTier", "canTrade", "canDeposit", "canWithdraw", "updateTime", "multiAssetsMargin"}
    told = call.get("/fapi/v3/account")
    assert told.keys() == account.keys() - of_v2 - {"tradeGroupId"}
    assert told["assets"][0].keys() == account["assets"][0].keys() - {"marginAvailable"}
    listed = json.loads((SHARED / "exchangeInfo_2021.json").read_text())
    (symbol, *_) = call.get("/fapi/v1/exchangeInfo")["symbols"]
    assert listed["symbols"][0].keys() - symbol.keys() == {"settlePlan"}
    filters = {each["filterType"]: each.keys() for each in symbol["filters"]}
    assert filters == {each["filterType"]: each.keys() for each in listed["symbols"][0]["filters"]}


# ---------------------------------------------------------------- orders


def test_a_client_id_is_unique_among_open_orders_only(floor) -> None:
    call = floor.caller
    bid, _ = floor.touch()
    assert call.order("a", price=bid).status == 200
    assert call.order("a", price=bid).code == -4116
    assert call.cancel("a").body["status"] == "CANCELED"
    assert call.order("a").status == 200
    assert call.order("a").status == 200  # after its fill the same id is another order
    assert D(call.get("/fapi/v3/positionRisk")[0]["positionAmt"]) == D("0.02")
    assert call.find("a").body["orderId"] == max(o["orderId"] for o in _all(call))


def test_an_acknowledgement_tells_nothing_of_the_fill(floor) -> None:
    told = floor.caller.order("a").body
    assert (told["status"], told["executedQty"]) == ("NEW", "0")
    found = floor.caller.find("a").body
    assert (found["status"], found["executedQty"]) == ("FILLED", "0.01")
    assert floor.caller.order("b", newOrderRespType="RESULT").body["status"] == "FILLED"


def test_a_resting_order_fills_when_the_price_comes(floor) -> None:
    call = floor.caller
    bid, _ = floor.touch()
    assert call.order("a", price=round(bid * 0.99, 1)).body["status"] == "NEW"
    floor.exchange.ask("move", symbol="BTCUSDT", factor=0.98)
    found = call.find("a").body
    assert (found["status"], found["avgPrice"]) == ("FILLED", f"{round(bid * 0.99, 1):.5f}")
    (trade,) = call.get("/fapi/v1/userTrades", symbol="BTCUSDT")
    assert trade["maker"] is True
    assert D(trade["commission"]) == D(trade["quoteQty"]) * D("0.0002")


BTC = {"symbol": "BTCUSDT"}
REFUSED = [
    (-1121, {"symbol": "NOTUSDT"}),
    (-1102, {"quantity": None}),
    (-1102, {"price": 1000, "timeInForce": None}),
    (-1100, {"quantity": "1e-2"}),
    (-1100, {"newClientOrderId": "no spaces"}),
    (-4015, {"newClientOrderId": "a" * 37}),
    (-1116, {"type": "SOMETHING"}),
    (-1117, {"side": "LONG"}),
    (-4120, {"type": "STOP_MARKET", "stopPrice": 900}),
    (-4061, {"positionSide": None}),
    (-1106, {"reduceOnly": "true"}),
    (-1106, {"reduceOnly": "false"}),
    (-4003, {"quantity": "0"}),
    (-1111, {"quantity": "0.0101"}),
    (-4005, {"quantity": "1001"}),
    (-4164, {"symbol": "ETHUSDT", "quantity": "0.004"}),
    (-2019, {"quantity": "900"}),
    (-2022, {"side": "SELL"}),
]


@pytest.mark.parametrize(("code", "params"), REFUSED, ids=str)
def test_it_refuses_in_the_real_words(floor_of_the_file, code: int, params: dict) -> None:
    name = params.pop("newClientOrderId", "a")
    qty = params.pop("quantity", "0.01")
    reply = floor_of_the_file.caller.order(name, qty, **params)
    assert (reply.status, reply.code) == (400, code), reply.body
    assert floor_of_the_file.exchange.truth["orders"] == []


@pytest.fixture(scope="module")
def floor_of_the_file() -> Iterator[Floor]:
    clock = ManualClock(NOW)
    with in_thread(Setup(listings=LISTINGS), clock) as running:
        yield Floor(running, clock)


def test_prices_must_be_on_the_tick_near_the_mark_and_passive(floor) -> None:
    call = floor.caller
    _, ask = floor.touch()
    assert call.order("a", price=ask).code == -5022
    assert call.find("a").code == -2013  # it never was
    assert call.order("a", price=round(ask * 1.06, 1), timeInForce="GTC").code == -4016
    assert call.order("a", price=f"{ask * 0.9:.2f}5").code == -1111
    floor.exchange.ask("relist", symbol="BTCUSDT", tick_size="2.0")
    assert call.order("a", price=f"{ask // 2 * 2 - 101:.1f}").code == -4014
    assert call.get("/fapi/v1/exchangeInfo")["symbols"][0]["filters"][0]["tickSize"] == "2.0"


# ---------------------------------------------------------------- modes and settings


def test_one_way_mode_nets_and_reduces_only_what_is_there(open_floor) -> None:
    call = open_floor(position_mode="one_way").caller
    assert call.order("a").code == -4061
    none = {"positionSide": None}
    assert call.order("b", **none, side="SELL", reduceOnly="true").code == -2022
    assert call.order("c", "0.02", **none).status == 200
    assert call.order("d", "0.03", **none, side="SELL", reduceOnly="true").status == 200
    assert call.get("/fapi/v3/positionRisk") == []  # reduced to nothing, not turned around
    assert call.order("e", "0.02", **none).status == 200
    assert call.order("f", "0.03", **none, side="SELL").status == 200
    (held,) = call.get("/fapi/v3/positionRisk")
    assert (held["positionSide"], held["positionAmt"]) == ("BOTH", "-0.01")


def test_settings_that_stand_already_are_errors_with_their_codes(floor) -> None:
    call = floor.caller

    def post(path: str, **params: object) -> int:
        return call.call("POST", f"/fapi/v1/{path}", **params).code

    assert post("marginType", **BTC, marginType="CROSSED") == -4046
    assert post("positionSide/dual", dualSidePosition="true") == -4059
    assert post("leverage", **BTC, leverage=126) == -4028
    assert post("leverage", **BTC, leverage=4) == 0
    (config,) = call.get("/fapi/v1/symbolConfig", **BTC)
    assert (config["leverage"], config["marginType"]) == (4, "CROSSED")
    bid, _ = floor.touch()
    assert call.order("a", price=bid).status == 200
    assert post("positionSide/dual", dualSidePosition="false") == -4067
    assert post("marginType", **BTC, marginType="ISOLATED") == -4047
    assert call.cancel("a").status == 200
    assert call.order("b").status == 200
    assert post("positionSide/dual", dualSidePosition="false") == -4068
    assert floor.exchange.ask("close", symbol="BTCUSDT")
    assert post("positionSide/dual", dualSidePosition="false") == 200
    assert call.get("/fapi/v1/accountConfig")["dualSidePosition"] is False


# ---------------------------------------------------------------- money


def test_the_wallet_is_the_sum_of_the_income(floor) -> None:
    call = floor.caller
    assert call.order("a", "0.05").status == 200
    floor.exchange.ask("fund", symbol="BTCUSDT", rate=0.001)
    floor.exchange.ask("move", symbol="BTCUSDT", factor=1.01)
    assert call.order("b", "0.05", side="SELL").status == 200
    income = call.get("/fapi/v1/income")
    assert {row["incomeType"] for row in income} == {
        "TRANSFER",
        "COMMISSION",
        "FUNDING_FEE",
        "REALIZED_PNL",
    }
    assert len({(row["incomeType"], row["tranId"]) for row in income}) == len(income)
    wallet = call.get("/fapi/v3/account")["totalWalletBalance"]
    assert sum(D(row["income"]) for row in income) == D(wallet) != D(10_000)


def test_a_leg_that_cannot_be_kept_is_liquidated(floor) -> None:
    call = floor.caller
    assert call.order("a", "1.5").status == 200
    floor.exchange.ask("move", symbol="BTCUSDT", factor=0.93)
    assert call.get("/fapi/v3/positionRisk") == []
    trades = call.get("/fapi/v1/userTrades", symbol="BTCUSDT")
    closing = call.call("GET", "/fapi/v1/order", **BTC, orderId=trades[-1]["orderId"]).body
    assert closing["clientOrderId"].startswith("autoclose-")


def test_a_delisted_symbol_is_settled_and_gone(floor) -> None:
    call = floor.caller
    bid, _ = floor.touch()
    assert call.order("a").status == 200
    assert call.order("b", price=round(bid * 0.99, 1)).status == 200
    floor.exchange.ask("delist", symbol="BTCUSDT", status="SETTLING")
    assert call.get("/fapi/v3/positionRisk") == call.get("/fapi/v1/openOrders") == []
    assert call.order("c").code == -4108
    floor.exchange.ask("status", BTCUSDT="GONE")
    assert call.order("c").code == -1121
    listed = {each["symbol"] for each in call.get("/fapi/v1/exchangeInfo")["symbols"]}
    assert listed == {"ETHUSDT", "SOLUSDT"}
    assert len(call.get("/fapi/v1/ticker/bookTicker")) == 2


# ---------------------------------------------------------------- a process of its own


def test_it_runs_as_a_process_whose_books_can_be_read(tmp_path) -> None:
    with in_process(Setup(listings=LISTINGS), tmp_path / "exchange") as running:
        call = Caller(running.port, SystemClock())
        assert call.order("a").status == 200
        assert running.posts() == {"a": 1}
        assert running.books is not None
        with closing(sqlite3.connect(running.books)) as db:
            assert db.execute("SELECT client_id, state FROM orders").fetchall() == [("a", "FILLED")]


def _all(call: Caller) -> list[dict]:
    return call.get("/fapi/v1/allOrders", **BTC)
