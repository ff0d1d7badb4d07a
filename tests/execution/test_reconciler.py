from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.clock import ManualClock
from execution.core.reconcile import VISIBLE_AFTER_S
from execution.core.records import Settled
from execution.core.seam import CashRow
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from execution.reconciler import Reconciler
from tests.support import builders
from tests.support.venue import FakeVenue

NOW = builders.NOW
LONG = ("BTCUSDT", "LONG")
LATE = NOW + VISIBLE_AFTER_S


class Books:
    """A ledger that has begun, a venue, and the reconciler between them."""

    def __init__(self) -> None:
        self.ledger = Ledger(LedgerFile(None, "paper", "main", durable=False))
        self.venue = FakeVenue()
        self.clock = ManualClock(NOW)
        self.reconciler = Reconciler(self.ledger, self.venue, self.clock, "paper")
        self.settle()
        self.venue.asked.clear()

    def settle(self, now: float = NOW) -> Settled:
        self.clock.set(now)
        return self.reconciler.settle(self.venue.observe(now).account)

    def send(self, state: str = "LIVE", *, arrived: bool = True, **fields) -> None:
        """Put one order into the ledger, and into the venue unless it never arrived."""
        order = builders.new_order(**fields)
        self.ledger.open_route(builders.plan(), NOW)
        record = self.ledger.prepare(order, "d1", 1, NOW + 120)
        if state != "PREP":
            self.ledger.move_order(record, state, "test")
        if arrived:
            self.venue.submit(order)

    @property
    def orders(self) -> dict[str, str]:
        return {order.client_id: order.state for order in self.ledger.open_orders()}

    def held(self) -> str:
        leg = self.ledger.legs().get(LONG)
        return "0" if leg is None else str(leg.qty)


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books()
    yield made
    made.ledger.close()


# ---------------------------------------------------------------- nothing to do


def test_equal_books_ask_nothing(books: Books) -> None:
    books.send()
    books.venue.asked.clear()
    assert books.settle() == Settled(complete=True)
    assert books.venue.asked == []


# ---------------------------------------------------------------- fills


def test_a_missing_fill_is_fetched_once(books: Books) -> None:
    books.send()
    trade = books.venue.fill("hgp-d1-1", "0.4")
    found = books.settle()
    assert found.trades == (trade,)
    assert books.held() == "0.4"
    assert books.settle().trades == ()
    books.venue.fill("hgp-d1-1", "0.1")
    assert [t.trade_id for t in books.settle().trades] == ["t2"]
    assert books.held() == "0.5"


def test_a_fill_older_than_the_newest_known_is_not_missed(books: Books) -> None:
    late = books.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(1))
    books.venue.done.remove(late)
    newer = books.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(2))
    assert books.settle().complete
    books.venue.done.append(replace(late, trade_id="late", ts=newer.ts - 0.0005))
    assert [t.trade_id for t in books.settle().trades] == ["late"]
    assert books.held() == "3"


def test_an_order_is_terminal_only_with_all_its_fills(books: Books) -> None:
    books.send()
    trade = books.venue.fill("hgp-d1-1")
    books.venue.done.clear()  # the fill is in the position, and not yet in the list of trades
    found = books.settle()
    assert books.orders == {"hgp-d1-1": "UNKNOWN"}
    assert list(found.halts) == ["BTCUSDT"]
    books.venue.done.append(trade)
    found = books.settle()
    assert books.orders == {}
    assert [(c.was, c.order.state) for c in found.changes] == [("UNKNOWN", "FILLED")]
    assert (books.held(), found.halts) == ("1", {})


def test_a_closing_fill_reports_the_whole_trade(books: Books) -> None:
    books.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(2))
    books.settle()
    books.venue.execute("BTCUSDT", "LONG", "SELL", Decimal(2), realized="7")
    (closed,) = books.settle().closed
    assert (closed.qty, closed.realized_usd, closed.fees_usd) == (2, 7, Decimal("0.04"))


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize("state", ["PREP", "UNKNOWN"])
def test_an_order_in_doubt_that_the_venue_has_is_live(books: Books, state: str) -> None:
    books.send(state)
    (change,) = books.settle().changes
    assert (change.was, change.order.state, change.order.venue_order_id) == (state, "LIVE", "v1")


def test_an_order_in_doubt_that_is_over_is_looked_up(books: Books) -> None:
    books.send("UNKNOWN")
    books.venue.fill("hgp-d1-1")
    (change,) = books.settle().changes
    assert (change.order.state, change.order.venue_order_id) == ("FILLED", "v1")
    assert books.held() == "1"


@pytest.mark.parametrize("final", ["CANCELED", "EXPIRED"])
def test_an_order_that_ended_by_itself_is_ended(books: Books, final: str) -> None:
    books.send()
    books.venue.fill("hgp-d1-1", "0.3")
    books.venue.end("hgp-d1-1", final)
    assert [c.order.state for c in books.settle().changes] == [final]
    assert books.held() == "0.3"


