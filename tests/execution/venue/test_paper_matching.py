"""What a bar does to each kind of order, in numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest

from execution.venue import paper_account
from tests.execution.venue.scripted import ORIGIN, Bench, candle, terms
from tests.support import builders

D = Decimal
LONG = {"side": "BUY", "position_side": "LONG"}
CLOSE_LONG = {"side": "SELL", "position_side": "LONG", "reduce_only": True}
SHORT = {"side": "SELL", "position_side": "SHORT"}
CLOSE_SHORT = {"side": "BUY", "position_side": "SHORT", "reduce_only": True}
REST = {"type": "LIMIT", "post_only": True}
STOP = {"type": "STOP_MARKET", "close_position": True, "qty": "0"}


def bench(*bars: tuple[float, float, float, float, float] | None, **fields: object) -> Bench:
    """Return a venue whose first bar, at 100, has closed."""
    made = Bench([candle(100.0, low=99.0, high=101.0), *bars], **fields)
    made.step()
    return made


def prices(bench: Bench) -> list[str]:
    return [str(trade.price) for trade in bench.trades]


def test_a_market_order_fills_at_the_next_open_against_the_taker() -> None:
    made = bench((100.5, 101.0, 100.0, 100.8, 50.0))
    assert made.submit("buy", **LONG) == ""
    assert made.submit("sell", **SHORT) == ""
    assert made.trades == ()
    made.step()
    # 1 bps half-spread and 1 bps slippage of 100.5 are 0.0201, rounded away from the taker's side.
    assert prices(made) == ["100.6", "100.4"]
    assert [trade.fee for trade in made.trades] == [D("0.0503"), D("0.0502")]
    assert [trade.maker for trade in made.trades] == [False, False]
    assert made.legs == {"LONG": D(1), "SHORT": D(-1)}
    assert made.wallet == D("9999.8995")


@pytest.mark.parametrize(
    ("leg", "bar", "price"),
    [
        (LONG, (100.0, 100.0, 99.0, 99.5, 9.0), "100.0"),
        (SHORT, (100.0, 101.0, 100.0, 100.5, 9.0), "100.0"),
        (LONG, (100.05, 100.07, 100.01, 100.05, 9.0), "100.07"),
        (SHORT, (100.05, 100.07, 100.01, 100.05, 9.0), "100.01"),
    ],
)
def test_a_taker_pays_no_price_outside_the_bar(
    leg: dict[str, str], bar: tuple[float, float, float, float, float], price: str
) -> None:
    made = bench(bar)
    made.submit("a", **leg)
    made.step()
    assert prices(made) == [price]


def test_a_resting_order_is_not_filled_by_a_touch() -> None:
    made = bench(candle(99.5, low=99.0, high=101.0), candle(99.5, low=98.9, high=101.1))
    made.submit("buy", **LONG, **REST, price="99.0")
    made.submit("sell", **SHORT, **REST, price="101.0")
    made.step()
    assert made.trades == ()
    made.step()
    assert prices(made) == ["99.0", "101.0"]
    assert [trade.maker for trade in made.trades] == [True, True]
    assert made.trades[0].fee == D("0.0198")


def test_resting_orders_share_a_tenth_of_the_volume_oldest_first() -> None:
    quiet = (99.5, 100.0, 98.0, 99.5, 12.0)
    made = bench(quiet, quiet, quiet, (99.5, 100.0, 98.0, 99.5, 0.05))
    made.submit("a", **LONG, **REST, price="99.0", qty="1")
    made.submit("b", **LONG, **REST, price="99.2", qty="2")
    made.step()
    assert [(t.client_id, t.qty) for t in made.trades] == [("a", D(1)), ("b", D("0.20"))]
    assert (made.state("a"), made.state("b")) == ("FILLED", "PARTIAL")
    made.step()
    assert made.trades[-1].qty == D("1.20")
    made.step()
    assert made.trades[-1].qty == D("0.60")
    assert made.state("b") == "FILLED"


def test_a_share_below_one_step_fills_nothing() -> None:
    made = bench((99.5, 100.0, 98.0, 99.5, 0.09))
    made.submit("a", **LONG, **REST, price="99.0")
    made.step()
    assert made.trades == ()
    assert made.state("a") == "LIVE"


@pytest.mark.parametrize(
    ("leg", "price", "bar"),
    [
        (LONG, "99.5", (97.0, 98.0, 96.5, 97.5, 100.0)),
        (SHORT, "100.5", (103.0, 103.5, 102.0, 103.0, 100.0)),
    ],
)
def test_a_bar_that_gaps_past_a_resting_order_fills_it_at_its_own_price(
    leg: dict[str, str], price: str, bar: tuple[float, float, float, float, float]
) -> None:
    made = bench(bar)
    made.submit("a", **leg, **REST, price=price)
    made.step()
    assert [(str(t.price), t.maker) for t in made.trades] == [(price, True)]


def test_a_plain_limit_that_crosses_takes_at_the_next_open() -> None:
    made = bench((100.2, 101.0, 99.0, 100.0, 100.0))
    made.submit("a", **LONG, type="LIMIT", price="100.5")
    made.step()
    assert prices(made) == ["100.3"]
    assert made.trades[0].maker is False


def test_a_plain_limit_that_the_market_leaves_behind_rests() -> None:
    made = bench((101.0, 102.0, 100.6, 101.0, 100.0), (101.0, 101.0, 100.0, 100.2, 100.0))
    made.submit("a", **LONG, type="LIMIT", price="100.5")
    made.step()
    assert made.trades == ()
    made.step()
    assert [(str(t.price), t.maker) for t in made.trades] == [("100.5", True)]


def with_leg(leg: dict[str, str], *bars: tuple[float, float, float, float, float]) -> Bench:
    """Return a venue that holds 2 units of a leg, bought at about 100."""
    made = bench(candle(100.0, low=99.0, high=101.0), *bars)
    made.submit("entry", **leg, qty="2")
    made.step()
    return made


@pytest.mark.parametrize(
    ("leg", "side", "stop", "bar", "price"),
    [
        (LONG, "SELL", "98.0", (99.0, 99.5, 97.0, 98.5, 9.0), "97.9"),
        (LONG, "SELL", "98.0", (97.0, 98.5, 96.0, 97.5, 9.0), "96.9"),
        (LONG, "SELL", "98.0", (99.0, 99.5, 98.0, 98.5, 9.0), "98.0"),
        (SHORT, "BUY", "102.0", (101.0, 103.0, 100.0, 101.0, 9.0), "102.1"),
        (SHORT, "BUY", "102.0", (103.0, 104.0, 101.0, 102.0, 9.0), "103.1"),
        (SHORT, "BUY", "102.0", (101.0, 102.0, 100.0, 101.0, 9.0), "102.0"),
    ],
)
def test_a_stop_pays_the_gap_and_stays_inside_the_bar(
    leg: dict[str, str],
    side: str,
    stop: str,
    bar: tuple[float, float, float, float, float],
    price: str,
) -> None:
    made = with_leg(leg, bar)
    made.submit("stop", side=side, position_side=leg["position_side"], **STOP, stop_price=stop)
    made.step()
    assert [(str(t.price), t.qty, t.maker) for t in made.trades[1:]] == [(price, D(2), False)]
    assert made.legs == {}
    assert made.state("stop") == "FILLED"


def test_a_stop_that_is_not_touched_rests() -> None:
    made = with_leg(LONG, candle(99.0, low=98.1, high=99.5))
    made.submit("stop", side="SELL", position_side="LONG", **STOP, stop_price="98.0")
    made.step()
    assert made.state("stop") == "LIVE"
    assert [o.client_id for o in made.seen.account.open_orders] == ["stop"]


def test_the_stop_goes_before_the_take_profit_of_the_same_bar() -> None:
    made = with_leg(LONG, (100.0, 105.0, 95.0, 100.0, 1000.0))
    made.submit("profit", **CLOSE_LONG, **REST, price="104.0", qty="2")
    made.submit("stop", side="SELL", position_side="LONG", **STOP, stop_price="97.0")
    made.step()
    assert [t.client_id for t in made.trades[1:]] == ["stop"]
    assert made.trades[1].price == D("96.9")
    assert made.state("profit") == "EXPIRED"


def test_a_stop_closes_what_the_leg_then_has() -> None:
    made = with_leg(LONG, candle(100.0), candle(97.0))
    made.submit("stop", side="SELL", position_side="LONG", **STOP, stop_price="98.0")
    made.submit("more", **LONG, qty="3")
    made.step()
    assert made.legs == {"LONG": D(5)}
    made.step()
    assert made.trades[-1].qty == D(5)
    stop = made.venue.find_order("BTCUSDT", "stop")
    assert (stop.state, stop.qty, stop.filled_qty) == ("FILLED", D(5), D(5))


def test_a_close_is_cut_to_the_leg_and_never_turns_it_around() -> None:
    made = with_leg(LONG, candle(100.0), candle(100.0))
    made.submit("a", **CLOSE_LONG, qty="1.5")
    made.submit("b", **CLOSE_LONG, qty="1.5")
    made.submit("c", **CLOSE_LONG, qty="1.5")
    made.step()
    assert [(t.client_id, t.qty) for t in made.trades[1:]] == [("a", D("1.5")), ("b", D("0.5"))]
    assert [made.state(name) for name in "abc"] == ["FILLED", "EXPIRED", "EXPIRED"]
    assert made.legs == {}
    assert made.venue.find_order("BTCUSDT", "b").filled_qty == D("0.5")


def test_a_resting_close_ends_with_its_leg() -> None:
    made = with_leg(LONG, candle(101.0, high=102.0))
    made.submit("profit", **CLOSE_LONG, **REST, price="101.5", qty="5")
    made.step()
    assert [(t.client_id, t.qty) for t in made.trades[1:]] == [("profit", D(2))]
    assert made.state("profit") == "EXPIRED"
    assert made.seen.account.open_orders == ()


def test_the_sides_of_hedge_mode_are_two_positions() -> None:
    made = bench(candle(100.0), candle(110.0), candle(110.0))
    made.submit("long", **LONG, qty="2")
    made.submit("short", **SHORT, qty="1")
    made.step()
    assert made.legs == {"LONG": D(2), "SHORT": D(-1)}
    made.submit("out", **CLOSE_SHORT, qty="1")
    made.step()
    assert made.legs == {"LONG": D(2)}
    assert made.trades[-1].realized_usd == D(-10)


def test_an_order_meets_only_bars_that_close_after_it_was_signed() -> None:
    made = bench(candle(101.0), candle(102.0), candle(103.0))
    made.now += 130.0  # two more bars closed that nobody has looked at yet
    made.submit("late", **LONG)
    made.now -= 130.0
    made.step(3)
    assert [(str(t.price), t.ts - made.now) for t in made.trades] == [("103.0", 0.0)]


def test_many_bars_at_once_are_met_in_their_order() -> None:
    made = with_leg(LONG, candle(100.0, low=96.0), candle(104.0, high=106.0), candle(90.0))
    made.submit("profit", **CLOSE_LONG, **REST, price="105.0", qty="2")
    made.submit("stop", side="SELL", position_side="LONG", **STOP, stop_price="97.0")
    made.step(3)
    assert [t.client_id for t in made.trades[1:]] == ["stop"]
    assert made.trades[1].price == D("96.9")
    assert made.state("profit") == "EXPIRED"


def test_no_execution_of_an_order_that_only_reduces_turns_its_leg_around() -> None:
    account, _ = paper_account.begin(D(1000), ORIGIN)
    how = {"maker": False, "ts": ORIGIN, "terms": terms()}
    account, _ = paper_account.fill(account, builders.venue_order("in"), D(1), D(100), **how)
    out = builders.venue_order("out", side="SELL", reduce_only=True)
    with pytest.raises(ValueError, match="out: 2 would turn a leg of 1 around"):
        paper_account.fill(account, out, D(2), D(100), **how)
