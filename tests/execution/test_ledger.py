from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.records import Anchors, CashTotals
from execution.core.seam import ZERO, CashRow, Trade
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from tests.support import builders
from tests.support.ledgers import fill_story, prepare, start_row, views

NOW = builders.NOW
LONG = ("BTCUSDT", "LONG")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper-main.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    opened = Ledger(LedgerFile(path, "paper", "main"))
    yield opened
    opened.close()


# ---------------------------------------------------------------- restart


def test_a_restart_gives_equal_views(path: Path, ledger: Ledger) -> None:
    fill_story(ledger)
    before = views(ledger)
    ledger.close()
    again = Ledger(LedgerFile(path, "paper", "main"))
    assert views(again) == before
    assert before["counts"] == {
        "intents": 1,
        "orders": 1,
        "fills": 2,
        "legs": 1,
        "maker_fills": 2,
    }
    again.close()


def test_everything_comes_back_to_the_last_digit(ledger: Ledger) -> None:
    ledger.open_route(builders.plan(builders.intent("0.12345678901234567")), NOW)
    prepare(ledger, qty=Decimal("0.00000001"), price=Decimal("123456.10"))
    (order,) = ledger.open_orders()
    assert (str(order.qty), str(order.price)) == ("1E-8", "123456.10")
    assert ledger.routes()["d1"].qty == Decimal("0.12345678901234567")


def test_what_is_recorded_can_be_seen_by_another_process_at_once(
    path: Path, ledger: Ledger
) -> None:
    prepare(ledger)
    other = sqlite3.connect(path)
    assert other.execute("SELECT state FROM orders").fetchall() == [("PREP",)]
    other.close()


def test_a_durable_ledger_syncs_every_commit(ledger: Ledger) -> None:
    assert ledger._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert ledger._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    quick = Ledger(LedgerFile(None, "paper", "main", durable=False))
    assert quick._db.execute("PRAGMA synchronous").fetchone()[0] == 0
    quick.close()


# ---------------------------------------------------------------- transactions


def test_a_failed_transaction_leaves_nothing(ledger: Ledger) -> None:
    prepare(ledger)

    def open_route_and_fail() -> None:
        with ledger.transaction():
            ledger.open_route(builders.plan(), NOW)
            prepare(ledger)

    with pytest.raises(sqlite3.IntegrityError):
        open_route_and_fail()
    assert ledger.routes() == {}
    assert len(ledger.open_orders()) == 1
    assert not ledger._db.in_transaction


