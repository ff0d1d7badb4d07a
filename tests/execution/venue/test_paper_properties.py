"""The paper account under random bars and orders: exact money, honest fills, restarts unseen."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from execution.core.seam import ZERO, Account, MarketSnapshot, NotFound, Trade
from tests.execution.venue.scripted import BAR_S, ORIGIN, SYMBOL, Bench, Candle

D = Decimal
SHARE = D("0.1")


class Act(Struct, frozen=True):
    """One thing that a client does after some bar."""

    at: int
    type: str
    position_side: str
    opens: bool
    qty: int
    ticks: int
    post_only: bool
    reduce_only: bool
    cancel: bool


class Story(Struct, frozen=True):
    """Bars, acts, funding, and the step after which the process dies."""

    candles: list[Candle | None]
    acts: list[Act]
    funding: list[tuple[float, float]]
    death: int


ACTS = st.builds(
    Act,
    at=st.integers(0, 11),
    type=st.sampled_from(["MARKET", "LIMIT", "LIMIT", "LIMIT", "STOP_MARKET", "STOP_MARKET"]),
    position_side=st.sampled_from(["LONG", "SHORT"]),
    opens=st.booleans(),
    qty=st.integers(5, 3000),
    ticks=st.integers(-25, 25),
    post_only=st.booleans(),
    reduce_only=st.booleans(),
    cancel=st.sampled_from([False, False, False, True]),
)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw a walk in ticks of 0.1 with gaps, holes and thin volume, and what is done on it."""
    close, candles = 1000, []
    ticks = st.integers(-20, 20)
    reach = st.integers(0, 15)
    for _ in range(12):
        start = close + draw(ticks) // 4
        close = start + draw(ticks)
        high, low = max(start, close) + draw(reach), min(start, close) - draw(reach)
        volume = draw(st.sampled_from([0.0, 0.03, 7.5, 40.0, 5000.0]))
        bar = (start / 10, high / 10, low / 10, close / 10, volume)
        candles.append(draw(st.sampled_from([bar, bar, bar, bar, None])))
    rate = st.floats(-0.01, 0.01, allow_nan=False)
    moments = draw(st.lists(st.integers(0, 12 * BAR_S), max_size=4, unique=True))
    return Story(
        candles=candles,
        acts=draw(st.lists(ACTS, min_size=12, max_size=40)),
        funding=[(ORIGIN + moment, draw(rate)) for moment in sorted(moments)],
        death=draw(st.integers(0, 12)),
    )


def play(story: Story, path: Path | None = None, death: int | None = None) -> Bench:
    """Play a story; with `death` the process is killed after that step, and back a bar later."""
    made = Bench(story.candles, path=path, funding={SYMBOL: story.funding})
    for step in range(len(story.candles) + 1):
        for number, act in enumerate(story.acts):
            if act.at == step:
                perform(made, act, f"o{number}")
        if step == len(story.candles):
            break
        if step == death:
            made.now += BAR_S
            made.start()  # without a close, as after a kill
        else:
            made.step()
        consistent(made)
    return made


def perform(made: Bench, act: Act, client_id: str) -> None:
    assert isinstance(made.seen, MarketSnapshot)
    if act.cancel and made.seen.account.open_orders:
        made.venue.cancel(SYMBOL, made.seen.account.open_orders[0].client_id)
        return
    price = D(repr(made.seen.quotes[SYMBOL].mark)) + D(act.ticks) / 10
    side = "BUY" if act.opens == (act.position_side == "LONG") else "SELL"
    fields: dict[str, Any] = {"side": side, "position_side": act.position_side}
    fields |= {"type": act.type, "qty": D(act.qty) / 100, "reduce_only": act.reduce_only}
    if act.type == "LIMIT":
        fields |= {"price": price, "post_only": act.post_only}
    if act.type == "STOP_MARKET":
        fields |= {"stop_price": price, "close_position": act.reduce_only}
    made.submit(client_id, **fields)