def test_not_found_stays_unknown_until_the_bound_and_then_is_never(books: Books) -> None:
    books.send("PREP", arrived=False)
    for now in (NOW, NOW + 1, LATE - 0.1):
        books.settle(now)
        assert books.orders == {"hgp-d1-1": "UNKNOWN"}
    books.settle(LATE)
    assert books.orders == {"hgp-d1-1": "UNKNOWN"}
    (change,) = books.settle(LATE + 1).changes
    assert (change.order.state, change.reason) == ("NEVER", "never reached the venue")
    assert books.orders == {}


def test_one_look_in_vain_is_not_enough_however_late_it_is(books: Books) -> None:
    books.send("UNKNOWN", arrived=False)
    books.settle(NOW)
    books.settle(LATE + 9_000)
    assert books.orders == {"hgp-d1-1": "UNKNOWN"}


def test_an_order_that_shows_up_late_is_live_and_was_not_given_up(books: Books) -> None:
    books.send("UNKNOWN")
    books.venue.hidden.add("hgp-d1-1")
    for now in (NOW, NOW + 10, LATE - 0.1, LATE):
        books.settle(now)
    books.venue.hidden.clear()
    books.settle(LATE + 1)
    assert books.orders == {"hgp-d1-1": "LIVE"}


def test_an_order_is_not_given_up_while_the_position_disagrees(books: Books) -> None:
    books.send("UNKNOWN")
    books.venue.fill("hgp-d1-1")
    books.venue.hidden.add("hgp-d1-1")
    books.venue.done.clear()
    for now in (LATE, LATE + 1, LATE + 2, LATE + 3):
        books.settle(now)
    assert books.orders == {"hgp-d1-1": "UNKNOWN"}


def test_a_live_order_that_the_venue_has_lost_is_unknown_first(books: Books) -> None:
    books.send()
    books.settle(NOW)
    books.venue.hidden.add("hgp-d1-1")
    books.venue.change()
    (change,) = books.settle(LATE + 60).changes
    assert (change.order.state, change.reason) == ("UNKNOWN", "lost at the venue")


def test_foreign_orders_are_adopted_and_shown_and_left_alone(books: Books) -> None:
    books.venue.submit(builders.new_order("somebody-1"))
    settled = books.settle()
    assert (settled.complete, settled.halts) == (True, {})
    assert [(c.order.client_id, c.order.foreign, c.reason) for c in settled.changes] == [
        ("somebody-1", True, "foreign")
    ]
    assert books.orders == {"somebody-1": "LIVE"}
    assert books.settle().changes == ()
    assert books.venue.open_ids() == ["somebody-1"]
    assert books.venue.canceled == []


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize("silent", ["trades", "find_order", "cash"])
def test_an_unanswered_question_stays_open(books: Books, silent: str) -> None:
    books.send()
    books.venue.fill("hgp-d1-1")
    books.venue.pay("f1", "-0.5")
    books.venue.mute.add(silent)
    assert not books.settle().complete
    books.venue.mute.clear()
    assert books.settle().complete
    assert (books.orders, books.held()) == ({}, "1")
    assert books.ledger.cash.wallet_usd == books.venue.wallet


def test_no_order_is_judged_while_its_fills_cannot_be_read(books: Books) -> None:
    books.send("UNKNOWN", arrived=False)
    books.venue.mute.add("trades")
    for now in (LATE, LATE + 1, LATE + 2, LATE + 3):
        assert not books.settle(now).complete
    assert books.orders == {"hgp-d1-1": "UNKNOWN"}
    assert "find hgp-d1-1" not in books.venue.asked


def test_one_silent_symbol_does_not_hold_up_the_others(books: Books) -> None:
    books.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(1))
    books.venue.execute("ETHUSDT", "LONG", "BUY", Decimal(1))
    books.venue.mute.add("trades BTCUSDT")
    found = books.settle()
    assert (found.complete, [t.symbol for t in found.trades]) == (False, ["ETHUSDT"])
    assert found.halts == {}


def test_a_reduction_told_without_what_it_reduces_is_asked_for_again(books: Books) -> None:
    opened = books.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(2))
    books.venue.execute("BTCUSDT", "LONG", "SELL", Decimal(1))
    books.venue.done.remove(opened)
    found = books.settle()
    assert (found.complete, found.unread, found.trades) == (False, {"BTCUSDT"}, ())
    assert (found.halts, books.held()) == ({}, "0")
    books.venue.done.append(opened)
    found = books.settle()
    assert (found.complete, found.unread, books.held()) == (True, frozenset(), "1")
    assert [trade.trade_id for trade in found.trades] == ["t1", "t2"]


# ---------------------------------------------------------------- mismatch


