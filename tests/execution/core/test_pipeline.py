from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core import book, pipeline
from execution.core.exits import encloses
from execution.core.records import KillLatch
from execution.core.seam import Bar, Blind, Quote
from execution.core.types import Approved, Decided, EngineState, Vetoed
from tests.support import books, builders, policies

NOW = builders.NOW
POLICY = policies.policy()
LIMITS = POLICY.limits.book
SEEN = builders.snapshot()
BAR_TS = NOW - builders.BASE_S
DIPPED = {"BTCUSDT": builders.DIP}


def decided(state: EngineState, policy=POLICY, *, now: float = NOW, seen=SEEN) -> Decided:
    return pipeline.decide(seen, state, policy, now)


def summary(live: Decided) -> list[tuple[str, str, str]]:
    return [
        (
            d.intent.action,
            d.intent.position_side,
            "approved" if isinstance(d.verdict, Approved) else d.verdict.reason,
        )
        for d in live.decisions
    ]


def vetoed(live: Decided) -> bool:
    return all(isinstance(d.verdict, Vetoed) and d.plan is None for d in live.decisions)


# ---------------------------------------------------------------- entries


def test_a_dip_is_bought_with_a_size_a_plan_and_a_route() -> None:
    live = decided(builders.closed_state(DIPPED))
    assert summary(live) == [("entry", "LONG", "approved")]
    (decision,) = live.decisions
    wanted = decision.intent
    assert (wanted.side, wanted.symbol, wanted.mark_price) == ("BUY", "BTCUSDT", 100.0)
    # 10 % of 10,000 USD, times the smallest multiplier: the market is wilder than the target.
    assert (wanted.size_factor, wanted.qty) == (0.25, Decimal("2.5"))
    assert encloses(wanted.exit, 100.0, "LONG")
    assert [leg.post_only for leg in decision.plan.legs] == [True, True, False]
    assert live.answered == {("fade", "BTCUSDT"): BAR_TS}


@given(
    st.sampled_from([builders.DIP, builders.SPIKE]),
    st.floats(min_value=0.01, max_value=1e5),
    st.floats(min_value=0.5, max_value=5.0),
    st.floats(min_value=0.5, max_value=5.0),
)
def test_every_entry_has_a_plan_on_the_right_sides_of_its_mark(
    closes: list[float], mark: float, stop_atr: float, target_atr: float
) -> None:
    exits = replace(policies.EXITS, stop_atr=stop_atr, take_profit_atr=target_atr)
    policy = policies.policy(strategies=(policies.zscore(exits=exits),))
    quotes = {"BTCUSDT": builders.quote(mark, half=mark / 1e4)}
    live = decided(builders.closed_state({"BTCUSDT": closes}, quotes=quotes), policy)
    for decision in live.decisions:
        assert decision.intent.action == "entry"
        assert encloses(decision.intent.exit, mark, decision.intent.position_side)


def test_a_bar_without_a_signal_is_answered_by_silence() -> None:
    live = decided(builders.closed_state({"BTCUSDT": builders.QUIET}))
    assert live.decisions == ()
    assert live.answered == {("fade", "BTCUSDT"): BAR_TS}


def test_an_own_leg_is_not_entered_again_and_anothers_is_vetoed() -> None:
    own = builders.book(positions=(builders.position(),))
    state = builders.closed_state(
        DIPPED, book=own, recorded=builders.recorded(protected=frozenset({("BTCUSDT", "LONG")}))
    )
    assert summary(decided(state)) == []
    others = builders.book(positions=(builders.position(strategy="follow"),))
    assert summary(decided(replace(state, book=others))) == [("entry", "LONG", "leg_owned")]


def test_a_leg_that_is_being_opened_is_not_opened_twice() -> None:
    routes = {"earlier": builders.route("earlier")}
    state = builders.closed_state(DIPPED, recorded=builders.recorded(routes=routes))
    assert summary(decided(state)) == []


# ---------------------------------------------------------------- once per closed bar


def test_a_bar_is_decided_once() -> None:
    state = builders.closed_state(DIPPED)
    first = decided(state)
    again = decided(book.remember(state, first))
    assert len(first.decisions) == 1
    assert again.decisions == ()
    assert again.answered == {}


def test_a_restart_with_the_decided_set_does_not_decide_again() -> None:
    fresh = book.start([POLICY], {("fade", "BTCUSDT"): BAR_TS})
    bars = {symbol: builders.bars(builders.DIP) for symbol in builders.SYMBOLS}
    state = book.observe(fresh, replace(SEEN, bars=bars), builders.recorded(), LIMITS)
    live = decided(state)
    assert [d.intent.symbol for d in live.decisions] == ["ETHUSDT"]


