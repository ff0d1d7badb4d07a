from __future__ import annotations

import pytest
import sample_journals
import sample_state as sample

from dashboard import view_orders
from dashboard.seen import Seen
from execution.state_schema import order_journals
from execution.state_store import Unreadable

NOW = 1_800_000_000.0


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes, journals=sample_journals.journals(NOW))


def told(**journals) -> Seen:
    return Seen(files=sample.payloads(NOW), journals=journals)


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


def row_of(what: Seen, decision_id: str) -> dict[str, str]:
    return next(
        row for row in cells(view_orders.table(what, NOW)) if row["Decision"] == decision_id
    )


def test_an_order_is_one_row_from_intent_to_route():
    assert row_of(seen(), "d1") == {
        "Decided UTC": "01-15 07:45:00",
        "Symbol": "BTCUSDT",
        "Side": "LONG",
        "Action": "entry",
        "Came to": "filled",
        "Wanted": "0.012",
        "Filled": "0.012",
        "Average price": "93,995.00",
        "Maker": "100.0 %",
        "Cost bps": "+1.47",
        "Time to fill": "4.0 s",
        "Attempts": "1",
        "Strategy": "trend",
        "Decision": "d1",
    }


def test_orders_are_newest_first_and_closes_and_policies_are_none():
    ids = [row["Decision"] for row in cells(view_orders.table(seen(), NOW))]
    assert ids == ["d2", "v4", "v3", "d4", "d3", "v2", "v1", "d1"]
    assert {row["Symbol"] for row in cells(view_orders.table(seen(), NOW, "ETHUSDT"))} == {
        "ETHUSDT"
    }


ACK, REJECT, UNKNOWN = order_journals.Ack, order_journals.Reject, order_journals.Unknown


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "decided"),
        ([sample_journals.order(ACK, NOW - 9)], "resting"),
        (
            [sample_journals.order(ACK, NOW - 9), sample_journals.fill(NOW - 8, qty=0.005)],
            "resting",
        ),
        ([sample_journals.order(ACK, NOW - 9), sample_journals.fill(NOW - 8)], "filled"),
        (
            [sample_journals.fill(NOW - 8, qty=0.004), sample_journals.fill(NOW - 7, qty=0.008)],
            "filled",
        ),
        (
            [sample_journals.order(REJECT, NOW - 9, state="REJECTED", code="-2019")],
            "refused by the venue (-2019)",
        ),
        ([sample_journals.order(UNKNOWN, NOW - 9, state="UNKNOWN")], "UNKNOWN at the venue"),
        ([sample_journals.order(order_journals.Cancel, NOW - 9, state="CANCELED")], "canceled"),
    ],
)
def test_what_an_order_came_to(events, words):
    what = told(orders_attempted=(sample_journals.intent(NOW - 10),), orders_executed=tuple(events))
    assert row_of(what, "d1")["Came to"] == words


@pytest.mark.parametrize(
    ("filled_qty", "words"), [(0.012, "filled"), (0.004, "partly filled"), (0.0, "not filled")]
)
def test_a_finished_route_is_judged_by_its_trades(filled_qty, words):
    fills = (sample_journals.fill(NOW - 8, qty=filled_qty),) if filled_qty else ()
    what = told(
        orders_attempted=(sample_journals.intent(NOW - 10),),
        orders_executed=fills,
        order_metrics=(sample_journals.route(NOW - 5, outcome="unfilled"),),
    )
    assert row_of(what, "d1")["Came to"] == words


def test_a_veto_is_named_and_an_order_of_nobodys_goes_by_its_own_id():
    foreign = sample_journals.fill(NOW - 8, None, client_id="web_1", symbol="XRPUSDT")
    what = told(
        orders_attempted=(sample_journals.intent(NOW - 10, "v1"),),
        risk_vetoes=(sample_journals.veto(NOW - 10, "v1"),),
        orders_executed=(foreign,),
    )
    assert row_of(what, "v1")["Came to"] == "vetoed: max concurrent"
    row = row_of(what, "web_1")
    assert (row["Symbol"], row["Came to"], row["Strategy"]) == ("XRPUSDT", "filled", "unknown")
    assert (row["Cost bps"], row["Attempts"]) == ("", "0")


def test_a_story_goes_from_signal_to_route():
    story = view_orders.story(seen(), NOW, "d1")
    assert story is not None
    rows = cells(story)
    assert [row["What"] for row in rows] == ["signal", "intent", "resting", "fill", "route over"]
    assert [row["Since"] for row in rows] == ["+0.0 s", "+0.0 s", "+0.0 s", "+4.0 s", "+4.0 s"]
    assert rows[0]["Details"] == "entry, trend up, strength 0.75"
    assert rows[1]["Details"].startswith("entry BUY 0.012 at a mark of 94,000.00, 1,128.00 USD")
    assert rows[2]["Details"] == ("attempt 1: LIMIT BUY 0.012, at 93,995.00, accepted, hgp-d1-1")
    assert rows[3]["Details"] == "0.012 at 93,995.00 as maker, fee 0.23 USD"
    assert "cost +1.47 bps" in rows[4]["Details"]


def test_a_story_is_found_by_the_orders_own_id_and_only_by_a_whole_one():
    by_id = view_orders.story(seen(), NOW, "hgp-d1-1")
    assert by_id == view_orders.story(seen(), NOW, "d1")
    for nobody in ("hgp", "d", "x", ""):
        assert view_orders.story(seen(), NOW, nobody) is None
    refused = view_orders.story(seen(), NOW, "d3")
    assert refused is not None
    assert "code -2019" in cells(refused)[0]["Details"]
    vetoed = view_orders.story(seen(), NOW, "v4")
    assert vetoed is not None
    assert cells(vetoed)[0]["Details"] == "side blocked, max concurrent"


def test_orders_of_last_week_or_of_the_future_are_not_shown_as_current():
    for now in (NOW + 7 * 86_400, NOW - 7 * 86_400):
        what = Seen(files=sample.payloads(now), journals=sample_journals.journals(NOW))
        assert view_orders.table(what, now).rows == ()
        assert view_orders.story(what, now, "d1") is None
    assert view_orders.age(seen(executor_health=sample.executor(NOW - 60)), NOW).status == "stale"


def test_an_unreadable_journal_is_said():
    bad = Unreadable("execution/orders_attempted.jsonl", "not_a_file", "x")
    table = view_orders.table(told(orders_attempted=bad), NOW)
    assert (table.empty, table.age.status) == (
        "execution/orders_attempted.jsonl cannot be read.",
        "unknown",
    )
