"""The process of a user's strategy: loads it, asks it about each bar, and hands its answer on.

It is started by `strategy_process` with no environment of ours, and ends with the executor. What
the module prints goes nowhere; what it raises becomes an answer that says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib import metadata
from typing import Any, BinaryIO

import msgspec

from execution.core.guarded import Failed, guarded
from execution.core.seam import Bar
from execution.state_schema.strategy_pipe import Answer, Question, Want

GROUP = "hedge.strategies"
MIB = 1024 * 1024
PR_SET_PDEATHSIG = 1
TEXT_CHARS = 300

Decide = Callable[[str, tuple[Bar, ...]], Iterable[Any] | None]


def run(target: str, folder: str, parent: int, memory_mb: int) -> None:
    """Answer questions until there are no more; `target` is `module:function` or an entry point."""
    _end_with(parent)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * MIB, memory_mb * MIB))
    # The pipes are kept from whatever the module prints or reads.
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(nothing, stream)
        decide = guarded("load", partial(_load, target, folder))
        if isinstance(decide, Failed):
            _say(answers, Answer(number=0, error=_text(decide)))
            return
        _say(answers, Answer(number=0))
        for line in questions:
            asked = msgspec.json.decode(line, type=Question)
            wants = guarded("decide", partial(_ask, decide, asked))
            if isinstance(wants, Failed):
                _say(answers, Answer(number=asked.number, error=_text(wants)))
            else:
                _say(answers, Answer(number=asked.number, wants=wants))


def _ask(decide: Decide, asked: Question) -> tuple[Want, ...]:
    wants = decide(asked.symbol, asked.bars)
    return msgspec.convert(() if wants is None else tuple(wants), tuple[Want, ...])


def _load(target: str, folder: str) -> Decide:
    sys.path.insert(0, folder)
    name, _, attribute = target.partition(":")
    if attribute:
        found = getattr(importlib.import_module(name), attribute)
    else:
        (point,) = metadata.entry_points(group=GROUP, name=name) or (None,)
        if point is None:
            raise LookupError(f"no entry point {name} in group {GROUP}: write module:function")
        found = point.load()
    decide: Decide = found
    return decide


def _say(answers: BinaryIO, answer: Answer) -> None:
    answers.write(msgspec.json.encode(answer) + b"\n")
    answers.flush()


def _text(failed: Failed) -> str:
    return f"{type(failed.error).__name__}: {failed.error}"[:TEXT_CHARS]


def _end_with(parent: int) -> None:
    """Have the kernel end this process with its parent, however that ends and whatever runs here."""
    with contextlib.suppress(AttributeError, OSError):  # no such call outside Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it ended before