def test_a_commit_that_fails_does_not_leave_the_next_one_inside_it(
    path: Path, ledger: Ledger
) -> None:
    # A deferred foreign key fails at the commit itself, as a full disk does.
    db = ledger._db
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    db.execute(
        "CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    with pytest.raises(sqlite3.IntegrityError), ledger.transaction():
        db.execute("INSERT INTO child VALUES (7)")
    prepare(ledger)
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    other.close()


# ---------------------------------------------------------------- unique keys


def test_a_client_id_exists_once(ledger: Ledger) -> None:
    prepare(ledger)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.prepare(builders.new_order("hgp-d1-1"), "d2", 1, NOW)
    assert len(ledger.open_orders()) == 1


def test_an_attempt_of_a_decision_exists_once(ledger: Ledger) -> None:
    prepare(ledger)
    with pytest.raises(sqlite3.IntegrityError):
        ledger.prepare(builders.new_order("hgp-other"), "d1", 1, NOW)


def test_a_trade_counts_once_by_symbol_and_id(ledger: Ledger) -> None:
    first, second = builders.trade("t1", "2"), builders.trade("t2", "1")
    assert ledger.add_trades([first]) == ((first,), (), True)
    assert ledger.add_trades([first, second, second]) == ((second,), (), True)
    other = builders.trade("t1", "4", symbol="ETHUSDT")
    assert ledger.add_trades([other]) == ((other,), (), True)
    assert ledger.legs()[LONG].qty == 3
    assert ledger.cash.fees_usd == Decimal("0.06")


def test_a_reduction_that_is_told_before_what_it_reduces_waits_for_it(ledger: Ledger) -> None:
    bought = builders.trade("t1", "2", ts=NOW)
    sold = builders.trade("t2", "2", side="SELL", ts=NOW + 1)
    assert ledger.add_trades([sold]) == ((), (), False)
    assert (ledger.legs(), ledger.cash.fees_usd) == ({}, 0)
    new, (closed,), whole = ledger.add_trades([sold, bought])
    assert (new, whole) == ((bought, sold), True)
    assert (closed.qty, closed.opened_ts, closed.closed_ts) == (2, NOW, NOW + 1)


def test_a_cash_row_counts_once_by_its_id(ledger: Ledger) -> None:
    row = CashRow("f1", "funding", "USDT", Decimal("-1.5"), "BTCUSDT", NOW)
    ledger.add_cash([row, row])
    ledger.add_cash([row])
    assert ledger.cash.funding_usd == Decimal("-1.5")


# ---------------------------------------------------------------- fills


def test_a_fill_belongs_to_its_order_and_its_route(ledger: Ledger) -> None:
    ledger.open_route(builders.plan(), NOW)
    prepare(ledger, qty=Decimal(10))
    ledger.add_trades([builders.trade("t1", "2"), builders.trade("t2", "0.5")])
    assert ledger.open_orders()[0].filled_qty == Decimal("2.5")
    route = ledger.routes()["d1"]
    assert (route.filled_qty, route.attempts) == (Decimal("2.5"), 1)
    leg = ledger.legs()[LONG]
    assert (leg.position_id, leg.strategy, leg.exit) == ("d1", "fade", builders.PLAN)


def test_a_fill_of_nobodys_order_opens_a_foreign_leg_without_a_plan(ledger: Ledger) -> None:
    ledger.add_trades([builders.trade("t1", client_id="by-hand")])
    leg = ledger.legs()[LONG]
    assert (leg.strategy, leg.exit) == ("foreign", None)


def test_a_leg_that_becomes_flat_is_a_closed_trade(ledger: Ledger) -> None:
    opened = builders.trade("t1", "3")
    left = builders.trade("t2", "1", side="SELL", realized_usd=Decimal(5), ts=NOW + 60)
    rest = builders.trade("t3", "2", side="SELL", realized_usd=Decimal(-2), ts=NOW + 90)
    assert ledger.add_trades([opened, left])[1] == ()
    ((closed,),) = (ledger.add_trades([rest])[1],)
    assert (closed.qty, closed.realized_usd, closed.fees_usd) == (3, 3, Decimal("0.06"))
    assert (closed.opened_ts, closed.closed_ts) == (NOW, NOW + 90)
    assert (closed.entry_usd, closed.risk_usd) == (300, None)  # nobody's leg has no stop
    assert ledger.legs() == {}


def test_a_closed_trade_says_what_it_was_opened_for_and_what_its_stop_risked(
    ledger: Ledger,
) -> None:
    ledger.open_route(builders.plan(), NOW)
    prepare(ledger, qty=Decimal(3))
    fills = [
        builders.trade("t1", "1"),
        builders.trade("t2", "2", price=Decimal(103), ts=NOW + 1),
        builders.trade("t3", "3", side="SELL", price=Decimal(120), ts=NOW + 2),
    ]
    (closed,) = ledger.add_trades(fills)[1]
    assert (closed.entry_usd, closed.risk_usd) == (306, 36)  # the stop stands at 90
    again = builders.trade("t4", "1", price=Decimal(110), ts=NOW + 3)
    out = builders.trade("t5", "1", side="SELL", price=Decimal(110), ts=NOW + 4)
    (second,) = ledger.add_trades([again, out])[1]
    assert second.entry_usd == 110  # and nothing of the leg before it


def test_a_late_fill_after_the_close_opens_the_leg_again_under_its_own_name(
    ledger: Ledger,
) -> None:
    ledger.open_route(builders.plan(), NOW)
    prepare(ledger, qty=Decimal(10))
    ledger.add_trades([builders.trade("t1"), builders.trade("t2", side="SELL", client_id="x")])
    ledger.add_trades([builders.trade("t3")])
    assert ledger.legs()[LONG].position_id == "d1:t3"


FILLS = st.lists(
    st.tuples(
        st.sampled_from(["BTCUSDT", "ETHUSDT"]),
        st.sampled_from(["LONG", "SHORT"]),
        st.sampled_from(["BUY", "SELL"]),
        st.decimals(min_value="0.001", max_value=50, places=3),
        st.decimals(min_value=-100, max_value=100, places=8),
        st.decimals(min_value=0, max_value=1, places=8),
        st.sampled_from(["USDT", "BNB"]),
    ),
    max_size=25,
)


def trades_of(drawn) -> list[Trade]:
    """Make trades that an exchange can make: a leg is reduced by no more than it holds."""
    made: list[Trade] = []
    held: dict[tuple[str, str], Decimal] = {}
    for i, (symbol, position_side, side, qty, realized, fee, asset) in enumerate(drawn):
        adding = "SELL" if position_side == "SHORT" else "BUY"
        key, size = (symbol, position_side), Decimal(str(qty))
        reduces = side != adding and held.get(key, ZERO) >= size
        held[key] = held.get(key, ZERO) + (-size if reduces else size)
        made.append(
            builders.trade(
                f"t{i}",
                str(qty),
                symbol=symbol,
                position_side=position_side,
                side=side if reduces else adding,
                realized_usd=realized,
                fee=fee,
                fee_usd=fee,
                fee_asset=asset,
                ts=NOW + i,
            )
        )
    return made


@given(FILLS, st.lists(st.integers(min_value=0, max_value=24), max_size=20))
def test_legs_are_the_sum_of_fills_however_often_they_are_heard(drawn, again: list[int]) -> None:
    trades = trades_of(drawn)
    ledger = Ledger(LedgerFile(None, "paper", "main", durable=False))
    for trade in trades:
        ledger.add_trades([trade])
    ledger.add_trades([trades[i] for i in again if i < len(trades)])
    wanted: dict[tuple[str, str], Decimal] = {}
    for trade in trades:
        key = (trade.symbol, trade.position_side)
        signed = trade.qty if trade.side == "BUY" else -trade.qty
        wanted[key] = wanted.get(key, ZERO) + signed
    assert {key: leg.qty for key, leg in ledger.legs().items()} == {
        key: qty for key, qty in wanted.items() if qty != 0
    }
    ledger.close()


@given(FILLS, st.permutations(range(25)))
def test_the_order_of_arrival_changes_no_sum(drawn, order: list[int]) -> None:
    trades = trades_of(drawn)
    one = Ledger(LedgerFile(None, "paper", "main", durable=False))
    two = Ledger(LedgerFile(None, "paper", "main", durable=False))
    one.add_trades(trades)
    two.add_trades([trades[i] for i in order if i < len(trades)])
    assert one.cash == two.cash
    assert {key: leg.qty for key, leg in one.legs().items()} == {
        key: leg.qty for key, leg in two.legs().items()
    }
    one.close()
    two.close()


# ---------------------------------------------------------------- cash

CASH = st.lists(
    st.tuples(
        st.sampled_from(["funding", "transfer", "fee_asset"]),
        st.sampled_from(["USDT", "BNB"]),
        st.decimals(min_value=-1000, max_value=1000, places=8),
    ),
    max_size=15,
)


@given(FILLS, CASH)
def test_cash_totals_are_exact_and_equal_after_a_reopen(drawn, rows) -> None:
    trades = trades_of(drawn)
    cash = [
        start_row("9999.12345678"),
        *[
            CashRow(f"c{i}", kind, asset, amount, None, NOW + i)
            for i, (kind, asset, amount) in enumerate(rows)
        ],
    ]
    ledger = Ledger(LedgerFile(None, "paper", "main", durable=False))
    ledger.add_trades(trades)
    ledger.add_cash(cash)
    fees = sum((t.fee for t in trades if t.fee_asset == "USDT"), ZERO)
    realized = sum((t.realized_usd for t in trades), ZERO)
    moved = sum((row.amount for row in cash if row.asset == "USDT"), ZERO)
    assert ledger.cash.fees_usd == fees
    assert ledger.cash.realized_usd == realized
    assert ledger.cash.wallet_usd == moved + realized - fees
    assert ledger._sum_cash() == ledger.cash  # what a reopen reads
    ledger.close()


def test_an_empty_ledger_has_no_cash_and_no_beginning(ledger: Ledger) -> None:
    assert ledger.cash == CashTotals()
    assert ledger.begun_ts() is None
    assert (ledger.last_trade_ts("BTCUSDT"), ledger.last_cash_ts()) == (0.0, 0.0)


# ---------------------------------------------------------------- routes


def test_a_finished_exit_can_be_opened_again_for_what_is_still_there(ledger: Ledger) -> None:
    leave = builders.plan(builders.leaving("3"))
    ledger.open_route(leave, NOW)
    prepare(ledger, "x1", side="SELL", qty=Decimal(3))
    ledger.add_trades([builders.trade("t0", "3")])
    sold = builders.trade("t1", "2", client_id="hgp-x1-1", side="SELL")
    ledger.add_trades([sold])
    ledger.close_route(ledger.routes()["x1"])
    assert ledger.routes() == {}
    ledger.open_route(builders.plan(builders.leaving("1")), NOW)
    route = ledger.routes()["x1"]
    assert (route.qty, route.filled_qty, route.attempts) == (3, 2, 1)


def test_a_route_that_is_over_tells_its_own_orders_and_no_others(ledger: Ledger) -> None:
    """The look that an order is signed by can be older than the opening of its route."""
    for attempt, since_s in ((1, 0.5), (2, 1.5)):
        ledger.open_route(builders.plan(builders.leaving("3")), NOW + since_s)
        prepare(ledger, "x1", attempt=attempt, side="SELL", qty=Decimal(3))
        end = ledger.close_route(ledger.routes()["x1"])
        assert [order.attempt for order in end.orders] == [attempt]


def test_an_entry_is_opened_once_even_by_a_process_that_forgot(ledger: Ledger) -> None:
    ledger.open_route(builders.plan(), NOW)
    ledger.close_route(ledger.routes()["d1"])
    ledger.open_route(builders.plan(), NOW + 1)
    assert ledger.routes() == {}
    assert ledger.entries(0.0) == [("BTCUSDT", NOW)]


def test_what_was_decided_once_stays_decided(ledger: Ledger) -> None:
    assert not ledger.is_decided("d1")
    ledger.open_route(builders.plan(), NOW)
    assert ledger.is_decided("d1")
    ledger.close_route(ledger.routes()["d1"])
    assert ledger.is_decided("d1")
    assert not ledger.is_decided("d2")


def test_entries_are_told_by_time_and_by_place(ledger: Ledger) -> None:
    assert ledger.newest_rows() == (0, 0)
    for i, symbol in enumerate(["BTCUSDT", "ETHUSDT", "BTCUSDT"]):
        ledger.open_route(builders.plan(builders.intent("1", f"d{i}", symbol=symbol)), NOW + i)
    ledger.open_route(builders.plan(builders.leaving()), NOW + 9)
    assert ledger.entries(NOW) == [("ETHUSDT", NOW + 1), ("BTCUSDT", NOW + 2)]
    assert ledger.entries(0.0, after_row=2) == [("BTCUSDT", NOW + 2)]
    assert ledger.newest_rows() == (4, 0)


def test_rejects_are_told_with_their_code_until_they_are_forgiven(ledger: Ledger) -> None:
    for i, code in enumerate(["-2019", "-1111"], start=1):
        record = prepare(ledger, attempt=i, signed_ts=NOW + i)
        ledger.move_order(record, "REJECTED", "no", code=code)
    told = [(("BTCUSDT", "-2019"), NOW + 1), (("BTCUSDT", "-1111"), NOW + 2)]
    assert ledger.rejects(0.0) == told
    assert ledger.rejects(NOW + 1) == ledger.rejects(0.0, after_row=1) == told[1:]
    ledger.reset_limits(Anchors(9.0, 9.0, "2023-11-15", resets=1), "request1")
    assert ledger.rejects(0.0) == []
    assert (ledger.anchors().resets, ledger.reset_by()) == (1, "request1")
    ledger.move_order(prepare(ledger, attempt=3), "REJECTED", "no", code="-2019")
    assert ledger.rejects(0.0) == [(("BTCUSDT", "-2019"), NOW)]


# ---------------------------------------------------------------- state


def test_a_moved_order_keeps_what_it_knew(ledger: Ledger) -> None:
    record = prepare(ledger)
    live = ledger.move_order(record, "LIVE", "accepted", venue_order_id="v7")
    assert (live.was, live.order.state, live.reason) == ("PREP", "LIVE", "accepted")
    gone = ledger.move_order(live.order, "CANCELED", "canceled")
    assert gone.order.venue_order_id == "v7"
    assert ledger.open_orders() == ()


def test_an_order_refused_keeps_its_code(ledger: Ledger) -> None:
    change = ledger.move_order(prepare(ledger), "REJECTED", "would cross", code="-5022")
    assert change.order.code == "-5022"


def test_the_ledger_belongs_to_the_thread_that_opened_it(ledger: Ledger) -> None:
    errors: list[Exception] = []

    def write() -> None:
        try:
            prepare(ledger)
        except sqlite3.ProgrammingError as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(10)
    assert len(errors) == 1


def test_anchors_are_replaced(ledger: Ledger) -> None:
    ledger.keep_anchors(Anchors(1.5, 2.5, "2023-11-14"))
    later = Anchors(9.25, 2.5, "2023-11-15", Decimal("-0.00000001"), True, NOW, 3)
    ledger.keep_anchors(later)
    assert ledger.anchors() == later


# ---------------------------------------------------------------- one-way mode


def both(trade_id: str, side: str, qty: str, **fields: object) -> Trade:
    known = {"side": side, "position_side": "BOTH", "client_id": f"web_{trade_id}"}
    return builders.trade(trade_id, qty, **{**known, **fields})


def test_a_trade_that_crosses_zero_closes_one_leg_and_opens_another(ledger: Ledger) -> None:
    ledger.add_trades([both("1", "BUY", "2")])
    fee = Decimal("0.1")
    turn = both("2", "SELL", "5", realized_usd=Decimal(7), fee=fee, fee_usd=fee, ts=NOW + 1)
    _, (closed,), whole = ledger.add_trades([turn])
    assert whole
    assert (closed.position_id, closed.realized_usd) == ("foreign:BTCUSDT:1", Decimal(7))
    assert closed.fees_usd == Decimal("0.02") + Decimal("0.04")
    leg = ledger.legs()["BTCUSDT", "BOTH"]
    assert (leg.position_id, leg.qty, leg.opened_ts) == ("foreign:BTCUSDT:2", Decimal(-3), NOW + 1)
    assert ledger.cash.fees_usd == Decimal("0.12")  # as it was paid
    _, (flat,), _ = ledger.add_trades([both("3", "BUY", "3", ts=NOW + 2)])
    assert (flat.qty, flat.fees_usd) == (Decimal(3), Decimal("0.06") + Decimal("0.02"))


@pytest.mark.parametrize("held", [None, "1"])
@pytest.mark.parametrize("client_id", ["hgp-x-1", "autoclose-7", "adl_autoclose"])
def test_what_can_only_reduce_waits_for_what_it_reduces(
    ledger: Ledger, held: str | None, client_id: str
) -> None:
    prepare(ledger, "x", reduce_only=True, position_side="BOTH", side="SELL")
    if held is not None:
        ledger.add_trades([both("1", "BUY", held)])
    late = both("3", "SELL", "2", client_id=client_id, ts=NOW + 2)
    assert ledger.add_trades([late]) == ((), (), False)
    opened = both("2", "BUY", "2" if held is None else "1", ts=NOW + 1)
    _, closed, whole = ledger.add_trades([opened, late])
    assert (len(closed), whole, ledger.legs()) == (1, True, {})
