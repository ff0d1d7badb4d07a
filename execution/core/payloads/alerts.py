"""What a person should know now: said at once, and again at most once a minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from execution.core.guarded import Failed
from execution.core.payloads.run import RunInfo
from execution.core.types import TickReport, TradingStateName
from execution.state_schema.journals import Alert

REPEAT_S = 60.0
TEXT_CHARS = 300

Severity = Literal["info", "warning", "critical"]
SEVERITY: dict[TradingStateName, Severity] = {
    "ACTIVE": "info",
    "REDUCING": "warning",
    "HALTED": "critical",
}


class AlertMemory(Struct, frozen=True):
    """What was said last: the trading state, and when each (kind, subject) was."""

    trading: tuple[TradingStateName, tuple[str, ...]] = ("ACTIVE", ())
    said: Mapping[tuple[str, str], float] = {}


def alerts(
    report: TickReport, run: RunInfo, memory: AlertMemory
) -> tuple[list[Alert], AlertMemory]:
    """Return what is to be said of this tick, and the memory for the next."""
    trading = report.live.trading
    state = (trading.name, trading.reasons)
    spoken = [alert for alert in _standing(report, run) if _is_due(alert, memory)]
    said = memory.said
    if spoken:
        now = report.now
        recent = {key: ts for key, ts in said.items() if abs(now - ts) < REPEAT_S}
        said = recent | {(alert.kind, alert.subject): now for alert in spoken}
    if state != memory.trading:
        spoken.insert(0, _trading_alert(report, run))
    elif said is memory.said:
        return spoken, memory
    return spoken, AlertMemory(state, said)


def _is_due(alert: Alert, memory: AlertMemory) -> bool:
    last_ts = memory.said.get((alert.kind, alert.subject))
    # abs(): after a backward step of the clock silence must not last until it has caught up.
    return last_ts is None or abs(alert.ts - last_ts) >= REPEAT_S


def _standing(report: TickReport, run: RunInfo) -> Iterator[Alert]:
    """Yield an alert for every thing that is wrong in this tick."""
    shadow = () if report.shadow is None else report.shadow.failures
    for failed in (*report.live.failures, *shadow):
        yield _alert(report, run, "warning", "stage_failed", failed.stage, _say(failed))
    if run.shadow_problem is not None:
        yield _alert(report, run, "warning", "shadow_policy", "shadow", run.shadow_problem)
    for file in run.failed_writes:
        yield _alert(report, run, "warning", "write_failed", file, "state file not written")
    grace_s = run.policy.router.stop_retry_s
    for position in report.state.book.positions:
        since_ts = position.unprotected_since_ts
        if since_ts is not None and report.now - since_ts > grace_s:
            subject = f"{position.symbol} {position.position_side}"
            text = f"no stop in force for {report.now - since_ts:.0f} s"
            yield _alert(report, run, "critical", "unprotected", subject, text)


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