def test_the_same_bar_gives_the_same_decision_id_after_a_restart_and_under_any_policy() -> None:
    other = policies.policy(sizing=policies.sizing(base_trade_pct=1.0), clamp=False)
    state = builders.closed_state(DIPPED)
    names = {decided(state, policy).decisions[0].intent.decision_id for policy in (POLICY, other)}
    assert len(names) == 1


def test_between_bars_nothing_is_decided() -> None:
    state = replace(builders.closed_state(DIPPED), closed=())
    assert decided(state) == Decided(builders.ACTIVE)


@pytest.mark.parametrize(
    ("late_s", "acted"), [(0.0, True), (60.0, True), (60.1, False), (1e6, False), (-61.0, False)]
)
def test_a_bar_that_closed_long_ago_or_not_yet_is_not_acted_upon(
    late_s: float, acted: bool
) -> None:
    # History at a start, or a clock that is wrong.
    now = NOW + late_s
    quotes = {"BTCUSDT": builders.quote(ts=now)}
    state = builders.closed_state(
        DIPPED,
        quotes=quotes,
        book=builders.book(as_of_ts=now),
        recorded=builders.recorded(reconciled_ts=now),
    )
    live = decided(state, now=now)
    assert bool(live.decisions) == acted
    assert bool(live.answered) == acted


def test_a_strategy_that_raises_is_a_failure_and_not_the_end_of_the_tick() -> None:
    # 1e300 squared is beyond what a float can hold.
    wild = builders.frame([1e300, 2e300] * 6 + [1e300])
    fine = builders.frame(builders.DIP)
    frames = {("BTCUSDT", 60): wild, ("ETHUSDT", 60): fine}
    live = decided(builders.state(frames=frames, closed=tuple(frames)))
    assert [failed.stage for failed in live.failures] == ["fade"]
    assert [d.intent.symbol for d in live.decisions] == ["ETHUSDT"]
    assert ("fade", "BTCUSDT") in live.answered


# ---------------------------------------------------------------- exits


def test_an_exit_comes_before_the_entries_of_its_tick() -> None:
    held = builders.position("ETHUSDT", mark_price=130.0)
    state = builders.closed_state(DIPPED, book=builders.book(positions=(held,)))
    assert summary(decided(state)) == [
        ("protect", "LONG", "approved"),
        ("exit", "LONG", "approved"),
        ("entry", "LONG", "approved"),
    ]


def test_a_signal_ends_the_position_of_its_own_strategy_only() -> None:
    guard = builders.recorded(protected=frozenset({("BTCUSDT", "LONG")}))
    for strategy, wanted in (("fade", [("exit", "LONG", "approved")]), ("follow", [])):
        state = builders.closed_state(
            {"BTCUSDT": builders.QUIET},
            book=builders.book(positions=(builders.position(strategy=strategy),)),
            recorded=guard,
        )
        assert summary(decided(state)) == wanted


def test_a_position_is_left_once_when_plan_and_signal_both_say_so() -> None:
    held = builders.position(mark_price=130.0)
    state = builders.closed_state(
        {"BTCUSDT": builders.QUIET},
        book=builders.book(positions=(held,)),
        recorded=builders.recorded(protected=frozenset({("BTCUSDT", "LONG")})),
    )
    live = decided(state)
    assert [d.intent.reason for d in live.decisions] == ["take_profit"]


def test_a_stale_book_stops_entries_and_not_exits() -> None:
    held = builders.position("ETHUSDT", mark_price=130.0)
    state = builders.closed_state(
        DIPPED,
        book=builders.book(stale=True, positions=(held,)),
        recorded=builders.recorded(protected=frozenset({("ETHUSDT", "LONG")})),
    )
    assert summary(decided(state)) == [("exit", "LONG", "approved"), ("entry", "LONG", "nav_stale")]


# ---------------------------------------------------------------- what stops everything


