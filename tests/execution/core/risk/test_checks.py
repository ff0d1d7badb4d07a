from __future__ import annotations

import math
from decimal import Decimal

import pytest
from msgspec.structs import replace

from execution.core.policy import SymbolLimits, Universe
from execution.core.records import ExitPlan
from execution.core.risk import checks
from execution.core.seam import Quote
from execution.core.types import TradingState
from tests.support import builders, policies

NOW = builders.NOW
# 2,000 USD of the other symbol: what is held beside the order of 1,000 USD.
HELD = builders.state(book=builders.book(positions=(builders.position("ETHUSDT", qty=20.0),)))
OTHER_LEG = builders.state(
    book=builders.book(positions=(builders.position("BTCUSDT", "SHORT", -20.0),))
)
ENTRY = builders.intent("10")
SHORT_ENTRY = builders.intent("10", side="SELL", position_side="SHORT")
SHORT_HELD = builders.state(
    book=builders.book(positions=(builders.position("ETHUSDT", "SHORT", -20.0),))
)


def under(**book) -> object:
    return policies.policy(limits=policies.limits(**book))


# What is asked, the context in which an order of exactly 10 contracts at 100 just fits.
CAPS = [
    ("max_order_notional", {"policy": under(max_order_notional_usd=1000.0)}, ENTRY),
    ("trade_nav_cap", {"policy": under(trade_cap_pct=10.0)}, ENTRY),
    ("symbol_nav_cap", {"policy": under(symbol_cap_pct=30.0), "state": OTHER_LEG}, ENTRY),
    (
        "symbol_nav_cap",
        {
            "policy": policies.policy(
                limits=policies.limits(symbols={"BTCUSDT": SymbolLimits(cap_pct=30.0)})
            ),
            "state": OTHER_LEG,
        },
        ENTRY,
    ),
    (
        "tier_cap",
        {"policy": policies.policy(limits=policies.limits(tiers={"CORE": 30.0})), "state": HELD},
        ENTRY,
    ),
    ("gross_cap", {"policy": under(gross_cap_pct=30.0), "state": HELD}, ENTRY),
    ("net_cap", {"policy": under(net_cap_pct=30.0), "state": HELD}, ENTRY),
    ("net_cap", {"policy": under(net_cap_pct=30.0), "state": SHORT_HELD}, SHORT_ENTRY),
    ("leverage_cap", {"policy": under(leverage_cap=0.3), "state": HELD}, ENTRY),
    ("margin_insufficient", {"policy": policies.policy(leverage=0.3), "state": HELD}, ENTRY),
    (
        "max_order_qty",
        {
            "policy": policies.policy(
                limits=policies.limits(symbols={"BTCUSDT": SymbolLimits(max_order_qty=10.0)})
            )
        },
        ENTRY,
    ),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CAPS)]


def ask(name: str, wanted=None, **fields):
    return getattr(checks, name)(builders.context(wanted, **fields))


@pytest.mark.parametrize(("name", "fields", "wanted"), CAPS, ids=IDS)
def test_a_cap_allows_its_limit_and_not_a_step_more(name, fields, wanted) -> None:
    for qty, fits in (("9.999", True), ("10", True), ("10.001", False)):
        found = ask(name, replace(wanted, qty=Decimal(qty)), **fields)
        assert (found is None) == fits, qty
    assert found.reason == name
    assert found.observed > found.limit
    assert found.headroom_usd == pytest.approx(1000.0)


EXPOSURE_CAPS = [
    *("leverage_cap", "trade_nav_cap", "symbol_nav_cap", "tier_cap"),
    *("gross_cap", "net_cap", "margin_insufficient"),
]


@pytest.mark.parametrize("name", EXPOSURE_CAPS)
@pytest.mark.parametrize(
    "book",
    [
        builders.book(known=False),
        builders.book(0.0),
        builders.book(-5000.0),
        builders.book(math.nan),
        builders.book(math.inf),
    ],
)
def test_an_unknown_nav_leaves_no_room_under_any_cap(name: str, book) -> None:
    found = ask(name, state=builders.state(book=book))
    assert found is not None
    assert found.headroom_usd == 0.0


