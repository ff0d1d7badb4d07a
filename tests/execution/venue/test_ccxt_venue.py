"""The exchange as a venue: whatever the network does is a value, and an order is sent once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import (
    Accepted,
    Ambiguous,
    Blind,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Rejected,
)
from execution.services import Account
from execution.venue.ccxt_account import Holdings
from execution.venue.ccxt_history import History
from execution.venue.ccxt_market import Prices
from execution.venue.ccxt_session import BAN_MARGIN_S
from execution.venue.ccxt_setup import Setup
from execution.venue.ccxt_venue import CcxtVenue
from execution.venue.ccxt_wire import Params, Reply, Unanswered
from tests.support.wires import NOW, Line, account, order, position, refusal, reply, trade

POST, DELETE, GET = "fapiPrivatePostOrder", "fapiPrivateDeleteOrder", "fapiPrivateGetOrder"
INFO = "fapiPublicGetExchangeInfo"
D = Decimal


def listed(symbol: str, status: str = "TRADING", tick: str = "0.1") -> dict[str, object]:
    return {
        "symbol": symbol,
        "status": status,
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick},
            {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "100"},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
        ],
    }


def info(*symbols: dict[str, object], limit: int = 2400) -> Reply:
    kind = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
    return reply({"rateLimits": [{**kind, "limit": limit}], "symbols": list(symbols)})


class Desk:
    """A venue over a fake wire whose exchange answers every question."""

    def __init__(self, folder: Path) -> None:
        self.line = Line(folder)
        self.answers = self.line.wire.answers
        self.answers |= {
            INFO: info(listed("BTCUSDT"), listed("DOGEUSDT")),
            "fapiPrivateGetAccountConfig": reply(
                {"dualSidePosition": True, "multiAssetsMargin": False}
            ),
            "fapiPrivateGetSymbolConfig": reply([]),
            "fapiPrivateGetOpenOrders": reply([]),
            "fapiPrivateV3GetAccount": reply(account()),
            "fapiPrivateV3GetPositionRisk": reply([position("1", "DOGEUSDT")]),
            "fapiPublicGetPremiumIndex": lambda _: self._marks(),
            "fapiPublicGetTickerBookTicker": lambda _: self._books(),
            "fapiPublicGetKlines": self._klines,
            POST: lambda params: reply({"orderId": 7, "clientOrderId": params["newClientOrderId"]}),
            DELETE: reply({"orderId": 7, "clientOrderId": "hgt-a-1"}),
            GET: reply(order()),
            "fapiPrivateGetUserTrades": reply([trade(1)]),
            "fapiPrivateGetIncome": reply([]),
        }
        session, clock = self.line.session, self.line.clock
        self.prices = Prices(session, clock, ("BTCUSDT",))
        self.venue = CcxtVenue(
            session,
            self.prices,
            Setup(session, clock, Account("hedge", "cross", 4), ("BTCUSDT",)),
            Holdings(session, clock),
            History(session, clock),
            hedge=True,
            history_bars=100,
        )

    def _ms(self) -> int:
        return round(self.line.clock.now() * 1000)

    def _marks(self) -> Reply:
        marked = {"markPrice": "100", "nextFundingTime": 0, "time": self._ms()}
        return reply([{"symbol": name, **marked} for name in ("BTCUSDT", "DOGEUSDT", "XUSDT")])

    def _books(self) -> Reply:
        touch = {"bidPrice": "99.9", "askPrice": "100.1", "time": self._ms()}
        return reply([{"symbol": name, **touch} for name in ("BTCUSDT", "DOGEUSDT", "XUSDT")])

    def _klines(self, params: Params) -> Reply:
        start, limit = int(params["startTime"]), int(params["limit"])
        opens = range(start, self._ms() + 1, 60_000)[:limit]
        return reply([[ms, "100", "101", "99", "100", "5", ms + 59_999, "0"] for ms in opens])

    def look(self, seconds: float = 1.0) -> MarketSnapshot | Blind:
        self.line.clock.advance(seconds)
        return self.venue.observe(self.line.clock.now())

    def see(self, seconds: float = 1.0) -> MarketSnapshot:
        seen = self.look(seconds)
        assert isinstance(seen, MarketSnapshot), seen
        return seen

    def blind(self) -> str:
        seen = self.look()
        assert isinstance(seen, Blind)
        return seen.reason

    def submit(self, **fields: object) -> Accepted | Rejected | Ambiguous:
        return self.venue.submit(new_order(self.line.clock.now(), **fields))


def new_order(now: float, **fields: object) -> NewOrder:
    known: dict[str, object] = {
        "client_id": "hgt-a-1",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "type": "MARKET",
        "qty": D("0.1"),
        "price": None,
        "stop_price": None,
        "reduce_only": False,
        "close_position": False,
        "post_only": False,
        "signed_ts": now,
    }
    return NewOrder(**{**known, **fields})  # type: ignore[arg-type]  # a builder


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.see()
    return made


# ---------------------------------------------------------------- seeing


def test_a_look_shows_market_and_account(tmp_path: Path) -> None:
    seen = Desk(tmp_path).see()
    assert (seen.ts, seen.bar_s, seen.lag_s) == (NOW + 1, 60, 0.0)
    assert seen.account.wallet_usd == D(10_000)
    assert seen.rules.keys() == seen.quotes.keys() == {"BTCUSDT"}
    assert seen.quotes["BTCUSDT"].mark == 100.0
    assert len(seen.bars["BTCUSDT"]) == 100


def test_a_bar_is_told_once_and_soon_after_it_closed(desk: Desk) -> None:
    told = [bar.ts for _ in range(180) for bar in desk.see().bars.get("BTCUSDT", ())]
    assert told == [NOW, NOW + 60, NOW + 120]


def test_bars_that_were_missed_are_told_later(desk: Desk) -> None:
    desk.answers["fapiPublicGetKlines"], kept = (
        Unanswered("reset"),
        desk.answers["fapiPublicGetKlines"],
    )
    desk.see(60)
    desk.see(60)
    desk.answers["fapiPublicGetKlines"] = kept
    assert [bar.ts for bar in desk.see(60).bars["BTCUSDT"]] == [NOW, NOW + 60, NOW + 120]


@pytest.mark.parametrize(
    "name",
    [
        INFO,
        "fapiPrivateGetAccountConfig",
        "fapiPrivateGetSymbolConfig",
        "fapiPrivateGetOpenOrders",
        "fapiPrivateV3GetAccount",
        "fapiPublicGetPremiumIndex",
        "fapiPublicGetTickerBookTicker",
    ],
)
@pytest.mark.parametrize(
    "answer",
    [Unanswered("reset"), Reply(200, {}, "<html>"), Reply(200, {}, '[{"a'), refusal(-1007, 408)],
)
def test_what_cannot_be_believed_makes_a_look_blind(tmp_path: Path, name: str, answer) -> None:
    desk = Desk(tmp_path)
    good = desk.answers[name]
    desk.answers[name] = answer
    assert desk.blind()
    desk.answers[name] = good
    assert desk.see().account.wallet_usd == D(10_000)


def test_a_mode_that_was_changed_by_hand_blinds_with_what_to_do(desk: Desk) -> None:
    desk.answers["fapiPrivateGetAccountConfig"] = reply(
        {"dualSidePosition": False, "multiAssetsMargin": False}
    )
    desk.line.clock.advance(60)
    assert "account.position_mode" in desk.blind()


def test_what_is_held_beside_the_universe_has_a_mark_and_a_grid(desk: Desk) -> None:
    desk.answers["fapiPrivateV3GetAccount"] = reply(account(position("1", "DOGEUSDT")))
    seen = desk.see()
    assert seen.quotes.keys() == seen.rules.keys() == {"BTCUSDT", "DOGEUSDT"}


def test_the_weight_limit_is_the_exchanges(desk: Desk) -> None:
    desk.answers[INFO] = info(listed("BTCUSDT"), limit=1200)
    desk.prices.doubt_rules()
    desk.see()
    assert desk.line.limits.limit_1m == 1200


def test_a_symbol_that_is_delisted_keeps_its_grid_and_trades_no_more(desk: Desk) -> None:
    desk.answers[INFO] = info(listed("BTCUSDT", "SETTLING"))
    assert not desk.see(300).rules["BTCUSDT"].trading
    desk.answers[INFO] = info()
    rules = desk.see(300).rules["BTCUSDT"]
    assert (rules.trading, rules.tick_size) == (False, D("0.1"))


def test_the_figures_of_the_line_are_told(desk: Desk) -> None:
    desk.line.wire.skew_s = -2.0
    desk.see(301)
    health = desk.venue.health()
    assert health.clock_offset_ms == pytest.approx(-2000)
    assert health.weight_used_1m is not None
    assert health.weight_used_1m > 0


# ---------------------------------------------------------------- sending


def test_an_order_is_taken(desk: Desk) -> None:
    assert desk.submit() == Accepted("7")
    assert len(desk.line.wire.asked(POST)) == 1
    assert desk.line.wire.asked(POST)[0]["timestamp"] == round(desk.line.clock.now() * 1000)


@pytest.mark.parametrize(
    "answer",
    [
        Unanswered("no answer within 3.0 s"),
        Reply(200, {}, "<html>maintenance</html>"),
        Reply(200, {}, '{"orderId": 7'),
        Reply(200, {}, "{}"),
        reply({"orderId": None, "clientOrderId": "hgt-a-1"}),
        reply({"orderId": 7, "clientOrderId": "somebody-elses"}),
        Reply(502, {}, "<html>"),
        refusal(-1008, 503),
        *[refusal(code) for code in (-1000, -1001, -1006, -1007)],
    ],
)
def test_an_answer_in_doubt_is_ambiguous_and_nothing_is_sent_again(desk: Desk, answer) -> None:
    desk.answers[POST] = answer
    assert isinstance(desk.submit(), Ambiguous)
    assert len(desk.line.wire.asked(POST)) == 1


@pytest.mark.parametrize("code", [-2010, -2019, -2022, -4061, -4116, -4164, -5021, -5022, -9999])
def test_a_refusal_is_told_by_its_code(desk: Desk, code: int) -> None:
    desk.answers[POST] = refusal(code)
    assert desk.submit() == Rejected(str(code), "no")


def test_a_refusal_for_filters_has_them_read_again(desk: Desk) -> None:
    desk.answers[INFO] = info(listed("BTCUSDT", tick="1"))
    assert desk.see().rules["BTCUSDT"].tick_size == D("0.1")
    desk.answers[POST] = refusal(-1111)
    assert desk.submit() == Rejected("-1111", "no")
    assert desk.see().rules["BTCUSDT"].tick_size == D(1)


def test_a_stop_is_not_sent_where_stops_do_not_rest(desk: Desk) -> None:
    refused = desk.submit(type="STOP_MARKET", stop_price=D(90), close_position=True)
    assert isinstance(refused, Rejected)
    assert desk.line.wire.asked(POST) == []
    assert not desk.venue.rests_stops


def test_a_ban_that_an_order_meets_is_no_doubt_and_blinds_until_it_is_over(desk: Desk) -> None:
    desk.answers[POST] = refusal(-1003, 429, retry_after="30")
    assert desk.submit() == Rejected("-1003", "no")
    assert desk.submit(client_id="hgt-b-1") == Rejected(
        "not_sent", f"banned until {desk.line.clock.now() + 30 + BAN_MARGIN_S:.0f}"
    )
    asked = len(desk.line.wire.calls)
    assert "banned until" in desk.blind()
    assert isinstance(desk.venue.cancel("BTCUSDT", "hgt-a-1"), Ambiguous)
    assert isinstance(desk.venue.find_order("BTCUSDT", "hgt-a-1"), Blind)
    assert isinstance(desk.venue.trades("BTCUSDT", NOW - 60), Blind)
    assert isinstance(desk.venue.cash(NOW - 60), Blind)
    assert len(desk.line.wire.calls) == asked
    desk.see(30 + BAN_MARGIN_S)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (reply({"orderId": 7, "clientOrderId": "hgt-a-1"}), Accepted("7")),
        (refusal(-2011), NotFound()),
        (refusal(-2013), NotFound()),
        (refusal(-1007), Ambiguous("-1007 no")),
        (refusal(-2015), Ambiguous("-2015 no")),
        (Unanswered("reset"), Ambiguous("reset")),
    ],
)
def test_a_cancel_says_what_is_known(desk: Desk, answer, wanted) -> None:
    desk.answers[DELETE] = answer
    assert desk.venue.cancel("BTCUSDT", "hgt-a-1") == wanted


# ---------------------------------------------------------------- looking up


def test_records_are_looked_up(desk: Desk) -> None:
    found = desk.venue.find_order("BTCUSDT", "hgt-a-1")
    assert not isinstance(found, NotFound | Blind)
    assert found.client_id == "hgt-a-1"
    trades = desk.venue.trades("BTCUSDT", NOW - 60)
    assert not isinstance(trades, Blind)
    assert [each.trade_id for each in trades] == ["1"]
    assert desk.venue.cash(NOW - 60) == ()


def test_an_order_that_is_not_there_is_not_found(desk: Desk) -> None:
    desk.answers[GET] = refusal(-2013)
    assert desk.venue.find_order("BTCUSDT", "hgt-a-1") == NotFound()


@pytest.mark.parametrize("answer", [Unanswered("reset"), Reply(200, {}, "[]"), refusal(-1000)])
def test_records_that_cannot_be_read_are_unknown_and_not_empty(desk: Desk, answer) -> None:
    for name in (GET, "fapiPrivateGetUserTrades", "fapiPrivateGetIncome"):
        desk.answers[name] = answer if answer != Reply(200, {}, "[]") else Reply(200, {}, "{}")
    assert isinstance(desk.venue.find_order("BTCUSDT", "hgt-a-1"), Blind)
    assert isinstance(desk.venue.trades("BTCUSDT", NOW - 60), Blind)
    assert isinstance(desk.venue.cash(NOW - 60), Blind)
