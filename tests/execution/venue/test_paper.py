"""The paper venue as its clients see it: answers, funding, blindness, restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import (
    Accepted,
    Ambiguous,
    Blind,
    CashRow,
    MarketSnapshot,
    NotFound,
    Rejected,
    VenueHealth,
)
from execution.venue.paper import PaperVenue
from execution.venue.paper_store import PaperStore
from tests.execution.venue.scripted import (
    BAR_S,
    ORIGIN,
    SYMBOL,
    Bench,
    ScriptedMarket,
    candle,
    order,
    terms,
)
from tests.support import policies

D = Decimal
ROOT = Path(__file__).resolve().parents[3]
FLAT = [candle(100.0, low=99.0, high=101.0)] * 20
LONG = {"side": "BUY", "position_side": "LONG"}
SHORT = {"side": "SELL", "position_side": "SHORT"}
REST = {"type": "LIMIT", "post_only": True}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper.sqlite"


# ---------------------------------------------------------------- seeing


def test_the_first_look_opens_the_account_with_its_deposit() -> None:
    made = Bench(FLAT)
    assert isinstance(made.seen, MarketSnapshot)
    assert made.wallet == D(10_000)
    assert made.seen.account.positions == ()
    assert made.venue.cash(0.0) == (
        CashRow("start", "start", "USDT", D("10000.00000000"), None, ORIGIN),
    )
    assert made.venue.health() == VenueHealth()
    assert (made.venue.name, made.venue.rests_stops) == ("paper", True)


def test_a_snapshot_is_what_the_market_showed() -> None:
    made = Bench(FLAT)
    seen = made.step()
    assert (seen.ts, seen.bar_s, seen.lag_s) == (ORIGIN + 60, 60, 60)
    assert seen.bars[SYMBOL] == (made.market.bars[SYMBOL][0],)
    assert (seen.quotes[SYMBOL].bid, seen.quotes[SYMBOL].ask) == (99.9, 100.1)
    assert seen.rules[SYMBOL].tick_size == D("0.1")


def test_the_account_is_one_object_until_something_in_it_changes() -> None:
    made = Bench(FLAT)
    first = made.step().account
    assert made.step().account is first
    made.submit("a", **LONG, **REST, price="98.0")
    second = made.step().account
    assert second is not first
    assert second.open_orders[0].client_id == "a"
    assert made.step().account is second


def test_the_position_shows_what_it_cost_and_its_leverage() -> None:
    made = Bench([candle(100.0), candle(100.0), candle(103.0), candle(103.0)])
    made.step()
    made.submit("a", **LONG, qty="1")
    made.step()
    made.submit("b", **LONG, qty="2")
    (leg,) = made.step().account.positions
    assert (leg.symbol, leg.position_side, leg.qty) == (SYMBOL, "LONG", D(3))
    assert leg.entry_price == D("102.00000000")
    assert leg.leverage == D(4)


def test_a_blind_market_is_passed_on_and_takes_no_order() -> None:
    made = Bench(FLAT)
    made.step()
    made.submit("resting", **LONG, **REST, price="98.0")
    made.market.blind = "replay_ended"
    assert made.venue.observe(made.now + 60) == Blind(made.now + 60, "replay_ended")
    assert made.submit("a", **LONG) == "-2010"
    assert isinstance(made.venue.cancel(SYMBOL, "resting"), Accepted)


def test_nothing_is_taken_before_the_first_look() -> None:
    venue = PaperVenue(ScriptedMarket({SYMBOL: FLAT}), PaperStore(None), terms())
    answer = venue.submit(order("a", **LONG))
    assert isinstance(answer, Rejected)
    assert answer.code == "-2010"
    assert venue.cancel(SYMBOL, "a") == NotFound()


# ---------------------------------------------------------------- orders


def test_an_order_is_found_open_and_done() -> None:
    made = Bench(FLAT)
    made.step()
    made.submit("a", **LONG, **REST, price="98.0", qty="1.5")
    found = made.venue.find_order(SYMBOL, "a")
    assert (found.state, found.qty, found.price, found.ts) == ("LIVE", D("1.5"), D(98), made.now)
    assert made.venue.cancel(SYMBOL, "a") == Accepted(found.venue_order_id)
    assert made.state("a") == "CANCELED"
    assert made.step().account.open_orders == ()
    assert made.venue.cancel(SYMBOL, "a") == NotFound()
    assert made.venue.find_order(SYMBOL, "b") == NotFound()
    assert made.venue.find_order("ETHUSDT", "a") == NotFound()


def test_a_client_id_is_taken_while_its_order_is_open_and_free_afterwards() -> None:
    made = Bench(FLAT)
    made.step()
    assert made.submit("a", **LONG, **REST, price="98.0") == ""
    assert made.submit("a", **LONG, **REST, price="97.0") == "-4116"
    made.venue.cancel(SYMBOL, "a")
    assert made.submit("a", **LONG, **REST, price="97.0") == ""
    assert made.venue.find_order(SYMBOL, "a").price == D(97)
    assert made.state("a") == "LIVE"


def test_trades_and_cash_are_listed_from_a_time_on() -> None:
    made = Bench(FLAT, funding={SYMBOL: [(ORIGIN + 150.0, 0.001)]})
    made.step()
    made.submit("a", **LONG)
    made.step()
    made.submit("b", **LONG)
    made.step()
    times = [trade.ts for trade in made.trades]
    assert times == [ORIGIN + 120, ORIGIN + 180]
    assert [t.client_id for t in made.venue.trades(SYMBOL, times[1])] == ["b"]
    assert made.venue.trades(SYMBOL, times[1] + 1) == ()
    assert made.venue.trades("ETHUSDT", 0.0) == ()
    assert [row.kind for row in made.venue.cash(ORIGIN + 150.0)] == ["funding"]
    assert [row.kind for row in made.venue.cash(0.0)] == ["start", "funding"]


# ---------------------------------------------------------------- funding


def test_longs_pay_a_positive_rate_and_shorts_receive_it() -> None:
    rates = [(ORIGIN + 180.0, 0.0001), (ORIGIN + 240.0, -0.0003)]
    made = Bench([candle(100.0)] * 2 + [candle(110.0)] * 4, funding={SYMBOL: rates})
    made.step()
    made.submit("l", **LONG, qty="3")
    made.submit("s", **SHORT, qty="1")
    made.step()
    before = made.wallet
    made.step()
    assert made.wallet - before == D("-0.022")  # 2 units net, marked at 110, at one basis point
    made.step()
    assert made.wallet - before == D("0.044")
    assert [(row.cash_id, row.amount) for row in made.venue.cash(ORIGIN + 1)] == [
        (f"funding:{SYMBOL}:LONG:{int(ORIGIN + 180) * 1000}", D("-0.033")),
        (f"funding:{SYMBOL}:SHORT:{int(ORIGIN + 180) * 1000}", D("0.011")),
        (f"funding:{SYMBOL}:LONG:{int(ORIGIN + 240) * 1000}", D("0.099")),
        (f"funding:{SYMBOL}:SHORT:{int(ORIGIN + 240) * 1000}", D("-0.033")),
    ]


def test_funding_waits_for_the_fills_of_its_own_bar() -> None:
    made = Bench([candle(100.0)] * 4, funding={SYMBOL: [(ORIGIN + 120.0, 0.001)]})
    made.step()
    made.submit("a", **LONG)
    made.step()
    assert [row.amount for row in made.venue.cash(ORIGIN + 1)] == [D("-0.1")]


def test_funding_is_paid_on_its_own_symbol_alone() -> None:
    listings = [policies.listing(symbol, step_size=D("0.01")) for symbol in (SYMBOL, "ETHUSDT")]
    played = {listing.symbol: [candle(100.0)] * 4 for listing in listings}
    market = ScriptedMarket(played, listings, {"ETHUSDT": [(ORIGIN + 120.0, 0.001)]})
    venue = PaperVenue(market, PaperStore(None), terms())
    venue.observe(ORIGIN)
    venue.observe(ORIGIN + BAR_S)
    for symbol in played:
        venue.submit(order(f"in-{symbol}", **LONG, symbol=symbol, signed_ts=ORIGIN + BAR_S))
    venue.observe(ORIGIN + 2 * BAR_S)
    assert [(row.symbol, row.amount) for row in venue.cash(ORIGIN + 1)] == [("ETHUSDT", D("-0.1"))]


def test_funding_falls_due_in_a_minute_without_a_bar() -> None:
    made = Bench([candle(100.0), candle(100.0), None], funding={SYMBOL: [(ORIGIN + 170.0, 0.001)]})
    made.step()
    made.submit("a", **LONG)
    made.step()
    made.step()
    assert [row.amount for row in made.venue.cash(ORIGIN + 1)] == [D("-0.1")]


# ---------------------------------------------------------------- restarts


def test_a_restart_brings_back_wallet_legs_and_orders(path: Path) -> None:
    made = Bench(FLAT, path=path)
    made.step()
    made.submit("a", **LONG, qty="2")
    made.submit("b", **LONG, **REST, price="98.0")
    before = made.step().account
    made.restart()
    assert isinstance(made.seen, MarketSnapshot)
    assert made.seen.account == before
    assert made.market.opened == [None, before.ts]
    assert made.submit("b", **LONG, **REST, price="97.0") == "-4116"


def test_bars_missed_while_down_are_met_once(path: Path) -> None:
    bars = [candle(100.0), candle(100.0), (100.0, 100.0, 97.0, 99.0, 5.0), candle(99.0)]
    made = Bench(bars, path=path)
    made.step()
    made.submit("a", **LONG, **REST, price="98.0", qty="2")
    made.step()
    made.venue.close()
    made.now += 2 * BAR_S
    made.start()
    assert [(trade.qty, trade.ts) for trade in made.trades] == [(D("0.50"), ORIGIN + 180)]
    made.restart()
    assert made.legs == {"LONG": D("0.50")}
    assert made.state("a") == "PARTIAL"


def test_another_start_capital_does_not_touch_an_account_that_exists(path: Path) -> None:
    made = Bench(FLAT, path=path)
    made.money = {"start_usd": D(5)}
    made.restart()
    assert made.wallet == D(10_000)


def test_another_market_begins_anew_with_the_same_account(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Bench(FLAT, path=path)
    made.step()
    made.submit("a", **LONG)
    made.step()
    wallet = made.wallet
    made.market.series = "another"
    made.restart()
    assert made.market.opened == [None, None]
    assert (made.wallet, made.legs) == (wallet, {"LONG": D(1)})
    assert "series=scripted to series=another" in caplog.text
    made.restart()
    assert made.market.opened[-1] is not None


def test_a_quiet_account_writes_down_once_a_minute_how_far_it_has_come(path: Path) -> None:
    made = Bench(FLAT, path=path)
    made.step(3)
    store = PaperStore(path)
    assert store.saved is not None
    assert store.saved[1].matched_ts == ORIGIN + 180
    store.close()


# ---------------------------------------------------------------- a failing disk


def test_a_disk_that_fails_makes_blind_and_loses_nothing(path: Path) -> None:
    made = Bench([candle(100.0), candle(100.0), candle(101.0), candle(102.0)], path=path)
    made.step()
    made.submit("a", **LONG)
    made.store.broken = True
    made.now += BAR_S
    blind = made.venue.observe(made.now)
    assert isinstance(blind, Blind)
    assert "disk I/O error" in blind.reason
    assert made.trades == ()
    made.store.broken = False
    seen = made.step()
    # The bar that the disk lost is met now, and told to the strategies again.
    assert [(trade.price, trade.ts) for trade in made.trades] == [(D("100.0"), ORIGIN + 120)]
    assert [bar.ts - ORIGIN for bar in seen.bars[SYMBOL]] == [0, 60, 120]


def test_an_order_that_the_disk_refuses_is_ambiguous_and_not_there(path: Path) -> None:
    made = Bench(FLAT, path=path)
    made.step()
    made.submit("b", **LONG, **REST, price="98.0")
    made.store.broken = True
    assert isinstance(made.venue.submit(order("a", **LONG)), Ambiguous)
    assert isinstance(made.venue.cancel(SYMBOL, "b"), Ambiguous)
    made.store.broken = False
    assert made.venue.find_order(SYMBOL, "a") == NotFound()
    assert made.state("b") == "LIVE"
    made.step()
    assert made.legs == {}


def test_questions_to_a_closed_file_are_blind(path: Path) -> None:
    made = Bench(FLAT, path=path)
    made.venue.close()
    assert isinstance(made.venue.find_order(SYMBOL, "a"), Blind)
    assert isinstance(made.venue.trades(SYMBOL, 0.0), Blind)
    assert isinstance(made.venue.cash(0.0), Blind)


# ---------------------------------------------------------------- kill -9

TRADER = """
import sys
from pathlib import Path
from tests.execution.venue.scripted import Bench, candle