def test_a_symbols_own_cap_is_never_looser_than_the_global_one() -> None:
    loose = policies.limits(symbols={"BTCUSDT": SymbolLimits(cap_pct=1000.0)}, symbol_cap_pct=5.0)
    assert ask("symbol_nav_cap", policy=policies.policy(limits=loose)).limit == 500.0


def test_the_exchanges_largest_order_holds_too() -> None:
    small = builders.rules(max_qty=Decimal(9))
    assert ask("max_order_qty", rules=small).limit == 9.0


@pytest.mark.parametrize(("notional", "fits"), [(999.99, True), (1000.0, True), (1000.01, False)])
def test_the_smallest_order_may_be_exactly_the_minimum(notional: float, fits: bool) -> None:
    ours = under(min_notional_usd=notional)
    theirs = builders.rules(min_notional_usd=Decimal(str(notional)))
    assert (ask("below_min_notional", policy=ours) is None) == fits
    assert (ask("below_min_notional", rules=theirs) is None) == fits


# ---------------------------------------------------------------- freshness


@pytest.mark.parametrize("age_s", [0.0, 14.99, 15.0, -15.0])
def test_a_fresh_nav_and_quote_are_believed(age_s: float) -> None:
    at = builders.state(book=builders.book(as_of_ts=NOW - age_s))
    assert ask("nav_stale", state=at) is None
    assert ask("stale_market", quote=builders.quote(ts=NOW - age_s)) is None


@pytest.mark.parametrize("age_s", [15.01, 1e9, -15.01, -1e9, math.nan, math.inf, -math.inf])
def test_an_old_nav_or_quote_is_refused_and_so_is_one_from_the_future(age_s: float) -> None:
    at = builders.state(book=builders.book(as_of_ts=NOW - age_s))
    assert ask("nav_stale", state=at).reason == "nav_stale"
    assert ask("stale_market", quote=builders.quote(ts=NOW - age_s)).reason == "stale_market"


def test_a_nav_that_says_it_is_stale_or_has_no_time_is_refused() -> None:
    assert ask("nav_stale", state=builders.state(book=builders.book(stale=True))) is not None
    assert ask("nav_stale", state=builders.state(book=builders.book(as_of_ts=None))) is not None


def test_a_market_of_bars_may_be_one_bar_older() -> None:
    old = builders.quote(ts=NOW - 74)
    assert ask("stale_market", quote=old, lag_s=60.0) is None
    assert ask("stale_market", quote=old, lag_s=58.0) is not None


@pytest.mark.parametrize(
    ("age_s", "fits"), [(0.0, True), (120.0, True), (120.1, False), (-120.1, False)]
)
def test_reconciliation_must_be_recent(age_s: float, fits: bool) -> None:
    at = builders.state(recorded=builders.recorded(reconciled_ts=NOW - age_s))
    assert (ask("reconciliation_stale", state=at) is None) == fits


def test_without_any_reconciliation_nothing_is_entered() -> None:
    at = builders.state(recorded=builders.recorded(reconciled_ts=None))
    assert ask("reconciliation_stale", state=at) is not None
    assert ask("stale_market", quote=None) is not None


# ---------------------------------------------------------------- the symbol


@pytest.mark.parametrize(
    "fields",
    [{"listing": None}, {"rules": None}, {"rules": builders.rules(trading=False)}],
)
def test_a_symbol_outside_universe_and_exchange_is_refused(fields) -> None:
    assert ask("symbol_not_allowed", **fields).reason == "symbol_not_allowed"


def test_a_blocked_side_is_refused_and_the_other_is_not() -> None:
    block = policies.limits(symbols={"BTCUSDT": SymbolLimits(blocked_sides=("SHORT",))})
    policy = policies.policy(limits=block)
    assert ask("side_blocked", SHORT_ENTRY, policy=policy).reason == "side_blocked"
    assert ask("side_blocked", ENTRY, policy=policy) is None


