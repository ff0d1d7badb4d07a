"""Liquidation on paper: when it is due, at what price, what it costs, and that the account goes on."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.seam import ZERO, Accepted
from execution.venue.paper import PaperVenue
from execution.venue.paper_account import exact
from execution.venue.paper_store import PaperStore
from tests.execution.venue.scripted import (
    BAR_S,
    LISTING,
    ORIGIN,
    Bench,
    Candle,
    ScriptedMarket,
    candle,
    order,
    terms,
)
from tests.support import policies

D = Decimal
LONG = {"side": "BUY", "position_side": "LONG"}
SHORT = {"side": "SELL", "position_side": "SHORT"}
FREE = {"taker_fee_bps": D(0), "slippage_bps": D(0), "liquidation_fee_pct": D(0)}
# No spread either: what is paid is the price itself.
TIGHT = policies.listing("BTCUSDT", step_size=D("0.01"), min_qty=D("0.01"), half_spread_bps=0.0)


def bench(*candles: Candle, **fields: Any) -> Bench:
    """Return an account of 1,000 USD at ten times leverage after a first bar at 100."""
    known = {"start_usd": D(1000), "leverage": D(10), "listing": TIGHT, **FREE}
    made = Bench([candle(100.0), candle(100.0), *candles], **{**known, **fields})
    made.step()
    return made


def test_a_long_is_closed_where_the_wallet_falls_to_the_maintenance_margin() -> None:
    made = bench((100.0, 100.0, 80.0, 90.0, 100.0))
    made.submit("in", **LONG, qty="50")
    made.submit("rest", **LONG, type="LIMIT", post_only=True, price="50.0", qty="1")
    made.step(2)
    # 1,000 + 50 (p - 100) = 50 p / 200 at p = 80.402.
    assert (made.legs, made.state("rest")) == ({}, "CANCELED")
    last = made.trades[-1]
    assert (last.client_id[:10], last.side, last.qty) == ("autoclose-", "SELL", D(50))
    assert last.price == D("80.4")
    assert made.wallet == D(20)
    assert made.seen.account.open_orders == ()
    assert made.venue.find_order("BTCUSDT", last.client_id).state == "FILLED"
    assert made.submit("again", **LONG, qty="1") == ""


@pytest.mark.parametrize(("low", "left"), [(80.5, {"LONG": D(50)}), (80.4, {})])
def test_a_bar_must_reach_it(low: float, left: dict[str, Decimal]) -> None:
    made = bench((100.0, 100.0, low, 90.0, 100.0))
    made.submit("in", **LONG, qty="50")
    made.step(2)
    assert made.legs == left


def test_a_short_is_closed_where_the_price_rises_to_it() -> None:
    made = bench((100.0, 121.0, 100.0, 100.0, 100.0))
    made.submit("in", **SHORT, qty="50")
    made.step(2)
    # 1,000 + 50 (100 - p) = 50 p / 200 at p = 119.403.
    assert (made.legs, made.trades[-1].side, made.trades[-1].price) == ({}, "BUY", D("119.5"))


def test_the_fee_is_the_taker_s_and_the_liquidation_s() -> None:
    made = bench(
        (100.0, 100.0, 80.0, 90.0, 100.0), taker_fee_bps=D(5), liquidation_fee_pct=D("0.5")
    )
    made.submit("in", **LONG, qty="20")
    made.submit("more", **LONG, qty="30")
    made.step(2)
    last = made.trades[-1]
    assert last.client_id.startswith("autoclose-")
    assert last.fee == (last.price * last.qty * D("0.0055")).quantize(D("1e-8"))


def test_a_gap_beyond_the_wallet_is_the_insurance_fund_s() -> None:
    made = bench((60.0, 60.0, 55.0, 58.0, 100.0))
    made.submit("in", **LONG, qty="50")
    made.step(2)
    assert (made.legs, made.trades[-1].price) == ({}, D("60.0"))
    assert made.wallet == ZERO
    assert [row.amount for row in made.venue.cash(ORIGIN + 1)] == [D(1000)]
    account = made.venue._account
    assert account is not None
    assert account.cash.wallet_usd == account.wallet_usd


def test_a_stop_above_it_goes_first() -> None:
    made = bench((100.0, 100.0, 80.0, 90.0, 100.0))
    made.submit("in", **LONG, qty="50")
    made.step()
    made.submit(
        "stop", side="SELL", position_side="LONG", type="STOP_MARKET", close_position=True,
        qty="0", stop_price="90.0",
    )  # fmt: skip
    made.step()
    assert (made.legs, made.state("stop"), made.wallet) == ({}, "FILLED", D(500))


def test_two_legs_that_cancel_each_other_are_not_liquidated() -> None:
    made = bench((100.0, 130.0, 70.0, 100.0, 100.0))
    made.submit("l", **LONG, qty="40")
    made.submit("s", **SHORT, qty="40")
    made.step(2)
    assert made.legs == {"LONG": D(40), "SHORT": D(-40)}


@pytest.mark.parametrize(
    ("fee_bps", "left"), [(D(0), {"LONG": D("40.2"), "SHORT": D("-39.8")}), (D(1250), {})]
)
def test_legs_that_no_price_changes_stand_until_the_wallet_is_spent(
    fee_bps: Decimal, left: dict[str, Decimal]
) -> None:
    # 40.2 less its 0.5 % of margin is 39.8 and its own: what one gains the other loses.
    made = bench((100.0, 130.0, 70.0, 100.0, 100.0), taker_fee_bps=fee_bps)
    made.submit("l", **LONG, qty="40.2")
    made.submit("s", **SHORT, qty="39.8")
    made.step(2)
    assert made.legs == left
    assert {trade.price for trade in made.trades} == {D("100.0")}
    assert made.wallet == (ZERO if fee_bps else D(1000))


def test_a_bar_of_a_symbol_that_is_not_held_closes_nothing() -> None:
    listings = [TIGHT, policies.listing("ETHUSDT", step_size=D("0.01"), half_spread_bps=0.0)]
    jumps: Candle = (200.0, 200.0, 200.0, 200.0, 100.0)
    played = {
        "BTCUSDT": [candle(100.0), candle(100.0), candle(100.0)],
        "ETHUSDT": [candle(100.0), candle(100.0), jumps],
    }
    venue = PaperVenue(
        ScriptedMarket(played, listings),
        PaperStore(None),
        terms(start_usd=D(1000), leverage=D(10), **FREE),
    )
    venue.observe(ORIGIN)
    venue.observe(ORIGIN + BAR_S)
    venue.submit(order("in", **LONG, qty=D(50), signed_ts=ORIGIN + BAR_S))
    venue.observe(ORIGIN + 2 * BAR_S)
    late = {"type": "LIMIT", "price": "101.0", "symbol": "ETHUSDT", "qty": D(1)}
    assert isinstance(
        venue.submit(order("late", **LONG, **late, signed_ts=ORIGIN + 2 * BAR_S)), Accepted
    )
    seen = venue.observe(ORIGIN + 3 * BAR_S)
    assert [leg.qty for leg in seen.account.positions] == [D(50)]  # type: ignore[union-attr]
    assert [each.client_id for each in seen.account.open_orders] == ["late"]  # type: ignore[union-attr]


def test_it_is_kept_over_a_restart_and_met_while_down(tmp_path: Any) -> None:
    made = bench((100.0, 100.0, 80.0, 90.0, 100.0), candle(90.0), path=tmp_path / "paper.sqlite")
    made.submit("in", **LONG, qty="50")
    made.step()
    made.venue.close()
    made.now += 2 * BAR_S
    made.start()
    assert (made.legs, made.wallet) == ({}, D(20))
    made.restart()
    assert (made.legs, made.wallet) == ({}, D(20))


def test_a_leg_that_opens_in_one_missed_bar_is_liquidated_in_the_next() -> None:
    made = bench((100.0, 100.0, 80.0, 90.0, 100.0))
    made.submit("in", **LONG, qty="50")
    made.step(2)  # both bars come in one look
    assert (made.legs, made.trades[-1].price) == ({}, D("80.4"))


def test_one_symbol_s_loss_closes_the_other_s_leg_too() -> None:
    listings = [TIGHT, policies.listing("ETHUSDT", step_size=D("0.01"), half_spread_bps=0.0)]
    falls: Candle = (100.0, 100.0, 70.0, 80.0, 100.0)
    played = {
        "BTCUSDT": [candle(100.0), candle(100.0), candle(100.0), candle(104.0)],
        "ETHUSDT": [candle(100.0), candle(100.0), candle(100.0), falls],
    }
    market = ScriptedMarket(played, listings)
    known = {"start_usd": D(1000), "leverage": D(10), **FREE}
    venue = PaperVenue(market, PaperStore(None), terms(**known))
    venue.observe(ORIGIN)
    venue.observe(ORIGIN + BAR_S)
    for symbol in played:
        fields = {**LONG, "qty": D(40), "symbol": symbol, "signed_ts": ORIGIN + BAR_S}
        venue.submit(order(f"in-{symbol}", **fields))
    venue.observe(ORIGIN + 2 * BAR_S)
    venue.observe(ORIGIN + 3 * BAR_S)
    seen = venue.observe(ORIGIN + 4 * BAR_S)
    assert seen.account.positions == ()  # type: ignore[union-attr]
    # 1,000 + 160 + 40 (p - 100) = (40 p + 40 * 104) / 200 at p = 71.88.
    assert venue.trades("ETHUSDT", 0.0)[-1].price == D("71.8")
    assert venue.trades("BTCUSDT", 0.0)[-1].price == D("104.0")


BARS = st.lists(st.integers(-25, 25), min_size=1, max_size=8)


@pytest.mark.parametrize("mode", ["hedge", "one_way"])
@given(moves=BARS, sides=st.lists(st.sampled_from(["BUY", "SELL"]), min_size=1, max_size=3))
def test_no_account_is_left_below_its_maintenance_margin(
    mode: str, moves: list[int], sides: list[str]
) -> None:
    closes = [100.0]
    for move in moves:
        closes.append(max(5.0, round(closes[-1] * (1 + move / 100), 1)))
    candles = [(a, max(a, b) + 0.5, min(a, b) - 0.5, b, 100.0) for a, b in pairwise(closes)]
    known = {"start_usd": D(1000), "leverage": D(20), "listing": LISTING, "mode": mode}
    made = Bench([candle(100.0), *candles, candle(closes[-1])], **known)  # type: ignore[arg-type]
    made.step()
    for number, side in enumerate(sides):
        leg = "BOTH" if mode == "one_way" else "LONG" if side == "BUY" else "SHORT"
        made.submit(f"in{number}", side=side, position_side=leg, qty=str(30 * (number + 1)))
    for _ in candles:
        made.step()
        account = made.venue._account
        assert account is not None
        assert account.wallet_usd == account.cash.wallet_usd >= 0
        for bar in made.seen.bars.get("BTCUSDT", ()):  # type: ignore[union-attr]
            for price in (exact(bar.low), exact(bar.high)):
                kept = worth = ZERO
                for leg in account.legs.values():
                    worth += leg.qty * price - leg.cost_usd
                    kept += abs(leg.qty) * price * D("0.005")
                assert not account.legs or account.wallet_usd + worth > kept
