from __future__ import annotations

import pytest
import sample_journals
import sample_state as sample
from hypothesis import strategies as st

from dashboard import view_positions
from dashboard.seen import Seen
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
HOSTILE = "<script>alert(1)</script> [a](http://x) `b` **c**"


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes, journals=sample_journals.journals(NOW))


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


# ---------------------------------------------------------------- positions


def test_positions_show_plan_and_distance():
    table = view_positions.positions(seen(), NOW)
    assert table.age.text == "0 s ago"
    btc, eth, _ = cells(table)
    assert btc == {
        "Symbol": "BTCUSDT",
        "Side": "LONG",
        "Unrealized USD": "+155.13",
        "To stop %": "1.74",
        "To stop USD": "430.12",
        "Quantity": "0.25",
        "Notional USD": "24,780.13",
        "Entry": "98,500.00",
        "Mark": "99,120.50",
        "Stop": "97,400.00",
        "Target": "101,900.00",
        "Exit by": "09:30:00, in 1 h",
        "Protection": "protected",
        "Opened": "30 m ago",
        "Strategy": "zscore_btc",
    }
    assert (eth["Side"], eth["Quantity"], eth["To stop %"]) == (
        "SHORT",
        "\N{MINUS SIGN}5.75",
        "1.79",
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "1.74"),
        ({"mark_price": 97_000.0}, "\N{MINUS SIGN}0.41 beyond"),
        ({"mark_price": 97_400.0}, "0.00 beyond"),
        ({"mark_price": None}, "unknown"),
        ({"mark_price": 0.0}, "unknown"),
        ({"exit": None}, "no stop"),
        ({"position_side": "BOTH", "qty": 0.25}, "1.74"),
        ({"position_side": "BOTH", "qty": -0.25}, "\N{MINUS SIGN}1.74 beyond"),
        ({"position_side": "SHORT", "qty": -0.25}, "\N{MINUS SIGN}1.74 beyond"),
    ],
)
def test_distance_to_the_stop_is_signed_by_the_side(changes, text):
    assert view_positions.to_stop(sample.position("BTCUSDT", NOW, **changes)) == text


def test_a_row_of_unknowns_shows_no_zero():
    row = sample.position(
        "X", NOW, exit=None, mark_price=None, unrealized=None, notional_usd=None, strategy=None
    )
    (shown,) = cells(
        view_positions.positions(seen(positions=sample.positions(NOW, rows=(row,))), NOW)
    )
    for title in ("Unrealized USD", "Notional USD", "Mark", "Strategy"):
        assert shown[title] == "unknown"
    assert (shown["Stop"], shown["Target"], shown["Exit by"]) == ("none", "none", "none")
    assert shown["Protection"] == "NO EXIT PLAN"


def test_a_missing_stop_counts_its_seconds():
    row = sample.position("X", NOW, unprotected_since_ts=NOW - 34)
    (shown,) = cells(
        view_positions.positions(seen(positions=sample.positions(NOW, rows=(row,))), NOW)
    )
    assert shown["Protection"] == "NO STOP for 34 s"


def test_no_position_is_told_from_unknown_positions():
    flat = view_positions.positions(seen(positions=sample.positions(NOW, rows=())), NOW)
    assert (flat.rows, flat.empty, flat.age.status) == ((), "No open position.", "fresh")
    for unknown in (
        sample.positions(NOW, rows=(), known=False),
        Unreadable("state/positions.json", "missing", "no such file"),
    ):
        table = view_positions.positions(seen(positions=unknown), NOW)
        assert table.rows == ()
        assert "unknown" in table.empty
        assert table.age.status == "unknown"


def test_held_positions_are_shown_as_stale():
    held = sample.positions(NOW, stale=True, as_of_ts=NOW - 70)
    table = view_positions.positions(seen(positions=held), NOW)
    assert len(table.rows) == 3
    assert table.age.text == "stale 1 m"


