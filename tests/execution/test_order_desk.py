from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from execution.core.seam import Ambiguous, NewOrder, Quote, Rejected
from execution.core.types import Decided, OrderResult, TradingState
from execution.order_desk import SEND_WITHIN_S
from tests.support import builders
from tests.support.rig import Rig
from tests.support.venue import FakeVenue

NOW = builders.NOW
LONG = ("BTCUSDT", "LONG")
HALTED = Decided(TradingState("HALTED", ("kill_switch",)))
REDUCING = Decided(TradingState("REDUCING", ("day_loss_limit",)))
IDLE = Decided(builders.ACTIVE)
WOULD_CROSS = Rejected("-5022", "post-only order would cross")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "paper-main.sqlite"


@pytest.fixture
def rig(path: Path) -> Rig:
    return Rig(path)


def entry(qty: str = "10", decision_id: str = "d1", **fields):
    return builders.plan(builders.intent(qty, decision_id, **fields))


def ids(venue: FakeVenue) -> list[str]:
    return [order.client_id for order in venue.sent]


def states(rig: Rig) -> list[tuple[str, str]]:
    changes = [result.change for result in rig.results if isinstance(result, OrderResult)]
    return [(change.order.state, change.reason) for change in changes]


def hold(rig: Rig, qty: str = "10") -> str:
    """Open a position through the desk; return its id."""
    rig.tick(entry(qty))
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    return rig.ledger.legs()[LONG].position_id


def protect(rig: Rig) -> None:
    position = rig.ledger.legs()[LONG].position_id
    wanted = builders.leaving("10", "s1", action="protect", position_id=position)
    rig.tick(builders.plan(wanted, builders.STOP, retry_s=2.0))


def leave(rig: Rig, decision_id: str = "x1", *legs):
    position = rig.ledger.legs()[LONG].position_id
    wanted = builders.leaving("10", decision_id, position_id=position)
    return builders.plan(wanted, *(legs or (builders.TAKER,)), retry_s=2.0)


# ---------------------------------------------------------------- journal before send


def test_an_order_is_durable_before_the_venue_hears_of_it(rig: Rig) -> None:
    seen: list[tuple[str, str, str, float]] = []

    def look_into_the_file(order: NewOrder) -> None:
        other = sqlite3.connect(rig.path)
        seen.extend(
            other.execute(
                "SELECT client_id, state, qty, signed_ts FROM orders WHERE client_id = ?",
                (order.client_id,),
            )
        )
        other.close()

    rig.venue.watch = look_into_the_file
    rig.tick(entry())
    assert seen == [("hgp-d1-1", "PREP", "10.000", NOW)]


def test_nothing_is_sent_when_the_journal_cannot_be_written(rig: Rig) -> None:
    rig.tick()
    rig.ledger._db.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError):
        rig.tick(entry())
    assert rig.venue.sent == []


def test_what_is_sent_is_what_is_journalled(rig: Rig) -> None:
    rig.tick(entry())
    (sent,), (kept,) = rig.venue.sent, rig.ledger.open_orders()
    assert (sent.qty, sent.price, sent.type) == (kept.qty, kept.price, kept.type)
    assert (sent.price, sent.post_only) == (Decimal("99.9"), True)
    assert kept.deadline_ts == NOW + builders.MAKER.rest_s
    assert states(rig) == [("LIVE", "accepted")]


# ---------------------------------------------------------------- once


def test_one_attempt_is_sent_exactly_once(rig: Rig) -> None:
    rig.tick(entry())
    for _ in range(5):
        rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1"]


def test_the_same_plan_again_sends_nothing_more(rig: Rig) -> None:
    rig.tick(entry())
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    rig.tick()
    rig.tick(entry())
    rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1"]


@pytest.mark.parametrize("code", [None, "-4116"])
def test_an_answer_that_cannot_be_believed_is_unknown_and_stops_the_route(
    rig: Rig, code: str | None
) -> None:
    answer = Ambiguous("timeout") if code is None else Rejected(code, "duplicate id")
    rig.venue.answers.append(answer)
    rig.venue.mute.add("find_order")
    rig.tick(entry())
    assert states(rig)[0][0] == "UNKNOWN"
    for _ in range(60):
        rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1"]
    assert rig.orders == {"hgp-d1-1": "UNKNOWN"}


