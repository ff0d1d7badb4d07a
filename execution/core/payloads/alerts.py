"""What a person should know now: said at once, and again at most once a minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from execution.core import orders
from execution.core.guarded import Failed
from execution.core.payloads.run import RunInfo
from execution.core.types import TickReport, TradingStateName, Vetoed
from execution.state_schema.journals import Alert, Veto
from execution.state_schema.order_journals import Intent

REPEAT_S = 60.0
TEXT_CHARS = 300

Severity = Literal["info", "warning", "critical"]
SEVERITY: dict[TradingStateName, Severity] = {
    "ACTIVE": "info",
    "REDUCING": "warning",
    "HALTED": "critical",
}


class Streak(Struct, frozen=True):
    """One reason that has vetoed every entry since `since_ts`, so many of them."""

    reason: str
    since_ts: float
    entries: int
    said_ts: float | None = None


class AlertMemory(Struct, frozen=True):
    """What was said last: the trading state, and when each (kind, subject) was; what vetoes all."""

    trading: tuple[TradingStateName, tuple[str, ...]] = ("ACTIVE", ())
    said: Mapping[tuple[str, str], float] = {}
    streak: Streak | None = None


def alerts(
    report: TickReport, run: RunInfo, memory: AlertMemory, slow: Iterable[Failed] = ()
) -> tuple[list[Alert], AlertMemory]:
    """Return what is to be said of this tick, and the memory for the next.

    `slow` is what failed in the slow cadence beside it.
    """
    trading = report.live.trading
    state = (trading.name, trading.reasons)
    standing = {(alert.kind, alert.subject): alert for alert in _standing(report, run, slow)}
    spoken = [alert for alert in standing.values() if _is_due(alert, memory)]
    said = memory.said
    if spoken:
        now = report.now
        recent = {key: ts for key, ts in said.items() if abs(now - ts) < REPEAT_S}
        said = recent | {(alert.kind, alert.subject): now for alert in spoken}
    streak = _streak(report, memory.streak)
    if streak is not None and streak is not memory.streak and _is_long(streak, run, report.now):
        spoken.append(_veto_alert(report, run, streak))
        streak = replace(streak, said_ts=report.now)
    if state != memory.trading:
        spoken.insert(0, _trading_alert(report, run))
    elif said is memory.said and streak is memory.streak:
        return spoken, memory
    return spoken, AlertMemory(state, said, streak)


def resume(attempted: Iterable[Intent], vetoes: Iterable[Veto]) -> AlertMemory:
    """Read back what has vetoed every entry, from the journals of the processes before."""
    refused = {(veto.decision_id, veto.ts): veto.reason for veto in vetoes}
    streak: Streak | None = None
    for intent in attempted:
        if not intent.reduce_only:
            streak = _followed(streak, refused.get((intent.decision_id, intent.ts)), intent.ts)
    return AlertMemory(streak=streak)


def _is_due(alert: Alert, memory: AlertMemory) -> bool:
    last_ts = memory.said.get((alert.kind, alert.subject))
    # abs(): after a backward step of the clock silence must not last until it has caught up.
    return last_ts is None or abs(alert.ts - last_ts) >= REPEAT_S


def _standing(report: TickReport, run: RunInfo, slow: Iterable[Failed]) -> Iterator[Alert]:
    """Yield an alert for every thing that is wrong in this tick."""
    shadow = () if report.shadow is None else report.shadow.failures
    outside = report.state.outside
    for failed in (*outside.failures, *report.live.failures, *shadow, *slow):
        yield _alert(report, run, "warning", "stage_failed", failed.stage, _say(failed))
    if run.shadow_problem is not None:
        yield _alert(report, run, "warning", "shadow_policy", "shadow", run.shadow_problem)
    for strategy, reason in outside.off.items():
        yield _alert(report, run, "warning", "strategy_off", strategy, reason[:TEXT_CHARS])
    for file in run.failed_writes:
        yield _alert(report, run, "warning", "write_failed", file, "state file not written")
    yield from _of_others(report, run)
    yield from _of_positions(report, run)


def _of_others(report: TickReport, run: RunInfo) -> Iterator[Alert]:
    """Yield what somebody else traded: it is told here and fought nowhere."""
    for trade in report.state.recorded.trades:
        if not orders.is_own(trade.client_id, run.mode):
            by_venue = orders.is_of_venue(trade.client_id)
            kind = "closed_by_venue" if by_venue else "foreign_fill"
            severity: Severity = "critical" if by_venue else "warning"
            subject = f"{trade.symbol} {trade.position_side} {trade.client_id}"
            text = f"{trade.side} {trade.qty} at {trade.price}, realized {trade.realized_usd} USD"
            yield _alert(report, run, severity, kind, subject, text)


def _of_positions(report: TickReport, run: RunInfo) -> Iterator[Alert]:
    """Yield what is wrong with a leg that is held."""
    grace_s = run.policy.router.stop_retry_s
    kill = report.state.recorded.kill
    for position in report.state.book.positions:
        subject = f"{position.symbol} {position.position_side}"
        rules = report.state.rules.get(position.symbol)
        if rules is None or not rules.trading:
            text = "the venue does not trade it now: an exit goes out where the venue takes it"
            yield _alert(report, run, "critical", "not_trading", subject, text)
        since_ts = position.unprotected_since_ts
        if kill is not None and kill.on and not position.stop_resting:
            # Its plan is not followed now: an exit is an order.
            text = "no stop rests at the venue, and the kill latch is on"
            yield _alert(report, run, "critical", "unprotected", subject, text)
        elif since_ts is not None and report.now - since_ts > grace_s:
            text = f"no stop in force for {report.now - since_ts:.0f} s"
            yield _alert(report, run, "critical", "unprotected", subject, text)


def _streak(report: TickReport, before: Streak | None) -> Streak | None:
    """Follow the headline of the entries' vetoes."""
    streak = before
    for decision in report.live.decisions:
        if not decision.intent.reduce_only:
            verdict = decision.verdict
            reason = verdict.reason if isinstance(verdict, Vetoed) else None
            streak = _followed(streak, reason, report.now)
    return streak


