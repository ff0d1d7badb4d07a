"""The composition root: Settings → Engine, the only place that chooses implementations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from execution import settings as settings_door
from execution import toml_files
from execution.alert_command import NOBODY, AlertCommand
from execution.clock import Clock, Days, ManualClock, SystemClock
from execution.core import book
from execution.core.guarded import Failed
from execution.core.intel_terms import LOOP_KB_MAX, Intel
from execution.core.payloads import alerts, day_figures
from execution.core.payloads.alerts import AlertMemory
from execution.core.payloads.day_figures import DayFigures
from execution.core.payloads.minutes import MinuteMemory
from execution.core.payloads.run import IntelReport, RunInfo
from execution.core.policy import Policy, Universe
from execution.core.records import Recorded
from execution.core.types import EngineState, TickReport
from execution.disk_reserve import DiskReserve
from execution.errors import ConfigError
from execution.intel_cycle import IntelCycle
from execution.jsonl_log import newest
from execution.ledger import Ledger
from execution.ledger_file import LedgerFile
from execution.operator_requests import LatchOnly, NoRequests, OperatorRequests
from execution.order_desk import Asks, OrderDesk
from execution.pipeline_pair import PipelinePair
from execution.reconciler import Reconciler
from execution.service_loop import Faults, LoopTimes, Timer, journal_limits, run_id
from execution.settings import Settings
from execution.shadow_runner import ShadowRunner
from execution.signal_sources import NoSources, SignalSources, Sources
from execution.state_publish import JournalSet, TickPublisher
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.journals import Veto
from execution.state_schema.order_journals import Fill, Intent
from execution.state_store import StateStore
from execution.venue.base import Market, Venue
from execution.venue.disarmed import DisarmedVenue
from execution.venue.fault_plan import FaultPlan
from execution.venue.faults import FaultyVenue
from execution.venue.paper import PaperVenue
from execution.venue.paper_account import PaperTerms
from execution.venue.paper_store import PaperStore
from execution.venue.replayed import ReplayedMarket
from execution.venue.simulated import SimulatedMarket

# Enough attempts to know the last decided bar of every strategy and symbol, and what vetoes them all.
ATTEMPTS_READ = 2_000
# Vetoes, and what became of orders, that are read back: more than a day has on a real market.
DAY_READ = 10_000
# Room for cancels and exits of a whole book, twice: the ledger's and the paper venue's.
RESERVE_BYTES = 16 * 1024 * 1024
# One step of the shadow's journals: a few milliseconds of a tick.
PAIR_STEP_BYTES = 64 * 1024


class Telling:
    """What the executor remembers of publishing, which is nothing that a decision reads."""

    def __init__(self, run: RunInfo, memory: AlertMemory, clock: Clock, settings: Settings) -> None:
        timers = settings.services.executor
        self.run = run
        self.intel: IntelReport | None = None
        self.intel_failures: tuple[Failed, ...] = ()
        self.alerts = memory
        self.minute = MinuteMemory()
        self.journalled: TickReport | None = None
        self.probe = Timer(timers.probe_s, clock)
        self.shadow_head = Timer(timers.shadow_head_s, clock)
        self.shadow_quiet = Timer(timers.shadow_head_s, clock)
        self.compare = Timer(timers.compare_s, clock)


class Engine:
    """Everything one executor is made of, and what it remembers from loop to loop.

    `state` is the memory of the tick, `report` the last tick for whoever publishes it.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        venue: Venue,
        ledger: Ledger,
        journals: JournalSet,
        asks: Asks,
        name: str,
        pager: AlertCommand | None = None,
        sources: Sources | None = None,
    ) -> None:
        policy, timers = settings.policy, settings.services.executor
        policies = [each for each in (policy, settings.shadow_policy) if each is not None]
        attempted = newest(settings.log_dir, registry.ORDERS_ATTEMPTED, ATTEMPTS_READ)
        refused = newest(settings.log_dir, registry.RISK_VETOES, DAY_READ)
        vetoes, day = _today(settings, ledger, refused)
        self.settings = settings
        self.clock = clock
        self.venue = venue
        self.ledger = ledger
        self.desk = OrderDesk(
            ledger,
            venue,
            Reconciler(ledger, venue, clock, settings.mode),
            Days(policy.limits.book.day_time_zone),
            settings.mode,
            timers.reconcile_s,
            policy.limits,
            asks,
            clock,
        )
        self.live_policy = policy
        self.sources: Sources = NoSources() if sources is None else sources
        self.shadow = ShadowRunner(
            settings.shadow_policy, clock, timers.shadow_budget_ms, timers.shadow_rest_s
        )
        self.store = StateStore(settings.log_dir, clock)
        self.publisher = TickPublisher(self.store, clock, timers.risk_s)
        self.journals = journals
        self.intel = IntelCycle(settings, self.store, name)
        self.faults = Faults(clock)
        self.pair = PipelinePair(
            self.store,
            settings.log_dir,
            settings.services,
            settings.engine_version,
            V6Flags(**settings.flags),
            self.faults,
            PAIR_STEP_BYTES,
        )
        self.times = LoopTimes()
        self.state: EngineState = replace(
            book.start(policies, _decided(attempted)), vetoes=vetoes, recorded=Recorded(day=day.day)
        )
        self.report: TickReport | None = None
        self.loops = 0
        run = _run_info(settings, venue, name, clock.now(), day)
        self.telling = Telling(run, alerts.resume(attempted, refused), clock, settings)
        self.pager = AlertCommand(NOBODY, clock) if pager is None else pager

    def close(self) -> None:
        """Write what is buffered and let go of every file and program."""
        self.sources.close()
        self.pager.close()
        self.journals.close()
        self.venue.close()
        self.ledger.close()


