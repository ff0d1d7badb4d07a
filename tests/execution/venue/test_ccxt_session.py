"""Every request is weighed, timed, dated and judged; a ban and a slow exchange cost no more than told."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.core.seam import VenueHealth
from execution.errors import VenueUnavailable
from execution.venue.ccxt_errors import Doubt, Refusal
from execution.venue.ccxt_replies import OrderAck, ServerTime
from execution.venue.ccxt_session import BAN_MARGIN_S, CLOCK_EVERY_S, Endpoint
from execution.venue.ccxt_wire import Unanswered
from tests.support.wires import NOW, ROUND_S, Line, refusal, reply

PUBLIC = Endpoint("public", 5)
SIGNED = Endpoint("signed", 5, signed=True)
POST = Endpoint("post", 0, signed=True)
TIME = "fapiPublicGetTime"
TAKEN = reply({"orderId": 7, "clientOrderId": "a"})


@pytest.fixture
def line(tmp_path: Path) -> Line:
    made = Line(tmp_path)
    made.wire.answers = dict.fromkeys(("public", "signed"), reply({"serverTime": 1})) | {
        "post": TAKEN
    }
    return made


def stamps(line: Line, name: str = "signed") -> list[float]:
    return [params["timestamp"] / 1000 for params in line.wire.asked(name)]


# ---------------------------------------------------------------- the exchange's clock


@pytest.mark.parametrize("skew_s", [-3.0, -1.2, 0.0, 0.4, 3.0])
def test_requests_are_dated_by_the_exchanges_clock(line: Line, skew_s: float) -> None:
    line.wire.skew_s = skew_s
    line.session.read(SIGNED, ServerTime)
    line.session.send(POST, OrderAck, {}, signed_ts=NOW - 1)
    assert stamps(line) == [pytest.approx(NOW + skew_s)]
    assert stamps(line, "post") == [pytest.approx(NOW - 1 + skew_s)]
    assert line.session.health().clock_offset_ms == pytest.approx(1000 * skew_s)
    assert line.session.now() == pytest.approx(NOW + skew_s)


def test_a_slow_measurement_counts_from_its_middle(line: Line) -> None:
    line.wire.takes_s = 0.8
    line.wire.skew_s = 2.0
    line.session.read(SIGNED, ServerTime)
    assert line.session.offset_ms == pytest.approx(2000, abs=1)


def test_the_clock_is_measured_again_after_a_while_and_after_a_refusal(line: Line) -> None:
    for _ in range(3):
        line.session.read(SIGNED, ServerTime)
        line.tick()
    assert len(line.wire.asked(TIME)) == 1
    line.tick(CLOCK_EVERY_S)
    line.session.read(SIGNED, ServerTime)
    assert len(line.wire.asked(TIME)) == 2
    line.wire.answers["signed"] = refusal(-1021)
    with pytest.raises(VenueUnavailable, match="-1021"):
        line.session.read(SIGNED, ServerTime)
    line.wire.answers["signed"] = reply({"serverTime": 1})
    line.wire.skew_s = -2.0
    line.session.read(SIGNED, ServerTime)
    assert len(line.wire.asked(TIME)) == 3
    assert stamps(line)[-1] == pytest.approx(line.clock.now() - 2)


@pytest.mark.parametrize("step_s", [-3.0, 3.0])
def test_a_step_of_the_wall_clock_is_met_before_the_next_request(line: Line, step_s) -> None:
    line.session.read(SIGNED, ServerTime)
    line.clock._now += step_s
    line.wire.skew_s = -step_s
    line.session.read(SIGNED, ServerTime)
    assert stamps(line) == [pytest.approx(NOW), pytest.approx(NOW)]


def test_a_measurement_that_fails_leaves_the_last_one_unless_that_is_wrong(line: Line) -> None:
    line.wire.skew_s = 2.0
    line.session.read(SIGNED, ServerTime)
    line.wire.answers[TIME] = Unanswered("reset")
    line.tick(CLOCK_EVERY_S)
    line.session.read(SIGNED, ServerTime)
    assert stamps(line)[-1] == pytest.approx(line.clock.now() + 2)
    line.clock._now += 3
    for _ in range(2):
        with pytest.raises(VenueUnavailable, match="reset"):
            line.session.read(SIGNED, ServerTime)
        line.tick()
    del line.wire.answers[TIME]
    line.wire.skew_s = -1.0
    line.session.read(SIGNED, ServerTime)
    assert stamps(line)[-1] == pytest.approx(line.clock.now() - 1)


def test_nothing_is_signed_while_the_exchanges_time_is_unknown(line: Line) -> None:
    line.wire.answers[TIME] = Unanswered("reset")
    with pytest.raises(VenueUnavailable, match="reset"):
        line.session.read(SIGNED, ServerTime)
    answer = line.session.send(POST, OrderAck, {})
    assert isinstance(answer, Refusal)
    assert answer.code == "not_sent"
    assert line.wire.names() == []


# ---------------------------------------------------------------- bans


@pytest.mark.parametrize(
    ("answer", "until_ts"),
    [
        (refusal(-1003, 429, retry_after="30"), NOW + 30 + BAN_MARGIN_S),
        (refusal(-1003, 418, "banned until 1800014500000"), 1_800_014_500.0 + BAN_MARGIN_S),
    ],
)
def test_a_ban_is_honoured_by_every_call_also_after_a_restart(line: Line, answer, until_ts) -> None:
    line.wire.answers["public"] = answer
    with pytest.raises(VenueUnavailable, match="-1003"):
        line.session.read(PUBLIC, ServerTime)
    line.wire.answers["public"] = reply({"serverTime": 1})
    for _ in range(2):
        with pytest.raises(VenueUnavailable, match="banned until"):
            line.session.read(PUBLIC, ServerTime)
        with pytest.raises(VenueUnavailable, match="banned until"):
            line.session.read(SIGNED, ServerTime)
        sent = line.session.send(POST, OrderAck, {})
        assert isinstance(sent, Refusal)
        assert sent.code == "not_sent"
        assert line.session.health().banned_until_ts == until_ts
        line.again()
    assert line.wire.names() == ["public"]
    line.clock.set(until_ts)
    assert line.session.read(PUBLIC, ServerTime) == ServerTime(1)
    assert line.session.health().banned_until_ts is None


@pytest.mark.parametrize("skew_s", [-3.0, 3.0])
def test_a_ban_is_sat_out_also_by_a_process_that_does_not_know_the_time(line: Line, skew_s) -> None:
    line.session.read(SIGNED, ServerTime)
    line.wire.skew_s = skew_s  # and not measured yet
    over_ts = NOW + 60 + 3  # by our clock, at the latest
    text = f"banned until {round((NOW + skew_s + 60) * 1000)}"
    line.wire.answers["public"] = refusal(-1003, 418, text)
    with pytest.raises(VenueUnavailable):
        line.session.read(PUBLIC, ServerTime)
    line.again()
    line.clock.set(over_ts)
    with pytest.raises(VenueUnavailable, match="banned until"):
        line.session.read(SIGNED, ServerTime)


def test_an_order_that_meets_the_ban_was_not_taken(line: Line) -> None:
    line.wire.answers["post"] = refusal(-1003, 429, retry_after="30")
    sent = line.session.send(POST, OrderAck, {})
    assert isinstance(sent, Refusal)
    assert (sent.code, sent.meaning, sent.until_ts) == ("-1003", "banned", NOW + 30)


# ---------------------------------------------------------------- weight and time


def test_what_is_over_the_weight_is_not_asked(line: Line) -> None:
    line.wire.answers["public"] = reply({"serverTime": 1}, x_mbx_used_weight_1m="2000")
    line.session.read(PUBLIC, ServerTime)
    with pytest.raises(VenueUnavailable, match="weight 2000 of 2400"):
        line.session.read(PUBLIC, ServerTime)
    line.session.read(PUBLIC, ServerTime, urgency="needed")
    assert line.session.health() == VenueHealth(None, 2000.0, None)
    assert isinstance(line.session.send(POST, OrderAck, {}), OrderAck)


def test_a_round_ends_when_its_time_is_spent(line: Line) -> None:
    line.wire.takes_s = 2.0
    line.session.read(PUBLIC, ServerTime)
    line.session.read(PUBLIC, ServerTime)
    with pytest.raises(VenueUnavailable, match=r"no answer within 1\.0 s"):
        line.session.read(PUBLIC, ServerTime)
    begun = line.clock.now()
    with pytest.raises(VenueUnavailable, match="round"):
        line.session.read(PUBLIC, ServerTime)
    answer = line.session.send(POST, OrderAck, {})
    assert isinstance(answer, Refusal)
    assert answer.code == "not_sent"
    assert line.clock.now() == begun
    assert begun - NOW <= ROUND_S
    line.tick()
    line.session.read(PUBLIC, ServerTime)


def test_an_order_is_not_sent_when_the_round_is_over(line: Line) -> None:
    line.session.read(SIGNED, ServerTime)  # the exchange's clock is known now
    line.wire.takes_s = 2.0
    line.session.read(PUBLIC, ServerTime)
    line.session.read(PUBLIC, ServerTime)
    with pytest.raises(VenueUnavailable, match=r"no answer within 1\.0 s"):
        line.session.read(PUBLIC, ServerTime)
    answer = line.session.send(POST, OrderAck, {})
    assert answer == Refusal("not_sent", "the round's 5 s are over", "refused")
    assert line.wire.asked("post") == []


def test_an_order_without_an_answer_is_a_doubt(line: Line) -> None:
    line.session.read(SIGNED, ServerTime)
    line.wire.takes_s = 3.5
    assert isinstance(line.session.send(POST, OrderAck, {}), Doubt)
    assert len(line.wire.asked("post")) == 1


def test_a_refusal_is_a_value_where_it_is_asked_for(line: Line) -> None:
    line.wire.answers["public"] = refusal(-2013)
    answer = line.session.ask(PUBLIC, ServerTime)
    assert isinstance(answer, Refusal)
    assert answer.meaning == "unknown_order"
    with pytest.raises(VenueUnavailable, match="public: -2013"):
        line.session.read(PUBLIC, ServerTime)


def test_close_lets_go_of_the_wire(line: Line) -> None:
    line.session.close()
    assert line.wire.closed
