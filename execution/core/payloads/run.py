"""What payloads need besides the tick: the process that runs, and what the slow cadence found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from execution.core.compare import Deciding
from execution.core.payloads.day_figures import DayFigures
from execution.core.payloads.risk_watch import RiskWatch
from execution.core.policy import Policy
from execution.core.seam import VenueHealth
from execution.state_schema.envelope import Mode, V6Flags
from execution.state_schema.files import LoopMs
from execution.state_schema.intel_files import (
    AllocationGlobal,
    AllocationRow,
    ExpectancyRow,
    RouterHealthRow,
    RouterSuggestionRow,
    ScoreRow,
)

T = TypeVar("T")


class RunInfo(Struct, frozen=True):
    """The executor as it runs now.

    `live_policy` and `shadow_policy` are fingerprints; without a shadow the second is None, and
    `shadow_problem` says so where one was wanted. `failed_writes` and the loop figures are those of
    the previous loop; None before there was one. `errors` counts failures by stage since
    `started_ts`, `day` is what it remembers of the day.
    """

    engine_version: str
    run_id: str
    flags: V6Flags
    mode: Mode
    env: str
    account: str
    dry_run: bool
    testnet: bool
    venue: str
    market: str
    policy: Policy
    watch: RiskWatch
    live_policy: str
    shadow_policy: str | None
    started_ts: float
    shadow_problem: str | None = None
    day: DayFigures = DayFigures()
    loop_seq: int = 0
    loop_ms_last: float | None = None
    loop_ms_p50: float | None = None
    loop_ms_p99: float | None = None
    rss_mb: float = 0.0
    errors: Mapping[str, int] = {}
    failed_writes: tuple[str, ...] = ()
    health: VenueHealth = VenueHealth()
    shadow_ms: LoopMs = LoopMs(last=None, p50=None, p99=None)

    @property
    def deciding(self) -> Deciding:
        """Return whose decisions this engine's are."""
        return Deciding(self.engine_version, self.flags, self.live_policy, self.shadow_policy)


class ServiceInfo(Struct, frozen=True):
    """A service as it runs now; `errors` counts failures by stage since `started_ts`."""

    engine_version: str
    run_id: str
    flags: V6Flags
    pid: int
    started_ts: float
    cycles: int = 0
    errors: Mapping[str, int] = {}
    last_error: str | None = None
    rss_mb: float = 0.0


class Measured(Struct, Generic[T], frozen=True):
    """A value and when it was computed; a rewrite does not move `ts`."""

    ts: float
    value: T


class ExpectancyFigures(Struct, frozen=True):
    """Expectancy over the lookback, by symbol, by hour of day (UTC) and by regime."""

    lookback_hours: float
    sample_count: int
    symbols: Mapping[str, ExpectancyRow]
    hours: Mapping[str, ExpectancyRow]
    regimes: Mapping[str, ExpectancyRow]


class RouterSuggestionFigures(Struct, frozen=True):
    """What router autotune proposes; `note` says why nothing."""

    lookback_days: float
    rows: tuple[RouterSuggestionRow, ...]
    note: str | None = None


class AllocationFigures(Struct, frozen=True):
    """What the allocator proposes; `note` says why nothing."""

    book: AllocationGlobal
    rows: tuple[AllocationRow, ...]
    note: str | None = None


class IntelReport(Struct, frozen=True):
    """The newest result of each slow stage, each with its own time; None of one that never had any."""

    router_health: Measured[tuple[RouterHealthRow, ...]] | None = None
    scores: Measured[tuple[ScoreRow, ...]] | None = None
    expectancy: Measured[ExpectancyFigures] | None = None
    router_suggestions: Measured[RouterSuggestionFigures] | None = None
    allocation: Measured[AllocationFigures] | None = None
