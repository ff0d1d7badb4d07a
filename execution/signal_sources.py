"""Signals from outside, heard once a tick and never waited for: the inbox and users' modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from execution.clock import Clock
from execution.core import outside
from execution.core.guarded import Failed, guarded
from execution.core.policy import Module, Policy
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import EngineState, ModuleAnswer, Outside, TickReport
from execution.inbox_reader import Heard, InboxReader
from execution.services import Modules
from execution.state_schema.inbox_results import InboxResult
from execution.state_schema.registry import INBOX_RESULTS, Entry
from execution.strategy_process import StrategyProcess

STAGE = "inbox"


class Sources(Protocol):
    """Whatever signals come from besides the bars."""

    def hear(self, seen: MarketSnapshot | Blind, state: EngineState, now: float) -> EngineState:
        """Put what is heard into the state of this tick."""

    def answers(self, report: TickReport, run_id: str) -> list[Entry]:
        """Return what the writers of intents are to be told of a tick."""

    def close(self) -> None:
        """End what was started."""


class NoSources:
    """Nothing is heard: for whoever decides nothing."""

    def hear(
        self,
        seen: MarketSnapshot | Blind,  # noqa: ARG002  as SignalSources.hear
        state: EngineState,
        now: float,  # noqa: ARG002  likewise
    ) -> EngineState:
        """Return the state as it is."""
        return state

    def answers(self, report: TickReport, run_id: str) -> list[Entry]:  # noqa: ARG002  likewise
        """Return nothing."""
        return []

    def close(self) -> None:
        """End nothing."""


class SignalSources:
    """The inbox of one log folder, and one process for each module of the policy.

    Without `log_dir` there is no inbox; with `patient` modules are waited for: both for a replay.
    """

    def __init__(
        self,
        policy: Policy,
        terms: Modules,
        folder: Path,
        clock: Clock,
        is_decided: Callable[[str], bool],
        log_dir: Path | None,
        *,
        patient: bool = False,
    ) -> None:
        self._account = policy.account
        self._inbox = None if log_dir is None else InboxReader(log_dir, policy, is_decided)
        self._modules = [
            StrategyProcess(strategy, folder, terms, clock, patient=patient)
            for strategy in policy.strategies
            if isinstance(strategy, Module)
        ]

    def hear(self, seen: MarketSnapshot | Blind, state: EngineState, now: float) -> EngineState:
        """Put what is heard into the state of this tick; while blind, intents wait."""
        heard, failures = self._read_inbox(now, may_decide=not isinstance(seen, Blind))
        answers: list[ModuleAnswer] = []
        base_s = 0 if isinstance(seen, Blind) else seen.bar_s
        for process in self._modules:
            asked = outside.askings(state, (process.strategy,), base_s, now)
            beaten = guarded(process.strategy.name, partial(process.beat, asked))
            if isinstance(beaten, Failed):
                failures.append(beaten)
            else:
                answers += beaten.answers
                failures += beaten.failures
        off = {each.strategy.name: each.off for each in self._modules if each.off is not None}
        told = Outside(heard.intents, heard.replies, tuple(answers), tuple(failures), off)
        return state if told == Outside() else replace(state, outside=told)

    def answers(self, report: TickReport, run_id: str) -> list[Entry]:
        """Return the answers to every intent of a tick, which are given once."""
        replies = [*outside.replies(report, self._account)]
        if self._inbox is None or not replies:
            return []
        self._inbox.answered(replies)
        return [
            (
                INBOX_RESULTS,
                InboxResult(
                    ts=report.now,
                    run_id=run_id,
                    id=reply.id,
                    outcome=reply.outcome,
                    decision_id=reply.decision_id,
                    reason=reply.reason,
                ),
            )
            for reply in replies
        ]

    def close(self) -> None:
        """End every module's process."""
        for process in self._modules:
            process.close()

    def _read_inbox(self, now: float, *, may_decide: bool) -> tuple[Heard, list[Failed]]:
        if self._inbox is None:
            return Heard(), []
        heard = guarded(STAGE, partial(self._inbox.read, now, may_decide=may_decide))
        if isinstance(heard, Failed):
            return Heard(), [heard]
        failures = [] if heard.nameless is None else [Failed(STAGE, ValueError(heard.nameless))]
        return heard, failures
