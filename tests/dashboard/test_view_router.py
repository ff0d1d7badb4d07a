from __future__ import annotations

import sample_journals
import sample_state as sample

from dashboard import view_router
from dashboard.seen import Seen
from execution.state_schema.intel_files import RouterHealth, RouterHealthRow, RouterVerdict

NOW = 1_800_000_000.0


def seen(**changes) -> Seen:
    return Seen(files=sample.payloads(NOW) | changes, journals=sample_journals.journals(NOW))


def told(**journals) -> Seen:
    return Seen(files=sample.payloads(NOW), journals=journals)


def cells(table) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, row, strict=True)) for row in table.rows]


def health(**changes) -> RouterHealth:
    base = {
        "symbol": "BTCUSDT",
        "n": 6,
        "n_quoted": 4,
        "maker_fill_rate": 0.75,
        "fallback_rate": None,
        "slippage_p50": -0.5,
        "slippage_p95": None,
        "fee_mean_bps": 2.0,
        "rejects": {"-5022": 2},
        "policy": RouterVerdict(
            maker_first=True, taker_bias=0.1, quality="unknown", reason="4 of 20 quoted routes"
        ),
        "maker_offset_bps": 0.5,
    }
    return RouterHealth(
        **sample.COMMON, updated_ts=NOW - 20, symbols=(RouterHealthRow(**base | changes),)
    )


def test_tiles_weigh_routes_by_what_they_filled():
    tiles = view_router.tiles(seen(), NOW)
    assert [(each.label, each.value) for each in tiles] == [
        ("Routes ended", "2"),
        ("Maker share", "50.0 %"),
        ("Cost", "+4.49 bps"),
        ("Time to fill", "4.0 s"),
    ]
    assert tiles[0].detail == "0 not filled, in 24 hours at most"
    assert tiles[3].detail == "p50; p95 9.0 s"
    assert view_router.tiles(seen(), NOW, "ETHUSDT")[1].value == "0.0 %"


def test_without_a_route_nothing_is_0():
    for what in (told(order_metrics=()), told()):
        for tile in view_router.tiles(what, NOW):
            assert (tile.value, tile.age.status) == ("unknown", "unknown")
    for changes in ({"qty": 0.0, "filled_qty": 0.0}, {"action": "protect", "filled_qty": 0.0}):
        nothing = told(order_metrics=(sample_journals.route(NOW, **changes),))
        assert view_router.tiles(nothing, NOW)[0].age.text == "no route yet"


def test_an_unfilled_route_has_no_cost_and_no_share():
    lost = sample_journals.route(
        NOW - 5,
        outcome="unfilled",
        filled_qty=0.0,
        maker_qty=0.0,
        filled_usd=0.0,
        cost_bps=None,
        time_to_fill_s=None,
    )
    values = [each.value for each in view_router.tiles(told(order_metrics=(lost,)), NOW)]
    assert values == ["1", "unknown", "unknown", "unknown"]
    assert view_router.costs(told(order_metrics=(lost,)), NOW).note is not None


def test_costs_say_who_made_the_market():
    chart = view_router.costs(seen(), NOW)
    assert chart.columns["cost"] == (1.47, 7.5)
    assert chart.columns["role"] == ("maker", "taker")
    both = sample_journals.route(NOW, maker_qty=0.004, taker_qty=0.008)
    assert view_router.costs(told(order_metrics=(both,)), NOW).columns["role"] == ("both",)


def test_health_is_shown_with_its_reason_and_unknowns():
    (row,) = cells(view_router.by_symbol(seen(router_health=health()), NOW))
    assert row["Why"] == "4 of 20 quoted routes"
    assert (row["Routes"], row["Maker filled"], row["Fell back"]) == (
        "4 of 6 quoted",
        "75.0 %",
        "unknown",
    )
    assert row["Slippage p50 bps"] == "\N{MINUS SIGN}0.50"
    assert (row["p95 bps"], row["Rejects"]) == ("unknown", "-5022 2")
    assert view_router.by_symbol(Seen(files={}), NOW).empty == "Router health is unknown."


def test_rejects_are_counted_by_code():
    assert cells(view_router.rejects(seen(), NOW)) == [
        {"Code": "-2019", "Symbol": "BTCUSDT", "Count": "1"}
    ]
    assert view_router.rejects(seen(), NOW, "ETHUSDT").empty == "Nothing was refused in 24 hours."