def test_an_order_lost_on_the_way_back_is_found_and_not_sent_again(rig: Rig) -> None:
    rig.venue.answers.append(Ambiguous("connection reset"))
    rig.venue.lost = True
    rig.tick(entry())
    rig.tick()
    assert rig.orders == {"hgp-d1-1": "LIVE"}
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    assert rig.orders == {}
    assert rig.held() == "10.000"
    assert ids(rig.venue) == ["hgp-d1-1"]


def test_an_order_that_never_arrived_is_followed_only_after_the_bound(rig: Rig) -> None:
    rig.venue.answers.append(Ambiguous("timeout"))
    rig.tick(entry())
    while rig.clock.now() < NOW + 20:
        rig.tick()
        assert ids(rig.venue) == ["hgp-d1-1"]
    for _ in range(3):
        rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1", "hgp-d1-2"]


# ---------------------------------------------------------------- routes


def test_a_refused_maker_order_is_followed_by_the_next_leg_in_the_next_tick(rig: Rig) -> None:
    rig.venue.answers.append(WOULD_CROSS)
    rig.tick(entry())
    assert states(rig) == [("REJECTED", "post-only order would cross")]
    assert ids(rig.venue) == ["hgp-d1-1"]
    rig.tick()
    assert [(o.client_id, o.type) for o in rig.venue.sent[1:]] == [("hgp-d1-2", "MARKET")]


def test_a_resting_order_is_canceled_at_its_deadline_and_then_replaced(rig: Rig) -> None:
    rig.tick(entry())
    rig.tick(dt=118.0)
    rig.tick()
    assert rig.venue.canceled == []
    rig.tick()
    assert rig.venue.canceled == ["hgp-d1-1"]
    assert ids(rig.venue) == ["hgp-d1-1"]
    rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1", "hgp-d1-2"]
    assert rig.orders == {"hgp-d1-2": "LIVE"}


def test_a_cancel_without_an_answer_is_asked_again_and_nothing_replaces_the_order(
    rig: Rig,
) -> None:
    rig.tick(entry(), dt=120.0)
    rig.venue.mute.add("cancel")
    for _ in range(4):
        rig.tick()
    assert rig.venue.canceled == ["hgp-d1-1"] * 4
    assert ids(rig.venue) == ["hgp-d1-1"]


def test_a_replacement_is_for_what_the_order_before_left_open(rig: Rig) -> None:
    rig.tick(entry())
    rig.venue.fill("hgp-d1-1", "4")
    rig.tick(dt=200.0)
    rig.tick()
    rig.tick()
    assert [str(order.qty) for order in rig.venue.sent] == ["10.000", "6.000"]


def test_a_fill_during_the_cancel_is_taken_off_the_replacement(rig: Rig) -> None:
    rig.tick(entry(), dt=120.0)
    rig.tick()  # cancels; the order is gone at the venue, with a fill on its way
    order = rig.venue.orders["hgp-d1-1"]
    rig.venue.execute("BTCUSDT", "LONG", "BUY", Decimal(3), client_id="hgp-d1-1")
    rig.venue.orders["hgp-d1-1"] = builders.replace(order, filled_qty=Decimal(3))
    rig.tick()
    assert str(rig.venue.sent[-1].qty) == "7.000"
    assert rig.held() == "3"


def test_a_route_ends_when_it_is_filled(rig: Rig) -> None:
    rig.tick(entry())
    rig.venue.fill("hgp-d1-1")
    rig.tick()
    assert rig.ledger.routes() == {}


def test_an_entry_is_given_up_when_its_leg_is_being_left(rig: Rig) -> None:
    rig.tick(entry())
    rig.venue.fill("hgp-d1-1", "4")
    rig.tick()
    rig.tick(leave(rig))
    assert rig.venue.canceled == ["hgp-d1-1"]
    rig.tick()
    assert "d1" not in rig.ledger.routes()
    assert ids(rig.venue) == ["hgp-d1-1", "hgp-x1-1"]


def test_a_stop_is_canceled_when_its_position_is_gone(rig: Rig) -> None:
    hold(rig)
    protect(rig)
    assert rig.tick().protected == {LONG}
    rig.tick(leave(rig))
    rig.venue.fill("hgp-x1-1")
    rig.tick()
    assert rig.venue.canceled == ["hgp-s1-1"]
    rig.tick()
    rig.tick()
    assert rig.ledger.routes() == {}
    assert rig.orders == {}


