from __future__ import annotations

import re
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
import sample_state as sample
from hypothesis import given
from hypothesis import strategies as st

from dashboard import view_model
from dashboard.seen import Seen, Viewer
from execution.state_schema.mirror_files import Mirror
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
VIEWER = Viewer(mode="paper", engine_version="v6", started_ts=NOW - 60, refresh_s=2.0)
BERLIN = ZoneInfo("Europe/Berlin")
NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
HOSTILE = "<script>alert(1)</script> [a](http://x) `b` **c**"


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes)


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


# ---------------------------------------------------------------- the frame


@pytest.mark.parametrize("mode", ["paper", "testnet", "live"])
def test_the_banner_says_the_mode_that_the_executor_says(mode):
    frame = view_model.frame(seen(executor_health=sample.executor(NOW, mode=mode)), VIEWER, NOW)
    assert (frame.tone, frame.mode, frame.mirror) == (mode, mode.upper(), None)


def test_without_an_executor_the_mode_is_only_the_configured_one():
    frame = view_model.frame(Seen(files={}), VIEWER, NOW)
    assert frame.tone == "paper"
    assert frame.mode == "PAPER (configured; the executor has not said)"


@pytest.mark.parametrize(
    ("mirror", "text"),
    [
        (Mirror("box:/srv/logs", NOW - 400), "MIRROR of box:/srv/logs, pulled 6 m ago"),
        (Unreadable("m", "not_json", "x"), "MIRROR: a copy of unknown source and age"),
    ],
)
def test_a_mirror_says_that_it_is_one_and_never_takes_this_pages_mode(mirror, text):
    assert view_model.frame(Seen(files={}, mirror=mirror), VIEWER, NOW).mode == "MODE UNKNOWN"
    whole = Seen(files=sample.payloads(NOW), mirror=mirror)
    assert view_model.frame(whole, VIEWER, NOW).mirror == text
    assert view_model.frame(whole, VIEWER, NOW).mode == "PAPER"


def test_the_clock_says_utc_and_the_readers_own_time():
    assert view_model.frame(seen(), VIEWER, NOW, UTC).clock == "2027-01-15 08:00:00 UTC"
    clock = view_model.frame(seen(), VIEWER, NOW, BERLIN).clock
    assert clock.split("  ")[::2] == ["2027-01-15 08:00:00 UTC", "09:00:00 CET"]


def test_the_banner_names_the_worst_and_keeps_the_others():
    calm = view_model.frame(seen(), VIEWER, NOW)
    assert (calm.worst.level, calm.worst.text) == ("ok", "Nothing needs attention")
    assert calm.others == ()
    health = sample.executor(NOW, kill_latch=True, failed_writes=("a",))
    frame = view_model.frame(seen(executor_health=health), VIEWER, NOW)
    assert frame.worst.text == "Kill latch is on"
    assert [each.text for each in frame.others] == ["Failed writes: a"]


# ---------------------------------------------------------------- tiles


def test_tiles_show_the_numbers_with_units_and_age():
    nav = sample.nav(NOW - 4, nav_usd=100_012.345, day_pnl_usd=-500.25, drawdown_pct=1.5)
    tiles = view_model.tiles(seen(nav=nav), NOW)
    assert [(each.label, each.value) for each in tiles] == [
        ("NAV", "100,012.35 USD"),
        ("Day P&L", "\N{MINUS SIGN}500.25 USD"),
        ("Drawdown", "1.50 %"),
        ("Gross exposure", "41,250.50 USD"),
        ("Net exposure", "+12,310.25 USD"),
    ]
    assert tiles[1].detail == "\N{MINUS SIGN}0.50 % since 100,050.00 USD"
    assert tiles[2].detail == "below the peak of 101,204.50 USD"
    assert tiles[3].detail == "0.41 \N{MULTIPLICATION SIGN} NAV"
    assert {(each.age.status, each.age.text) for each in tiles} == {("fresh", "4 s ago")}


