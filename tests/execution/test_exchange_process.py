"""The real executor process at the exchange over HTTP, which outlives it; keys are in no output.

The exchange tells bars of a minute, so most orders are those of a start: it decides on the newest
closed bar. What a process wrote is searched for the planted keys after each test.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from execution.errors import EXIT_LOCKED
from tests.exchange.faults import SUBMIT, Fault
from tests.exchange.planted import planted
from tests.exchange.running import Running, in_process
from tests.exchange.trading import environment, setup_for, write_exchange_ops
from tests.support.accounts import Accounts
from tests.support.executors import Executor

IN_DOUBT = ("PREP", "UNKNOWN")
SETTLE_S = 60.0
# Long enough that a kill meets the order between its acceptance and its answer.
PAUSE_S = 1.5


class Trader(Executor):
    """An executor process on the test environment."""

    def __init__(self, folder: Path, exchange: Running) -> None:
        super().__init__(folder, folder / "ops")
        self.exchange = exchange
        self.accounts = Accounts(self.log_dir, self.store, "testnet", exchange.books)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **environment(self.exchange, self.folder)}

    def is_settled(self) -> bool:
        return not any(row["state"] in IN_DOUBT for row in self.accounts.orders())

    def end(self) -> None:
        """Wait until nothing is in doubt, end the process, and compare the books."""
        self.wait_for("nothing is in doubt", self.is_settled, SETTLE_S)
        self.loops(2)
        code, _ = self.stop()
        assert code == 0
        self.accounts.check_at_rest()
        assert {n for n in self.exchange.posts().values() if n > 1} == set()


class Place:
    """An exchange, and executors that trade there."""

    def __init__(self, folder: Path, exchange: Running) -> None:
        self.folder = folder
        self.exchange = exchange
        self.traders: list[Trader] = []

    def trader(self, name: str = "a") -> Trader:
        """Make an executor in a folder of its own, as another checkout has one."""
        (self.folder / name).mkdir()
        write_exchange_ops(self.folder / name, hold_bars=1000)
        made = Trader(self.folder / name, self.exchange)
        self.traders.append(made)
        return made

    def orders(self, count: int = 1) -> bool:
        """Tell whether the exchange has so many orders."""
        trader = self.traders[0]
        return len(trader.accounts.of_venue("SELECT id FROM orders")) >= count


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        (tmp_path / "of-exchange").mkdir()
        setup = setup_for(write_exchange_ops(tmp_path / "of-exchange"))
        exchange = stack.enter_context(in_process(setup, tmp_path / "exchange"))
        opened = Place(tmp_path, exchange)
        yield opened
        for trader in opened.traders:
            trader.kill()
    assert planted(tmp_path) == []


# ---------------------------------------------------------------- kill -9


def test_killed_right_after_acceptance_it_finds_its_order_again(place: Place) -> None:
    trader = place.trader()
    place.exchange.suffer(Fault(kind="slow", on=(SUBMIT,), delay_s=PAUSE_S))
    process = trader.spawn()
    trader.wait_for("the exchange has an order", place.orders)
    process.kill()
    process.wait(30)
    (taken, *_) = place.exchange.truth["orders"]
    (row, *_) = trader.accounts.orders()
    assert (row["client_id"], row["state"]) == (taken["client_id"], "PREP")
    trader.accounts.check_any_moment()
    place.exchange.suffer()
    trader.start()
    trader.end()
    states = {row["client_id"]: row["state"] for row in trader.accounts.orders()}
    assert states[taken["client_id"]] in ("FILLED", "CANCELED", "EXPIRED")


# ---------------------------------------------------------------- two at once


@pytest.mark.parametrize(
    "where", [pytest.param("the same folder", marks=pytest.mark.full), "another checkout"]
)
def test_of_two_the_second_exits_75_and_sends_nothing(place: Place, where: str) -> None:
    first = place.trader("a")
    first.start()
    first.wait_for("it trades", place.orders)
    # Asleep, the first one asks nothing: what the exchange hears now is the second's.
    first.signal(signal.SIGSTOP)
    before = len(place.exchange.requests)
    second = first if where == "the same folder" else place.trader("b")
    process = second.spawn()
    code = process.wait(30)
    heard = place.exchange.requests[before:]
    first.signal(signal.SIGCONT)
    assert code == EXIT_LOCKED
    assert "held by executor" in second.said
    assert f"(pid {first.pid})" in second.said
    assert heard == []
    first.end()


# ---------------------------------------------------------------- what happens meanwhile


@pytest.mark.full
def test_a_ban_is_kept_when_the_process_is_killed(place: Place) -> None:
    trader = place.trader()
    trader.start()
    trader.wait_for("it trades", place.orders)
    place.exchange.suffer(Fault(kind="ban", times=1, delay_s=12.0))
    trader.wait_for("it hears of the ban", (trader.log_dir / "run" / "exchange_ban.json").exists)
    trader.kill()
    asked = len(place.exchange.requests)
    trader.start()
    trader.loops(5)
    truth = place.exchange.truth
    assert truth["ts"] * 1000 < truth["banned_until_ms"]
    assert len(place.exchange.requests) == asked
    trader.wait_for("it asks again", lambda: len(place.exchange.requests) > asked + 10)
    assert not any(each["banned"] for each in place.exchange.requests)
    trader.end()


@pytest.mark.full
@pytest.mark.parametrize("skew_s", [3.0, -3.0])
def test_a_clock_that_is_three_seconds_off_trades(place: Place, skew_s: float) -> None:
    place.exchange.ask("skew", seconds=skew_s)
    trader = place.trader()
    trader.start()
    trader.wait_for("it trades", lambda: place.orders(3))
    health = trader.health()
    assert health is not None
    assert health.clock_offset_ms is not None
    assert abs(health.clock_offset_ms - skew_s * 1000) < 500
    assert not any(row["state"] == "REJECTED" for row in trader.accounts.orders())
    trader.end()


@pytest.mark.full
def test_a_close_by_hand_while_it_is_down_is_taken_over(place: Place) -> None:
    trader = place.trader()
    trader.start()
    trader.wait_for("a position", lambda: bool(trader.accounts.venue_legs()))
    trader.kill()
    symbol, side = min(trader.accounts.venue_legs())
    assert place.exchange.ask("close", symbol=symbol)
    trader.start()
    trader.wait_for("it is taken over", lambda: (symbol, side) not in trader.accounts.ledger_legs())
    trader.end()
    reducing = [
        row
        for row in trader.accounts.orders()
        if (row["symbol"], row["position_side"]) == (symbol, side) and row["action"] != "entry"
    ]
    assert reducing == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_ten_kills_while_orders_are_under_way_leave_one_account(place: Place) -> None:
    trader = place.trader()
    left: list[str] = []
    for number in range(10):
        place.exchange.suffer(
            Fault(kind="slow", on=(SUBMIT,), chance=0.7, delay_s=PAUSE_S),
            Fault(kind="lost", on=(SUBMIT,), chance=0.3),
            seed=number,
        )
        known = len(place.exchange.truth["orders"])
        process = trader.spawn()
        trader.wait_for("another order", lambda known=known: place.orders(known + 1), 90.0)
        process.kill()
        process.wait(30)
        left += [row["state"] for row in trader.accounts.orders() if row["state"] in IN_DOUBT]
        trader.accounts.check_any_moment()
        place.exchange.suffer()
        # Exits make orders between two bars.
        for symbol in {symbol for symbol, _ in trader.accounts.venue_legs()}:
            place.exchange.ask("move", symbol=symbol, factor=1.06 if number % 2 else 0.94)
    assert left
    trader.start()
    trader.end()
    print(f"kills=10 orders={len(trader.accounts.orders())} in doubt at a kill: {left}")


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_hard_day_leaves_two_equal_books(place: Place) -> None:
    trader, ask = place.trader(), place.exchange.ask
    trader.start()
    trader.wait_for("two positions", lambda: len(trader.accounts.venue_legs()) >= 2)
    marks = place.exchange.truth["marks"]

    btc = {"symbol": "BTCUSDT", "side": "BUY", "position_side": "LONG"}
    foreign = ask("order", **btc, qty="0.01", price=f"{marks['BTCUSDT'] * 0.96:.1f}")["client_id"]
    adopted = f"SELECT * FROM orders WHERE client_id = '{foreign}'"
    trader.wait_for("it is adopted", lambda: trader.accounts.of_ledger(adopted) != [])

    for symbol in marks:
        ask("relist", symbol=symbol, tick_size="0.4" if symbol == "BTCUSDT" else "0.04")
    known = len(place.exchange.truth["orders"])
    trader.wait_for("orders on the new tick", lambda: place.orders(known + 3), 150.0)

    symbol, _ = min(key for key in trader.accounts.venue_legs() if key[0] != "BTCUSDT")
    ask("delist", symbol=symbol, status="GONE")
    trader.wait_for(
        "it is settled", lambda: symbol not in {name for name, _ in trader.accounts.ledger_legs()}
    )

    assert not ask("order", **btc, qty=f"{300_000 / marks['BTCUSDT']:.3f}")["refused"]
    ask("move", symbol="BTCUSDT", factor=0.6)
    trader.wait_for("nothing is held", lambda: trader.accounts.ledger_legs() == {})
    trader.end()
    names = {row["client_id"] for row in trader.accounts.fills()}
    for prefix in ("settlement_autoclose-", "autoclose-"):
        assert any(name.startswith(prefix) for name in names), prefix
    doomed = [f"{r['method']} {r['client_id']}" for r in place.exchange.requests]
    assert f"DELETE {foreign}" not in doomed
