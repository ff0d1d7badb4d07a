"""What holds for every check: their order, their edges, and inputs that are not what they should be."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import pipeline
from execution.core.records import Anchors
from execution.core.risk import checks, engine
from execution.core.seam import Quote
from execution.core.types import Approved, EngineState, OrderIntent, Vetoed
from tests.support import books, builders, policies

NOW = builders.NOW
# Absurd is further away than any account, price or clock can be.
BAD = [math.nan, math.inf, -math.inf, -1.0, 1e300]
BOTH = pytest.mark.parametrize("clamp", [True, False])


def ask(name: str, wanted: OrderIntent | None = None, **fields: Any):
    return getattr(checks, name)(builders.context(wanted, **fields))


def under(**book: Any):
    return policies.policy(limits=policies.limits(**book))


# ---------------------------------------------------------------- the list


def test_every_check_is_there_in_the_order_that_the_design_gives() -> None:
    assert [check.__name__ for check in checks.ENTRY] == [
        *("trading_state", "nav_stale", "reconciliation_stale", "symbol_not_allowed"),
        *("side_blocked", "leg_owned", "nav_drawdown_limit", "day_loss_limit", "cooldown"),
        *("below_min_notional", "max_order_notional", "max_order_qty", "price_collar"),
        *("leverage_cap", "trade_nav_cap", "symbol_nav_cap", "tier_cap", "gross_cap", "net_cap"),
        *("max_concurrent", "order_rate", "duplicate_intent", "repeat_throttle"),
        *("unknown_order_open", "margin_insufficient", "stale_market"),
        # What no configuration limits: an intent must be one.
        *("bad_number", "exit_plan_missing", "crosses_zero"),
    ]


# ---------------------------------------------------------------- edges


@pytest.mark.parametrize(("past_s", "fits"), [(0.0, False), (1799.999, False), (1800.0, True)])
def test_a_cooldown_lasts_as_long_as_it_says(past_s: float, fits: bool) -> None:
    at = builders.state(book=builders.book(cooling_from_s=NOW - past_s))
    assert (ask("cooldown", state=at) is None) == fits
    assert ask("cooldown", state=at, policy=under(cooldown_s=0.0)) is None
    assert ask("cooldown") is None


@pytest.mark.parametrize(
    ("limit", "length_s"), [("entries_per_second", 1.0), ("entries_per_minute", 60.0)]
)
def test_a_rate_counts_the_whole_book_and_forgets_what_is_as_old_as_its_time(
    limit: str, length_s: float
) -> None:
    for age_s, most, fits in (
        (length_s - 0.001, 2, False),
        (length_s - 0.001, 3, True),
        (length_s, 2, True),
    ):
        entries = {"ETHUSDT": (NOW - age_s,), "SOLUSDT": (NOW - age_s,)}
        at = builders.state(recorded=builders.recorded(entries=entries))
        found = ask("order_rate", state=at, policy=under(**{limit: most}))
        assert (found is None) == fits
        assert fits or (found.limit, found.observed, found.unit) == (most, 3, limit)


def test_a_rate_counts_what_was_approved_in_this_tick() -> None:
    exposed = ask_exposure(3)
    assert ask("order_rate", exposure=exposed, policy=under(entries_per_second=4)) is None
    assert ask("order_rate", exposure=exposed, policy=under(entries_per_second=3)).observed == 4


def ask_exposure(approvals: int):
    found = builders.context().exposure
    for _ in range(approvals):
        found = found.charged(Approved(builders.intent(symbol="ETHUSDT"), Decimal(1)))
    return found


REPEAT = {"repeat_rejects": 3, "repeat_window_s": 60.0, "repeat_pause_s": 600.0}


@pytest.mark.parametrize(
    ("ages_s", "fits"),
    [
        ((), True),
        ((70.0, 60.0), True),
        ((70.0, 60.0, 10.0), False),
        ((70.0, 60.0, 9.999), True),
        ((659.0, 620.0, 599.999), False),
        ((659.0, 620.0, 600.0), True),
        ((5.0, 620.0, 590.0, 640.0), False),
    ],
)
def test_the_same_reject_often_enough_pauses_a_symbol(ages_s, fits: bool) -> None:
    rejects = {("BTCUSDT", "-2019"): tuple(NOW - age_s for age_s in ages_s)}
    at = builders.state(recorded=builders.recorded(rejects=rejects))
    policy = under(**REPEAT)
    assert (ask("repeat_throttle", state=at, policy=policy) is None) == fits
    assert (
        ask("repeat_throttle", builders.intent(symbol="ETHUSDT"), state=at, policy=policy) is None
    )


@pytest.mark.parametrize(
    ("told", "wallet_usd", "fits"),
    [
        (5.0, 10_000.0, True),  # 20,000 held and 1,000 more need 4,200 at 5
        (2.0, 10_200.0, True),  # … and 10,200 at 2 and 5
        (2.0, 10_199.9, False),
        (5.0, 4_200.0, True),
        (5.0, 4_199.9, False),
        (5.0, None, False),
        (100.0, 4_199.9, False),  # the leverage that we set it to is the most
        (0.0, 1e9, False),
        (-1.0, 1e9, False),
        (math.nan, 1e9, False),
        (None, 4_200.0, True),
    ],
)
def test_margin_is_what_the_wallet_carries_at_the_venues_leverage(told, wallet_usd, fits) -> None:
    held = builders.position("ETHUSDT", qty=200.0, leverage=told)
    book = builders.book(50_000.0, wallet_usd=wallet_usd, positions=(held,))
    found = ask("margin_insufficient", state=builders.state(book=book))
    assert (found is None) == fits


def test_a_paper_gain_carries_nothing_and_a_paper_loss_carries_less() -> None:
    for wallet_usd, nav_usd in ((199.0, 50_000.0), (50_000.0, 199.0)):
        book = builders.book(nav_usd, wallet_usd=wallet_usd)
        assert ask("margin_insufficient", state=builders.state(book=book)).limit == 995.0


def test_an_order_without_any_price_leaves_room_for_nothing() -> None:
    for price, stop, fits in (
        (None, None, False),
        (Decimal(7), None, True),
        (None, Decimal(7), True),
    ):
        order = builders.order_record(
            "f", decision_id="f", symbol="DOGEUSDT", price=price, stop_price=stop, foreign=True
        )
        at = builders.state(recorded=builders.recorded(open_orders=(order,)))
        assert (ask("gross_cap", state=at) is None) == fits
        assert (ask("net_cap", state=at) is None) == fits


# ---------------------------------------------------------------- inputs that are none


def state_with(**book: Any) -> EngineState:
    return builders.state(book=builders.book(**book))


def recorded_with(**fields: Any) -> EngineState:
    return builders.state(recorded=builders.recorded(**fields))


def quoted(**fields: Any) -> dict[str, Any]:
    return {"quote": replace(builders.quote(), **fields)}


def held(**fields: Any) -> EngineState:
    return state_with(positions=(builders.position("ETHUSDT", **fields),))


def spoiled() -> list[tuple[str, str, dict[str, Any]]]:
    """List what is spoiled, the veto that it must give, and the context with it."""
    cases: list[tuple[str, str, dict[str, Any]]] = []
    for bad in (*BAD, 0.0):
        cases += [
            ("nav", "gross_cap", {"state": state_with(nav_usd=bad)})
            if bad != 1e300
            else ("peak", "nav_drawdown_limit", {"state": state_with(drawdown_pct=bad)}),
            ("mark", "price_collar", quoted(mark=bad)),
            ("bid", "price_collar", quoted(bid=bad)),
            ("ask", "price_collar", quoted(ask=bad)),
            ("decided at", "price_collar", {"wanted": builders.intent(mark_price=bad)}),
            ("quote's time", "stale_market", quoted(ts=bad)),
            ("NAV's time", "nav_stale", {"state": state_with(as_of_ts=bad)}),
            ("reconciled", "reconciliation_stale", {"state": recorded_with(reconciled_ts=bad)}),
            (
                "stop",
                "exit_plan_missing",
                {"wanted": builders.intent(exit=replace(builders.PLAN, stop_price=bad))},
            ),
        ]
    for bad in BAD[:4]:
        cases.append(("drawdown", "nav_drawdown_limit", {"state": state_with(drawdown_pct=bad)}))
    for bad in (math.nan, math.inf, -math.inf, -1e300):
        cases.append(("day's loss", "day_loss_limit", {"state": state_with(day_pnl_usd=bad)}))
    for bad in (math.nan, -math.inf, -1e300, 0.0, -1.0):
        cases.append(("wallet", "margin_insufficient", {"state": state_with(wallet_usd=bad)}))
        leverage = {"state": held(leverage=bad)}
        cases.append(("leverage", "margin_insufficient", leverage))
    for bad in (math.nan, math.inf, -math.inf, 1e300):
        cases += [
            ("held quantity", "gross_cap", {"state": held(qty=bad)}),
            ("held mark", "gross_cap", {"state": held(mark_price=bad)}),
        ]
    for bad in (math.nan, -math.inf):
        cooling = {"state": state_with(cooling_from_s=NOW, known=True)}
        cooling["state"] = replace(
            cooling["state"], recorded=replace(cooling["state"].recorded, steady_s=bad)
        )
        cases.append(("steady clock", "cooldown", cooling))
    for bad in ("NaN", "Infinity", "-Infinity", "-1", "0", "1e300"):
        reason = "max_order_qty" if bad in {"Infinity", "1e300"} else "below_min_notional"
        cases.append(("quantity", reason, {"wanted": builders.intent(bad)}))
    cases += [
        ("nothing known", "nav_stale", {"state": state_with(known=False, stale=True)}),
        ("no NAV time", "nav_stale", {"state": state_with(as_of_ts=None)}),
        ("no drawdown", "nav_drawdown_limit", {"state": state_with(drawdown_pct=None)}),
        ("no day", "day_loss_limit", {"state": state_with(day_pnl_usd=None)}),
        ("no anchors", "day_loss_limit", {"state": state_with(anchors=None)}),
        ("no wallet", "margin_insufficient", {"state": state_with(wallet_usd=None)}),
        ("no reconciliation", "reconciliation_stale", {"state": recorded_with(reconciled_ts=None)}),
        ("no quote", "price_collar", {"quote": None}),
        ("no rules", "symbol_not_allowed", {"rules": None}),
        ("no listing", "symbol_not_allowed", {"listing": None}),
        ("no plan", "exit_plan_missing", {"wanted": builders.intent(exit=None)}),
        ("no tier", "tier_cap", {"policy": policies.policy(limits=without_tiers())}),
    ]
    return cases


def without_tiers():
    return replace(policies.limits(), tiers={})


SPOILED = spoiled()


@BOTH
@pytest.mark.parametrize(
    ("what", "reason", "fields"),
    SPOILED,
    ids=[f"{i}-{what}" for i, (what, *_) in enumerate(SPOILED)],
)
def test_an_input_that_is_missing_or_absurd_is_a_veto_with_its_name(
    what: str, reason: str, fields: dict[str, Any], clamp: bool
) -> None:
    given_fields = dict(fields)
    wanted = given_fields.pop("wanted", None)
    policy = replace(given_fields.pop("policy", policies.policy()), clamp=clamp)
    found = engine.assess(builders.context(wanted, policy=policy, **given_fields))
    assert isinstance(found, Vetoed), what
    assert reason in {breach.reason for breach in found.breaches}, found.breaches


NUMBERS = st.one_of(
    st.none(),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1e300, -1e300]),
    st.floats(),
)
MONEY = ("nav_usd", "wallet_usd", "drawdown_pct", "day_pnl_usd", "as_of_ts", "cooling_from_s")


@given(
    st.fixed_dictionaries(dict.fromkeys(MONEY, NUMBERS)),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.tuples(NUMBERS, NUMBERS),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.booleans(),
)
def test_whatever_the_numbers_are_nothing_escapes_and_an_approval_has_sound_ones(
    money, quote, clock, anchors, clamp
) -> None:
    ts, bid, ask_price, mark = (math.nan if number is None else number for number in quote)
    book = replace(
        builders.book(),
        **{**money, "nav_usd": money["nav_usd"] or 0.0},
        anchors=None if None in anchors else Anchors(anchors[0], anchors[1], "2023-11-15"),
    )
    steady_s, reconciled_ts = clock
    recorded = builders.recorded(
        steady_s=math.nan if steady_s is None else steady_s, reconciled_ts=reconciled_ts
    )
    at = builders.state(
        book=book, quotes={"BTCUSDT": Quote(ts, bid, ask_price, mark)}, recorded=recorded
    )
    context = builders.context(state=at, policy=policies.policy(clamp=clamp))
    found = engine.assess(context)
    assert isinstance(found, Approved | Vetoed)
    if isinstance(found, Approved):
        assert at.quotes["BTCUSDT"].sound
        assert 0 < book.nav_usd < math.inf
        assert 0 <= book.drawdown_pct < 10
        assert abs(book.as_of_ts - NOW) <= 15
        assert float(found.qty) * 100.0 <= 0.2 * book.nav_usd * books.SLACK


# ---------------------------------------------------------------- counts over a tick


@given(
    st.lists(st.floats(min_value=0, max_value=90), max_size=6),
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(2, 8),
    st.booleans(),
)
def test_no_approved_set_of_a_tick_exceeds_a_rate(ages_s, second, minute, wanted, clamp) -> None:
    entries = {"ETHUSDT": tuple(NOW - age_s for age_s in ages_s)}
    state = builders.state(recorded=builders.recorded(entries=entries))
    policy = replace(
        under(entries_per_second=second, entries_per_minute=minute, max_concurrent=50), clamp=clamp
    )
    asked = [
        builders.intent("0.2", f"d{i}", symbol=("BTCUSDT", "ETHUSDT")[i % 2]) for i in range(wanted)
    ]
    made = pipeline._assess(asked, builders.snapshot(), state, policy, builders.ACTIVE, {}, NOW)
    approved = sum(isinstance(each.verdict, Approved) for each in made)
    for limit, length_s in ((second, 1.0), (minute, 60.0)):
        recent = sum(age_s < length_s for age_s in ages_s)
        assert approved == 0 or approved + recent <= limit
    room = min(
        limit - sum(age_s < s for age_s in ages_s) for limit, s in ((second, 1.0), (minute, 60.0))
    )
    assert approved == max(0, min(room, wanted))
