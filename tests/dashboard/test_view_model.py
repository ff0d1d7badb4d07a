from __future__ import annotations

import re
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
import sample_state as sample
from hypothesis import given
from hypothesis import strategies as st

from dashboard import view_model
from dashboard.seen import Seen
from execution.state_schema.mirror_files import Mirror
from execution.state_store import Unreadable

NOW = 1_800_000_000.0
VIEWER = sample.viewer(NOW - 60)
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
