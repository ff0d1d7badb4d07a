"""The account is read each round, the dear questions seldom, and none of it is ever taken for empty."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import Account
from execution.errors import VenueUnavailable
from execution.venue.ccxt_account import MOST_NAMED, Holdings
from execution.venue.ccxt_wire import Params, Reply
from tests.support.wires import Line, account, order, position, reply

ACCOUNT, RISK, ORDERS = (
    "fapiPrivateV3GetAccount",
    "fapiPrivateV3GetPositionRisk",
    "fapiPrivateGetOpenOrders",
)
D = Decimal


class Broker:
    """An account that the test moves, behind the fake wire."""

    def __init__(self, folder: Path) -> None:
        self.line = Line(folder)
        self.told = account()
        self.risk: list[dict[str, object]] = []
        self.orders: list[dict[str, object]] = []
        self.line.wire.answers = {
            ACCOUNT: lambda _: reply(self.told),
            RISK: lambda _: reply(self.risk),
            ORDERS: self._open,
        }
        self.holdings = Holdings(self.line.session, self.line.clock)

    def _open(self, params: Params) -> Reply:
        name = params.get("symbol")
        return reply([each for each in self.orders if name in (None, each["symbol"])])

    def hold(self, *positions: dict[str, object], wallet: str = "10000") -> None:
        self.told = account(*positions, wallet=wallet)
        self.risk = list(positions)

    def look(self, seconds: float = 1.0) -> Account:
        self.line.tick(seconds)
        return self.holdings.read({"BTCUSDT": 4})

    def asked(self, name: str = ORDERS) -> list[object]:
        return [params.get("symbol", "all") for params in self.line.wire.asked(name)]


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path)


def test_the_first_look_asks_for_everything(broker: Broker) -> None:
    broker.hold(position("0.010"))
    broker.orders = [order()]
    seen = broker.look()
    assert (seen.wallet_usd, len(seen.positions), len(seen.open_orders)) == (D(10_000), 1, 1)
    assert (seen.positions[0].entry_price, seen.positions[0].leverage) == (D("50000.5"), D(4))
    assert broker.asked() == ["all"]


def test_each_read_makes_a_new_account_and_none_is_made_between(broker: Broker) -> None:
    first = broker.look()
    assert broker.look(0.1) is first
    second = broker.look()
    assert second is not first
    assert (second.wallet_usd, second.positions) == (first.wallet_usd, first.positions)
    assert broker.holdings.version == 1


def test_a_coin_beside_usdt_is_told_of_once(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.look()
    assert "NAV" not in caplog.text
    for amount in ("0.25", "0.24"):
        broker.told = account(BNB=amount)
        assert broker.look().other_assets == {"BNB": D(amount)}
    assert [line.getMessage() for line in caplog.records if "NAV" in line.getMessage()] == [
        "the account also holds BNB: only USDT is in NAV"
    ]


def test_a_quiet_minute_costs_what_is_planned(broker: Broker) -> None:
    broker.look()
    for _ in range(60):
        broker.look()
    assert len(broker.asked(ACCOUNT)) == 61
    assert broker.asked() == ["all"] * 4  # every 20 s
    assert broker.asked(RISK) == []


def test_a_symbol_with_orders_is_asked_by_name_each_round(broker: Broker) -> None:
    broker.orders = [order()]
    broker.look()
    broker.look()
    broker.orders = []
    assert broker.look().open_orders == ()
    assert broker.asked() == ["all", "BTCUSDT", "BTCUSDT"]
    broker.look()
    assert len(broker.asked()) == 3


def test_a_symbol_that_an_order_was_sent_for_is_asked_next(broker: Broker) -> None:
    broker.look()
    broker.orders = [order(symbol="ETHUSDT")]
    assert broker.look().open_orders == ()
    broker.holdings.touch("ETHUSDT")
    assert len(broker.look(0.01).open_orders) == 1


def test_many_symbols_take_turns(broker: Broker) -> None:
    names = [f"S{number}USDT" for number in range(20)]
    broker.orders = [order(number, f"a-{number}", symbol=name) for number, name in enumerate(names)]
    broker.look()
    for _ in range(4):
        assert len(broker.look().open_orders) == 20
    named = broker.asked()[1:]
    assert len(named) == 4 * MOST_NAMED
    assert set(named) == set(names)


def test_what_changes_in_the_account_has_all_orders_read_soon(broker: Broker) -> None:
    for _ in range(12):
        broker.look()
    broker.hold(position("0.010"), wallet="9999")
    broker.look()
    assert broker.asked() == ["all"]
    broker.look()
    assert broker.asked() == ["all", "all"]
    broker.hold(wallet="9998")
    broker.look()
    broker.look()
    assert broker.asked() == ["all", "all", "BTCUSDT"]
    for _ in range(9):
        broker.look()
    assert broker.asked() == ["all", "all", "BTCUSDT", "all"]


def test_entry_prices_are_read_when_a_position_moved(broker: Broker) -> None:
    broker.hold(position("0.010"))
    for _ in range(5):
        broker.look()
    assert len(broker.asked(RISK)) == 1
    broker.hold(position("0.020", at_ms=2))
    broker.look()
    assert len(broker.asked(RISK)) == 2
    broker.hold()
    assert broker.look().positions == ()
    assert len(broker.asked(RISK)) == 2


def test_a_position_without_an_entry_price_is_not_shown_with_another(broker: Broker) -> None:
    broker.hold(position("0.010"))
    broker.risk = []
    with pytest.raises(VenueUnavailable, match="no entry price of BTCUSDT LONG"):
        broker.look()
    broker.hold(position("0.010"))
    assert len(broker.look().positions) == 1


@pytest.mark.parametrize("name", [ACCOUNT, RISK, ORDERS])
@pytest.mark.parametrize(
    "text", ["", "{}", "<html>", '{"code":-1000,"msg":"unknown"}', '{"assets": [], "positions"']
)
def test_what_cannot_be_read_is_unknown_and_not_empty(broker: Broker, name: str, text: str) -> None:
    broker.hold(position("0.010"))
    broker.orders = [order()]
    good = broker.line.wire.answers[name]
    broker.line.wire.answers[name] = Reply(200, {}, text)
    with pytest.raises(VenueUnavailable):
        broker.look()
    broker.line.wire.answers[name] = good
    seen = broker.look()
    assert (len(seen.positions), len(seen.open_orders)) == (1, 1)


def test_what_changed_is_counted_for_those_who_keep_answers(broker: Broker) -> None:
    broker.look()
    broker.look()
    quiet = broker.holdings.version
    broker.hold(position("0.010"))
    broker.look()
    assert broker.holdings.version == quiet + 1
    broker.orders = [order()]
    broker.holdings.touch("BTCUSDT")
    broker.look()
    assert broker.holdings.version == quiet + 2
