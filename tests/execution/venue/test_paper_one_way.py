"""One-way mode on paper: one leg of a symbol, BOTH, which is the sum of what was bought and sold."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.seam import ZERO
from execution.errors import ConfigError
from execution.venue.paper_store import PaperStore
from tests.execution.venue.scripted import Bench, candle

D = Decimal
BUY = {"side": "BUY", "position_side": "BOTH"}
SELL = {"side": "SELL", "position_side": "BOTH"}
OUT = {**SELL, "reduce_only": True}
REST = {"type": "LIMIT", "post_only": True}
FLAT = [candle(100.0, low=99.0, high=101.0)] * 20


def one_way(*closes: float, **fields: object) -> Bench:
    """Return a bench in one-way mode that has seen its first bar."""
    made = Bench([candle(close) for close in closes] or FLAT, mode="one_way", **fields)
    made.step()
    return made


@pytest.mark.parametrize(
    ("mode", "position_side"), [("hedge", "BOTH"), ("one_way", "LONG"), ("one_way", "SHORT")]
)
def test_the_other_mode_s_position_side_is_refused(mode: str, position_side: str) -> None:
    made = Bench(FLAT, mode=mode)  # type: ignore[arg-type]
    made.step()
    assert made.submit("a", side="BUY", position_side=position_side) == "-4061"


def test_an_opposite_order_first_reduces_and_then_opens_the_other_way() -> None:
    made = one_way(100.0, 100.0, 110.0, 110.0)
    made.submit("in", **BUY, qty="2")
    made.step()
    assert made.legs == {"BOTH": D(2)}
    made.submit("out", **SELL, qty="3")
    made.step()
    made.submit("back", **BUY, qty="1")
    (leg,) = made.seen.account.positions
    assert (leg.qty, leg.entry_price) == (D("-1.00"), D("110.00000000"))
    # Two units that cost 100 each are sold at 110; the third is a short from 110.
    assert [(t.qty, t.price, t.realized_usd) for t in made.trades] == [
        (D(2), D("100.0"), ZERO),
        (D(3), D("110.0"), D("20.00000000")),
    ]
    made.step()
    assert made.legs == {}
    assert made.trades[-1].realized_usd == ZERO


def test_a_short_shows_below_zero_with_its_leverage_and_receives_a_positive_funding() -> None:
    made = Bench(FLAT, mode="one_way", funding={"BTCUSDT": [(1_700_006_400.0 + 180, 0.001)]})
    made.step()
    made.submit("in", **SELL, qty="2")
    made.step(2)
    (leg,) = made.seen.account.positions
    assert (leg.position_side, leg.qty, leg.leverage) == ("BOTH", D(-2), D(4))
    assert [row.amount for row in made.venue.cash(1_700_006_401.0)] == [D("0.2")]


def test_reduce_only_never_enlarges_and_never_turns() -> None:
    made = one_way()
    assert made.submit("a", **OUT) == "-2022"  # nothing is held
    made.submit("in", **BUY, qty="2")
    made.step()
    assert made.submit("b", **BUY, reduce_only=True) == "-2022"
    assert made.submit("c", **OUT, qty="5") == ""
    made.step()
    assert made.legs == {}
    assert (made.state("c"), made.trades[-1].qty) == ("EXPIRED", D(2))


def test_a_resting_reduction_expires_where_the_leg_has_turned() -> None:
    made = one_way(100.0, 100.0, 100.0, 103.0, 103.0)
    made.submit("in", **BUY, qty="1")
    made.step()
    assert made.submit("target", **OUT, **REST, price="102.0") == ""
    made.submit("turn", **SELL, qty="3")
    made.step(2)
    assert (made.legs, made.state("target")) == ({"BOTH": D("-2.00")}, "EXPIRED")


def test_a_stop_closes_the_leg_that_it_belongs_to() -> None:
    made = one_way(100.0, 100.0, 95.0, 95.0)
    made.submit("in", **BUY, qty="2")
    made.step()
    stop = {"type": "STOP_MARKET", "close_position": True, "qty": "0", "stop_price": "97.0"}
    assert made.submit("wrong", **BUY, **{**stop, "stop_price": "103.0"}) == "-2022"
    assert made.submit("stop", **SELL, **stop) == ""
    made.step()
    assert (made.legs, made.state("stop")) == ({}, "FILLED")


def test_margin_is_for_the_wider_side_of_what_rests() -> None:
    made = one_way()
    # 40,000 USD can be carried; either side alone, and not both of them added up.
    assert made.submit("a", **BUY, **REST, price="99.5", qty="390") == ""
    assert made.submit("b", **SELL, **REST, price="102.0", qty="390") == ""
    assert made.submit("c", **BUY, **REST, price="99.5", qty="20") == "-2019"


def test_the_mode_cannot_change_while_something_is_held(tmp_path: Path) -> None:
    made = Bench(FLAT, path=tmp_path / "paper.sqlite")
    made.step()
    made.submit("in", side="BUY", position_side="LONG")
    made.step()
    made.venue.close()
    made.mode = "one_way"
    with pytest.raises(ConfigError, match=r"account\.position_mode 'one_way'.*BTCUSDT LONG"):
        made.start()
    made.store.close()
    made.mode = "hedge"
    made.start()
    made.submit("out", side="SELL", position_side="LONG")
    made.step()
    made.venue.close()
    made.mode = "one_way"
    made.start()
    assert made.submit("in", **BUY) == ""


def test_a_short_of_an_older_file_comes_back_as_one(tmp_path: Path) -> None:
    path = tmp_path / "paper.sqlite"
    made = Bench(FLAT, path=path)
    made.step()
    made.submit("in", side="SELL", position_side="SHORT", qty="2")
    before = made.step().account
    # As the first version wrote it: by size alone.
    db = made.store._db
    db.execute("UPDATE legs SET qty = ltrim(qty, '-'), cost_usd = ltrim(cost_usd, '-')")
    db.execute("PRAGMA user_version = 1")
    made.restart()
    assert made.seen.account == before
    assert made.legs == {"SHORT": D(-2)}
    made.venue.close()
    again = PaperStore(path)
    assert again.saved is not None
    assert again.saved[0].legs["BTCUSDT", "SHORT"].qty == D(-2)
    again.close()


@given(
    st.lists(
        st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(1, 400), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_the_wallet_is_the_sum_of_its_parts_and_the_leg_of_its_trades(
    wishes: list[tuple[str, int, bool]],
) -> None:
    closes = [100.0 + (7 * at) % 11 for at in range(len(wishes) + 3)]
    made = one_way(*closes)
    for number, (side, hundredths, reduce_only) in enumerate(wishes):
        fields = {"side": side, "position_side": "BOTH", "reduce_only": reduce_only}
        made.submit(f"o{number}", **fields, qty=str(D(hundredths) / 100))
        made.step()
    account = made.store.saved, made.venue._account
    assert account[1] is not None
    assert made.wallet == account[1].cash.wallet_usd
    signed = [t.qty if t.side == "BUY" else -t.qty for t in made.trades]
    assert made.legs.get("BOTH", ZERO) == sum(signed, ZERO)
    # What was paid and what is left at cost come to what was realized, to the last digit.
    spent = sum((t.price * t.qty * (1 if t.side == "BUY" else -1) for t in made.trades), ZERO)
    cost = sum((leg.cost_usd for leg in account[1].legs.values()), ZERO)
    assert account[1].cash.realized_usd == cost - spent
