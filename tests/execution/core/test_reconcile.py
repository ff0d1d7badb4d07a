from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import reconcile
from execution.core.orders import TERMINAL, moved
from execution.core.seam import NotFound
from tests.support import builders

NOW = builders.NOW
LONG, SHORT = ("BTCUSDT", "LONG"), ("BTCUSDT", "SHORT")
WALLET = Decimal(10_000)
LATE = NOW + reconcile.VISIBLE_AFTER_S


def compared(orders=(), legs=None, wallet=WALLET, **account) -> reconcile.Findings:
    return reconcile.compare(orders, legs or {}, wallet, builders.account(**account))


def settled(state: str, answer, *, now: float = NOW, filled: str = "0"):
    order = builders.order_record(state=state, filled_qty=Decimal(filled))
    return reconcile.settled(order, answer, now - order.signed_ts)


# ---------------------------------------------------------------- what differs


def test_equal_books_leave_nothing_to_ask() -> None:
    order = builders.order_record()
    found = compared(
        [order],
        {LONG: builders.leg()},
        positions=(builders.venue_position(),),
        open_orders=(builders.venue_order(),),
    )
    assert (found.symbols, found.orders, found.foreign, found.cash) == (frozenset(), (), (), False)


@pytest.mark.parametrize(
    "there",
    [
        (),
        (builders.venue_order(state="PARTIAL", filled_qty=Decimal("0.5")),),
        (builders.venue_order(filled_qty=Decimal("0.5")),),
    ],
)
def test_an_order_that_is_elsewhere_is_asked_about_with_its_symbols_trades(there) -> None:
    order = builders.order_record()
    found = compared([order], open_orders=there)
    assert found.orders == (order,)
    assert found.symbols == {"BTCUSDT"}


@pytest.mark.parametrize("state", ["UNKNOWN", "PREP"])
def test_an_order_in_doubt_is_asked_about_even_when_it_is_shown(state: str) -> None:
    order = builders.order_record(state=state)
    assert compared([order], open_orders=(builders.venue_order(),)).orders == (order,)


def test_an_order_that_is_not_ours_is_foreign_and_is_only_shown() -> None:
    theirs = builders.venue_order("somebody-1")
    found = compared(open_orders=(theirs,))
    assert (found.foreign, found.orders) == ((theirs,), ())


def test_what_another_s_order_had_filled_before_it_was_known_is_not_waited_for() -> None:
    known = builders.order_record("o1", state="PARTIAL", filled_qty=Decimal("0.3"), foreign=True)
    shown = builders.venue_order("o1", state="PARTIAL", filled_qty=Decimal("0.7"))
    assert compared([known], open_orders=(shown,)).orders == ()
    ended = replace(shown, state="CANCELED")
    assert reconcile.settled(known, ended, 0.0) == ("CANCELED", "canceled")


def test_a_wallet_that_is_off_by_the_last_digit_is_asked_about() -> None:
    assert compared(wallet=Decimal("10000.00000001")).cash


# ---------------------------------------------------------------- positions

QTYS = st.dictionaries(
    st.sampled_from([LONG, SHORT, ("ETHUSDT", "LONG")]),
    st.integers(min_value=1, max_value=3).map(Decimal),
)


@given(QTYS, QTYS)
def test_a_symbol_mismatches_when_one_of_its_legs_does(here, there) -> None:
    legs = {key: builders.leg(*key, qty=str(qty)) for key, qty in here.items()}
    positions = tuple(builders.venue_position(*key, qty=str(qty)) for key, qty in there.items())
    found = reconcile.mismatches(legs, builders.account(positions=positions))
    wanted = {key[0] for key in here.keys() | there.keys() if here.get(key, 0) != there.get(key, 0)}
    assert set(found) == wanted


def test_a_mismatch_says_both_numbers() -> None:
    found = reconcile.mismatches({LONG: builders.leg(qty="2")}, builders.account())
    assert found == {"BTCUSDT": "position_mismatch LONG: ledger 2, venue 0"}


# ---------------------------------------------------------------- what a lookup proves


@pytest.mark.parametrize("state", ["PREP", "LIVE", "PARTIAL"])
@pytest.mark.parametrize("now", [NOW, LATE - 0.01, LATE, LATE + 1e6])
def test_not_found_makes_an_order_unknown_first(state: str, now: float) -> None:
    why = "not found yet" if now < LATE else "lost at the venue"
    assert settled(state, NotFound(), now=now) == ("UNKNOWN", why)


@pytest.mark.parametrize(
    ("now", "wanted"),
    [(NOW, None), (LATE - 0.01, None), (LATE, ("NEVER", "never reached the venue"))],
)
def test_not_found_is_final_only_when_the_request_can_no_longer_arrive(now, wanted) -> None:
    assert settled("UNKNOWN", NotFound(), now=now) == wanted


def test_an_order_that_was_filled_never_becomes_never() -> None:
    assert settled("UNKNOWN", NotFound(), now=LATE + 1e6, filled="0.1") is None


@pytest.mark.parametrize("final", ["FILLED", "CANCELED", "EXPIRED"])
@pytest.mark.parametrize("state", ["PREP", "LIVE", "PARTIAL", "UNKNOWN"])
def test_a_terminal_state_counts_once_its_fills_are_in_the_ledger(final: str, state: str) -> None:
    answer = builders.venue_order(state=final, filled_qty=Decimal("0.7"))
    early = settled(state, answer, filled="0.3")
    assert early is None if state == "UNKNOWN" else early == ("UNKNOWN", "fills not visible yet")
    assert settled(state, answer, filled="0.7")[0] == final


def test_a_found_order_is_live_again() -> None:
    assert settled("UNKNOWN", builders.venue_order()) == ("LIVE", "accepted")
    assert settled("LIVE", builders.venue_order()) is None
    partial = builders.venue_order(state="PARTIAL", filled_qty=Decimal("0.5"))
    assert settled("LIVE", partial) == ("PARTIAL", "partly filled")
    assert settled("PARTIAL", builders.venue_order()) is None


@given(
    st.sampled_from(["PREP", "LIVE", "PARTIAL", "UNKNOWN"]),
    st.one_of(
        st.just(NotFound()),
        st.builds(
            lambda state, filled: builders.venue_order(state=state, filled_qty=Decimal(filled)),
            st.sampled_from(["LIVE", "PARTIAL", "FILLED", "CANCELED", "EXPIRED", "REJECTED"]),
            st.sampled_from([0, 1]),
        ),
    ),
    st.sampled_from(["0", "1"]),
    st.sampled_from([NOW, LATE]),
)
def test_every_proof_is_a_step_of_the_state_machine(state, answer, filled, now) -> None:
    proven = settled(state, answer, now=now, filled=filled)
    if proven is not None:
        assert proven[0] != state
        assert moved(state, proven[0]) == proven[0]
        if proven[0] in TERMINAL - {"NEVER"}:
            assert answer.filled_qty == Decimal(filled)


def test_reasons_of_what_differs_do_not_depend_on_the_order_of_the_account() -> None:
    one, two = builders.order_record("a"), builders.order_record("b", attempt=2)
    there = (builders.venue_order("b"), builders.venue_order("a"))
    assert compared([one, two], open_orders=there).orders == ()
    moved_one = replace(there[0], state="PARTIAL")
    assert compared([one, two], open_orders=(moved_one, there[1])).orders == (two,)