made = Bench([candle(100.0, low=99.0, high=101.0)] * 100_000, path=Path(sys.argv[1]))
made.now = made.seen.account.ts
for turn in range(10_000):
    name = f"{made.now:.0f}"
    side = "SELL" if made.legs else "BUY"
    code = made.submit(name, side=side, position_side="LONG", qty="1")
    print(name, code, flush=True)
    made.step()
    print("wallet", made.wallet, len(made.trades), flush=True)
"""


def test_what_was_answered_survives_kill_9(path: Path) -> None:
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", TRADER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(25)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        whole = [line.split() for line in lines if line.endswith("\n")]
        accepted = [words[0] for words in whole if len(words) == 1]
        told = [words for words in whole if words[0] == "wallet"]
        assert len(accepted) > 10
        store = PaperStore(path)
        assert store.saved is not None
        account = store.saved[0]
        assert not any(isinstance(store.find_order(SYMBOL, name), NotFound) for name in accepted)
        trades = store.trades(SYMBOL, 0.0)
        assert len(trades) >= int(told[-1][2])
        wallet = D(10_000) + sum((t.realized_usd - t.fee for t in trades), D(0))
        assert account.wallet_usd == wallet
        if len(trades) == int(told[-1][2]):
            assert wallet == D(told[-1][1])
        store.close()
