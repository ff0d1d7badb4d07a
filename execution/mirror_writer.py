"""One service's part of the mirror: what is there, what is written now, and what that may cost.

Last state wins: nothing queues up while the server is away. What was acknowledged is remembered
here, and read from the server after a start or a failure: a process that is killed loses nothing.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from execution import guards
from execution.clock import Clock
from execution.core.mirror import plan as plans
from execution.core.mirror.documents import Document
from execution.core.mirror.pace import SHARE_FRAC, Breaker, Budget, Kind
from execution.core.mirror.plan import Held, Plan, Stamp, Version, Write
from execution.core.payloads.sync_health import Mirror
from execution.errors import StateWriteError, SyncError
from execution.firestore_utils import Firestore, Found
from execution.guards import Publishing
from execution.log_lines import one_line
from execution.mirror_standing import standing, target_of
from execution.service_loop import Service, Timer
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.journals import Alert
from execution.state_schema.mirror_files import Allowance, allowance_of
from execution.state_store import StateStore, Unreadable

log = logging.getLogger(__name__)

TOLD: Final = 3  # documents that are held back, in one line
SLOW_TOLD_S: Final = 3_600.0
Build = Callable[[Mapping[str, str]], Sequence[Document]]


class Preview(Struct, frozen=True):
    """What a cycle would do, and the fields of the documents that are there."""

    plan: Plan
    there: dict[str, dict[str, Any]]


class Purse:
    """The budget of one service, kept in a file so that a restart does not fill it."""

    def __init__(
        self,
        name: guards.Service,
        settings: Settings,
        clock: Clock,
        store: StateStore,
        service: Service,
    ) -> None:
        self._clock = clock
        self._store = store
        self._service = service
        self._file = allowance_of(name)
        a_day = settings.services.mirror.operations_a_day * SHARE_FRAC[name]
        found = store.inspect(self._file)
        self.writer = secrets.token_hex(8)
        if isinstance(found, Allowance):
            self.writer = found.writer
            self._budget = Budget(a_day, found.left).after(clock.now() - found.moved_ts)
        else:  # where there was a file, nobody knows what was spent of it
            missing = isinstance(found, Unreadable) and found.kind == "missing"
            self._budget = Budget(a_day, a_day if missing else 0.0).after(0.0)
        self._moved_s = clock.monotonic()

    def spend(self, count: int) -> bool:
        """Take `count` operations out before they are sent; False where there are not as many.

        StateWriteError where that cannot be kept: nothing may be sent then.
        """
        now_s = self._clock.monotonic()
        self._budget = self._budget.after(now_s - self._moved_s)
        self._moved_s = now_s
        left = self._budget.spend(count)
        if left is None:
            return False
        info = self._service.info()
        kept = Allowance(
            engine_version=info.engine_version,
            v6_flags=info.flags,
            moved_ts=self._clock.now(),
            left=left.left,
            writer=self.writer,
        )
        self._store.write(self._file, kept)
        self._budget = left
        return True


class MirrorWriter:
    """Writes the documents of one service.

    `lead` is the document whose writer speaks for all of them: where another log folder's process
    wrote it less than `lease_s` ago, nothing is written here. `settled` are the documents that the
    last cycle left there as they should be.
    """

    def __init__(
        self,
        name: guards.Service,
        settings: Settings,
        clock: Clock,
        store: StateStore,
        service: Service,
        lead: str,
        lease_s: float,
    ) -> None:
        numbers = settings.services.mirror
        self.target = target_of(settings)
        self.settled: frozenset[str] = frozenset()
        self._name = name
        self._settings = settings
        self._clock = clock
        self._store = store
        self._service = service
        self._lead = lead
        self._lease_s = lease_s
        self._deadline_s = numbers.deadline_s
        self._beat = Timer(numbers.beat_s, clock)
        self._breaker = Breaker(numbers.backoff_max_s)
        self._purse = Purse(name, settings, clock, store, service)
        self._stamp = Stamp(settings.mode, settings.account, self._purse.writer)
        self._client: Firestore | None = None
        self._held: dict[str, Held | None] = {}
        self._withheld: dict[str, str] = {}
        self._rejected: dict[str, str] = {}
        self._apart = False
        self._said: Publishing | None = None
        self._slow = Timer(SLOW_TOLD_S, clock)
        self._writes = self._unchanged = self._failures = 0
        self._last_success_ts: float | None = None
        self._failure: str | None = None

    def standing(self) -> Publishing:
        """Decide afresh whether anything may be sent."""
        return standing(self._settings, self._store, self._name)

    def cycle(self, build: Build) -> Mirror:
        """Write what is new in the documents that `build` makes, where it may and can be written.

        `build` is told which documents are held back, with reasons.
        """
        now = self._clock.now()
        publishing = self.standing()
        self._say(publishing, now)
        if not publishing.allowed:
            self.close()
            self._failure = None
            return self.report()
        self.settled = frozenset()
        if self._breaker.may_try(self._clock.monotonic()):
            try:
                self._write(build(self._withheld), now)
            except SyncError as error:
                self._fail(str(error), error.kind)
            except StateWriteError as error:  # what is spent cannot be kept: then nothing is
                self._fail(str(error), "refused")
        return self.report()

    @property
    def is_on(self) -> bool:
        """Tell whether the last cycle might write."""
        return self._said is not None and self._said.allowed

    def forget(self, names: Iterable[str]) -> None:
        """Remember no longer what is there; it is read again when it is needed."""
        for name in names:
            self._held.pop(name, None)

    def preview(self, documents: Sequence[Document]) -> Preview:
        """Look at what is there and decide as a cycle would, without writing; or SyncError."""
        found = self._read(documents)
        held = {each.name: _held(each, found) for each in documents}
        return Preview(
            plan=plans.decide(documents, held, self._stamp, self._clock.now(), {}),
            there={name: each.fields for name, each in found.items() if each is not None},
        )

    # ------------------------------------------------------------ what is there

    def _learn(self, documents: Sequence[Document], now: float) -> bool:
        """Read what is there of documents that are not known; False where that is too dear now."""
        unknown = [each for each in documents if each.name not in self._held]
        if unknown and not self._spend(len(unknown)):
            return False
        if unknown:
            found = self._read(unknown)
            self._held |= {each.name: _held(each, found) for each in unknown}
        lead = self._held.get(self._lead)
        other = plans.other_writer(lead, self._stamp, now, self._lease_s)
        if other is not None:
            raise SyncError(other, "refused")
        return True

    def _read(self, documents: Sequence[Document]) -> dict[str, Found | None]:
        return self._open().read([each.name for each in documents])

    # ------------------------------------------------------------ what is written

    def _write(self, documents: Sequence[Document], now: float) -> None:
        if not self._learn(documents, now):
            return
        plan = plans.decide(documents, self._held, self._stamp, now, self._rejected)
        self._hold_back(plan.withheld)
        writes = plan.writes
        if not self._beat.is_due() and all(write.document.kind == "beat" for write in writes):
            writes = ()
        if not self._spend(len(writes)):
            return
        self._unchanged += len(plan.unchanged)
        self.settled = frozenset(plan.unchanged)
        if self._apart:
            self._commit_each(writes, now)
        elif writes:
            self._commit(writes, now)
        self._breaker = self._breaker.succeeded()
        self._failure = None

    def _commit(self, writes: Sequence[Write], now: float) -> None:
        versions = self._open().commit(writes)
        for write, version in zip(writes, versions, strict=True):
            self._acknowledge(write, version)
        self._last_success_ts = now
        self._beat.done()

    def _commit_each(self, writes: Sequence[Write], now: float) -> None:
        """Find the document that the server did not take in a batch: it is held back as it is."""
        for write in writes:
            try:
                self._commit([write], now)
            except SyncError as error:
                if error.kind != "invalid":
                    raise
                self._rejected[write.name] = write.digest
                self._service.faults.report("mirror", "invalid", f"{write.name}: {error}")
        self._apart = False

    def _acknowledge(self, write: Write, version: Version) -> None:
        self._held[write.name] = plans.held_as(write.document, write.document.fields, version)
        self._rejected.pop(write.name, None)
        self.settled |= {write.name}
        self._writes += 1

    def _spend(self, count: int) -> bool:
        if count == 0 or self._purse.spend(count):
            return True
        if self._slow.is_due():
            log.info("mirror slowed by its budget wanted=%d", count)
            self._slow.done()
        return False

    # ------------------------------------------------------------ what went wrong

    def _fail(self, text: str, kind: Kind) -> None:
        """Wait, and trust nothing that was known: an unanswered write may have been done."""
        self._failures += 1
        self._failure = one_line(text)
        self._breaker = self._breaker.failed(kind, self._clock.monotonic())
        self._apart = kind == "invalid"
        self._held.clear()
        if kind == "unreachable":
            self.close()  # a dead connection can look alive for many minutes
        self._service.faults.report("mirror", kind, text)

    def _hold_back(self, withheld: dict[str, str]) -> None:
        withheld = {name: one_line(reason) for name, reason in withheld.items()}
        if withheld != self._withheld:
            for name, reason in withheld.items():
                log.warning("mirror held back document=%s reason=%s", name, reason)
        self._withheld = withheld

    def _open(self) -> Firestore:
        if self._client is None:
            self._client = Firestore(self.target, self._deadline_s)
        return self._client

    def close(self) -> None:
        """Close the connection; what was known of the server goes with it."""
        if self._client is not None:
            self._client.close()
        self._client = None
        self._held.clear()

    # ------------------------------------------------------------ what is told

    def report(self) -> Mirror:
        """Tell how it goes, as of the last cycle."""
        told = Mirror(
            enabled=self.is_on,
            disabled_reason=None if self._said is None else self._said.reason,
            last_success_ts=self._last_success_ts,
            writes=self._writes,
            skipped_unchanged=self._unchanged,
            failures=self._failures,
        )
        if not self.is_on:
            return told
        wrong = [f"{name}: {reason}" for name, reason in sorted(self._withheld.items())][:TOLD]
        if self._failure is not None:
            state = "circuit open, " if self._breaker.is_open else ""
            wait_s = max(0.0, self._breaker.until_s - self._clock.monotonic())
            wrong.insert(0, f"{self._failure} ({state}next try in {wait_s:.0f} s)")
        error = "; ".join(wrong) or None
        return replace(told, disabled_reason=None, target=str(self.target), last_error=error)

    def _say(self, publishing: Publishing, now: float) -> None:
        """Log whether it is on, and why not, when that changes."""
        if publishing == self._said:
            return
        if publishing.allowed:
            log.info("firestore on target=%s", self.target)
        else:
            log.info("firestore off reason=%s", publishing.reason)
        for text in publishing.alerts:
            log.warning("publish guard: %s", text)
            self._service.append(registry.ALERTS, self._alert(one_line(text), now))
        self._said = publishing

    def _alert(self, text: str, now: float) -> Alert:
        return Alert(
            ts=now,
            run_id=self._service.run_id,
            severity="warning",
            kind="publish_guard",
            subject=self._service.process,
            text=text,
        )


def _held(document: Document, found: Mapping[str, Found | None]) -> Held | None:
    there = found[document.name]
    return None if there is None else plans.held_as(document, there.fields, there.version)