def test_hostile_text_passes_through_unchanged():
    row = sample.position(HOSTILE, NOW, strategy=HOSTILE)
    (shown,) = cells(
        view_positions.positions(seen(positions=sample.positions(NOW, rows=(row,))), NOW)
    )
    assert (shown["Symbol"], shown["Strategy"]) == (HOSTILE, HOSTILE)


# ---------------------------------------------------------------- their sum


def test_tiles_sum_what_is_held():
    tiles = view_positions.tiles(seen(), NOW)
    assert [(each.label, each.value, each.detail) for each in tiles] == [
        ("Open legs", "3", "2 long, 1 short"),
        ("Unrealized", "+83.77 USD", "of all open legs"),
        ("To lose until every stop", "775.06 USD", "from the marks, without costs"),
        ("Without a stop in force", "0", "every leg is protected"),
    ]


def test_one_unknown_leaves_a_sum_unknown():
    bare = sample.position("X", NOW, exit=None, unrealized=None)
    late = sample.position("Y", NOW, unprotected_since_ts=NOW - 34)
    found = seen(positions=sample.positions(NOW, rows=(bare, late)))
    values = [each.value for each in view_positions.tiles(found, NOW)]
    assert values == ["2", "unknown", "unknown", "2"]
    assert view_positions.tiles(found, NOW)[3].detail == "a leg has no exit plan"
    only_late = seen(positions=sample.positions(NOW, rows=(late,)))
    assert view_positions.tiles(only_late, NOW)[3].detail == "longest 34 s"


@pytest.mark.parametrize(
    "unknown",
    [
        sample.positions(NOW, rows=(), known=False),
        Unreadable("state/positions.json", "not_json", "garbage"),
    ],
)
def test_unknown_positions_sum_to_nothing_known(unknown):
    for tile in view_positions.tiles(seen(positions=unknown), NOW):
        assert (tile.value, tile.age.status) == ("unknown", "unknown")


def test_a_symbol_filters_what_is_held_and_what_was_closed():
    assert [row["Symbol"] for row in cells(view_positions.positions(seen(), NOW, "ETHUSDT"))] == [
        "ETHUSDT"
    ]
    assert view_positions.closed(seen(), NOW, "ETHUSDT").rows == ()
    assert view_positions.positions(seen(), NOW, "NONE").rows == ()


# ---------------------------------------------------------------- what was closed


def test_closed_legs_are_net_of_fees():
    table = view_positions.closed(seen(), NOW)
    assert cells(table) == [
        {
            "Closed UTC": "01-15 07:50:00",
            "Symbol": "BTCUSDT",
            "Side": "LONG",
            "Net USD": "+11.75",
            "Realized USD": "+12.50",
            "Fees USD": "0.75",
            "Quantity": "0.012",
            "Held": "5 m",
            "Regime": "unknown",
            "Strategy": "trend",
        }
    ]
    assert table.age.text == "newest 20 s ago"


def test_closed_legs_of_a_silent_executor_are_stale_and_those_of_last_week_are_gone():
    silent = seen(executor_health=sample.executor(NOW - 60))
    assert view_positions.closed(silent, NOW).age.text == "executor silent, newest 20 s ago"
    old = Seen(files=sample.payloads(NOW), journals=sample_journals.journals(NOW - 7 * 86_400))
    found = view_positions.closed(old, NOW)
    assert (found.rows, found.empty, found.age.text) == (
        (),
        "No leg was closed in 24 hours.",
        "newest 7 d ago",
    )


def test_an_unreadable_journal_is_not_an_empty_one():
    bad = Unreadable("execution/orders_executed.jsonl", "not_a_file", "Permission denied")
    found = view_positions.closed(
        Seen(files=sample.payloads(NOW), journals={"orders_executed": bad}), NOW
    )
    assert found.empty == "execution/orders_executed.jsonl cannot be read."
    assert found.age.status == "unknown"