def test_a_blind_venue_decides_nothing() -> None:
    live = decided(builders.closed_state(DIPPED), seen=Blind(NOW, "timeout"))
    assert (live.trading.name, live.decisions, live.answered) == ("HALTED", (), {})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"book": builders.book(known=False)}, "nav_unavailable"),
        ({"book": builders.book(0.0)}, "nav_unavailable"),
        ({"book": builders.book(math.nan)}, "nav_unavailable"),
        ({"book": builders.book(math.inf)}, "nav_unavailable"),
        ({"book": builders.book(stale=True)}, "nav_stale"),
        ({"book": builders.book(as_of_ts=NOW - 16)}, "nav_stale"),
        ({"book": builders.book(drawdown_pct=10.0)}, "nav_drawdown_limit"),
        ({"book": builders.book(day_pnl_usd=-500.0)}, "day_loss_limit"),
        ({"recorded": builders.recorded(kill=KillLatch(on=True, reason=""))}, "kill_switch"),
        ({"recorded": builders.recorded(reconciled_ts=None)}, "reconciliation_stale"),
        ({"recorded": builders.recorded(halts={"BTCUSDT": "position_mismatch LONG"})},
         "position_mismatch"),
    ],
)  # fmt: skip
def test_an_entry_is_vetoed_with_its_reason(fields, reason: str) -> None:
    live = decided(builders.closed_state(DIPPED, **fields))
    assert summary(live) == [("entry", "LONG", reason)]
    assert vetoed(live)
    assert live.answered == {("fade", "BTCUSDT"): BAR_TS}


def test_a_halted_symbol_leaves_the_others_alone() -> None:
    closes = dict.fromkeys(builders.SYMBOLS, builders.DIP)
    halts = {"BTCUSDT": "position_mismatch LONG: ledger 0, venue 1"}
    live = decided(builders.closed_state(closes, recorded=builders.recorded(halts=halts)))
    assert summary(live) == [("entry", "LONG", "position_mismatch"), ("entry", "LONG", "approved")]
    assert live.trading == builders.ACTIVE


def test_an_exit_waits_for_the_end_of_a_halt() -> None:
    held = builders.position(mark_price=130.0)
    state = builders.state(
        book=builders.book(positions=(held,)),
        recorded=builders.recorded(kill=KillLatch(on=True, reason="")),
    )
    assert decided(state).decisions == ()
    over = replace(state, recorded=builders.recorded())
    assert summary(decided(over))[-1] == ("exit", "LONG", "approved")


# ---------------------------------------------------------------- garbage

GARBAGE = st.sampled_from(
    [math.nan, math.inf, -math.inf, 0.0, -1.0, -1e300, 1e300, 1.7e308, 5e-324, 1e-300, 1e18]
)


@given(st.sampled_from(["ts", "bid", "ask", "mark"]), GARBAGE)
def test_no_garbage_in_a_quote_is_approved_or_raised(field: str, bad: float) -> None:
    quotes = {"BTCUSDT": replace(builders.quote(), **{field: bad})}
    assert vetoed(decided(builders.closed_state(DIPPED, quotes=quotes)))


@pytest.mark.parametrize("mark", [math.nan, math.inf, 0.0, -1.0])
def test_nothing_is_intended_at_a_price_that_cannot_be(mark: float) -> None:
    quotes = {"BTCUSDT": replace(builders.quote(), mark=mark)}
    live = decided(builders.closed_state(DIPPED, quotes=quotes))
    assert (live.decisions, len(live.signals)) == ((), 1)


@given(st.lists(GARBAGE, min_size=4, max_size=4), st.booleans())
def test_no_quote_of_garbage_alone_is_approved_or_raised(numbers: list[float], held: bool) -> None:
    positions = (builders.position("ETHUSDT"),) if held else ()
    state = builders.closed_state(
        DIPPED,
        quotes={"BTCUSDT": Quote(*numbers)},
        book=builders.book(positions=positions),
        recorded=builders.recorded(protected=frozenset({("ETHUSDT", "LONG")})),
    )
    assert vetoed(decided(state))


@given(
    st.sampled_from(["ts", "open", "high", "low", "close", "volume"]),
    GARBAGE,
    st.integers(min_value=-13, max_value=-1),
    st.sampled_from([policies.zscore(), policies.trend()]),
)
def test_no_garbage_in_the_newest_look_is_approved_or_raised(field, bad, at, strategy) -> None:
    policy = policies.policy(strategies=(strategy,))
    bars = [*builders.bars(builders.QUIET)]
    broken = bars[at] = replace(bars[at], **{field: bad})

    def look(newest: list[Bar]) -> EngineState:
        seen = replace(SEEN, bars={"BTCUSDT": tuple(newest)})
        return book.observe(book.start([policy], {}), seen, builders.recorded(), LIMITS)

    state = look(bars)
    live = decided(state, policy)
    if broken in state.frames["BTCUSDT", 60].bars:
        # A price can touch nearly nothing and come back, any volume can be traded, 1970 was a year.
        assert field in {"low", "high", "volume", "ts"}
        assert bad > 0 or (bad == 0 and field in {"volume", "ts"})
    else:
        left_out = [bar for bar in bars if bar is not broken]
        assert live == decided(look(left_out), policy)
    # And the series is not poisoned: its next sound bar closes.
    later = replace(SEEN, ts=NOW + 60, bars={"BTCUSDT": (builders.bar(NOW, 100.0),)})
    after = book.observe(state, later, builders.recorded(), LIMITS)
    assert after.frames["BTCUSDT", 60].bars[-1].ts == NOW


