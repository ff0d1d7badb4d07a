"""One user's strategy as the tick sees it: asked without waiting, ended when it misbehaves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec
from msgspec import Struct

from execution.clock import Clock
from execution.core.guarded import Failed
from execution.core.outside import Asking
from execution.core.policy import Module
from execution.core.types import ModuleAnswer
from execution.environment import ROOT
from execution.log_lines import one_line
from execution.services import Modules
from execution.state_schema.strategy_pipe import Answer, Question

# Told nothing of ours: no key, no path, no switch.
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
RUN = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from execution import strategy_child; "
    "strategy_child.run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))"
)
LINE_BYTES = 16 * 1024
DOUBLINGS = 6
GOODBYE_S = 1.0
_answers = msgspec.json.Decoder(Answer)


class _Child:
    """One running process, and the thread that talks with it: a question, then its answer.

    Whatever it writes unasked waits in its own pipe, where it fills no memory of ours.
    """

    def __init__(self, command: tuple[str, ...], now_s: float) -> None:
        self.since_s = now_s
        self.ready = False
        self.asked: deque[tuple[Asking, int, float]] = deque()
        self.said: SimpleQueue[bytes] = SimpleQueue()
        self._asks: SimpleQueue[bytes | None] = SimpleQueue()
        # By the thread that lives as long as the executor: the kernel ends it with that thread.
        self.process = subprocess.Popen(  # noqa: S603 - the operator's own module, and no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
        )
        threading.Thread(target=self._talk, name="strategy", daemon=True).start()

    def ask(self, question: bytes) -> None:
        """Put a question behind those that it has not answered yet."""
        self._asks.put(question)

    def hear(self, wait_s: float) -> bytes | None:
        """Return the next line it said; b"" when it says no more, None while there is nothing."""
        try:
            return self.said.get(timeout=wait_s) if wait_s else self.said.get_nowait()
        except Empty:
            return None

    def end(self) -> None:
        """Kill it, with all that it started."""
        self._asks.put(None)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _talk(self) -> None:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None  # noqa: S101 - Popen was asked for it
        assert stdout is not None  # noqa: S101 - likewise
        with contextlib.suppress(OSError, ValueError):
            line = stdout.readline(LINE_BYTES)
            while line:
                self.said.put(line)
                ask = self._asks.get()
                if ask is None:
                    break
                stdin.write(ask)
                stdin.flush()
                line = stdout.readline(LINE_BYTES)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GOODBYE_S)  # so that its exit code is known when it is told of
        self.said.put(b"")
        for pipe in (stdin, stdout):
            with contextlib.suppress(OSError, ValueError):
                pipe.close()


class Beaten(Struct, frozen=True):
    """What one look at a strategy came to."""

    answers: tuple[ModuleAnswer, ...] = ()
    failures: tuple[Failed, ...] = ()


class StrategyProcess:
    """A module's process, started again after a pause when it ended, and switched off for good.

    `off` says why. With `patient` a beat waits for the answers: for a replay, which nobody hurries.
    """

    def __init__(
        self, strategy: Module, folder: Path, terms: Modules, clock: Clock, *, patient: bool
    ) -> None:
        self.strategy = strategy
        self.off: str | None = None
        self._folder = folder
        self._terms = terms
        self._clock = clock
        self._patient = patient
        self._child: _Child | None = None
        self._again_s = clock.monotonic()
        self._failed_s: deque[float] = deque(maxlen=terms.failures)
        self._number = 0
        self._failures: list[Failed] = []

    def beat(self, askings: Iterable[Asking]) -> Beaten:
        """Take the answers that are there, and ask."""
        if self.off is not None:
            return Beaten()
        if self._child is None and self._clock.monotonic() >= self._again_s:
            self._start()
        answers = [*self._hear()]
        if self._child is not None and self._child.ready:
            for asking in askings:
                self._ask(self._child, asking)
        answers += self._hear()
        self._judge_time()
        failures, self._failures = self._failures, []
        return Beaten(tuple(answers), tuple(failures))

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.end()
        self._child = None

    def _start(self) -> None:
        words = (self.strategy.module, self._folder, os.getpid(), self._terms.memory_mb)
        command = (sys.executable, "-I", "-c", RUN, *map(str, words))
        try:
            self._child = _Child(command, self._clock.monotonic())
        except (OSError, RuntimeError) as error:  # no process, or no thread
            self._fail(OSError(f"not started: {error}"), ends=True)

    def _ask(self, child: _Child, asking: Asking) -> None:
        self._number += 1
        question = Question(
            number=self._number, symbol=asking.symbol, bar_s=asking.bar_s, bars=asking.bars
        )
        child.asked.append((asking, self._number, self._clock.monotonic()))
        child.ask(msgspec.json.encode(question) + b"\n")

    def _hear(self) -> Iterable[ModuleAnswer]:
        while (child := self._child) is not None:
            line = child.hear(self._patience_s(child))
            if line is None:
                return
            answer = self._read(child, line)
            if answer is not None:
                yield answer

    def _patience_s(self, child: _Child) -> float:
        if not self._patient:
            return 0.0
        if not child.ready:
            return self._terms.start_s
        return self.strategy.answer_s if child.asked else 0.0

    def _read(self, child: _Child, line: bytes) -> ModuleAnswer | None:
        if not line:
            self._fail(ChildProcessError(f"ended with {child.process.poll()}"), ends=True)
            return None
        asking, number, asked_s = child.asked.popleft() if child.ready else (None, 0, 0.0)
        try:
            said = _answers.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._fail(ValueError(f"garbage instead of an answer: {error}"), ends=True)
            return None
        if said.number != number:
            self._fail(ValueError(f"answered {said.number} instead of {number}"), ends=True)
        elif said.error is not None:
            self._fail(RuntimeError(one_line(said.error)), ends=asking is None)
        elif asking is None:
            child.ready = True
        elif self._clock.monotonic() - asked_s > self.strategy.answer_s and not self._patient:
            self._fail(TimeoutError(f"{asking.symbol}: answered after its deadline"), ends=False)
        else:
            return ModuleAnswer(self.strategy.name, asking.symbol, asking.bars[-1].ts, said.wants)
        return None

    def _judge_time(self) -> None:
        """End it where it takes too long to load or to answer; by then no answer is of use."""
        child, now_s = self._child, self._clock.monotonic()
        if child is None:
            return
        if not child.ready:
            if self._patient or now_s - child.since_s > self._terms.start_s:
                self._fail(TimeoutError(f"not loaded after {self._terms.start_s:g} s"), ends=True)
        elif child.asked and (self._patient or now_s - child.asked[0][2] > self.strategy.answer_s):
            symbol = child.asked[0][0].symbol
            late = TimeoutError(f"{symbol}: no answer within {self.strategy.answer_s:g} s: killed")
            self._fail(late, ends=True)

    def _fail(self, error: Exception, *, ends: bool) -> None:
        """Count a failure; too many within the window switch the strategy off."""
        now_s = self._clock.monotonic()
        self._failures.append(Failed(self.strategy.name, error))
        self._failed_s.append(now_s)
        recent = [at_s for at_s in self._failed_s if now_s - at_s <= self._terms.failures_window_s]
        if len(recent) >= self._terms.failures:
            self.off = f"switched off after {len(recent)} failures, the last: {error}"
        if ends or self.off is not None:
            self.close()
            pause_s = self._terms.restart_s * 2 ** min(len(recent) - 1, DOUBLINGS)
            self._again_s = now_s + pause_s
