"""What every venue keeps to, asked of the paper venue and of the exchange over HTTP alike.

A market order has filled a minute later, here and there; what a venue does sooner is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from execution.core.position_mode import PositionMode
from execution.core.seam import ZERO, Accepted, MarketSnapshot, NotFound, Rejected, VenueHealth
from tests.execution.venue import places
from tests.execution.venue.places import Place, Trader
from tests.execution.venue.scripted import LISTING, SYMBOL

D = Decimal
MINUTE_S = 60.0
LEVERAGE = 4


@pytest.fixture(params=["hedge", "one_way"])
def mode(request) -> PositionMode:
    return request.param


@pytest.fixture(params=[places.paper, places.ccxt], ids=["paper", "ccxt"])
def place(request, mode: PositionMode, tmp_path: Path) -> Iterator[Place]:
    with request.param(mode, tmp_path) as opened:
        yield opened


@pytest.fixture
def trader(place: Place) -> Trader:
    return Trader(place)


def leg(place: Place, side: str = "LONG") -> tuple[str, str]:
    return SYMBOL, side if place.mode == "hedge" else "BOTH"


def held(seen: MarketSnapshot) -> dict[tuple[str, str], Decimal]:
    return {(p.symbol, p.position_side): p.qty for p in seen.account.positions}


# ---------------------------------------------------------------- looking


def test_a_look_shows_the_market_and_an_empty_account(place: Place) -> None:
    seen = place.wait(MINUTE_S)
    assert seen.ts == place.clock.now()
    assert seen.quotes[SYMBOL].sound
    assert abs(seen.ts - seen.quotes[SYMBOL].ts) <= seen.lag_s + 1
    rules = seen.rules[SYMBOL]
    assert (rules.tick_size, rules.step_size, rules.min_qty, rules.max_qty) == (
        LISTING.tick_size,
        LISTING.step_size,
        LISTING.min_qty,
        LISTING.max_qty,
    )
    assert (rules.min_notional_usd, rules.trading) == (LISTING.min_notional_usd, True)
    account = seen.account
    assert (account.wallet_usd, account.positions, account.open_orders) == (D(10_000), (), ())
    assert not account.other_assets
    assert isinstance(place.venue.health(), VenueHealth)


def test_bars_are_closed_told_once_and_in_order(place: Place) -> None:
    told = []
    for _ in range(4):
        seen = place.wait(MINUTE_S)
        new = seen.bars.get(SYMBOL, ())
        assert all(bar.ts + seen.bar_s <= seen.ts for bar in new)
        assert all(bar.ts % seen.bar_s == 0 for bar in new)
        assert all(0 < bar.low <= min(bar.open, bar.close) for bar in new)
        assert all(bar.high >= max(bar.open, bar.close) for bar in new)
        told += [bar.ts for bar in new]
    assert told == sorted(set(told))
    assert len(told) >= 3
    assert {late - early for early, late in pairwise(told)} == {MINUTE_S}


def test_the_account_is_equal_while_nothing_in_it_changed(place: Place) -> None:
    before, after = (place.wait(10.0).account for _ in range(2))
    assert (before.wallet_usd, before.positions, before.open_orders) == (
        after.wallet_usd,
        after.positions,
        after.open_orders,
    )
    assert after.ts >= before.ts


# ---------------------------------------------------------------- orders that trade


def test_a_market_order_is_accepted_fills_and_is_told_everywhere(trader: Trader) -> None:
    place = trader.place
    begun_ts = place.clock.now()
    answer = trader.submit("hgp-a-1", "2")
    assert isinstance(answer, Accepted)
    seen = place.wait(2 * MINUTE_S)
    found = trader.found("hgp-a-1")
    assert found.venue_order_id == answer.venue_order_id
    assert (found.client_id, found.symbol, found.side, found.type) == (
        "hgp-a-1",
        SYMBOL,
        "BUY",
        "MARKET",
    )
    assert (found.state, found.qty, found.filled_qty) == ("FILLED", D(2), D(2))
    assert (found.price, found.stop_price, found.close_position) == (None, None, False)
    assert begun_ts - 1 <= found.ts <= place.clock.now()

    trades = trader.venue.trades(SYMBOL, begun_ts - 1)
    assert isinstance(trades, tuple)
    assert sum((trade.qty for trade in trades), ZERO) == D(2)
    for trade in trades:
        assert (trade.client_id, trade.venue_order_id) == ("hgp-a-1", answer.venue_order_id)
        assert (trade.symbol, trade.side, trade.position_side) == (SYMBOL, "BUY", leg(place)[1])
        assert (trade.maker, trade.realized_usd) == (False, ZERO)
        assert (trade.fee_asset, trade.fee_usd) == ("USDT", trade.fee)
        assert trade.fee == trade.qty * trade.price * D("0.0005")
        assert begun_ts <= trade.ts <= place.clock.now()

    assert held(seen) == {leg(place): D(2)}
    (position,) = seen.account.positions
    assert position.entry_price == trades[0].price
    assert position.leverage == LEVERAGE
    assert seen.account.open_orders == ()
    assert seen.account.wallet_usd == 10_000 - sum(trade.fee for trade in trades)


def test_a_short_is_negative(trader: Trader) -> None:
    assert isinstance(trader.submit("hgp-a-1", "2", short=True), Accepted)
    assert held(trader.place.wait(2 * MINUTE_S)) == {leg(trader.place, "SHORT"): D(-2)}


def test_a_close_realizes_and_ends_the_leg(trader: Trader) -> None:
    place = trader.place
    trader.submit("hgp-a-1", "2")
    place.wait(2 * MINUTE_S)
    place.move(1.05)
    place.wait(MINUTE_S)
    assert isinstance(trader.submit("hgp-b-1", "2", closes=True), Accepted)
    seen = place.wait(2 * MINUTE_S)
    assert held(seen) == {}
    trades = trader.venue.trades(SYMBOL, 0.0)
    assert isinstance(trades, tuple)
    assert [trade.client_id for trade in trades] == ["hgp-a-1", "hgp-b-1"]
    bought, sold = trades
    assert sold.realized_usd == (sold.price - bought.price) * 2 > 0
    fees = bought.fee + sold.fee
    assert seen.account.wallet_usd == 10_000 + sold.realized_usd - fees
    assert trader.found("hgp-b-1").state == "FILLED"


def test_a_close_takes_no_more_than_there_is(trader: Trader) -> None:
    trader.submit("hgp-a-1", "2")
    trader.place.wait(2 * MINUTE_S)
    trader.submit("hgp-b-1", "5", closes=True)
    assert held(trader.place.wait(2 * MINUTE_S)) == {}


def test_trades_are_listed_from_a_time_on(trader: Trader) -> None:
    place = trader.place
    trader.submit("hgp-a-1")
    place.wait(2 * MINUTE_S)
    trader.submit("hgp-b-1")
    place.wait(2 * MINUTE_S)
    listed = trader.venue.trades(SYMBOL, 0.0)
    assert isinstance(listed, tuple)
    assert [trade.client_id for trade in listed] == ["hgp-a-1", "hgp-b-1"]
    since = trader.venue.trades(SYMBOL, listed[1].ts)
    assert since == listed[1:]
    assert trader.venue.trades(SYMBOL, place.clock.now()) == ()
    assert len({trade.trade_id for trade in listed}) == 2


# ---------------------------------------------------------------- orders that rest


def test_an_order_rests_until_it_is_canceled(trader: Trader) -> None:
    place = trader.place
    price = trader.far()
    answer = trader.submit("hgp-a-1", "1.5", price=price)
    assert isinstance(answer, Accepted)
    seen = place.wait(MINUTE_S)
    (rests,) = seen.account.open_orders
    assert rests == trader.found("hgp-a-1")
    assert (rests.state, rests.type, rests.qty, rests.price, rests.filled_qty) == (
        "LIVE",
        "LIMIT",
        D("1.5"),
        D(price),
        ZERO,
    )
    assert (rests.position_side, rests.reduce_only) == (leg(place)[1], False)
    assert trader.venue.cancel(SYMBOL, "hgp-a-1") == answer
    assert trader.found("hgp-a-1").state == "CANCELED"
    assert place.wait(2.0).account.open_orders == ()
    assert trader.venue.cancel(SYMBOL, "hgp-a-1") == NotFound()
    assert trader.venue.trades(SYMBOL, 0.0) == ()


def test_a_resting_order_fills_as_maker_at_its_price(trader: Trader) -> None:
    place = trader.place
    price = trader.far(below_pct=1.0)
    trader.submit("hgp-a-1", price=price)
    place.move(0.97)
    seen = place.wait(2 * MINUTE_S)
    assert held(seen) == {leg(place): D(1)}
    trades = trader.venue.trades(SYMBOL, 0.0)
    assert isinstance(trades, tuple)
    assert {(trade.maker, trade.price) for trade in trades} == {(True, D(price))}
    assert trader.found("hgp-a-1").state == "FILLED"
    assert seen.account.wallet_usd == 10_000 - D(price) * D("0.0002")


def test_what_never_was_is_not_found(trader: Trader) -> None:
    assert trader.venue.find_order(SYMBOL, "hgp-never-1") == NotFound()
    assert trader.venue.cancel(SYMBOL, "hgp-never-1") == NotFound()


# ---------------------------------------------------------------- refusals

WRONG = {
    "post-only that would take": ("-5022", {"price": "above"}),
    "a price off the tick": ("-1111", {"price": "90.01"}),
    "a quantity off the step": ("-1111", {"qty": "1.001"}),
    "too small a notional": ("-4164", {"qty": "0.01"}),
    "more than the wallet can bear": ("-2019", {"qty": "900"}),
    "a close of nothing": ("-2022", {"closes": True}),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_refused_order_does_not_exist(trader: Trader, why: str) -> None:
    code, fields = WRONG[why]
    fields = dict(fields)
    if fields.get("price") == "above":
        fields["price"] = trader.far(below_pct=-2.0)
    qty = fields.pop("qty", "1")
    answer = trader.submit("hgp-a-1", qty, **fields)
    assert isinstance(answer, Rejected), answer
    assert answer.code == code
    assert trader.venue.find_order(SYMBOL, "hgp-a-1") == NotFound()
    seen = trader.place.wait(2 * MINUTE_S)
    assert (seen.account.positions, seen.account.open_orders) == ((), ())
    assert seen.account.wallet_usd == 10_000


def test_the_other_modes_position_side_is_refused(trader: Trader) -> None:
    other = "BOTH" if trader.place.mode == "hedge" else "LONG"
    answer = trader.submit("hgp-a-1", position_side=other)
    assert isinstance(answer, Rejected)
    assert answer.code == "-4061"


def test_a_client_id_is_taken_while_its_order_is_open(trader: Trader) -> None:
    price = trader.far()
    trader.submit("hgp-a-1", price=price)
    again = trader.submit("hgp-a-1", price=price)
    assert isinstance(again, Rejected)
    assert again.code == "-4116"
    assert len(trader.place.wait(2.0).account.open_orders) == 1
    trader.venue.cancel(SYMBOL, "hgp-a-1")
    assert isinstance(trader.submit("hgp-a-1", price=price), Accepted)


def test_stops_rest_where_the_venue_says_so(trader: Trader) -> None:
    trader.submit("hgp-a-1")
    trader.place.wait(2 * MINUTE_S)
    stop = {"type": "STOP_MARKET", "stop_price": D(trader.far()), "close_position": True}
    answer = trader.submit("hgp-s-1", closes=True, **stop)
    rests = trader.place.wait(2.0).account.open_orders
    assert isinstance(answer, Accepted) is trader.venue.rests_stops
    assert [order.client_id for order in rests] == ["hgp-s-1"] * trader.venue.rests_stops


# ---------------------------------------------------------------- cash


def test_funding_is_a_row_of_cash_by_its_own_id(trader: Trader) -> None:
    place = trader.place
    trader.submit("hgp-a-1", "2")
    before = place.wait(2 * MINUTE_S).account.wallet_usd
    begun_ts = place.clock.now()
    place.fund(0.001)
    seen = place.wait(2 * MINUTE_S)
    place.wait(MINUTE_S)
    rows = trader.venue.cash(begun_ts - 1)
    assert isinstance(rows, tuple)
    (row,) = rows
    assert (row.kind, row.asset, row.symbol) == ("funding", "USDT", SYMBOL)
    assert row.amount == seen.account.wallet_usd - before < 0
    assert begun_ts - 1 <= row.ts <= place.clock.now()
    assert trader.venue.cash(begun_ts - 1) == rows
    assert trader.venue.cash(place.clock.now() + 1) == ()


def test_the_wallet_is_what_trades_and_cash_say(trader: Trader) -> None:
    place = trader.place
    for number in range(3):
        trader.submit(f"hgp-{number}-1", "2")
        place.wait(2 * MINUTE_S)
        place.fund(0.0003)
        place.move(1.01)
        place.wait(2 * MINUTE_S)
        trader.submit(f"hgp-{number}-2", "1", closes=True)
        place.wait(2 * MINUTE_S)
    wallet = place.wait(MINUTE_S).account.wallet_usd
    trades, cash = trader.venue.trades(SYMBOL, 0.0), trader.venue.cash(0.0)
    assert isinstance(trades, tuple)
    assert isinstance(cash, tuple)
    assert len(trades) == 6
    booked = sum(trade.realized_usd - trade.fee_usd for trade in trades)
    assert booked + sum(row.amount for row in cash) == wallet
    assert {row.kind for row in cash} <= {"start", "transfer", "funding"}
    assert sum(row.kind == "funding" for row in cash) == 3


def test_a_liquidation_is_trades_of_somebody_elses_order(trader: Trader) -> None:
    place = trader.place
    trader.submit("hgp-a-1", "390")
    assert held(place.wait(2 * MINUTE_S)) == {leg(place): D(390)}
    place.move(0.7)
    seen = place.wait(2 * MINUTE_S)
    assert held(seen) == {}
    trades = trader.venue.trades(SYMBOL, 0.0)
    assert isinstance(trades, tuple)
    bought, *sold = trades
    assert sum(trade.qty for trade in sold) == bought.qty == 390
    assert all(trade.client_id.startswith("autoclose-") for trade in sold)
    cash = trader.venue.cash(0.0)
    assert isinstance(cash, tuple)
    booked = sum(trade.realized_usd - trade.fee_usd for trade in trades)
    assert booked + sum(row.amount for row in cash) == seen.account.wallet_usd