def _followed(streak: Streak | None, reason: str | None, ts: float) -> Streak | None:
    """Return the streak after one more entry; an approval, or another headline, ends it."""
    if reason is None:
        return None
    if streak is None or streak.reason != reason:
        return Streak(reason, ts, 1)
    # min(): a clock that was set back does not make the streak begin in the future.
    return replace(streak, since_ts=min(streak.since_ts, ts), entries=streak.entries + 1)


def _is_long(streak: Streak, run: RunInfo, now: float) -> bool:
    """Tell whether a streak has lasted, and lasted again since it was said."""
    since_ts = streak.since_ts if streak.said_ts is None else min(streak.said_ts, now)
    return now - since_ts >= run.watch.veto_everything_s


def _veto_alert(report: TickReport, run: RunInfo, streak: Streak) -> Alert:
    minutes = (report.now - streak.since_ts) / 60
    text = f"{streak.reason} has vetoed all {streak.entries} entries of {minutes:.0f} min"
    return _alert(report, run, "warning", "veto_everything", streak.reason, text)


def _trading_alert(report: TickReport, run: RunInfo) -> Alert:
    trading = report.live.trading
    text = ", ".join(trading.reasons) or "all inputs known and fresh"
    return _alert(report, run, SEVERITY[trading.name], "trading_state", trading.name, text)


def _alert(
    report: TickReport, run: RunInfo, severity: Severity, kind: str, subject: str, text: str
) -> Alert:
    return Alert(
        ts=report.now,
        run_id=run.run_id,
        severity=severity,
        kind=kind,
        subject=subject,
        text=text,
        trading_state=report.live.trading.name,
    )


def _say(failed: Failed) -> str:
    return f"{type(failed.error).__name__}: {failed.error}"[:TEXT_CHARS]