@pytest.mark.parametrize(
    ("owner", "fits"), [("fade", True), ("follow", False), (None, False), ("foreign", False)]
)
def test_a_leg_belongs_to_one_strategy_and_to_nobody_else(owner: str | None, fits: bool) -> None:
    held = builders.position(strategy=owner, position_id=None)
    at = builders.state(book=builders.book(positions=(held,)))
    assert (ask("leg_owned", state=at) is None) == fits


def test_a_leg_that_another_strategy_is_opening_is_owned() -> None:
    routes = {"r": builders.route("r", strategy="follow")}
    at = builders.state(recorded=builders.recorded(routes=routes))
    assert ask("leg_owned", state=at).observed == "follow"


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize(("down", "fits"), [(9.99, True), (10.0, False), (None, False)])
def test_entries_stop_at_the_drawdown_limit_and_while_it_is_unknown(down, fits) -> None:
    at = builders.state(book=builders.book(drawdown_pct=down))
    assert (ask("nav_drawdown_limit", state=at) is None) == fits


@pytest.mark.parametrize(("pnl", "fits"), [(-499.9, True), (-500.0, False), (None, False)])
def test_entries_stop_at_the_days_loss_limit_and_while_it_is_unknown(pnl, fits) -> None:
    at = builders.state(book=builders.book(day_pnl_usd=pnl))
    assert (ask("day_loss_limit", state=at) is None) == fits


# ---------------------------------------------------------------- the price


@pytest.mark.parametrize(("away", "fits"), [(0.0149, True), (0.0151, False), (-0.0151, False)])
def test_a_price_must_be_within_the_collar_of_the_mark(away: float, fits: bool) -> None:
    moved = 100.0 * (1 + away)
    assert (ask("price_collar", builders.intent(mark_price=moved)) is None) == fits
    touch = Quote(NOW, bid=min(moved, 99.9), ask=max(moved, 100.1), mark=100.0)
    assert (ask("price_collar", quote=touch) is None) == fits


@pytest.mark.parametrize("field", ["bid", "ask", "mark"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 5e-324])
def test_a_quote_that_cannot_be_one_is_outside_every_collar(field: str, bad: float) -> None:
    broken = replace(builders.quote(), **{field: bad})
    assert ask("price_collar", quote=broken).reason == "price_collar"


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize(("held", "fits"), [(1, True), (2, False)])
def test_one_more_leg_than_allowed_is_refused(held: int, fits: bool) -> None:
    legs = (builders.position("ETHUSDT"), builders.position("ETHUSDT", "SHORT", -1.0))
    at = builders.state(book=builders.book(positions=legs[:held]))
    policy = under(max_concurrent=2)
    assert (ask("max_concurrent", state=at, policy=policy) is None) == fits
    # The leg that is held already is no further leg.
    assert ask("max_concurrent", builders.intent(symbol="ETHUSDT"), state=at, policy=policy) is None


@pytest.mark.parametrize(("ages", "fits"), [([], True), ([10], True), ([10, 20], False)])
def test_entries_of_a_symbol_are_limited_within_the_window(ages, fits) -> None:
    policy = under(entries_per_symbol_window=2, entries_window_bars=5)
    entries = {"BTCUSDT": tuple(NOW - age for age in ages), "ETHUSDT": (NOW,) * 9}
    at = builders.state(recorded=builders.recorded(entries=entries))
    assert (ask("order_rate", state=at, policy=policy) is None) == fits


def test_an_entry_older_than_the_window_is_forgotten_and_one_from_the_future_is_not() -> None:
    policy = under(entries_per_symbol_window=1, entries_window_bars=5)
    for ts, fits in ((NOW - 300, True), (NOW - 299.9, False), (NOW + 500, False)):
        at = builders.state(recorded=builders.recorded(entries={"BTCUSDT": (ts,)}))
        assert (ask("order_rate", state=at, policy=policy) is None) == fits


