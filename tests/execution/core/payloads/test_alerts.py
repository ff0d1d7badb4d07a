from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from execution.core.guarded import Failed
from execution.core.payloads import alerts, journals
from execution.core.payloads.alerts import AlertMemory
from execution.core.types import (
    Approved,
    Breach,
    Decided,
    Decision,
    TickReport,
    TradingState,
    Vetoed,
)
from execution.state_schema.journals import Veto
from execution.state_schema.order_journals import Intent
from scripts.benchmarks import sample
from tests.support import builders

NOW = sample.NOW
RUN = sample.run_info()
ACTIVE = TradingState("ACTIVE")


def tick(**live) -> TickReport:
    return replace(sample.tick(2), live=Decided(ACTIVE, **live))


def said(report: TickReport, memory: AlertMemory) -> tuple[list[tuple[str, str]], AlertMemory]:
    found, after = alerts.alerts(report, RUN, memory)
    return [(alert.kind, alert.subject) for alert in found], after


def test_a_healthy_tick_says_nothing_and_keeps_the_memory():
    memory = AlertMemory()
    assert said(sample.tick(2), memory) == ([], memory)


def test_a_change_of_state_is_said_once_with_its_reasons():
    halted = replace(sample.tick(0), live=Decided(TradingState("HALTED", ("blind",))))
    (alert,), memory = alerts.alerts(halted, RUN, AlertMemory())
    assert (alert.severity, alert.subject, alert.text) == ("critical", "HALTED", "blind")
    assert said(halted, memory)[0] == []
    again = replace(halted, live=Decided(TradingState("HALTED", ("kill_switch",))))
    assert said(again, memory)[0] == [("trading_state", "HALTED")]
    assert said(sample.tick(0), memory)[0] == [("trading_state", "ACTIVE")]


def test_a_failing_stage_is_said_at_most_once_a_minute():
    report = tick(failures=(Failed("trend", ValueError("x" * 1000)),))
    (alert,), memory = alerts.alerts(report, RUN, AlertMemory())
    assert (alert.kind, alert.subject, alert.severity) == ("stage_failed", "trend", "warning")
    assert alert.text.startswith("ValueError: xxx")
    assert len(alert.text) == 300
    assert said(replace(report, now=NOW + 59), memory)[0] == []
    assert said(replace(report, now=NOW + 60), memory)[0] == [("stage_failed", "trend")]
    assert said(replace(report, now=NOW - 3600), memory)[0] == [("stage_failed", "trend")]


def test_failures_of_the_shadow_are_said_too():
    report = replace(tick(), shadow=Decided(ACTIVE, failures=(Failed("shadow", KeyError("k")),)))
    assert said(report, AlertMemory())[0] == [("stage_failed", "shadow")]


def test_an_unprotected_leg_is_said_with_its_seconds_after_the_grace():
    report = sample.tick(1)
    grace_s = RUN.policy.router.stop_retry_s

    def unprotected_for(seconds: float) -> TickReport:
        leg = replace(report.state.book.positions[0], unprotected_since_ts=NOW - seconds)
        book = replace(report.state.book, positions=(leg,))
        return replace(report, state=replace(report.state, book=book))

    assert said(unprotected_for(grace_s), AlertMemory())[0] == []
    (alert,), _ = alerts.alerts(unprotected_for(grace_s + 40), RUN, AlertMemory())
    assert (alert.kind, alert.subject, alert.severity) == (
        "unprotected",
        "S000USDT LONG",
        "critical",
    )
    assert alert.text == f"no stop in force for {grace_s + 40:.0f} s"


def test_a_failed_write_is_said_with_the_file():
    run = replace(RUN, failed_writes=("state/nav.json",))
    (alert,), _ = alerts.alerts(sample.tick(0), run, AlertMemory())
    assert (alert.kind, alert.subject) == ("write_failed", "state/nav.json")


