"""Each fault as its caller sees it, around a fake venue and around the paper venue."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.clock import ManualClock
from execution.core.seam import (
    Accepted,
    Ambiguous,
    Blind,
    MarketSnapshot,
    NotFound,
    Rejected,
    VenueOrder,
)
from execution.venue.fault_plan import (
    BREAKS,
    CALLS,
    NO_ANSWER,
    BrokenReply,
    DuplicateId,
    FaultPlan,
    LateArrival,
    MissingBalance,
    OrdersLate,
    PositionsEmpty,
    Refused,
    ReplyLost,
    RequestLost,
    Slow,
    TradesLate,
    TradesReordered,
    TradesRepeated,
)
from execution.venue.faults import FaultyVenue
from tests.execution.venue.scripted import SYMBOL
from tests.execution.venue.stages import CALM_S, STAGES, FakeStage, PaperStage, Stage
from tests.support import builders
from tests.support.rig import Rig
from tests.support.venue import FakeVenue

D = Decimal


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> type[Stage]:
    made: type[Stage] = request.param
    return made


# ---------------------------------------------------------------- no answer

UNANSWERED = [
    (RequestLost(frac=1.0), False, NO_ANSWER),
    (ReplyLost(frac=1.0), True, NO_ANSWER),
    (BrokenReply(frac=1.0, how="reset", arrived_frac=1.0), True, BREAKS["reset"]),
    (BrokenReply(frac=1.0, how="server_error", arrived_frac=0.0), False, BREAKS["server_error"]),
    (BrokenReply(frac=1.0, how="garbage", arrived_frac=1.0), True, BREAKS["garbage"]),
]


@pytest.mark.parametrize(("fault", "arrives", "reason"), UNANSWERED)
def test_an_unanswered_order_or_cancel_is_ambiguous(
    stage: type[Stage], fault: RequestLost, arrives: bool, reason: str
) -> None:
    made = stage(replace(fault, calls=("submit",)))
    assert made.submit("a") == Ambiguous(reason)
    assert made.has("a") is made.told("a") is arrives

    made = stage(replace(fault, calls=("cancel",)))
    assert isinstance(made.submit("a"), Accepted)
    assert made.venue.cancel(SYMBOL, "a") == Ambiguous(reason)
    found = made.inner.find_order(SYMBOL, "a")
    assert isinstance(found, VenueOrder)
    assert found.state == ("CANCELED" if arrives else "LIVE")


@pytest.mark.parametrize(("fault", "_arrives", "reason"), UNANSWERED)
def test_an_unanswered_question_is_blind(
    stage: type[Stage], fault: RequestLost, _arrives: bool, reason: str
) -> None:
    made = stage(fault)
    for call in ("observe", "find_order", "trades", "cash"):
        assert made.ask(call) == Blind(made.clock.now(), reason)


def test_a_share_of_the_broken_replies_had_arrived(stage: type[Stage]) -> None:
    made = stage(BrokenReply(frac=1.0, how="reset", arrived_frac=0.25))
    for number in range(400):
        assert isinstance(made.submit(f"o{number}"), Ambiguous)
    arrived = sum(made.has(f"o{number}") for number in range(400))
    assert 70 <= arrived <= 130


def test_which_replies_break_and_which_had_arrived_is_drawn_apart(stage: type[Stage]) -> None:
    made = stage(BrokenReply(frac=0.5, how="reset", arrived_frac=0.5))
    answers = [made.submit(f"o{number}") for number in range(400)]
    broken = [number for number in range(400) if isinstance(answers[number], Ambiguous)]
    assert 160 <= len(broken) <= 240
    assert 70 <= sum(made.has(f"o{number}") for number in broken) <= 130


def test_reasons_tell_the_breaks_apart() -> None:
    assert len({*BREAKS.values(), NO_ANSWER}) == 4


def test_an_outage_is_as_long_as_its_window(stage: type[Stage]) -> None:
    made = stage(RequestLost(frac=1.0, from_s=20.0, for_s=5.0, every_s=30.0))
    blind = []
    for second in range(100):
        if isinstance(made.look(), Blind):
            blind.append(second)
            for call in CALLS:
                assert isinstance(made.ask(call), Blind | Ambiguous)
        made.clock.advance(1.0)
    assert blind == [20, 21, 22, 23, 24, 50, 51, 52, 53, 54, 80, 81, 82, 83, 84]
    assert not made.has("asked")


def test_bars_that_close_in_an_outage_are_told_after_it() -> None:
    made = PaperStage(RequestLost(frac=1.0, from_s=30.0, for_s=300.0))
    made.clock.advance(320.0)
    assert isinstance(made.look(), Blind)
    made.clock.advance(20.0)
    seen = made.look()
    assert isinstance(seen, MarketSnapshot)
    assert len(seen.bars[SYMBOL]) == 5


@pytest.mark.parametrize("frac", [0.1, 0.7])
def test_a_fault_strikes_as_often_as_its_chance(stage: type[Stage], frac: float) -> None:
    made = stage(RequestLost(frac=frac, calls=("observe",)))
    blind = sum(isinstance(made.look(), Blind) for _ in range(1000))
    assert abs(blind - 1000 * frac) < 45  # three standard deviations


# ---------------------------------------------------------------- orders that go astray


def test_a_late_order_arrives_later_and_once(stage: type[Stage]) -> None:
    made = stage(LateArrival(frac=1.0, delay_s=3.0, for_s=1.0))
    assert made.submit("a") == Ambiguous(NO_ANSWER)
    for advance_s, there in ((0.0, False), (2.5, False), (0.5, True), (1.0, True)):
        made.clock.advance(advance_s)
        assert made.told("a") is made.has("a") is there
    assert made.venue.cancel(SYMBOL, "a") == Accepted(
        made.inner.find_order(SYMBOL, "a").venue_order_id
    )
    assert made.inner.find_order(SYMBOL, "a").state == "CANCELED"


def test_a_late_order_can_overtake_its_cancel(stage: type[Stage]) -> None:
    made = stage(LateArrival(frac=1.0, delay_s=3.0))
    made.submit("a")
    assert made.venue.cancel(SYMBOL, "a") == NotFound()
    made.clock.advance(3.0)
    seen = made.look()
    assert isinstance(seen, MarketSnapshot)
    assert [order.client_id for order in seen.account.open_orders] == ["a"]


def test_no_order_arrives_after_the_receive_window(stage: type[Stage]) -> None:
    made = stage(LateArrival(frac=1.0, delay_s=3.0))
    made.submit("in-time", signed_ts=made.clock.now() - 2.0)
    made.submit("too-old", signed_ts=made.clock.now() - 2.1)
    made.clock.advance(600.0)
    made.look()
    assert made.has("in-time")
    assert not made.has("too-old")


def test_what_is_under_way_arrives_before_the_calm(stage: type[Stage]) -> None:
    made = stage(LateArrival(frac=1.0, delay_s=4.0), calm_after_s=10.0)
    made.clock.advance(8.0)
    made.submit("a")
    made.clock.advance(2.0)
    assert made.told("a")


def test_late_orders_arrive_in_their_own_order() -> None:
    made = FakeStage(
        LateArrival(frac=1.0, delay_s=4.0, for_s=1.0),
        LateArrival(frac=1.0, delay_s=1.0, from_s=1.0),
    )
    made.submit("slow")
    made.clock.advance(1.0)
    made.submit("quick")
    made.clock.advance(5.0)
    made.look()
    assert [order.client_id for order in made.inner.sent] == ["quick", "slow"]


def test_a_refused_order_never_reaches_the_venue(stage: type[Stage]) -> None:
    codes = ("-2019", "-1111", "-5022")
    made = stage(Refused(frac=1.0, codes=codes))
    answers = [made.submit(f"o{number}") for number in range(60)]
    assert all(isinstance(answer, Rejected) and answer.reason for answer in answers)
    heard = [answer.code for answer in answers if isinstance(answer, Rejected)]
    assert all(heard.count(code) >= 10 for code in codes)
    assert not any(made.has(f"o{number}") for number in range(60))


def test_a_duplicate_id_means_that_the_order_is_there(stage: type[Stage]) -> None:
    made = stage(DuplicateId(frac=1.0))
    answer = made.submit("a")
    assert isinstance(answer, Rejected)
    assert answer.code == "-4116"
    assert made.told("a")


def test_the_venues_own_refusal_stands() -> None:
    made = PaperStage(DuplicateId(frac=1.0))
    answer = made.submit("a", price=D("90.001"))
    assert isinstance(answer, Rejected)
    assert answer.code == "-1111"


def test_the_first_fault_of_the_plan_counts(stage: type[Stage]) -> None:
    lost, refused = RequestLost(frac=1.0), Refused(frac=1.0, codes=("-2019",))
    assert isinstance(stage(lost, refused).submit("a"), Ambiguous)
    assert isinstance(stage(refused, lost).submit("a"), Rejected)


# ---------------------------------------------------------------- orders and trades told late


def test_a_young_order_is_nowhere_to_be_found(stage: type[Stage]) -> None:
    made = stage(OrdersLate(frac=1.0, lag_s=6.0))
    assert isinstance(made.submit("a"), Accepted)
    for advance_s, told in ((0.0, False), (5.5, False), (0.5, True)):
        made.clock.advance(advance_s)
        assert made.told("a") is told
        seen = made.look()
        assert isinstance(seen, MarketSnapshot)
        assert len(seen.account.open_orders) == told
    # The same object says that nothing changed, so it comes through where nothing is hidden.
    right = made.inner.observe(made.clock.now())
    assert isinstance(right, MarketSnapshot)
    assert seen.account is right.account


def test_nothing_is_late_once_the_window_is_closed(stage: type[Stage]) -> None:
    made = stage(OrdersLate(frac=1.0, lag_s=9.0, from_s=2.0, for_s=2.0))
    made.submit("a")
    told = []
    for _ in range(6):
        told.append(made.told("a"))
        made.clock.advance(1.0)
    assert told == [True, True, False, False, True, True]


def test_some_orders_are_late_and_stay_it(stage: type[Stage]) -> None:
    made = stage(OrdersLate(frac=0.3, lag_s=6.0))
    names = [f"o{number}" for number in range(100)]
    for name in names:
        made.submit(name)
    first = {name for name in names if made.told(name)}
    assert 55 <= len(first) <= 85
    made.clock.advance(3.0)
    assert {name for name in names if made.told(name)} == first
    made.clock.advance(3.0)
    assert {name for name in names if made.told(name)} == {*names}


def test_a_young_trade_is_not_listed_yet(stage: type[Stage]) -> None:
    made = stage(TradesLate(frac=1.0, lag_s=20.0))
    made.fill("a", "b")
    truth = made.inner.trades(SYMBOL, 0.0)
    assert len(truth) == 2
    for advance_s, told in ((0.0, ()), (19.0, ()), (2.0, truth)):
        made.clock.advance(advance_s)
        assert made.venue.trades(SYMBOL, 0.0) == told


def test_a_part_of_the_trades_is_late(stage: type[Stage]) -> None:
    made = stage(TradesLate(frac=0.5, lag_s=20.0))
    made.fill(*(f"o{number}" for number in range(60)))
    truth = made.inner.trades(SYMBOL, 0.0)
    told = made.venue.trades(SYMBOL, 0.0)
    assert 15 <= len(told) <= 45
    assert [trade for trade in truth if trade in told] == list(told)
    made.clock.advance(21.0)
    assert made.venue.trades(SYMBOL, 0.0) == truth


def test_a_clock_that_steps_back_hides_nothing(stage: type[Stage]) -> None:
    made = stage(TradesLate(frac=1.0, lag_s=20.0), OrdersLate(frac=1.0, lag_s=6.0))
    made.fill("a")
    made.submit("b")
    made.clock.set(made.clock.now() - 3600.0)
    assert len(made.venue.trades(SYMBOL, 0.0)) == 1
    assert made.told("b")


def test_trades_are_repeated_and_reordered(stage: type[Stage]) -> None:
    made = stage(TradesRepeated(frac=1.0, for_s=100.0), TradesReordered(frac=1.0, from_s=100.0))
    made.fill(*(f"o{number}" for number in range(12)))
    truth = made.inner.trades(SYMBOL, 0.0)
    assert made.venue.trades(SYMBOL, 0.0) == (*truth, *truth)
    made.clock.advance(60.0)
    told = {made.venue.trades(SYMBOL, 0.0) for _ in range(4)}
    assert len(told) == 4
    for order in told:
        assert order != truth
        assert sorted(order, key=truth.index) == list(truth)


# ---------------------------------------------------------------- a wrong account


def test_a_wrong_account_is_shown_and_the_right_one_comes_back(stage: type[Stage]) -> None:
    made = stage(
        PositionsEmpty(frac=1.0, from_s=100.0, for_s=10.0),
        MissingBalance(frac=1.0, from_s=110.0, for_s=10.0),
    )
    made.fill("a")
    right = made.look()
    assert isinstance(right, MarketSnapshot)
    assert [(p.position_side, p.qty) for p in right.account.positions] == [("LONG", D("0.1"))]
    assert right.account.wallet_usd > 9_000
    for at_s, wrong in ((105, {"positions": ()}), (115, {"wallet_usd": D(0)})):
        made.clock.advance(at_s - made.venue._at_s())
        seen = made.look()
        assert isinstance(seen, MarketSnapshot)
        assert seen.account == replace(right.account, **wrong)
    made.clock.advance(10.0)
    seen = made.look()
    assert isinstance(seen, MarketSnapshot)
    assert seen.account == right.account


def test_the_desk_halts_on_a_wrong_account_and_believes_none_of_it() -> None:
    clock = ManualClock(builders.NOW)
    inner = FakeVenue()
    plan = FaultPlan(
        1,
        CALM_S,
        (
            PositionsEmpty(frac=1.0, from_s=10.0, for_s=1.0),
            MissingBalance(frac=1.0, from_s=20.0, for_s=1.0),
        ),
    )
    rig = Rig(venue=FaultyVenue(inner, plan, clock))
    rig.tick()
    rig.tick(builders.plan(builders.intent("10")))
    inner.fill(inner.sent[0].client_id)
    assert rig.tick().halts == {}
    assert D(rig.held()) == 10
    cash = rig.ledger.cash
    for at_s, halts in (
        (10, {"BTCUSDT": "position_mismatch LONG: ledger 10.000, venue 0"}),
        (15, {}),
        (20, {}),
        (25, {}),
    ):
        clock.advance(at_s - clock.monotonic())
        assert rig.tick().halts == halts
        assert D(rig.held()) == 10
        assert rig.ledger.cash == cash
    assert len(inner.sent) == 1
    assert rig.state.book.identity_residual_usd == 0


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("call", CALLS)
def test_a_slow_call_takes_its_time_and_is_answered(stage: type[Stage], call: str) -> None:
    made = stage(Slow(frac=1.0, delay_s=1.5, calls=(call,)))
    for name in CALLS:
        before_s = made.clock.monotonic()
        assert not isinstance(made.ask(name), Blind | Ambiguous | Rejected)
        assert made.clock.monotonic() - before_s == (1.5 if name == call else 0.0)
    assert made.has("asked")


def test_a_slow_call_can_fail_as_well(stage: type[Stage]) -> None:
    made = stage(Slow(frac=1.0, delay_s=1.5), RequestLost(frac=1.0))
    assert made.look() == Blind(made.clock.now() - 1.5, NO_ANSWER)


def test_the_rest_is_the_venues_own(stage: type[Stage]) -> None:
    made = stage(RequestLost(frac=1.0))
    assert made.venue.name == made.inner.name
    assert made.venue.rests_stops is made.inner.rests_stops
    assert made.venue.health() == made.inner.health()
    stops = FakeVenue(rests_stops=False)
    assert FaultyVenue(stops, FaultPlan(1, 1.0, ()), made.clock).rests_stops is False


def test_closing_closes_the_venue() -> None:
    made = PaperStage(RequestLost(frac=1.0))
    made.venue.close()
    assert isinstance(made.inner.trades(SYMBOL, 0.0), Blind)
