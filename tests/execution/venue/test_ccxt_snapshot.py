"""Replies become values of the seam, and orders become words on the wire."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core import sizing
from execution.core.seam import CashRow, NewOrder, SymbolRules
from execution.errors import VenueUnavailable
from execution.venue import ccxt_snapshot
from execution.venue.ccxt_replies import (
    AccountInfo,
    BookTicker,
    ExchangeInfo,
    Income,
    Kline,
    OrderInfo,
    PositionRisk,
    PremiumIndex,
    SymbolInfo,
    UserTrade,
)
from tests.support import builders, wires

SHARED = Path(__file__).resolve().parents[4] / "shared/venue"
D = Decimal


def shared(name: str) -> Any:
    path = SHARED / name
    if not path.exists():
        pytest.skip("the reference folder is not beside this checkout")
    return json.loads(path.read_text())


def new_order(**fields: object) -> NewOrder:
    known: dict[str, object] = {
        "client_id": "hgt-a-1",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "type": "LIMIT",
        "qty": D("0.010"),
        "price": D("50000.10"),
        "stop_price": None,
        "reduce_only": False,
        "close_position": False,
        "post_only": True,
        "signed_ts": wires.NOW,
    }
    return NewOrder(**{**known, **fields})  # type: ignore[arg-type]  # a builder


# ---------------------------------------------------------------- rules


def test_the_rules_of_a_real_exchange_info_are_read() -> None:
    info = msgspec.convert(shared("exchangeInfo_2021.json"), ExchangeInfo, strict=False)
    found = {each.symbol: ccxt_snapshot.rules(each) for each in info.symbols}
    assert len(found) == 8
    assert found["BTCUSDT"] == SymbolRules(
        tick_size=D("0.01"),
        step_size=D("0.001"),
        min_qty=D("0.001"),
        max_qty=D(1000),
        min_notional_usd=D(5),
        trading=True,
        market_max_qty=D(1000),
        price_down_mult=D("0.85"),
        price_up_mult=D("1.15"),
    )
    assert None not in found.values()


@pytest.mark.parametrize("bad", ["0", "NaN", "Infinity", "-0.001", "", "many", None, 0])
@pytest.mark.parametrize("key", ["tickSize", "stepSize", "minQty", "maxQty", "notional"])
def test_a_grid_that_is_none_is_no_error_and_no_rule(key: str, bad: object) -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "100"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ]
    assert ccxt_snapshot.rules(SymbolInfo("A", "TRADING", tuple(filters))) is not None  # type: ignore[arg-type]  # as decoded
    for each in filters:
        if key in each:
            each[key] = bad  # type: ignore[assignment]  # as decoded
    assert ccxt_snapshot.rules(SymbolInfo("A", "TRADING", tuple(filters))) is None  # type: ignore[arg-type]  # as decoded
    assert ccxt_snapshot.rules(SymbolInfo("A", "TRADING", ())) is None


@pytest.mark.parametrize("status", ["SETTLING", "PENDING_TRADING", "BREAK", "CLOSE", ""])
def test_a_symbol_that_does_not_trade_says_so(status: str) -> None:
    (info,) = msgspec.convert(
        [
            each
            for each in shared("exchangeInfo_2021.json")["symbols"]
            if each["symbol"] == "BTCUSDT"
        ],
        tuple[SymbolInfo, ...],
        strict=False,
    )
    found = ccxt_snapshot.rules(msgspec.structs.replace(info, status=status))
    assert found is not None
    assert not found.trading


# ---------------------------------------------------------------- prices


def test_a_quote_is_as_old_as_the_older_of_touch_and_mark_on_the_local_clock() -> None:
    book = BookTicker("BTCUSDT", D("99.9"), D("100.1"), 10_000)
    mark = PremiumIndex("BTCUSDT", D(100), 0, 8_500)
    quote = ccxt_snapshot.quote(book, mark, offset_s=3.0)
    assert (quote.ts, quote.bid, quote.ask, quote.mark) == (5.5, 99.9, 100.1, 100.0)


def test_the_minute_that_is_not_over_is_no_bar() -> None:
    rows = [[60_000 * n, "1", "2", "0.5", "1.5", "9", 60_000 * n + 59_999, "0", 1] for n in (1, 2)]
    klines = msgspec.convert(rows, tuple[Kline, ...], strict=False)
    assert [bar.ts for bar in ccxt_snapshot.bars(klines, 179.9)] == [60.0]
    assert [bar.ts for bar in ccxt_snapshot.bars(klines, 180.0)] == [60.0, 120.0]


def test_bars_that_come_twice_or_in_any_order_are_told_once_and_in_order() -> None:
    rows = [[60_000 * n, "1", "2", "0.5", "1.5", "9", 60_000 * n + 59_999] for n in (3, 1, 2, 1)]
    klines = msgspec.convert(rows, tuple[Kline, ...], strict=False)
    assert [bar.ts for bar in ccxt_snapshot.bars(klines, 999.0)] == [60.0, 120.0, 180.0]


# ---------------------------------------------------------------- the account


def test_an_account_has_its_usdt_its_legs_and_other_coins_beside() -> None:
    told = wires.account(
        wires.position("0.010"),
        wires.position("-0.020", side="SHORT"),
        wires.position("0.000", "ETHUSDT"),
        wallet="9999.5",
        BNB="0.25",
        USDC="0",
    )
    info = msgspec.convert(told, AccountInfo, strict=False)
    entries = {("BTCUSDT", "LONG"): D(50_000), ("BTCUSDT", "SHORT"): D(51_000)}
    found = ccxt_snapshot.account(info, entries, {"BTCUSDT": 4}, (), 7.0)  # type: ignore[arg-type]  # its keys are legs
    assert (found.ts, found.wallet_usd, found.other_assets) == (
        7.0,
        D("9999.5"),
        {"BNB": D("0.25")},
    )
    assert [(p.position_side, p.qty, p.entry_price, p.leverage) for p in found.positions] == [
        ("LONG", D("0.010"), D(50_000), D(4)),
        ("SHORT", D("-0.020"), D(51_000), D(4)),
    ]


def test_an_account_without_a_usdt_balance_is_unknown_and_not_empty() -> None:
    info = msgspec.convert({**wires.account(), "assets": []}, AccountInfo, strict=False)
    with pytest.raises(VenueUnavailable, match="no USDT"):
        ccxt_snapshot.account(info, {}, {}, (), 7.0)


def test_an_account_that_tells_something_twice_is_not_believed() -> None:
    leg = wires.position("1")
    twice = wires.account(leg, leg)
    balances = wires.account()
    balances["assets"] = [*balances["assets"], *balances["assets"]]  # type: ignore[misc]  # a list
    for told in (twice, balances):
        info = msgspec.convert(told, AccountInfo, strict=False)
        with pytest.raises(VenueUnavailable, match="twice"):
            ccxt_snapshot.account(info, {("BTCUSDT", "LONG"): D(1)}, {}, (), 7.0)


def test_the_reference_payloads_are_believed() -> None:
    for name, shape in (
        ("payloads/order_response.json", OrderInfo),
        ("payloads/position_risk.json", tuple[PositionRisk, ...]),
    ):
        msgspec.convert(shared(name), shape, strict=False)
    told = msgspec.convert(shared("payloads/order_response.json"), OrderInfo, strict=False)
    seen = ccxt_snapshot.order(told)
    assert (seen.client_id, seen.venue_order_id, seen.state) == ("testOrder123", "12345678", "LIVE")
    assert (seen.price, seen.stop_price, seen.ts) == (D("50000.00"), None, 1_625_474_304.765)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("NEW", "LIVE"),
        ("PARTIALLY_FILLED", "PARTIAL"),
        ("FILLED", "FILLED"),
        ("CANCELED", "CANCELED"),
        ("EXPIRED", "EXPIRED"),
        ("EXPIRED_IN_MATCH", "EXPIRED"),
        ("REJECTED", "REJECTED"),
    ],
)
def test_an_orders_state_is_one_of_ours(status: str, state: str) -> None:
    told = msgspec.convert(wires.order(status=status), OrderInfo, strict=False)
    assert ccxt_snapshot.order(told).state == state


def test_a_state_that_nobody_knows_is_not_guessed() -> None:
    told = msgspec.convert(wires.order(status="PAUSED"), OrderInfo, strict=False)
    with pytest.raises(VenueUnavailable, match="PAUSED"):
        ccxt_snapshot.order(told)


def test_a_conditional_order_of_whatever_kind_is_a_stop() -> None:
    told = msgspec.convert(
        wires.order(type="TRAILING_STOP_MARKET", price="0", stopPrice="7103.04"),
        OrderInfo,
        strict=False,
    )
    seen = ccxt_snapshot.order(told)
    assert (seen.type, seen.price, seen.stop_price) == ("STOP_MARKET", None, D("7103.04"))


def test_a_fee_in_another_coin_is_worth_what_it_was_when_it_filled() -> None:
    row = msgspec.convert(
        wires.trade(5, commission="0.0004", commissionAsset="BNB"), UserTrade, strict=False
    )
    found = ccxt_snapshot.trade(row, "hgt-a-1", D(600))
    assert (found.fee, found.fee_asset, found.fee_usd) == (D("0.0004"), "BNB", D("0.24"))
    assert (found.trade_id, found.client_id, found.venue_order_id) == ("5", "hgt-a-1", "7")


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        ("FUNDING_FEE", {}, "funding"),
        ("TRANSFER", {"symbol": ""}, "transfer"),
        ("INSURANCE_CLEAR", {}, "transfer"),
        ("COMMISSION_REBATE", {}, "transfer"),
        ("COMMISSION", {"asset": "BNB"}, "fee_asset"),
        ("COMMISSION", {}, None),
        ("REALIZED_PNL", {}, None),
    ],
)
def test_cash_is_what_no_trade_books(kind: str, fields: dict[str, object], wanted) -> None:
    row = msgspec.convert(wires.income(9, kind, "-1.5", **fields), Income, strict=False)
    found = ccxt_snapshot.cash(row)
    assert (None if found is None else found.kind) == wanted


def test_a_row_of_cash_is_named_by_all_that_tells_it_from_another() -> None:
    row = msgspec.convert(wires.income(9, "FUNDING_FEE", "-1.5"), Income, strict=False)
    assert ccxt_snapshot.cash(row) == CashRow(
        "FUNDING_FEE:9:USDT:BTCUSDT", "funding", "USDT", D("-1.5"), "BTCUSDT", wires.NOW - 1
    )


# ---------------------------------------------------------------- what is sent


def test_every_recorded_case_is_written_as_the_exchange_writes_it() -> None:
    cases = shared("precision_cases.json")
    assert len(cases) == 360
    for case in cases:
        rules = builders.rules(step_size=D(case["step"]), max_qty=D(10**12))
        qty = sizing.snap_qty(D(case["amount_in"]), rules)
        price = sizing.snap_price(float(case["price_in"]), D(case["tick"]), ROUND_HALF_UP)
        assert ccxt_snapshot.plain(qty) == case["amount_out"], case
        assert ccxt_snapshot.plain(price) == case["price_out"], case


@given(st.decimals(min_value="1e-12", max_value="1e12", allow_nan=False, allow_infinity=False))
def test_a_number_is_written_in_plain_digits_and_means_the_same(number: Decimal) -> None:
    text = ccxt_snapshot.plain(number)
    assert set(text) <= set("0123456789.")
    assert Decimal(text) == number
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("fields", "hedge", "wanted"),
    [
        ({}, True, {"price": "50000.1", "timeInForce": "GTX", "positionSide": "LONG"}),
        ({"post_only": False}, True, {"timeInForce": "GTC"}),
        ({"side": "SELL", "reduce_only": True}, True, {"positionSide": "LONG"}),
        (
            {"side": "SELL", "reduce_only": True, "position_side": "BOTH"},
            False,
            {"reduceOnly": "true"},
        ),
        ({"position_side": "BOTH"}, False, {}),
        ({"type": "MARKET", "price": None, "post_only": False}, True, {"type": "MARKET"}),
    ],
)
def test_an_order_says_what_the_mode_wants_to_hear(fields, hedge: bool, wanted) -> None:
    params = ccxt_snapshot.order_params(new_order(**fields), hedge=hedge)
    assert wanted.items() <= params.items()
    assert params["quantity"] == "0.01"
    assert params["newClientOrderId"] == "hgt-a-1"
    assert params["positionSide"] == fields.get("position_side", "LONG")
    assert ("reduceOnly" in params) == (not hedge and bool(fields.get("reduce_only")))
    assert ("price" in params) == ("timeInForce" in params) == (fields.get("price", 1) is not None)
