from __future__ import annotations

from decimal import Decimal

import pytest

from execution.core.payloads import day_figures
from execution.core.payloads.day_figures import DayFigures, Worst
from execution.core.records import Anchors
from execution.core.types import (
    Approved,
    Breach,
    Decided,
    Decision,
    TickReport,
    Vetoed,
)
from execution.state_schema.order_journals import Fill
from tests.support import builders, policies

NOW = builders.NOW
DAY, NEXT_DAY = "2023-11-15", "2023-11-16"
POLICY = policies.policy()


def tick(
    *positions,
    day: str = DAY,
    now: float = NOW,
    decisions=(),
    trades=(),
    nav_usd: float = 10_000.0,
    book=None,
    **recorded,
) -> TickReport:
    """Return a tick; its legs are those of its positions unless told."""
    legs = {
        (p.symbol, p.position_side): builders.leg(p.symbol, p.position_side, str(p.qty))
        for p in positions
    }
    anchors = Anchors(10_000.0, 10_000.0, day)
    state = builders.state(
        book=builders.book(nav_usd, positions=positions, anchors=anchors, **(book or {})),
        recorded=builders.recorded(**{"day": day, "trades": trades, "legs": legs, **recorded}),
    )
    live = Decided(builders.ACTIVE, decisions=decisions)
    return TickReport(now, builders.snapshot(), state, live, None, ())


def followed(*ticks: TickReport, begin: DayFigures | None = None) -> DayFigures:
    figures = DayFigures() if begin is None else begin
    for each in ticks:
        figures = day_figures.follow(figures, each, POLICY)
    return figures


def lost(figures: DayFigures, report: TickReport, symbol: str = "BTCUSDT") -> float | None:
    return day_figures.dd_today_pct(figures, symbol, report.state.book)


def position(unrealized_usd: float | None, qty: float = 1.0, symbol: str = "BTCUSDT"):
    return builders.position(symbol, qty=qty, unrealized_usd=unrealized_usd)


# ---------------------------------------------------------------- profit and loss by symbol


def test_a_symbols_loss_is_realized_less_fees_and_the_change_of_its_unrealized() -> None:
    sold = builders.trade(qty="0.5", side="SELL", realized_usd=Decimal(-60), fee_usd=Decimal(4))
    first = tick(position(30.0))
    last = tick(position(-50.0, 0.5), trades=(sold,))
    assert lost(followed(first), first) == 0.0
    # -60 realized, 4 of fees, and 30 of profit that became a loss of 50.
    assert lost(followed(first, last), last) == pytest.approx(100 * (60 + 4 + 80) / 10_000)
    assert lost(followed(first, last), last, "ETHUSDT") == 0.0


def test_a_gain_is_no_drawdown() -> None:
    first, last = tick(position(0.0)), tick(position(500.0))
    assert lost(followed(first, last), last) == 0.0


def test_a_day_begins_with_what_is_unrealized_then() -> None:
    before = tick(position(-300.0))
    first = tick(position(-320.0), day=NEXT_DAY, trades=(builders.trade(),))
    last = tick(position(-400.0), day=NEXT_DAY)
    assert lost(followed(before, first), first) == 0.0
    assert lost(followed(before, first, last), last) == pytest.approx(0.8)


def test_a_tick_without_numbers_counts_its_trades_and_says_nothing() -> None:
    sold = builders.trade(side="SELL", realized_usd=Decimal(-60), fee_usd=Decimal(0))
    blind = tick(trades=(sold,), book={"stale": True})
    last = tick()
    figures = followed(tick(position(0.0)), blind)
    assert lost(followed(last, begin=figures), last) == pytest.approx(0.6)
    without_mark = tick(position(None))
    assert lost(followed(without_mark, begin=figures), without_mark) is None
    unknown = tick(book={"known": False})
    assert lost(figures, unknown) is None


# ---------------------------------------------------------------- a start in mid-day


def fill(side: str, qty: float, realized_usd: float = 0.0, symbol: str = "BTCUSDT") -> Fill:
    return Fill(
        ts=NOW,
        run_id="r",
        decision_id="d",
        client_id="c",
        trade_id=f"{side}-{qty}",
        venue_order_id="v",
        symbol=symbol,
        side=side,
        position_side="LONG",
        qty=qty,
        price=100.0,
        fee_usd=1.0,
        realized_usd=realized_usd,
        maker=True,
        trade_ts=NOW,
    )


def test_a_restart_goes_on_with_the_fills_of_the_day() -> None:
    fills = [fill("BUY", 0.3), fill("BUY", 0.7), fill("SELL", 0.4, -30.0)]
    begun = day_figures.resume(DAY, fills, whole=True)
    report = tick(position(-20.0, qty=0.6))
    assert lost(followed(report, begin=begun), report) == pytest.approx(
        100 * (30 + 3 + 20) / 10_000
    )


def test_a_fill_that_is_told_at_the_first_look_counts_too() -> None:
    begun = day_figures.resume(DAY, [fill("BUY", 1.0)], whole=True)
    stopped = builders.trade(side="SELL", realized_usd=Decimal(-100), fee_usd=Decimal(1))
    report = tick(trades=(stopped,))
    assert lost(followed(report, begin=begun), report) == pytest.approx(1.02)


def test_a_leg_from_the_day_before_is_not_known_after_a_restart_until_the_next_day() -> None:
    begun = day_figures.resume(DAY, [fill("SELL", 0.4, -30.0)], whole=True)
    report, next_day = tick(position(-20.0, qty=0.6)), tick(position(-20.0), day=NEXT_DAY)
    figures = followed(report, begin=begun)
    assert lost(figures, report) is None
    assert lost(figures, report, "ETHUSDT") == 0.0
    assert lost(followed(next_day, begin=figures), next_day) == 0.0


