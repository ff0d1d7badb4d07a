"""Orders, trades and cash come from the exchange's records: whole, once by id, and not in a loop."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from execution.core.seam import NotFound
from execution.errors import VenueUnavailable
from execution.venue.ccxt_history import (
    CASH_AGAIN_S,
    LATE_S,
    MOST_LOOKUPS,
    ORDER_LATE_S,
    TRADES_AGAIN_S,
    WINDOW_MS,
    History,
)
from execution.venue.ccxt_wire import Params, Reply
from tests.support.wires import NOW, Line, income, order, refusal, reply, trade

ORDER, ALL_ORDERS, TRADES, INCOME, KLINES = (
    "fapiPrivateGetOrder",
    "fapiPrivateGetAllOrders",
    "fapiPrivateGetUserTrades",
    "fapiPrivateGetIncome",
    "fapiPublicGetKlines",
)
D = Decimal
LATER = NOW + 100.0


class Records:
    """An exchange's records behind the fake wire; pages and windows are the exchange's."""

    def __init__(self, folder: Path) -> None:
        self.line = Line(folder)
        self.rows: list[dict[str, Any]] = []
        self.cash_rows: list[dict[str, Any]] = []
        self.orders: dict[int, str] = {7: "hgt-a-1"}
        self.line.wire.answers = {
            ORDER: self._order,
            ALL_ORDERS: self._all_orders,
            TRADES: self._trades,
            INCOME: self._income,
            KLINES: reply([[0, "600", "600", "600", "600", "1", 1]]),
        }
        self.history = History(self.line.session, self.line.clock)

    def _order(self, params: Params) -> Reply:
        for order_id, client_id in self.orders.items():
            if params.get("orderId") == order_id or params.get("origClientOrderId") == client_id:
                return reply(order(order_id, client_id))
        return refusal(-2013, msg="Order does not exist.")

    def _all_orders(self, params: Params) -> Reply:
        from_id = int(params["orderId"])
        return reply([order(i, name) for i, name in self.orders.items() if i >= from_id])

    def _trades(self, params: Params) -> Reply:
        if "fromId" in params:
            rows = [row for row in self.rows if row["id"] >= int(params["fromId"])]
        else:
            start = int(params["startTime"])
            end = int(params.get("endTime", start + WINDOW_MS))
            assert end - start <= WINDOW_MS
            rows = [row for row in self.rows if start <= row["time"] <= end]
        return reply(rows[: int(params["limit"])])

    def _income(self, params: Params) -> Reply:
        rows = [row for row in self.cash_rows if row["time"] >= int(params["startTime"])]
        return reply(sorted(rows, key=lambda row: row["time"])[: int(params["limit"])])

    def ids(self, since_ts: float, until_ts: float = LATER, version: int = 1) -> list[int]:
        self.line.session.begin()
        trades = self.history.trades("BTCUSDT", since_ts, until_ts, version)
        return [int(each.trade_id) for each in trades]

    def cash(self, since_ts: float, version: int = 1) -> list[str]:
        self.line.session.begin()
        return [row.cash_id.split(":")[1] for row in self.history.cash(since_ts, version)]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


# ---------------------------------------------------------------- one order


def test_an_order_is_found_by_our_id(records: Records) -> None:
    found = records.history.find("BTCUSDT", "hgt-a-1")
    assert not isinstance(found, NotFound)
    assert found.venue_order_id == "7"
    assert records.history.find("BTCUSDT", "hgt-b-1") == NotFound()


@pytest.mark.parametrize(
    "answer", [refusal(-1121), refusal(-1007, 408), Reply(200, {}, "{}"), reply(order(9, "other"))]
)
def test_what_is_no_answer_to_the_question_is_unknown(records: Records, answer: Reply) -> None:
    records.line.wire.answers[ORDER] = answer
    with pytest.raises(VenueUnavailable):
        records.history.find("BTCUSDT", "hgt-a-1")


# ---------------------------------------------------------------- trades


def test_recent_trades_take_one_page_and_name_our_order(records: Records) -> None:
    records.rows = [trade(1, at_s=-50), trade(2, at_s=-2)]
    found = records.history.trades("BTCUSDT", NOW - 60, LATER, 1)
    assert [(each.trade_id, each.client_id) for each in found] == [
        ("1", "hgt-a-1"),
        ("2", "hgt-a-1"),
    ]
    assert len(records.line.wire.asked(TRADES)) == len(records.line.wire.asked(ORDER)) == 1


def test_a_months_silence_is_asked_by_weeks(records: Records) -> None:
    day = 86_400
    records.rows = [trade(n, at_s=-n * day) for n in (24, 17, 10, 3)]
    records.rows = [{**row, "id": n} for n, row in enumerate(records.rows)]
    assert records.ids(NOW - 30 * day) == [0, 1, 2, 3]


def test_more_than_a_page_is_read_on_by_id(records: Records) -> None:
    records.rows = [trade(n, at_s=-3000 + n) for n in range(2500)]
    assert records.ids(NOW - 3600) == list(range(2500))
    assert [p.get("fromId") for p in records.line.wire.asked(TRADES)] == [None, 1000, 2000]


def test_everything_there_ever_was_is_read_by_id(records: Records) -> None:
    records.rows = [trade(n, at_s=-n * 86_400) for n in range(400, 0, -100)]
    records.rows.sort(key=lambda row: row["id"])
    assert records.ids(0.0) == [100, 200, 300, 400]
    assert records.line.wire.asked(TRADES)[0]["fromId"] == 0


def test_what_traded_after_the_account_was_read_belongs_to_the_next_look(records: Records) -> None:
    records.rows = [trade(1, at_s=-2), trade(2, at_s=0.2)]
    assert records.ids(NOW - 60, until_ts=NOW) == [1]
    assert records.ids(NOW - 60, until_ts=NOW + 1) == [1, 2]


def test_the_same_account_is_not_asked_about_in_a_loop(records: Records) -> None:
    records.rows = [trade(1)]
    records.ids(NOW - 60)
    records.ids(NOW - 60)
    assert len(records.line.wire.asked(TRADES)) == 1
    records.ids(NOW - 60, version=2)
    assert len(records.line.wire.asked(TRADES)) == 2
    records.rows.append(trade(2))  # told late
    records.line.tick(TRADES_AGAIN_S[0])
    assert records.ids(NOW - 60, version=2) == [1, 2]
    records.ids(NOW - 120, version=2)
    assert len(records.line.wire.asked(TRADES)) == 4


def test_a_question_that_stays_open_is_asked_ever_more_seldom(records: Records) -> None:
    for _ in range(300):
        records.ids(NOW - 60)
        records.cash(NOW - 60)
        records.line.tick()
    assert (
        len(records.line.wire.asked(TRADES)) == 10
    )  # after 0, 2, 4, 8, 16, 32, 64, 124, 184 and 244 s
    assert len(records.line.wire.asked(INCOME)) == 7
    records.ids(NOW - 60, version=2)
    records.line.tick(2)
    records.ids(NOW - 60, version=2)
    assert len(records.line.wire.asked(TRADES)) == 12


def test_an_order_that_is_gone_is_nobodys_but_not_at_once(records: Records) -> None:
    """A lookup lags behind its trade: taken at its word, an own order would be another's for ever."""
    records.rows = [trade(1, order_id=99)]
    with pytest.raises(VenueUnavailable, match="-2013"):
        records.ids(NOW - 60)
    records.line.tick(ORDER_LATE_S)
    (found,) = records.history.trades("BTCUSDT", NOW - 60, LATER, 1)
    assert found.client_id == "venue:99"


