"""The operator's program that is told of every alert: started, looked after, and never waited for."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from execution.clock import Clock
from execution.services import Alerts
from execution.state_schema.journals import Alert

STAGE = "alert_command"
NOBODY = Alerts(alert_command=(), deadline_s=1.0, pause_s=0.0)
# The program is told nothing of ours: no key, no path, no switch.
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
WAITING = 32
GOODBYE_S = 1.0
URGENCY = {"critical": 0, "warning": 1, "info": 2}


class Missed(Struct, frozen=True):
    """Why an alert did not reach the program, or not for certain."""

    kind: str
    text: str


class _Running(Struct):
    process: subprocess.Popen[bytes]
    deadline_s: float
    killed: bool = False


class AlertCommand:
    """Starts one program at a time, at most one every `pause_s`; the most severe alert goes first.

    The program gets the alert's JSON on its standard input, an environment of PATH and LANG, and no
    shell. It is killed, with all that it started, by the first beat after its deadline.
    """

    def __init__(self, terms: Alerts, clock: Clock) -> None:
        self._terms = terms
        self._clock = clock
        self._waiting: list[Alert] = []
        self._running: _Running | None = None
        self._free_s = clock.monotonic()

    def tell(self, alerts: Iterable[Alert]) -> None:
        """Put alerts in the queue; `beat` hands them over."""
        if self._terms.alert_command:
            self._waiting.extend(alerts)
            self._waiting.sort(key=lambda alert: URGENCY[alert.severity])

    def beat(self) -> tuple[Missed, ...]:
        """End what is over, start what is due, and return what went wrong since the last beat."""
        missed = [*self._look_after(), *self._drop()]
        if self._waiting and self._running is None and self._clock.monotonic() >= self._free_s:
            missed += self._start(self._waiting.pop(0))
        return tuple(missed)

    def close(self) -> None:
        """Give a running program a moment to end, and end it."""
        if self._running is None:
            return
        try:
            self._running.process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            _kill(self._running.process)
            self._running.process.wait()
        self._running = None

    def _look_after(self) -> Iterable[Missed]:
        running = self._running
        if running is None:
            return
        code = running.process.poll()
        if code is not None:
            self._running = None
            if code and not running.killed:
                yield Missed("failed", f"{self._terms.alert_command[0]} ended with {code}")
        elif not running.killed and self._clock.monotonic() >= running.deadline_s:
            running.killed = True
            _kill(running.process)
            yield Missed("late", f"killed after {self._terms.deadline_s:g} s")

    def _drop(self) -> Iterable[Missed]:
        if len(self._waiting) > WAITING:
            dropped = len(self._waiting) - WAITING
            del self._waiting[WAITING:]
            yield Missed("dropped", f"{dropped} alerts came faster than one every pause_s")

    def _start(self, alert: Alert) -> Iterable[Missed]:
        now_s = self._clock.monotonic()
        self._free_s = now_s + self._terms.pause_s
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program, and no shell
                self._terms.alert_command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            yield Missed("not_started", f"{self._terms.alert_command[0]}: {error.strerror}")
            return
        self._running = _Running(process, now_s + self._terms.deadline_s)
        if not _hand_over(process, msgspec.json.encode(alert)):
            yield Missed("untold", "its standard input did not take the whole alert")


def _hand_over(process: subprocess.Popen[bytes], text: bytes) -> bool:
    """Write without ever waiting for a reader; a program that reads nothing has its exit code."""
    assert process.stdin is not None  # noqa: S101 - Popen was asked for it
    with process.stdin as stdin:
        os.set_blocking(stdin.fileno(), False)
        try:
            return stdin.write(text) == len(text)
        except BrokenPipeError:
            return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Its process group is its own: what it started ends with it.
    os.killpg(process.pid, signal.SIGKILL)