def test_with_a_part_of_the_fills_nothing_is_known_until_the_next_day() -> None:
    begun = day_figures.resume(DAY, [fill("BUY", 1.0)], whole=False)
    report, next_day = tick(position(-20.0)), tick(day=NEXT_DAY)
    assert lost(followed(report, begin=begun), report) is None
    assert lost(followed(report, next_day, begin=begun), next_day) == 0.0


# ---------------------------------------------------------------- the worst use


def test_the_worst_use_of_a_limit_stands_with_its_time() -> None:
    figures = followed(
        tick(position(0.0, qty=10.0)),
        tick(position(0.0, qty=30.0), now=NOW + 1),
        tick(position(0.0, qty=20.0), now=NOW + 2),
        tick(now=NOW + 3),
    )
    assert figures.worst["gross_cap"] == Worst(pytest.approx(30.0), NOW + 1)
    assert figures.worst["symbol_nav_cap.ETHUSDT"] == Worst(0.0, NOW)
    assert figures.worst_since_ts == NOW


def test_what_a_tick_approves_counts_in_it() -> None:
    wanted = builders.intent("10")
    decision = Decision(wanted, Approved(wanted, Decimal(4)), None)
    figures = followed(tick(), tick(decisions=(decision,), now=NOW + 1))
    assert figures.worst["gross_cap"] == Worst(pytest.approx(4.0), NOW + 1)
    assert figures.worst["max_order_notional"] == Worst(pytest.approx(400.0), NOW + 1)
    assert figures.worst["order_rate.BTCUSDT"] == Worst(1, NOW + 1)
    vetoed = Decision(wanted, Vetoed(wanted, (Breach("gross_cap", 1.0, 2.0, "usd"),)), None)
    assert followed(tick(), tick(decisions=(vetoed,))).worst["gross_cap"].used == 0.0


def test_the_losses_count_when_nothing_is_held() -> None:
    report = tick(book={"drawdown_pct": 3.0, "day_pnl_usd": -200.0}, now=NOW + 1)
    figures = followed(tick(), report)
    assert figures.worst["nav_drawdown_limit"] == Worst(3.0, NOW + 1)
    assert figures.worst["day_loss_limit"] == Worst(2.0, NOW + 1)


def test_a_new_day_begins_anew_and_a_stale_book_says_nothing() -> None:
    figures = followed(
        tick(position(0.0, qty=30.0)),
        tick(position(0.0, qty=90.0), book={"stale": True}),
        tick(position(0.0, qty=5.0), day=NEXT_DAY, now=NOW + 7),
    )
    assert figures.worst["gross_cap"] == Worst(pytest.approx(5.0), NOW + 7)
    assert (figures.day, figures.worst_since_ts) == (NEXT_DAY, NOW + 7)


def test_a_start_in_mid_day_says_since_when_it_knows() -> None:
    begun = day_figures.resume(DAY, [], whole=True)
    assert followed(tick(now=NOW + 5), begin=begun).worst_since_ts == NOW + 5


def test_a_quiet_tick_changes_nothing() -> None:
    figures = followed(tick())
    assert day_figures.follow(figures, tick(now=NOW + 1), POLICY) is figures


def test_days_together_show_the_worst_of_all() -> None:
    first = {"a": Worst(1.0, 1.0), "b": Worst(5.0, 1.0)}
    second = {"a": Worst(2.0, 2.0), "b": Worst(5.0, 2.0), "c": Worst(0.0, 2.0)}
    assert day_figures.worst_of(first, second) == {
        "a": Worst(2.0, 2.0),
        "b": Worst(5.0, 1.0),
        "c": Worst(0.0, 2.0),
    }


# ---------------------------------------------------------------- what failed


def test_a_checks_error_stands_until_risk_is_asked_again_without_one() -> None:
    wanted = builders.intent()
    breach = Breach("gross_cap", None, "error: ZeroDivisionError", "error")
    raised = Decision(wanted, Vetoed(wanted, (breach,)), None)
    sound = Decision(wanted, Approved(wanted, wanted.qty), None)
    failed = followed(tick(), tick(decisions=(raised,)), tick())
    assert failed.error == "gross_cap: error: ZeroDivisionError"
    assert followed(tick(day=NEXT_DAY), begin=failed).error == failed.error
    assert followed(tick(decisions=(sound,)), begin=failed).error is None


@pytest.mark.parametrize("day", [DAY, NEXT_DAY])
def test_the_sum_over_the_symbols_is_the_books_own_day(day: str) -> None:
    bought = builders.trade(side="BUY", fee_usd=Decimal(2))
    sold = builders.trade(side="SELL", realized_usd=Decimal(-40), fee_usd=Decimal(3))
    ticks = [
        tick(position(-5.0), day=DAY),
        tick(position(-9.0), day=day, trades=(bought,)),
        tick(position(-30.0), position(-7.0, symbol="ETHUSDT"), day=day, trades=(sold,)),
    ]
    figures, last = followed(*ticks), ticks[-1]
    fees_and_realized = -2.0 - 43.0 if day == DAY else -43.0
    begun = -5.0 if day == DAY else -9.0
    book_pnl = fees_and_realized + (-37.0 - begun)
    shown = sum(lost(figures, last, symbol) or 0.0 for symbol in ("BTCUSDT", "ETHUSDT"))
    assert shown == pytest.approx(-100 * book_pnl / 10_000)