def build(settings: Settings, clock: Clock, *, operated: bool = True) -> Engine:
    """Build the engine of the supervised executor: wall time, durable, one write a line.

    Without `operated` it hears the kill latch only, and carries out no operator's request; nor does
    it hear signals from outside, or start the operator's program.
    """
    settings = _with_policies(settings, partial(_paced, settings))
    path = settings.log_dir / "ledger" / f"{settings.mode}-{settings.account}.sqlite"
    reserve = DiskReserve(path.with_name("reserve"), RESERVE_BYTES)
    ledger = Ledger(LedgerFile(path, settings.mode, settings.account, reserve=reserve))
    venue = _venue(settings, clock, operated=operated)
    journals = JournalSet(settings.log_dir, clock, **journal_limits(settings))
    name = run_id(clock.now())
    asks: Asks = LatchOnly(settings.log_dir, clock)
    pager = sources = None
    if operated:
        sources = _sources(settings, clock, ledger, settings.log_dir)
        asks = OperatorRequests(settings.log_dir, clock, journals, name)
        pager = AlertCommand(settings.services.alerts, clock)
    return Engine(settings, clock, venue, ledger, journals, asks, name, pager, sources)


class Replay(Struct, frozen=True):
    """An engine on recorded time, with the clock that its driver moves from bar to bar."""

    engine: Engine
    market: ReplayedMarket
    clock: ManualClock


def build_replay(settings: Settings, folder: Path, symbols: tuple[str, ...]) -> Replay:
    """Build an engine that goes as fast as it can: nothing is fsynced, journals are buffered.

    Raises ConfigError for a symbol that nothing trades.
    """
    settings = _with_policies(settings, partial(_only, symbols))
    settings = replace(settings, intel=_unhurried(settings))
    market = ReplayedMarket(folder, settings.policy.universe.listing, None, history_bars=0)
    clock = ManualClock(market.window_ts[0])
    path = settings.log_dir / "ledger" / "replay.sqlite"
    ledger = Ledger(LedgerFile(path, settings.mode, settings.account, durable=False))
    store = PaperStore(settings.log_dir / "run" / "paper.sqlite", durable=False)
    journals = JournalSet(settings.log_dir, clock, **journal_limits(settings), buffered=True)
    venue = _paper(settings, market, store)
    name, sources = run_id(clock.now()), _sources(settings, clock, ledger, None)
    engine = Engine(settings, clock, venue, ledger, journals, NoRequests(), name, sources=sources)
    return Replay(engine, market, clock)


def _sources(
    settings: Settings, clock: Clock, ledger: Ledger, log_dir: Path | None
) -> SignalSources:
    """Listen to users' modules, and to the inbox of `log_dir`; a replay has none, and waits."""
    return SignalSources(
        settings.policy,
        settings.services.modules,
        settings.ops_dir / "strategies",
        clock,
        ledger.is_decided,
        log_dir,
        patient=log_dir is None,
    )


def _unhurried(settings: Settings) -> Intel:
    """Read journals at once: nobody waits for a replayed tick, and its files are written seldom."""
    intel = settings.intel
    return replace(intel, reading=replace(intel.reading, loop_kb=LOOP_KB_MAX))


def _with_policies(settings: Settings, change: Callable[[Policy], Policy]) -> Settings:
    """Change the live policy and the candidate alike; without its flag there is no candidate."""
    shadow = settings.shadow_policy if settings.flags["PIPELINE_V6_SHADOW_ENABLED"] else None
    return replace(
        settings,
        policy=change(settings.policy),
        shadow_policy=None if shadow is None else change(shadow),
    )