def test_an_order_that_is_seen_late_is_ours_all_the_same(records: Records) -> None:
    records.rows = [trade(1, order_id=99)]
    with pytest.raises(VenueUnavailable, match="-2013"):
        records.ids(NOW - 60)
    records.orders[99] = "hgt-late-1"
    (found,) = records.history.trades("BTCUSDT", NOW - 60, LATER, 1)
    assert found.client_id == "hgt-late-1"


def test_many_orders_are_listed_first_and_the_rest_looked_up_over_several_rounds(
    records: Records,
) -> None:
    records.rows = [trade(n, order_id=n, at_s=-ORDER_LATE_S - 1) for n in range(1, 101)]
    records.orders = {n: f"web-{n}" for n in range(1, 51)}
    with pytest.raises(VenueUnavailable, match="looked up"):
        records.ids(NOW - 120)
    assert len(records.line.wire.asked(ORDER)) == MOST_LOOKUPS
    assert records.ids(NOW - 120) == list(range(1, 101))
    assert len(records.line.wire.asked(ORDER)) == 50


def test_a_fee_in_bnb_is_priced_in_its_own_minute_once(records: Records) -> None:
    fee = {"commission": "0.0004", "commissionAsset": "BNB"}
    records.rows = [trade(1, at_s=-2, **fee), trade(2, at_s=-1, **fee)]
    found = records.history.trades("BTCUSDT", NOW - 60, LATER, 1)
    assert [each.fee_usd for each in found] == [D("0.24"), D("0.24")]
    (asked,) = records.line.wire.asked(KLINES)
    assert (asked["symbol"], asked["startTime"]) == ("BNBUSDT", round(NOW - 60) * 1000)