@given(GARBAGE, st.sampled_from(["nav_usd", "as_of_ts", "drawdown_pct", "day_pnl_usd"]))
def test_no_garbage_in_the_book_is_approved_beyond_the_absolute_limits(
    bad: float, field: str
) -> None:
    state = builders.closed_state(DIPPED, book=replace(builders.book(), **{field: bad}))
    for decision in decided(state).decisions:
        if isinstance(decision.verdict, Approved):
            # No drawdown and a gain are no reason to stop; an absurd NAV has the absolute limit.
            assert math.isfinite(bad)
            assert field != "as_of_ts"
            assert float(decision.verdict.qty) * 100.0 <= 25_000.0


@pytest.mark.parametrize("wallet", ["NaN", "Infinity", "-Infinity", "0", "-1", "1e18", "1e300"])
def test_no_garbage_in_the_wallet_is_approved_or_raised(wallet: str) -> None:
    account = builders.account(wallet_usd=Decimal(wallet))
    bars = {"BTCUSDT": builders.bars(builders.DIP)}
    seen = builders.snapshot(account=account, bars=bars)
    state = book.observe(book.start([POLICY], {}), seen, builders.recorded(), LIMITS)
    live = decided(state, seen=seen)
    assert summary(live) == [("entry", "LONG", "nav_unavailable")]


@given(
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "-1", "1e300", "1e-300"]),
    GARBAGE,
    st.sampled_from(["qty", "mark_price", "both"]),
)
def test_no_garbage_in_an_intent_is_approved_or_raised(qty: str, mark: float, which: str) -> None:
    wanted = builders.intent("10")
    if which != "mark_price":
        wanted = replace(wanted, qty=Decimal(qty))
    if which != "qty":
        wanted = replace(wanted, mark_price=mark)
    state = builders.state()
    live = [*pipeline._assess([wanted], SEEN, state, POLICY, builders.ACTIVE, {}, NOW)]
    for decision in live:
        if isinstance(decision.verdict, Approved):
            # Far too much of what is sound otherwise: the engine makes it small.
            assert (which, qty) == ("qty", "1e300")
            assert decision.verdict.qty == 20


@given(
    st.sampled_from(["entry_price", "mark_price", "qty", "unrealized_usd", "notional_usd"]),
    GARBAGE,
    st.booleans(),
)
def test_no_garbage_in_a_position_raises(field: str, bad: float, protected: bool) -> None:
    held = replace(builders.position("ETHUSDT"), **{field: bad})
    guard = frozenset({("ETHUSDT", "LONG")}) if protected else frozenset()
    state = builders.closed_state(
        DIPPED,
        book=builders.book(positions=(held,)),
        recorded=builders.recorded(protected=guard),
    )
    for decision in decided(state).decisions:
        if isinstance(decision.verdict, Approved):
            assert decision.verdict.qty.is_finite()
            assert decision.verdict.qty > 0


# ---------------------------------------------------------------- caps through decide


@settings(max_examples=150)
@given(
    books.states(),
    books.policies(),
    st.dictionaries(
        st.sampled_from(sorted(books.TIERS)),
        st.sampled_from([builders.DIP, builders.SPIKE]),
        min_size=2,
    ),
)
def test_no_approved_set_of_a_decision_exceeds_a_limit(state, policy, closes) -> None:
    symbols = tuple(books.TIERS)
    strategies = tuple(policies.zscore(name, symbols) for name in ("fade", "follow", "third"))
    frames = {(symbol, 60): builders.frame(values) for symbol, values in closes.items()}
    state = replace(state, frames=frames, closed=tuple(frames))
    live = decided(state, replace(policy, strategies=strategies))
    approved = [d.verdict for d in live.decisions if isinstance(d.verdict, Approved)]
    event(f"approved {len(approved)}")
    assert books.overruns(state, approved, policy) == []
    assert live.failures == ()
    assert len({d.intent.decision_id for d in live.decisions}) == len(live.decisions)
