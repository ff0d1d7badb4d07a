"""What operators ask of the executor, read every tick: the kill latch, and requests to answer.

Nothing here raises into the tick: what cannot be read is on (the latch), or counted and passed over
(a request). Each request is answered once, in `run/command_results.jsonl` and in the audit.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from execution import kill_latch
from execution.clock import Clock
from execution.core.records import KillLatch
from execution.jsonl_log import read_batches
from execution.log_lines import one_line
from execution.state_schema.files import JournalPosition
from execution.state_schema.journals import OperatorAct, Record
from execution.state_schema.operator_files import EXPIRES_S, Command, CommandResult, Outcome
from execution.state_schema.registry import AUDIT, COMMAND_RESULTS, COMMANDS, Entry, Journal

R = TypeVar("R", bound=Record)
log = logging.getLogger(__name__)

LATCH_S = 1.0  # how long an unchanged file is believed unread
BATCHES = 2  # of one journal in one look, each of jsonl_log.BATCH_BYTES
OPEN_COMMANDS = 100
OWED_RECORDS = 1_000


class Asked(Struct, frozen=True):
    """The latch as it stands, None where there is none, and the requests that want an answer."""

    kill: KillLatch | None = None
    pending: tuple[Command, ...] = ()


class NoRequests:
    """Nobody asks: replay and simulation."""

    def read(self, now: float) -> Asked:  # noqa: ARG002  as OperatorRequests.read
        """Return nothing asked."""
        return Asked()

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        """Leave nothing anywhere."""


class LatchOnly:
    """Only the latch is heard: for whoever publishes and decides nothing."""

    def __init__(self, log_dir: Path, clock: Clock) -> None:
        self._latch = _Latch(log_dir, clock)

    def read(self, now: float) -> Asked:  # noqa: ARG002  as OperatorRequests.read
        """Return the latch as it stands."""
        return Asked(self._latch.read())

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        """Leave nothing anywhere."""


class Appends(Protocol):
    """The executor's journals."""

    def append(self, entries: Iterable[Entry]) -> Sequence[object]:
        """Write `entries`; return what was lost."""


class OperatorRequests:
    """The operators of one log folder, as the executor hears them."""

    def __init__(self, log_dir: Path, clock: Clock, journals: Appends, run_id: str) -> None:
        self._clock = clock
        self._journals = journals
        self._run_id = run_id
        self._latch = _Latch(log_dir, clock)
        self._commands = _Followed(log_dir, COMMANDS)
        self._results = _Followed(log_dir, COMMAND_RESULTS)
        self._outcomes: dict[str, Outcome] = {}
        self._begun: set[str] = set()  # accepted by this process: these do not expire
        self._pending: dict[str, Command] = {}
        self._owed: tuple[deque[Entry], ...] = (
            deque(maxlen=OWED_RECORDS),
            deque(maxlen=OWED_RECORDS),
        )
        self._since_ts: float | None = None

    @property
    def broken(self) -> int:
        """Count the lines that were no request and no answer."""
        return self._commands.broken + self._results.broken

    def read(self, now: float) -> Asked:
        """Return what is asked at `now`; a request is pending until its last answer."""
        if self._since_ts is None:
            self._since_ts = now
        self._pay()
        for result in self._results.more():
            self._note(result.id, result.outcome)
        if self._results.all_read:
            for command in self._commands.more():
                self._take(command, now, self._since_ts)
        for command in [*self._pending.values()]:
            if (expired := self._expired(command, now)) is not None:
                self.answer(command, "refused", expired)
        return Asked(self._latch.read(), tuple(self._pending.values()))

    def answer(self, command: Command, outcome: Outcome, detail: str = "") -> None:
        """Tell the operator: `accepted` when it is begun, at the end `done` or `refused`.

        Said once: an answer that was given before, or comes after the last one, is passed over.
        """
        if outcome == "accepted":
            self._begun.add(command.id)
        if self._outcomes.get(command.id) in (outcome, "done", "refused"):
            return
        self._note(command.id, outcome)
        now, said = self._clock.now(), one_line(detail)
        results, audit = self._owed
        results.append(
            (
                COMMAND_RESULTS,
                CommandResult(
                    ts=now, run_id=self._run_id, id=command.id, outcome=outcome, detail=said
                ),
            )
        )
        audit.append((AUDIT, self._act(command, outcome, said, now)))
        self._pay()

    def _act(self, command: Command, outcome: Outcome, said: str, now: float) -> OperatorAct:
        return OperatorAct(
            ts=now,
            run_id=self._run_id,
            act=str(command.__struct_config__.tag),
            user=command.user,
            reason=command.reason,
            command_id=command.id,
            outcome=f"{outcome}: {said}" if said else outcome,
        )

    def _take(self, command: Command, now: float, since_ts: float) -> None:
        """Put a new request among the pending, or refuse it."""
        if command.id in self._pending or self._is_over(command.id):
            return
        if (expired := self._expired(command, now)) is not None:
            self.answer(command, "refused", expired)
        elif self._results.problem is not None and command.ts < since_ts:
            self.answer(command, "refused", "earlier answers cannot be read: ask again")
        elif len(self._pending) >= OPEN_COMMANDS:
            self.answer(command, "refused", f"{OPEN_COMMANDS} requests are open: ask again later")
        else:
            self._pending[command.id] = command

    def _expired(self, command: Command, now: float) -> str | None:
        """Say why it is too late; what this process has begun, it may finish."""
        age_s = now - command.ts
        if command.id in self._begun or abs(age_s) <= EXPIRES_S:
            return None
        if age_s < 0:
            return f"expired: dated {-age_s:.0f} s ahead of the executor's clock: ask again"
        return f"expired: asked {age_s:.0f} s ago, limit {EXPIRES_S:.0f} s: ask again"

    def _note(self, command_id: str, outcome: Outcome) -> None:
        if not self._is_over(command_id):
            self._outcomes[command_id] = outcome
        if self._is_over(command_id):
            self._pending.pop(command_id, None)

    def _is_over(self, command_id: str) -> bool:
        return self._outcomes.get(command_id) in ("done", "refused")

    def _pay(self) -> None:
        """Write the answers that are still owed; where the disk takes none, try at the next read."""
        for owed in self._owed:
            while owed and not self._journals.append((owed[0],)):
                owed.popleft()