def test_a_fee_without_a_price_is_unknown_and_not_nothing(records: Records) -> None:
    records.rows = [trade(1, commission="1", commissionAsset="BNB")]
    for answer in (reply([]), reply([[0, "NaN", "1", "1", "1", "1", 1]]), refusal(-1121)):
        records.line.wire.answers[KLINES] = answer
        with pytest.raises(VenueUnavailable):
            records.ids(NOW - 60)


# ---------------------------------------------------------------- cash


def test_cash_is_what_the_trades_do_not_book(records: Records) -> None:
    records.cash_rows = [
        income(1, "TRANSFER", "100", symbol=""),
        income(2, "REALIZED_PNL", "5"),
        income(3, "COMMISSION", "-1"),
        income(4, "FUNDING_FEE", "-0.5"),
        income(5, "COMMISSION", "-0.001", asset="BNB"),
    ]
    assert records.cash(NOW - 60) == ["1", "4", "5"]


def test_more_than_a_page_of_income_is_read_on(records: Records) -> None:
    records.cash_rows = [income(n, "FUNDING_FEE", "1", at_s=-3000 + n) for n in range(2500)]
    assert records.cash(NOW - 3600) == [str(n) for n in range(2500)]


def test_income_is_asked_again_after_a_while_and_only_for_what_may_be_late(
    records: Records,
) -> None:
    records.cash_rows = [income(1, "FUNDING_FEE", "1", at_s=-5000)]
    records.cash(NOW - 6000)
    records.cash(NOW - 6000)
    assert len(records.line.wire.asked(INCOME)) == 1
    records.line.tick(CASH_AGAIN_S[0])
    records.cash_rows.append(income(2, "FUNDING_FEE", "1", at_s=-LATE_S + 1))
    assert records.cash(NOW - 6000) == ["1", "2"]
    starts = [params["startTime"] / 1000 for params in records.line.wire.asked(INCOME)]
    assert starts == [NOW - 6000, NOW - LATE_S]
    assert records.cash(NOW - 6000, version=2) == ["1", "2"]
    assert len(records.line.wire.asked(INCOME)) == 3


def test_what_the_ledger_knows_is_not_kept(records: Records) -> None:
    records.cash_rows = [income(n, "FUNDING_FEE", "1", at_s=-100 * n) for n in range(1, 6)]
    assert records.cash(NOW - 600) == ["5", "4", "3", "2", "1"]
    assert records.cash(NOW - 250, version=2) == ["2", "1"]
    assert records.cash(NOW - 600, version=3) == ["5", "4", "3", "2", "1"]