def test_the_memory_does_not_grow_with_what_is_over():
    memory = AlertMemory()
    for n in range(500):
        report = replace(tick(failures=(Failed(f"stage-{n}", ValueError()),)), now=NOW + n)
        _, memory = alerts.alerts(report, RUN, memory)
    assert len(memory.said) <= 61


# ---------------------------------------------------------------- one reason that vetoes everything


def entries(now: float, *reasons: str | None) -> TickReport:
    """Return a tick in which an entry was vetoed for each reason, or approved for None."""
    decisions = []
    for number, reason in enumerate(reasons):
        wanted = builders.intent(decision_id=f"d{number}")
        breaches = (Breach(reason or "", 1.0, 2.0, "usd"), Breach("other", 1.0, 2.0, "usd"))
        verdict = Approved(wanted, wanted.qty) if reason is None else Vetoed(wanted, breaches)
        decisions.append(Decision(wanted, verdict, None))
    return replace(tick(decisions=tuple(decisions)), now=now)


def vetoing(*ticks: TickReport) -> list[tuple[str, str]]:
    memory, heard = AlertMemory(), []
    for report in ticks:
        found, memory = alerts.alerts(report, RUN, memory)
        heard += [(a.subject, a.text) for a in found if a.kind == "veto_everything"]
    return heard


AFTER_S = RUN.watch.veto_everything_s


def test_a_reason_that_vetoes_every_entry_for_long_is_said_with_its_count() -> None:
    quiet = replace(sample.tick(0), now=NOW + AFTER_S + 5)
    assert vetoing(
        entries(NOW, "side_blocked"),
        entries(NOW + 60, "side_blocked", "side_blocked"),
        entries(NOW + AFTER_S - 1, "side_blocked"),
        quiet,
        entries(NOW + AFTER_S + 6, "side_blocked"),
        entries(NOW + 2 * AFTER_S + 5, "side_blocked"),  # not before as long again
        entries(NOW + 2 * AFTER_S + 6, "side_blocked"),
    ) == [
        ("side_blocked", "side_blocked has vetoed all 5 entries of 240 min"),
        ("side_blocked", "side_blocked has vetoed all 7 entries of 480 min"),
    ]


@pytest.mark.parametrize(
    "between", [("gross_cap",), (None,), ("side_blocked", None), (None, "gross_cap")]
)
def test_an_approval_or_another_reason_ends_it(between) -> None:
    assert (
        vetoing(
            entries(NOW, "side_blocked"),
            entries(NOW + 60, *between),
            entries(NOW + AFTER_S, "side_blocked"),
            entries(NOW + AFTER_S + 60, "side_blocked"),
        )
        == []
    )


def test_an_exit_that_is_approved_ends_nothing() -> None:
    leave = builders.leaving()
    decision = Decision(leave, Approved(leave, leave.qty), None)
    exited = replace(tick(decisions=(decision,)), now=NOW + 60)
    assert vetoing(entries(NOW, "cooldown"), exited, entries(NOW + AFTER_S, "cooldown")) != []


def test_a_clock_that_is_set_back_does_not_end_it() -> None:
    assert (
        vetoing(
            entries(NOW, "cooldown"),
            entries(NOW - 7200, "cooldown"),
            entries(NOW - 7200 + AFTER_S, "cooldown"),
        )
        != []
    )


@given(st.lists(st.lists(st.sampled_from(["cooldown", "gross_cap", None]), max_size=3), max_size=6))
def test_a_restart_reads_the_streak_back_from_the_journals(ticks: list[list[str | None]]) -> None:
    memory, written = AlertMemory(), []
    for number, reasons in enumerate(ticks):
        report = entries(NOW + number, *reasons)
        _, memory = alerts.alerts(report, RUN, memory)
        written += [record for _, record in journals.records(report, RUN)]
    attempted = [each for each in written if isinstance(each, Intent)]
    refused = [each for each in written if isinstance(each, Veto)]
    assert alerts.resume(attempted, refused) == AlertMemory(streak=memory.streak)