def _paced(settings: Settings, policy: Policy) -> Policy:
    """Shorten the strategies' bars by the pace at which a recording is put onto wall time."""
    if settings.market != "replay":
        return policy
    pace = settings.services.replay.speed
    strategies = (replace(each, bar_s=each.bar_s // pace) for each in policy.strategies)
    return replace(policy, strategies=tuple(strategies))


def _only(symbols: tuple[str, ...], policy: Policy) -> Policy:
    """Narrow a policy to some symbols of its universe."""
    listed = {listing.symbol: listing for listing in policy.universe.listing}
    for symbol in symbols:
        if symbol not in listed:
            raise ConfigError(f"{symbol} is not in universe.toml: add it there, or leave it out")
    strategies = (
        replace(each, symbols=tuple(s for s in each.symbols if s in symbols))
        for each in policy.strategies
    )
    return replace(
        policy,
        strategies=tuple(each for each in strategies if each.symbols),
        universe=Universe(tuple(listed[symbol] for symbol in symbols)),
    )


def default_engine() -> Engine:
    """Return the engine of the settings as they are now, the same for the same settings.

    For whoever calls the executor's functions bare: a test, or an operator's shell.
    """
    settings = settings_door.load()
    settings_door.prepare_log_dir(settings)
    return _engine_of(_Same(settings))


class _Same:
    """Settings as a key of the cache: equal by value, which a struct with dicts cannot hash."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.settings == self.settings

    def __hash__(self) -> int:
        return hash((self.settings.log_dir, self.settings.account))


@lru_cache(maxsize=1)
def _engine_of(same: _Same) -> Engine:
    return build(same.settings, SystemClock(), operated=False)


def _venue(settings: Settings, clock: Clock, *, operated: bool) -> Venue:
    if settings.mode == "live":
        return DisarmedVenue()
    if settings.mode == "testnet":
        from execution.venue import ccxt_assembly  # noqa: PLC0415  it loads ccxt

        return ccxt_assembly.exchange(settings, clock, may_set=operated)
    faults = settings.paper_faults
    plan = None if faults is None else toml_files.read_toml(faults, FaultPlan)
    store = PaperStore(settings.log_dir / "run" / "paper.sqlite")
    paper = _paper(settings, _market(settings, clock), store)
    return paper if plan is None else FaultyVenue(paper, plan, clock)


def _market(settings: Settings, clock: Clock) -> Market:
    listings = settings.policy.universe.listing
    if settings.replay_dir is not None:
        replay = settings.services.replay
        return ReplayedMarket(settings.replay_dir, listings, replay.speed, replay.history_bars)
    if settings.market == "binance":
        from execution.venue import ccxt_assembly  # noqa: PLC0415  it loads ccxt

        return ccxt_assembly.public(settings, clock)
    sim = settings.services.sim
    return SimulatedMarket(listings, sim.seed, sim.bar_s, sim.history_bars)


def _paper(settings: Settings, market: Market, store: PaperStore) -> PaperVenue:
    paper, account = settings.services.paper, settings.services.account
    if account.margin_mode != "cross":
        raise ConfigError(
            f"services.toml: account.margin_mode {account.margin_mode!r}: the paper account is cross"
            ' margined: set it to "cross"'
        )
    terms = PaperTerms(
        start_usd=paper.start_usd,
        maker_fee_bps=paper.maker_fee_bps,
        taker_fee_bps=paper.taker_fee_bps,
        slippage_bps=paper.slippage_bps,
        volume_share_frac=paper.volume_share_frac,
        leverage=Decimal(account.leverage),
        maintenance_margin_pct=paper.maintenance_margin_pct,
        liquidation_fee_pct=paper.liquidation_fee_pct,
    )
    return PaperVenue(market, store, terms, account.position_mode)


def _run_info(settings: Settings, venue: Venue, name: str, now: float, day: DayFigures) -> RunInfo:
    shadowed = settings.flags["PIPELINE_V6_SHADOW_ENABLED"]
    return RunInfo(
        engine_version=settings.engine_version,
        run_id=name,
        flags=V6Flags(**settings.flags),
        mode=settings.mode,
        env=settings.env,
        account=settings.account,
        dry_run=settings.dry_run,
        testnet=settings.testnet,
        venue=venue.name,
        market=settings.market,
        policy=settings.policy,
        watch=settings.services.risk_watch,
        live_policy=settings.fingerprint,
        shadow_policy=settings.shadow_fingerprint if shadowed else None,
        shadow_problem=settings.shadow_problem if shadowed else None,
        started_ts=now,
        day=day,
    )


def _decided(attempted: Iterable[Intent]) -> Mapping[tuple[str, str], float]:
    """Read back which bars were answered before this start, from the newest attempts."""
    decided: dict[tuple[str, str], float] = {}
    for attempt in attempted:
        if attempt.bar_open_ts is not None:
            key = (attempt.strategy, attempt.symbol)
            decided[key] = max(attempt.bar_open_ts, decided.get(key, 0.0))
    return decided


def _today(
    settings: Settings, ledger: Ledger, refused: Iterable[Veto]
) -> tuple[Mapping[str, int], DayFigures]:
    """Read back the vetoes and fills since the book's day began."""
    anchors = ledger.anchors()
    if anchors is None:
        return {}, DayFigures()
    days = Days(settings.policy.limits.book.day_time_zone)
    vetoes = Counter(veto.reason for veto in refused if days.label(veto.ts) == anchors.day)
    events = newest(settings.log_dir, registry.ORDERS_EXECUTED, DAY_READ)
    fills = [e for e in events if isinstance(e, Fill) and days.label(e.ts) == anchors.day]
    whole = len(events) < DAY_READ or days.label(events[0].ts) < anchors.day
    return dict(vetoes), day_figures.resume(anchors.day, fills, whole=whole)
