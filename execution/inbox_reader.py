"""The inbox as the executor hears it: each line once, also across restarts, and so many a tick."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from execution.core import outside
from execution.core.policy import Policy
from execution.core.types import InboxReply
from execution.jsonl_log import read_from
from execution.log_lines import one_line
from execution.state_schema.files import JournalPosition
from execution.state_schema.inbox_intent import InboxIntent, IntentId
from execution.state_schema.registry import INBOX_PATH, INBOX_RESULTS

LINE_BYTES = 4096  # an intent has some 400
BLOCK_BYTES = 64 * 1024  # read of the inbox at once
TICK_LINES = 2_000  # looked at in one tick
RESULTS_BYTES = 1024 * 1024  # read of the answers in one tick, at the start
TICK_INTENTS = 50  # decided in one tick
WAITING_INTENTS = 500
REMEMBERED_IDS = 100_000


class Broken(Struct, frozen=True):
    """A line that is no intent; `id` where it can be told."""

    id: str | None
    why: str


class _Named(Struct):
    id: IntentId


class Heard(Struct, frozen=True):
    """What is to be decided, what is answered already, and what nobody can be answered for."""

    intents: tuple[InboxIntent, ...] = ()
    replies: tuple[InboxReply, ...] = ()
    nameless: str | None = None


_intents = msgspec.json.Decoder(InboxIntent)
_names = msgspec.json.Decoder(_Named)
WRONG = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(line: bytes) -> InboxIntent | Broken:
    """Take a line to its intent, or say what is wrong with it."""
    if len(line) > LINE_BYTES:
        return Broken(None, f"{len(line)} bytes in one line, limit {LINE_BYTES}")
    try:
        return _intents.decode(line)
    except WRONG as error:
        name = None
        with contextlib.suppress(*WRONG):
            name = _names.decode(line).id
        return Broken(name, one_line(str(error)))


class InboxReader:
    """`run/inbox.jsonl` from its beginning at each start; what was answered before is passed over.

    An intent waits here until its answer is given, so a tick that fails does not lose it.
    """

    def __init__(self, log_dir: Path, policy: Policy, is_decided: Callable[[str], bool]) -> None:
        self._path = log_dir / INBOX_PATH
        self._results = log_dir / INBOX_RESULTS.path
        self._policy = policy
        self._is_decided = is_decided
        self._at: JournalPosition | None = None
        self._results_at: JournalPosition | None = None
        self._results_read = False
        self._caught_up = False
        self._known: dict[str, None] = {}
        self._waiting: dict[str, InboxIntent] = {}
        self._owed: list[InboxReply] = []
        self._lines: deque[bytes] = deque()
        self._nameless = Counter[str]()

    def read(self, now: float, *, may_decide: bool) -> Heard:
        """Return what there is at `now`; raises OSError where a file is there and is unreadable."""
        if not self._results_read:
            self._read_results()
        if self._results_read:
            self._read_lines(now)
        for intent in [*self._waiting.values()]:
            if (why := outside.refusal(intent, self._policy, now)) is not None:
                self._reply(InboxReply(intent.id, "refused", why))
        ready = [*self._waiting.values()][: TICK_INTENTS if may_decide else 0]
        nameless, self._nameless = self._nameless, Counter()
        said = None
        if nameless:
            (why, _), *_ = nameless.most_common(1)
            said = f"{nameless.total()} lines are no intents: {why}"
        return Heard(tuple(ready), tuple(self._owed), said)

    def answered(self, replies: list[InboxReply]) -> None:
        """Forget what has its answer."""
        told = {reply.id for reply in replies}
        for name in told:
            self._waiting.pop(name, None)
        self._owed = [owed for owed in self._owed if owed.id not in told]

    def _read_results(self) -> None:
        decode_result = INBOX_RESULTS.decoder.decode
        batch = read_from(self._results, self._results_at, decode_result, RESULTS_BYTES)
        for result in batch.records:
            self._remember(result.id)
        self._results_read = batch.position == self._results_at
        self._results_at = batch.position

    def _read_lines(self, now: float) -> None:
        if self._owed:
            return  # nobody took the answers of the last tick: no more is promised
        if not self._lines:
            self._read_more()
        for _ in range(min(TICK_LINES, len(self._lines))):
            self._take(decode(self._lines.popleft()), now)

    def _read_more(self) -> None:
        batch = read_from(self._path, self._at, bytes, BLOCK_BYTES)
        if batch.gap:
            self._caught_up = False  # another file is there: what it repeats is known
        self._lines.extend(batch.records)
        if batch.broken:
            self._nameless["far too long"] += batch.broken
        self._caught_up = self._caught_up or batch.position == self._at
        self._at = batch.position

    def _take(self, line: InboxIntent | Broken, now: float) -> None:
        if line.id is None:
            if self._caught_up:  # a start does not complain of old lines again
                self._nameless[line.why] += 1
        elif line.id in self._known:
            if self._caught_up and line.id not in self._waiting:
                self._reply(InboxReply(line.id, "refused", "duplicate: this id was answered"))
        else:
            self._remember(line.id)
            if isinstance(line, Broken):
                self._reply(InboxReply(line.id, "refused", f"not an intent: {line.why}"))
            else:
                self._judge(line, now)

    def _judge(self, intent: InboxIntent, now: float) -> None:
        made = outside.entry_id(self._policy.account, intent)
        if intent.action == "entry" and self._is_decided(made):
            # A former process sent it and ended before it could answer.
            self._reply(InboxReply(intent.id, "accepted", "before the executor's last start", made))
        elif (why := outside.refusal(intent, self._policy, now)) is not None:
            self._reply(InboxReply(intent.id, "refused", why))
        elif len(self._waiting) >= WAITING_INTENTS:
            self._reply(InboxReply(intent.id, "refused", f"{WAITING_INTENTS} intents wait already"))
        else:
            self._waiting[intent.id] = intent

    def _reply(self, reply: InboxReply) -> None:
        self._waiting.pop(reply.id, None)
        self._owed.append(reply)

    def _remember(self, name: str) -> None:
        self._known[name] = None
        if len(self._known) > REMEMBERED_IDS:
            del self._known[next(iter(self._known))]