def test_the_stop_of_the_position_before_neither_protects_nor_follows_the_next(rig: Rig) -> None:
    hold(rig)
    protect(rig)
    rig.venue.mute.add("cancel")
    rig.tick(leave(rig))
    rig.venue.fill("hgp-x1-1")
    rig.tick()
    rig.tick(entry(decision_id="d2"))
    rig.venue.fill("hgp-d2-1")
    assert rig.tick().protected == frozenset()
    rig.venue.mute.clear()
    for _ in range(5):
        rig.tick()
    assert "hgp-s1-1" not in rig.orders
    assert ids(rig.venue) == ["hgp-d1-1", "hgp-s1-1", "hgp-x1-1", "hgp-d2-1"]


def test_a_refused_stop_is_tried_again_until_it_rests(rig: Rig) -> None:
    hold(rig)
    rig.venue.answers.extend([Rejected("-2021", "would trigger"), Rejected("-2021", "again")])
    protect(rig)
    for _ in range(6):
        rig.tick()
    assert ids(rig.venue)[1:] == ["hgp-s1-1", "hgp-s1-2", "hgp-s1-3"]
    assert rig.recorded.protected == {LONG}


# ---------------------------------------------------------------- the trading state


@pytest.mark.parametrize("live", [HALTED, REDUCING])
def test_an_entry_stops_when_trading_does(rig: Rig, live: Decided) -> None:
    rig.tick(entry())
    rig.tick(live=live)
    assert rig.venue.canceled == ["hgp-d1-1"]
    for _ in range(5):
        rig.tick(live=live)
    rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1"]
    assert rig.ledger.routes() == {}


def test_a_halt_cancels_exits_and_leaves_the_stop_resting(rig: Rig) -> None:
    hold(rig)
    protect(rig)
    rig.tick(leave(rig, "x1", builders.MAKER))
    rig.tick(live=HALTED)
    assert rig.venue.canceled == ["hgp-x1-1"]
    assert rig.venue.open_ids() == ["hgp-s1-1"]


def test_nothing_is_created_while_halted_not_even_a_stop(rig: Rig) -> None:
    hold(rig)
    rig.venue.answers.append(Rejected("-2021", "would trigger"))
    protect(rig)
    sent = len(rig.venue.sent)
    for _ in range(10):
        rig.tick(live=HALTED)
    assert len(rig.venue.sent) == sent
    rig.tick()
    assert len(rig.venue.sent) == sent + 1


def test_a_reduction_lets_an_exit_go_on(rig: Rig) -> None:
    hold(rig)
    rig.venue.answers.append(WOULD_CROSS)
    rig.tick(leave(rig, "x1", builders.MAKER, builders.TAKER))
    rig.tick(live=REDUCING)
    assert ids(rig.venue)[-2:] == ["hgp-x1-1", "hgp-x1-2"]


def test_nothing_is_done_while_blind(rig: Rig) -> None:
    rig.tick(entry())
    rig.tick(dt=300.0)
    rig.venue.mute.add("observe")
    rig.tick()
    assert rig.venue.canceled == []
    assert ids(rig.venue) == ["hgp-d1-1"]
    rig.venue.mute.clear()
    rig.tick()
    assert rig.venue.canceled == ["hgp-d1-1"]


# ---------------------------------------------------------------- quotes


def test_without_a_quote_nothing_is_priced_and_a_cancel_still_goes_out(rig: Rig) -> None:
    rig.tick(entry())
    rig.venue.quotes.clear()
    rig.venue.rules.clear()
    rig.tick(entry(decision_id="d2", symbol="ETHUSDT"))
    assert ids(rig.venue) == ["hgp-d1-1"]
    rig.tick(live=HALTED)
    assert rig.venue.canceled == ["hgp-d1-1"]


def test_an_order_that_slow_answers_made_late_waits_for_the_next_look(rig: Rig) -> None:
    rig.tick()
    rig.venue.watch = lambda _order: rig.clock.advance(SEND_WITHIN_S + 0.1)
    rig.tick(entry(), entry(decision_id="d2", symbol="ETHUSDT"))
    assert ids(rig.venue) == ["hgp-d1-1"]
    rig.venue.watch = None
    rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1", "hgp-d2-1"]


@pytest.mark.parametrize("bid", [float("nan"), float("inf"), 0.0, -1.0, 500.0])
def test_a_quote_that_cannot_be_one_prices_no_entry(rig: Rig, bid: float) -> None:
    rig.venue.quotes["BTCUSDT"] = Quote(NOW, bid=bid, ask=100.1, mark=100.0)
    rig.tick(entry())
    assert rig.venue.sent == []
    rig.venue.quotes["BTCUSDT"] = builders.quote()
    rig.tick()
    assert ids(rig.venue) == ["hgp-d1-1"]