def consistent(made: Bench) -> None:
    """What holds after every bar."""
    assert isinstance(made.seen, MarketSnapshot)
    account, trades = made.seen.account, made.trades
    rows = made.venue.cash(0.0)
    assert account.wallet_usd == sum((row.amount for row in rows), ZERO) + sum(
        (trade.realized_usd - trade.fee for trade in trades), ZERO
    )
    held = replayed_legs(trades)
    assert {leg.position_side: leg.qty for leg in account.positions} == held
    for order in account.open_orders:
        assert order.filled_qty < order.qty or order.close_position
        assert order.state == ("PARTIAL" if order.filled_qty else "LIVE")


def replayed_legs(trades: tuple[Trade, ...]) -> dict[str, Decimal]:
    """Add the trades up by leg; no step on the way may cross zero."""
    held: dict[str, Decimal] = {}
    for trade in trades:
        sign = 1 if trade.position_side == "LONG" else -1
        moved = trade.qty if trade.side == "BUY" else -trade.qty
        held[trade.position_side] = held.get(trade.position_side, ZERO) + moved
        assert held[trade.position_side] * sign >= 0
    return {side: qty for side, qty in held.items() if qty}


@given(stories())
@settings(max_examples=150)
def test_money_is_exact_and_legs_are_the_sum_of_their_trades(story: Story) -> None:
    made = play(story)
    trades = made.trades
    # What all trades realized is what was sold less what was bought, and the cost still held.
    paid = sum((t.qty * t.price * (1 if t.side == "SELL" else -1) for t in trades), ZERO)
    held = made.venue._account.legs.values()
    cost = sum((leg.cost_usd for leg in held), ZERO)
    assert sum((t.realized_usd for t in trades), ZERO) == paid + cost
    account = made.venue._account
    assert account.wallet_usd == account.cash.wallet_usd


@given(stories())
@settings(max_examples=150)
def test_every_fill_is_honest(story: Story) -> None:
    made = play(story)
    bars = {bar.ts + BAR_S: bar for bar in made.market.bars[SYMBOL]}
    maker_qty: dict[float, Decimal] = {}
    for trade in made.trades:
        bar = bars[trade.ts]
        low, high = D(repr(bar.low)), D(repr(bar.high))
        assert trade.maker or low <= trade.price <= high
        assert trade.price % D("0.1") == 0
        assert trade.qty % D("0.01") == 0
        assert trade.qty > 0
        order = made.venue.find_order(SYMBOL, trade.client_id)
        assert order.ts < trade.ts
        if trade.maker:
            assert order.price is not None
            assert low < order.price if trade.side == "BUY" else high > order.price
            assert trade.price == order.price
            maker_qty[trade.ts] = maker_qty.get(trade.ts, ZERO) + trade.qty
        elif order.type == "LIMIT":
            assert trade.price <= order.price if trade.side == "BUY" else trade.price >= order.price
        elif order.type == "STOP_MARKET":
            assert low <= order.stop_price if trade.side == "SELL" else high >= order.stop_price
        else:
            worse = trade.price - D(repr(bar.open))
            assert worse >= 0 if trade.side == "BUY" else worse <= 0
    for ts, qty in maker_qty.items():
        assert qty <= D(repr(bars[ts].volume)) * SHARE


@given(stories())
@settings(max_examples=40)
def test_a_death_at_any_step_changes_nothing(story: Story) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dead = play(story, Path(folder) / "paper.sqlite", death=story.death)
        alive = play(story)
        assert everything(dead) == everything(alive)
        dead.restart()
        assert everything(dead) == everything(alive)


def everything(made: Bench) -> tuple[object, ...]:
    assert isinstance(made.seen, MarketSnapshot)
    account: Account = made.seen.account
    orders = [made.venue.find_order(SYMBOL, f"o{n}") for n in range(40)]
    shown = (account.wallet_usd, account.positions, account.open_orders)
    known = [order for order in orders if not isinstance(order, NotFound)]
    return (*shown, made.trades, made.venue.cash(0.0), known)