@pytest.mark.parametrize(
    "nav",
    [
        sample.nav(NOW, stale=True, as_of_ts=NOW - 200),
        sample.nav(NOW, as_of_ts=NOW - 200),
        sample.nav(NOW - 200),
    ],
)
def test_an_old_nav_is_stale_by_its_own_time_however_fresh_the_file(nav):
    tiles = view_model.tiles(seen(nav=nav), NOW)
    assert {(each.age.status, each.age.text) for each in tiles} == {("stale", "stale 3 m")}


def test_a_fresh_account_in_a_file_that_stopped_moving_is_stale():
    nav = sample.nav(NOW, updated_ts=NOW - 60)
    assert view_model.tiles(seen(nav=nav), NOW)[0].age.status == "stale"


@pytest.mark.parametrize(
    "nav",
    [
        sample.nav(NOW, known=False, nav=0.0, nav_usd=0.0),
        Unreadable("state/nav.json", "missing", "no such file"),
        Unreadable("state/nav.json", "not_json", "garbage"),
    ],
)
def test_an_unknown_nav_is_unknown_and_never_a_number(nav):
    for tile in view_model.tiles(seen(nav=nav), NOW):
        assert tile.value == "unknown"
        assert tile.age.status == "unknown"
        assert not re.search(r"\d", tile.detail)


@given(
    day_pnl_usd=NUMBER,
    drawdown_pct=NUMBER,
    gross_usd=NUMBER,
    net_usd=NUMBER,
    peak_usd=NUMBER,
    day_start_usd=NUMBER,
    wallet_usd=NUMBER,
    nav_usd=st.floats(allow_nan=False, allow_infinity=False),
)
def test_each_number_is_unknown_exactly_where_its_field_is(**fields):
    tiles = view_model.tiles(seen(nav=sample.nav(NOW, **fields)), NOW)
    names = ("nav_usd", "day_pnl_usd", "drawdown_pct", "gross_usd", "net_usd")
    for name, tile in zip(names, tiles, strict=True):
        assert (tile.value == "unknown") == (fields[name] is None)
    without_ratio = fields["gross_usd"] is None or fields["nav_usd"] <= 0
    assert (tiles[3].detail == "unknown") == without_ratio


# ---------------------------------------------------------------- positions