def test_a_decision_in_flight_is_not_taken_again() -> None:
    at = builders.state(recorded=builders.recorded(routes={"d1": builders.route("d1")}))
    assert ask("duplicate_intent", state=at).reason == "duplicate_intent"
    assert ask("duplicate_intent", builders.intent(decision_id="d2"), state=at) is None


@pytest.mark.parametrize("state", ["UNKNOWN", "PREP"])
def test_an_order_in_doubt_blocks_its_symbol(state: str) -> None:
    order = builders.order_record(state=state, symbol="BTCUSDT")
    at = builders.state(recorded=builders.recorded(open_orders=(order,)))
    assert ask("unknown_order_open", state=at).reason == "unknown_order_open"
    assert ask("unknown_order_open", builders.intent(symbol="ETHUSDT"), state=at) is None


# ---------------------------------------------------------------- validity


@pytest.mark.parametrize("qty", ["NaN", "Infinity", "-Infinity", "0", "-1", "1e308"])
@pytest.mark.parametrize("mark", [100.0, math.nan, math.inf, -1.0, 0.0, 1e300])
def test_an_intent_must_be_of_finite_positive_numbers(qty: str, mark: float) -> None:
    wanted = builders.intent(qty, mark_price=mark)
    assert ask("bad_number", wanted) is not None
    assert ask("bad_number", builders.intent("1", mark_price=100.0)) is None


@pytest.mark.parametrize(
    "plan",
    [
        None,
        ExitPlan(100.0, 120.0, NOW),
        ExitPlan(90.0, 100.0, NOW),
        ExitPlan(110.0, 80.0, NOW),
        ExitPlan(math.nan, 120.0, NOW),
        ExitPlan(90.0, math.inf, NOW),
        ExitPlan(-1.0, 120.0, NOW),
        ExitPlan(90.0, 120.0, math.nan),
    ],
)
def test_an_entry_needs_stop_and_target_on_their_sides(plan: ExitPlan | None) -> None:
    assert ask("exit_plan_missing", builders.intent(exit=plan)).reason == "exit_plan_missing"
    assert ask("exit_plan_missing") is None


@pytest.mark.parametrize(
    ("qty", "fields", "fits"),
    [
        ("1", {}, True),
        ("0.5", {}, True),
        ("1.001", {}, False),
        ("1", {"side": "BUY"}, False),
        ("1", {"position_side": "SHORT"}, False),
        ("1", {"symbol": "ETHUSDT"}, False),
    ],
)
def test_a_reduce_only_order_never_enlarges(qty: str, fields, fits: bool) -> None:
    at = builders.state(book=builders.book(positions=(builders.position(),)))
    found = ask("reduce_only_enlarges", builders.leaving(qty, **fields), state=at)
    assert (found is None) == fits


@pytest.mark.parametrize(
    ("state", "wanted", "fits"),
    [
        ("ACTIVE", builders.intent(), True),
        ("ACTIVE", builders.leaving(), True),
        ("REDUCING", builders.intent(), False),
        ("REDUCING", builders.leaving(), True),
        ("HALTED", builders.intent(), False),
        ("HALTED", builders.leaving(), False),
        ("HALTED", builders.leaving(action="flatten"), True),
    ],
)
def test_the_trading_state_says_what_may_be_sent(state, wanted, fits) -> None:
    trading = TradingState(state, () if state == "ACTIVE" else ("day_loss_limit",))
    found = ask("trading_state", wanted, trading=trading)
    assert (found is None) == fits
    assert fits or found.reason == "day_loss_limit"


def test_a_veto_is_counted_by_the_name_of_its_reason() -> None:
    halt = TradingState("HALTED", ("position_mismatch LONG: ledger 0, venue 1",))
    assert ask("trading_state", trading=halt).reason == "position_mismatch"


@pytest.mark.parametrize("check", checks.ENTRY, ids=lambda check: check.__name__)
def test_a_sound_entry_passes_every_check(check) -> None:
    assert check(builders.context()) is None


def test_an_empty_universe_allows_nothing() -> None:
    empty = policies.policy(universe=Universe(listing=()))
    assert ask("symbol_not_allowed", policy=empty) is not None