def test_a_position_that_no_fill_explains_halts_its_symbol_and_no_other(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    books.venue.execute("ETHUSDT", "LONG", "BUY", Decimal(1))
    books.venue.held[LONG] = Decimal(5)
    with caplog.at_level(logging.ERROR):
        found = books.settle()
        assert books.settle().halts == found.halts
    assert found.complete
    assert found.halts == {"BTCUSDT": "position_mismatch LONG: ledger 0, venue 5"}
    assert books.held() == "0"  # no fill is invented
    (logged,) = caplog.messages  # at its beginning, not at every look
    assert logged == f"reconciliation symbol=BTCUSDT halted: {found.halts['BTCUSDT']}"


def test_a_mismatch_is_found_beside_an_unanswered_question(books: Books) -> None:
    books.venue.execute("ETHUSDT", "LONG", "BUY", Decimal(1))
    books.venue.held[LONG] = Decimal(5)
    books.venue.mute.add("trades ETHUSDT")
    found = books.settle()
    assert (found.complete, list(found.halts)) == (False, ["BTCUSDT"])


def test_a_mismatch_that_has_healed_is_a_halt_no_more(books: Books) -> None:
    trade = books.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(1))
    books.venue.done.clear()
    assert list(books.settle().halts) == ["BTCUSDT"]
    books.venue.done.append(trade)
    assert books.settle().halts == {}
    assert books.held() == "1"


# ---------------------------------------------------------------- cash


def test_funding_is_booked_once(books: Books) -> None:
    books.venue.pay("f1", "-1.25")
    books.settle()
    books.venue.pay("f2", "0.75")
    books.settle(NOW + 10)
    assert books.ledger.cash.funding_usd == Decimal("-0.5")
    assert books.ledger.cash.wallet_usd == books.venue.wallet


def test_a_wallet_that_nothing_explains_is_shown_and_not_explained_away(books: Books) -> None:
    books.venue.wallet += Decimal(3)
    books.venue.change()
    assert books.settle().complete
    assert books.venue.wallet - books.ledger.cash.wallet_usd == 3


# ---------------------------------------------------------------- the beginning


def begin(venue: FakeVenue) -> Ledger:
    ledger = Ledger(LedgerFile(None, "paper", "main", durable=False))
    account = venue.observe(NOW + 100).account
    reconciler(ledger, venue).settle(account)
    return ledger


def reconciler(ledger: Ledger, venue: FakeVenue) -> Reconciler:
    return Reconciler(ledger, venue, ManualClock(NOW + 100), "paper")


def test_a_new_ledger_starts_with_the_wallet_as_it_is() -> None:
    ledger = begin(FakeVenue(wallet="1234.5"))
    assert ledger.cash.start_usd == Decimal("1234.5")
    assert ledger.begun_ts() == NOW + 100


def test_a_new_ledger_on_an_old_account_counts_nothing_twice() -> None:
    venue = FakeVenue()
    venue.execute("ETHUSDT", "LONG", "BUY", Decimal(2))
    venue.execute("ETHUSDT", "LONG", "SELL", Decimal(2), realized="50")  # flat, and in the wallet
    venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3))
    venue.observe(NOW + 90)
    venue.pay("f0", "-4")
    ledger = begin(venue)
    assert ledger.legs()[LONG].qty == 3
    assert ledger.cash.wallet_usd == venue.wallet
    for symbol in ("ETHUSDT", "BTCUSDT"):
        venue.execute(symbol, "LONG", "BUY", Decimal(1), realized="0")
    venue.pay("f1", "-2")
    found = reconciler(ledger, venue).settle(venue.observe(NOW + 200).account)
    assert (found.complete, found.halts) == (True, {})
    assert {key: leg.qty for key, leg in ledger.legs().items()} == {LONG: 4, ("ETHUSDT", "LONG"): 1}
    assert ledger.cash.wallet_usd == venue.wallet
    assert ledger.cash.funding_usd == -2


def test_a_ledger_does_not_begin_while_its_past_cannot_be_read() -> None:
    venue = FakeVenue()
    venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3))
    venue.mute.add("trades")
    ledger = begin(venue)
    assert ledger.begun_ts() is None
    venue.mute.clear()
    assert reconciler(ledger, venue).settle(venue.observe(NOW + 200).account).complete
    assert ledger.cash.wallet_usd == venue.wallet


@pytest.mark.parametrize("wallet", ["0", "-5"])
def test_a_ledger_does_not_begin_with_a_wallet_that_was_not_told(wallet: str) -> None:
    venue = FakeVenue(wallet=wallet)
    ledger = begin(venue)
    assert ledger.begun_ts() is None
    venue.wallet = Decimal(500)
    venue.change()
    assert reconciler(ledger, venue).settle(venue.observe(NOW + 1).account).complete
    assert ledger.cash.start_usd == 500


def test_a_fill_of_an_own_order_counts_even_when_the_exchanges_clock_is_behind(
    books: Books,
) -> None:
    books.send()
    trade = books.venue.fill("hgp-d1-1")
    books.venue.done[-1] = replace(trade, ts=NOW - 3.0)
    assert books.settle().halts == {}
    assert books.held() == "1"


def test_a_start_is_written_once(books: Books) -> None:
    books.ledger.add_cash([CashRow("start", "start", "USDT", Decimal(5), None, NOW + 9)])
    assert books.ledger.cash.start_usd == 10_000