def test_positions_show_plan_and_distance():
    table = view_model.positions(seen(), NOW)
    assert table.age.text == "0 s ago"
    btc, eth, _ = cells(table)
    assert btc == {
        "Symbol": "BTCUSDT",
        "Side": "LONG",
        "Unrealized USD": "+155.13",
        "To stop %": "1.74",
        "Quantity": "0.25",
        "Notional USD": "24,780.13",
        "Entry": "98,500.00",
        "Mark": "99,120.50",
        "Stop": "97,400.00",
        "Target": "101,900.00",
        "Exit by": "2027-01-15 09:30:00 UTC",
        "Protection": "protected",
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
    assert view_model.to_stop(sample.position("BTCUSDT", NOW, **changes)) == text


def test_a_row_of_unknowns_shows_no_zero():
    row = sample.position(
        "X", NOW, exit=None, mark_price=None, unrealized=None, notional_usd=None, strategy=None
    )
    (shown,) = cells(view_model.positions(seen(positions=sample.positions(NOW, rows=(row,))), NOW))
    for title in ("Unrealized USD", "Notional USD", "Mark", "Strategy"):
        assert shown[title] == "unknown"
    assert (shown["Stop"], shown["Target"], shown["Exit by"]) == ("none", "none", "none")
    assert shown["Protection"] == "NO EXIT PLAN"


def test_a_missing_stop_counts_its_seconds():
    row = sample.position("X", NOW, unprotected_since_ts=NOW - 34)
    (shown,) = cells(view_model.positions(seen(positions=sample.positions(NOW, rows=(row,))), NOW))
    assert shown["Protection"] == "NO STOP for 34 s"


def test_no_position_is_told_from_unknown_positions():
    flat = view_model.positions(seen(positions=sample.positions(NOW, rows=())), NOW)
    assert (flat.rows, flat.empty, flat.age.status) == ((), "No open position.", "fresh")
    for unknown in (
        sample.positions(NOW, rows=(), known=False),
        Unreadable("state/positions.json", "missing", "no such file"),
    ):
        table = view_model.positions(seen(positions=unknown), NOW)
        assert table.rows == ()
        assert "unknown" in table.empty
        assert table.age.status == "unknown"


def test_held_positions_are_shown_as_stale():
    held = sample.positions(NOW, stale=True, as_of_ts=NOW - 70)
    table = view_model.positions(seen(positions=held), NOW)
    assert len(table.rows) == 3
    assert table.age.text == "stale 1 m"


def test_hostile_text_passes_through_unchanged():
    row = sample.position(HOSTILE, NOW, strategy=HOSTILE)
    (shown,) = cells(view_model.positions(seen(positions=sample.positions(NOW, rows=(row,))), NOW))
    assert (shown["Symbol"], shown["Strategy"]) == (HOSTILE, HOSTILE)


# ---------------------------------------------------------------- trading state and limits


def test_the_trading_state_comes_with_its_reasons():
    calm = view_model.trading_state(seen(), NOW)
    assert (calm.value, calm.detail) == ("ACTIVE", "everything allowed")
    what = seen(
        executor_health=sample.executor(
            NOW, trading_state="HALTED", kill_latch=True, blind_since_ts=NOW - 5
        ),
        risk_snapshot=sample.risk(
            NOW, trading_state="HALTED", trading_state_reasons=("kill_switch",)
        ),
    )
    halted = view_model.trading_state(what, NOW)
    assert halted.value == "HALTED"
    assert halted.detail == "kill switch, kill latch on, venue unread for 5 s"


def test_an_old_trading_state_is_not_told_as_the_present():
    what = seen(executor_health=sample.executor(NOW - 200))
    state = view_model.trading_state(what, NOW)
    assert (state.detail, state.age.text) == ("last said, not known now", "stale 3 m")


def test_without_an_executor_the_trading_state_is_unknown():
    state = view_model.trading_state(Seen(files={}), NOW)
    assert (state.value, state.age.status) == ("unknown", "unknown")


def test_limits_are_bars_most_used_first_and_unknown_before_all():
    limits = {
        "gross_cap": sample.limit(150_960.0, 41_250.0, "usd"),
        "max_concurrent": sample.limit(4.0, 3.0, "legs"),
        "net_cap": sample.limit(100.0, None, "usd"),
        "day_loss_limit": sample.limit(5.0, 6.0, "pct"),
    }
    found = view_model.limits(seen(risk_snapshot=sample.risk(NOW, limits=limits)), NOW)
    assert [(row.name, row.used, row.headroom, row.level) for row in found.rows] == [
        ("net cap", "unknown of 100.00 USD", "left unknown", "note"),
        ("day loss limit", "6.00 of 5.00 %", "\N{MINUS SIGN}1.00 % left", "critical"),
        ("max concurrent", "3 of 4 legs", "1 legs left", "warning"),
        ("gross cap", "41,250 of 150,960 USD", "109,710 USD left", "ok"),
    ]
    assert [row.frac for row in found.rows] == [None, 1.0, 0.75, pytest.approx(0.2733, abs=1e-4)]
    assert found.age.text == "4 s ago"


@given(used=NUMBER, limit=st.floats(allow_nan=False, allow_infinity=False))
def test_a_bar_never_leaves_its_frame(used, limit):
    limits = {"x": sample.files.LimitRow(limit=limit, used=used, headroom=None, unit="usd")}
    (row,) = view_model.limits(seen(risk_snapshot=sample.risk(NOW, limits=limits)), NOW).rows
    assert (row.frac is None) == (used is None or limit <= 0)
    assert row.frac is None or 0.0 <= row.frac <= 1.0


def test_without_a_snapshot_limits_are_unknown():
    found = view_model.limits(Seen(files={}), NOW)
    assert (found.rows, found.age.status) == ((), "unknown")