class _Latch:
    """The kill latch, read when it changed, and every second where it did not."""

    def __init__(self, log_dir: Path, clock: Clock) -> None:
        self._log_dir = log_dir
        self._clock = clock
        self._signature: kill_latch.Signature | None = None
        self._due_s = -math.inf
        self._seen: KillLatch | None = None

    def read(self) -> KillLatch | None:
        signature, now_s = kill_latch.signature(self._log_dir), self._clock.monotonic()
        if signature is None or signature != self._signature or now_s >= self._due_s:
            seen = kill_latch.as_seen(kill_latch.read(self._log_dir))
            if seen != self._seen:
                on, why = (False, "") if seen is None else (seen.on, seen.reason)
                level = logging.WARNING if on else logging.INFO
                log.log(level, "kill latch on=%s reason=%s", on, one_line(why))
            self._signature, self._due_s, self._seen = signature, now_s + LATCH_S, seen
        return self._seen


class _Followed(Generic[R]):
    """One journal, read on from where the last look ended.

    `all_read` says that nothing is left there that can be read, `problem` why nothing can.
    """

    def __init__(self, log_dir: Path, journal: Journal[R]) -> None:
        self._path = log_dir / journal.path
        self._decode = journal.decoder.decode
        self._position: JournalPosition | None = None
        self._signature: tuple[int, int, int] | None = None
        self.all_read = False
        self.broken = 0
        self.problem: str | None = None

    def more(self) -> list[R]:
        """Return what is new, at most BATCHES batches of it."""
        try:
            signature = self._sign()
            if self.all_read and self.problem is None and signature == self._signature:
                return []
            batches = [*islice(read_batches(self._path, self._position, self._decode), BATCHES)]
        except OSError as error:
            self.all_read = True
            self._say(error.strerror or str(error))
            return []
        self._say(None)
        self._signature, self.all_read = signature, len(batches) < BATCHES
        if not batches:
            return []
        self._position = batches[-1].position
        if broken := sum(batch.broken for batch in batches):
            self.broken += broken
            log.error("lines passed over file=%s lines=%d", self._path.name, broken)
        return [record for batch in batches for record in batch.records]

    def _sign(self) -> tuple[int, int, int] | None:
        """Return what changes when a line is added, None where there is no file."""
        try:
            here = self._path.stat()
        except FileNotFoundError:
            return None
        return here.st_ino, here.st_size, here.st_mtime_ns

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            log.error("cannot be read file=%s error=%s", self._path.name, problem)
        self.problem = problem
