"""Live against shadow, decision by decision, as the journals tell it; either writer goes on from here.

A checkpoint remembers what was counted, what is not decided yet, and how far each journal was read;
it is read and moved under the lock of the shared pair, together with the summary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from execution.core import counterfactual
from execution.core.counterfactual import Outcome, Pending, Terms
from execution.core.histogram import Histogram, Scale
from execution.core.policy import fingerprint
from execution.state_schema.envelope import Count, Envelope, Ts, V6Flags
from execution.state_schema.files import JournalPosition
from execution.state_schema.journals import Judgement, MarkPoint, ShadowDecision
from execution.state_schema.order_journals import Fill
from execution.state_schema.registry import StateFile

NAMES_KEPT = 64
OTHER = "other"
# Decisions waiting for their bars, and results kept for an interval of their mean: the newest.
PENDING_KEPT = 4_000
RESULTS_KEPT = 2_000

SIZES = Scale(width=0.001, limit=100.0)  # shadow over live, minus 1
SLIPPAGES = Scale(width=0.05, limit=1_000.0)  # bps
RESULTS = Scale(width=0.01, limit=1e9)  # USD


class Deciding(Struct, frozen=True):
    """The engine whose decisions are compared: pairs of another one say nothing about it."""

    engine_version: str
    flags: V6Flags
    live_policy: str
    shadow_policy: str | None

    @property
    def name(self) -> str:
        """Return what the records of its decisions call it."""
        return fingerprint(self)


class Agreement(Struct, frozen=True):
    """Pairs, and how many of them have the same verdict."""

    n: Count = 0
    agreed: Count = 0


class Results(Struct, frozen=True):
    """What the decisions of one kind came to, in USD."""

    n: Count = 0
    total_usd: float = 0.0


class Tally(Struct, frozen=True):
    """Everything that is counted.

    `live_alone` and `shadow_alone` are decisions that the other policy did not want at all.
    `new_breaches` are pairs that the shadow approved and a live limit refused.
    """

    pairs: Agreement = Agreement()
    by_symbol: Mapping[str, Agreement] = {}
    by_strategy: Mapping[str, Agreement] = {}
    by_reason: Mapping[str, Count] = {}
    live_alone: Count = 0
    shadow_alone: Count = 0
    new_breaches: Count = 0
    routes: Agreement = Agreement()
    sizes: Histogram = Histogram()
    slippages: Histogram = Histogram()
    unmeasured: Count = 0
    live_only: Results = Results()
    shadow_only: Results = Results()
    differences: Histogram = Histogram()


class Checkpoint(Envelope, frozen=True, kw_only=True):
    """`run/compare.ckpt`: what one engine with one pair of policies has decided so far.

    `engine_version` and `v6_flags` are those of the engine that decided, whoever wrote this.
    `newest_usd` are the newest of the differences, shadow minus live; `decided_ts` is the newest
    decision counted.
    """

    moved_ts: Ts
    live_policy: str
    shadow_policy: str | None
    decisions: JournalPosition | None = None
    fills: JournalPosition | None = None
    marks: JournalPosition | None = None
    tally: Tally = Tally()
    pending: tuple[Pending, ...] = ()
    newest_usd: tuple[float, ...] = ()
    decided_ts: float = 0.0

    @property
    def deciding(self) -> Deciding:
        """Return whose decisions these are."""
        return Deciding(self.engine_version, self.v6_flags, self.live_policy, self.shadow_policy)


CHECKPOINT = StateFile(
    name="compare_checkpoint",
    path="run/compare.ckpt",
    struct=Checkpoint,
    time_field="moved_ts",
    max_age_s=2_700.0,
    owners=("executor", "pipeline_compare"),
)


class Batch(Protocol):
    """Records of one journal in the order of writing, and where to go on."""

    @property
    def records(self) -> Sequence[Any]:
        """Return the records."""

    @property
    def position(self) -> JournalPosition | None:
        """Return the place after them."""


class Reader(Struct, frozen=True):
    """How to read on in one journal, one step at a time, and where it ends now, if it is there."""

    read: Callable[[JournalPosition | None], Batch]
    end: Callable[[], JournalPosition | None]

    def is_at_end(self, position: JournalPosition | None) -> bool:
        """Tell whether nothing follows `position` now."""
        end = self.end()
        if end is None:
            return True
        if position is None:
            return False
        return position.inode == end.inode and position.offset >= end.offset


class Journals(Struct, frozen=True):
    """What is decided, what live orders filled at, and the bars that closed."""

    decisions: Reader
    fills: Reader
    marks: Reader


def advance(
    before: Checkpoint | None, journals: Journals, deciding: Deciding, terms: Terms, now: float
) -> tuple[Checkpoint, bool]:
    """Count one step on from `before`; return also whether the journals were read to their ends.

    Without a checkpoint all that the journals keep of this engine is counted. What another version, other flags or
    another policy decided is passed over, so the warm-up begins again.
    """
    point = before or _fresh(deciding, now)
    if point.deciding != deciding:
        ends = {each: getattr(journals, each).end() for each in Journals.__struct_fields__}
        return replace(_fresh(deciding, now), **ends), True
    # What befalls an order is read before the decisions: nothing in it can be without its decision.
    fills, marks = journals.fills.read(point.fills), journals.marks.read(point.marks)
    counting = _Counting(point, terms)
    moved, limit_ts = replace(point, moved_ts=now), point.decided_ts
    if not any(0 < _last_ts(batch) < limit_ts for batch in (fills, marks)):
        decided = journals.decisions.read(point.decisions)
        counting.take_decisions(decided.records)
        limit_ts = max(limit_ts, _last_ts(decided))
        moved = replace(moved, decisions=decided.position, decided_ts=limit_ts)
        if journals.decisions.is_at_end(decided.position):
            limit_ts = math.inf
    # What is ahead of the decisions waits for them, and bars wait for the fills before them. To meet
    # either twice changes nothing, so a place is moved once all that is before it has been met.
    counting.take_fills(_until(fills, limit_ts))
    if _last_ts(fills) <= limit_ts:
        moved = replace(moved, fills=fills.position)
        if not journals.fills.is_at_end(fills.position):
            limit_ts = min(limit_ts, _last_ts(fills))
    counting.take_marks(_until(marks, limit_ts))
    if _last_ts(marks) <= limit_ts:
        moved = replace(moved, marks=marks.position)
    read_all = all(
        getattr(journals, each).is_at_end(getattr(moved, each))
        for each in Journals.__struct_fields__
    )
    return counting.close(moved), read_all


def _fresh(deciding: Deciding, now: float) -> Checkpoint:
    return Checkpoint(
        engine_version=deciding.engine_version,
        v6_flags=deciding.flags,
        live_policy=deciding.live_policy,
        shadow_policy=deciding.shadow_policy,
        moved_ts=now,
    )


def _until(batch: Batch, limit_ts: float) -> Iterator[Any]:
    return (record for record in batch.records if record.ts <= limit_ts)


def _last_ts(batch: Batch) -> float:
    return max((record.ts for record in batch.records), default=0.0)


class _Counting:
    """One step's counts: mutable while a step is counted, gone afterwards."""

    def __init__(self, point: Checkpoint, terms: Terms) -> None:
        self._terms = terms
        self._engine = point.deciding.name
        self._before = point.tally
        self._pending = {each.decision_id: each for each in point.pending}
        self._newest = [*point.newest_usd]
        self._counts: Counter[str] = Counter()
        self._agreed: dict[str, Counter[tuple[str, bool]]] = {
            "symbol": Counter(),
            "strategy": Counter(),
        }
        self._reasons = dict(point.tally.by_reason)
        self._sizes: list[float] = []
        self._slippages: list[float] = []
        self._differences: list[float] = []
        self._live_usd: list[float] = []
        self._shadow_usd: list[float] = []

    def take_decisions(self, records: Iterable[Any]) -> None:
        """Count what both policies decided, and start the ghosts of what they sent."""
        for record in records:
            # A heartbeat is no decision; a stop or an operator's wish is no policy's choice.
            if not isinstance(record, ShadowDecision) or record.action not in ("entry", "exit"):
                continue
            if record.engine in (None, self._engine):  # before records said it, there was no other
                self._judge(record)
                self._start(record)

    def take_fills(self, records: Iterable[Any]) -> None:
        """Take in what live orders filled at."""
        for record in records:
            if not isinstance(record, Fill) or record.decision_id is None:
                continue
            pending = self._pending.get(record.decision_id)
            if pending is not None:
                filled = counterfactual.filled(pending, record)
                self._pending[pending.decision_id] = filled

    def take_marks(self, records: Iterable[MarkPoint]) -> None:
        """Let the bars that closed meet whatever waits for them."""
        waiting: dict[str, list[str]] = {}
        for pending in sorted(self._pending.values(), key=lambda each: each.decided_ts):
            waiting.setdefault(pending.symbol, []).append(pending.decision_id)
        for point in records:
            if point.bars and point.symbol in waiting:
                ended = [*self._met(point, waiting[point.symbol])]
                for decision_id in ended:
                    waiting[point.symbol].remove(decision_id)

    def _met(self, point: MarkPoint, waiting: Iterable[str]) -> Iterator[str]:
        """Let the bars of one point meet what waits, oldest first; yield what they ended."""
        told_ts = point.bars[-1].ts + point.bar_s
        for decision_id in waiting:
            pending = self._pending[decision_id]
            if pending.decided_ts >= told_ts:
                return  # nor do they tell anything of what was decided later still
            met = counterfactual.on_bars(pending, point.bars, point.bar_s, self._terms)
            if isinstance(met, Pending):
                self._pending[decision_id] = met
            else:
                self._end(decision_id, met)
                yield decision_id

    def close(self, point: Checkpoint) -> Checkpoint:
        """Return the checkpoint with this step's counts in it."""
        before, counts = self._before, self._counts
        differences = RESULTS.add(before.differences, self._differences)
        tally = Tally(
            pairs=_more(before.pairs, counts["pairs"], counts["agreed"]),
            by_symbol=_more_by_name(before.by_symbol, self._agreed["symbol"]),
            by_strategy=_more_by_name(before.by_strategy, self._agreed["strategy"]),
            by_reason=self._reasons,
            live_alone=before.live_alone + counts["live_alone"],
            shadow_alone=before.shadow_alone + counts["shadow_alone"],
            new_breaches=before.new_breaches + counts["new_breaches"],
            routes=_more(before.routes, counts["routes"], counts["same_routes"]),
            sizes=SIZES.add(before.sizes, self._sizes),
            slippages=SLIPPAGES.add(before.slippages, self._slippages),
            unmeasured=before.unmeasured + counts["unmeasured"],
            live_only=_more_results(before.live_only, self._live_usd),
            shadow_only=_more_results(before.shadow_only, self._shadow_usd),
            differences=differences,
        )
        newest = (*self._newest, *self._differences)[-RESULTS_KEPT:]
        return replace(point, tally=tally, pending=tuple(self._pending.values()), newest_usd=newest)

    def _judge(self, record: ShadowDecision) -> None:
        live, shadow, counts = record.live, record.shadow, self._counts
        if live is None or shadow is None:
            counts["live_alone" if shadow is None else "shadow_alone"] += 1
            return
        agreed = live.approved == shadow.approved
        counts["pairs"] += 1
        counts["agreed"] += agreed
        self._agreed["symbol"][record.symbol, agreed] += 1
        self._agreed["strategy"][record.strategy, agreed] += 1
        if not agreed:
            reason = _room_for(_disagreement(live, shadow), self._reasons)
            self._reasons[reason] = self._reasons.get(reason, 0) + 1
            counts["new_breaches"] += shadow.approved
        elif live.approved and live.qty != 0:
            self._sizes.append(shadow.qty / live.qty - 1)
            counts["routes"] += 1
            counts["same_routes"] += live.legs == shadow.legs

    def _start(self, record: ShadowDecision) -> None:
        wants = [
            each for each in (record.live, record.shadow) if each is not None and each.approved
        ]
        if not wants:
            return
        pending = counterfactual.begin(record)
        if pending is None or record.decision_id in self._pending:
            self._counts["unmeasured"] += 1
            return
        self._pending[record.decision_id] = pending
        if len(self._pending) > PENDING_KEPT:
            self._end(next(iter(self._pending)), None)

    def _end(self, decision_id: str, outcome: Outcome | None) -> None:
        del self._pending[decision_id]
        if outcome is None:
            self._counts["unmeasured"] += 1
            return
        if outcome.slippage_diff_bps is not None:
            self._slippages.append(outcome.slippage_diff_bps)
        live_usd, shadow_usd = outcome.live_usd, outcome.shadow_usd
        if shadow_usd is None and live_usd is not None:
            self._live_usd.append(live_usd)
        elif live_usd is None and shadow_usd is not None:
            self._shadow_usd.append(shadow_usd)
        elif live_usd is None:
            return  # the very same order: there is no difference to count
        self._differences.append((shadow_usd or 0.0) - (live_usd or 0.0))


def _disagreement(live: Judgement, shadow: Judgement) -> str:
    """Name who refused, and why."""
    who, reason = ("shadow", shadow.reason) if live.approved else ("live", live.reason)
    return f"{who}:{reason or OTHER}"


def _room_for(name: str, named: Mapping[str, Any]) -> str:
    """Return `name`, or the common one where a journal holds more than there can be."""
    return name if name in named or len(named) < NAMES_KEPT else OTHER


def _more(before: Agreement, n: int, agreed: int) -> Agreement:
    return Agreement(before.n + n, before.agreed + agreed)


def _more_by_name(
    before: Mapping[str, Agreement], counts: Counter[tuple[str, bool]]
) -> dict[str, Agreement]:
    after = dict(before)
    for (name, agreed), n in counts.items():
        room = _room_for(name, after)
        after[room] = _more(after.get(room, Agreement()), n, n if agreed else 0)
    return after


def _more_results(before: Results, results_usd: Sequence[float]) -> Results:
    return Results(before.n + len(results_usd), before.total_usd + sum(results_usd))
