"""The slow cadence: journals → what they say of routing, trades and symbols → what should change.

Every stage runs on its own timer, and once at the start on nothing at all: one that always raises is
found out then. A stage that fails keeps its last result, and is tried again at its next time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from execution.core import router_apply
from execution.core.guarded import Failed, guarded
from execution.core.intel_stages import STAGES, Given, Stage, StageName
from execution.core.payloads.run import IntelReport, Measured, RouterSuggestionFigures
from execution.core.policy import Policy
from execution.core.router_apply import Ruling
from execution.core.types import EngineState
from execution.intel_journals import IntelJournals
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.intel_files import RiskMode
from execution.state_schema.order_journals import PolicyChange
from execution.state_schema.registry import Entry
from execution.state_store import StateStore, Unreadable

log = logging.getLogger(__name__)


class Refreshed(Struct, frozen=True):
    """What the cadence came to: results, what failed, the policy from now on, and its record."""

    report: IntelReport
    policy: Policy
    failures: tuple[Failed, ...] = ()
    entries: tuple[Entry, ...] = ()


class IntelCycle:
    """The stages of one executor, when each ran, and what each found last."""

    def __init__(
        self,
        settings: Settings,
        store: StateStore,
        run_id: str,
        stages: Mapping[StageName, Stage] = STAGES,
    ) -> None:
        timers, terms = settings.services.executor, settings.intel
        self._terms = terms
        self._flags = V6Flags(**settings.flags)
        self._store = store
        self._run_id = run_id
        self._stages = stages
        self._journals = IntelJournals(settings.log_dir, terms)
        self._every_s: dict[StageName, float] = {
            "router_health": timers.router_health_s,
            "expectancy": timers.intel_s,
            "scores": timers.intel_s,
            "router_suggestions": terms.autotune.every_s,
            "allocation": terms.allocator.every_s,
        }
        self._ran_ts: dict[StageName, float] = {}
        self._found: IntelReport | None = None
        self._doubt: str | None = None

    def refresh(self, state: EngineState, policy: Policy, now: float) -> Refreshed:
        """Read what is new in the journals, run the stages that are due, and apply."""
        failures: list[Failed] = []
        if self._found is None:
            self._found, failed = self._run(
                STAGES, Given(self._flags, self._terms, policy, now), IntelReport()
            )
            failures += failed
            policy = self._resume(policy, now)
        due = [stage for stage in STAGES if self._is_due(stage, now)]
        if not due:
            return Refreshed(self._found, policy, tuple(failures))
        read = guarded("intel:journals", partial(self._journals.read, policy, now))
        if isinstance(read, Failed):
            failures.append(read)
        entries: tuple[Entry, ...] = ()
        if not self._journals.behind:  # half a history is another history: the next loop reads on
            given = self._given(state, policy, now)
            self._found, failed = self._run(due, given, self._found)
            failures += failed
            self._ran_ts.update(dict.fromkeys(due, now))
            if "router_suggestions" in due:
                applied = guarded("intel:router_apply", partial(self._apply, policy, now))
                if isinstance(applied, Failed):
                    failures.append(applied)
                else:
                    policy, entries = applied
        return Refreshed(self._found, policy, tuple(failures), entries)

    def _is_due(self, stage: StageName, now: float) -> bool:
        # A clock that was set back makes a stage due at once rather than much later.
        return not 0 <= now - self._ran_ts.get(stage, -math.inf) < self._every_s[stage]

    def _given(self, state: EngineState, policy: Policy, now: float) -> Given:
        read = self._journals
        return Given(
            self._flags, self._terms, policy, now, state, read.closes, read.routes, read.present
        )

    def _run(
        self, stages: Iterable[StageName], given: Given, so_far: IntelReport
    ) -> tuple[IntelReport, list[Failed]]:
        """Run stages in their order, each on what those before it found."""
        failures = []
        for stage in stages:
            found = guarded(f"intel:{stage}", partial(self._stages[stage], given, so_far))
            if isinstance(found, Failed):
                failures.append(found)
            else:
                so_far = replace(so_far, **{stage: Measured(given.now, found)})
        return so_far, failures

    # ------------------------------------------------------------ what the live router takes over

    def _applies(self) -> bool:
        flags = self._flags
        return flags.ROUTER_AUTOTUNE_V6_ENABLED and flags.ROUTER_AUTOTUNE_V6_APPLY_ENABLED

    def _resume(self, policy: Policy, now: float) -> Policy:
        """Go on from the file of the process before this one: its policies, and its pause."""
        found = self._store.read(registry.ROUTER_SUGGESTIONS)
        if found is not None and found.enabled and self._found is not None:
            self._ran_ts["router_suggestions"] = found.generated_ts
            if not self._is_due("router_suggestions", now):
                figures = RouterSuggestionFigures(found.lookback_days, found.symbols, found.note)
                before = Measured(found.generated_ts, figures)
                self._found = replace(self._found, router_suggestions=before)
        if not self._applies():
            return policy
        terms = self._terms
        tuned = router_apply.resume(found, policy, now, terms.apply, terms.autotune)
        if tuned:
            log.info("router_apply resumed symbols=%s", ",".join(sorted(tuned)))
        return replace(policy, tuned=tuned)

    def _apply(self, policy: Policy, now: float) -> tuple[Policy, tuple[Entry, ...]]:
        """Let the fresh suggestions through the gates; return the policy and what changed in it."""
        suggested = None if self._found is None else self._found.router_suggestions
        if suggested is None or suggested.ts != now or not suggested.value.rows:
            return policy, ()
        if not self._applies():
            return policy, ()
        mode = self._risk_mode(now)
        rulings = [
            router_apply.judge(
                row, policy.route_policy(row.symbol), mode, self._terms.apply, self._terms.autotune
            )
            for row in suggested.value.rows
        ]
        rows = tuple(
            replace(ruling.row, applied_policy=ruling.applied, apply_reason=ruling.reason)
            for ruling in rulings
        )
        told = replace(suggested, value=replace(suggested.value, rows=rows))
        self._found = replace(self._found or IntelReport(), router_suggestions=told)
        applied = {r.row.symbol: r.applied for r in rulings if r.applied is not None}
        for symbol in applied:
            self._journals.forget_present(symbol)
        if applied:
            del self._ran_ts["router_health"]  # it shows the policy in force: the next loop's
        entries = tuple(self._entry(ruling, mode, now) for ruling in rulings if ruling.applied)
        return replace(policy, tuned={**policy.tuned, **applied}), entries

    def _risk_mode(self, now: float) -> RiskMode:
        """Read the allocator's mode from its file; what is wrong with the file is said once."""
        found = self._store.inspect(registry.ALLOCATION_SUGGESTIONS)
        read = None if isinstance(found, Unreadable) else found
        readable = not isinstance(found, Unreadable) or found.kind == "missing"
        mode, doubt = router_apply.risk_mode(
            read, readable=readable, now=now, terms=self._terms.apply
        )
        if doubt is not None and doubt != self._doubt:
            log.warning(
                "%s risk_mode=%s file=%s", doubt, mode, registry.ALLOCATION_SUGGESTIONS.path
            )
        self._doubt = doubt
        return mode

    def _entry(self, ruling: Ruling, mode: RiskMode, now: float) -> Entry:
        row, after = ruling.row, ruling.applied or ruling.row.current_policy
        log.info("router_apply symbol=%s before=%s after=%s", row.symbol, row.current_policy, after)
        change = PolicyChange(
            ts=now,
            run_id=self._run_id,
            symbol=row.symbol,
            before=row.current_policy,
            after=after,
            risk_mode=mode,
            quality=row.quality,
            rationale=row.rationale,
        )
        return registry.ORDER_METRICS, change
