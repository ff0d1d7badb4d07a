"""The one door to configuration: environment, `.env`, `ops/*.toml` and VERSION → frozen Settings.

Whatever is unknown, missing, out of range or contradictory raises ConfigError, which names the
variable or the file and key, and says what to type. `publish_values()` alone is read afresh at each
call and never raises: publishing must not be in the way of trading.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from execution import environment, guards, overlay, small_files, toml_files
from execution.core import intel_terms
from execution.core.intel_terms import Intel
from execution.core.policy import (
    Market,
    Policy,
    RiskLimits,
    Router,
    Strategy,
    StrategyFile,
    Universe,
    fingerprint,
)
from execution.core.policy_contradictions import contradictions
from execution.environment import ROOT, Environ, Secret
from execution.errors import ConfigError
from execution.guards import Env, Mode, PublishValues, Refused, Trading
from execution.overlay import Overlay
from execution.services import Services
from execution.state_schema.mirror_files import MIRROR
from execution.v6_flags import read_flags

VERSION_WHEN_MISSING: Final = "v6.0-beta-preview"
RECORDED_BAR_S: Final = 60  # recorded and exchange bars are one minute long
# Computing and publishing on a busy machine, beyond the loop's pause.
WORK_ALLOWANCE_S: Final = 0.5
# A socket's path holds 107 bytes, and supervisor binds `<path>.<pid>` first.
SOCKET_PATH_BYTES: Final = 107 - len(".4194304")
POLICY_FILES: Final = ("risk.toml", "router.toml", "strategy.toml", "universe.toml")
FOLDERS: Final = ("state", "execution", "run", "ledger")
FOLDER_MODE: Final = 0o750  # of what is made: a book is nobody else's business


class Settings(Struct, frozen=True):
    """Everything a process is told at its start.

    `policy.strategies` are those of `market`; `account` names ledger, locks, ids and documents;
    `shadow_policy` is None where `shadow_problem` says why. The fingerprints are of the policies as
    the files state them, in `mode`. `nav_cutoff_ts_iso` is epoch seconds, `nav_cutoff_secago` an age in seconds;
    `machine_dir` is what all checkouts of this machine share, None on paper, which shares nothing.
    """

    root: Path
    log_dir: Path
    ops_dir: Path
    engine_version: str
    env: Env
    dry_run: bool
    testnet: bool
    mode: Mode
    market: Market
    replay_dir: Path | None
    account: str
    flags: dict[str, bool]
    max_loops: int
    policy: Policy
    shadow_policy: Policy | None
    shadow_problem: str | None
    fingerprint: str
    shadow_fingerprint: str | None
    services: Services
    intel: Intel
    api_key: Secret
    api_secret: Secret
    base_url: str | None
    firestore_project: str | None
    firestore_credentials: Path | None
    firestore_emulator: str | None
    nav_cutoff_ts_iso: float | None
    nav_cutoff_secago: float | None
    paper_faults: Path | None
    machine_dir: Path | None


def load(environ: Environ | None = None, over: Environ | None = None) -> Settings:
    """Read everything, once.

    None is the process environment over the project's `.env`; a mapping stands in for both, with
    the `.env` beneath it that its own HEDGE_ENV_FILE names, if it does. `over` beats both: it is
    what a command was told on its own line.
    """
    exported, beneath = _sources(environ)
    values = {**beneath, **exported, **(over or {})}
    trading = _decide_trading(values)
    if isinstance(trading, Refused):
        raise ConfigError(trading.reason)
    flags = read_flags(values)
    account = environment.read_matching(
        values, "HEDGE_ACCOUNT", r"[a-z0-9-]{1,16}", "main", "1 to 16 of a-z, 0-9 and -"
    )
    ops_dir = environment.read_path(values, "HEDGE_OPS_DIR") or ROOT / "ops"
    services = toml_files.read_toml(ops_dir / "services.toml", Services)
    policies = _read_policies(ops_dir, services, trading.market, account, flags)
    named = partial(fingerprint, trading.mode)
    return Settings(
        root=ROOT,
        log_dir=environment.read_path(values, "HEDGE_LOG_DIR") or ROOT / "logs",
        ops_dir=ops_dir,
        engine_version=engine_version(ROOT),
        env=trading.env,
        dry_run=trading.dry_run,
        testnet=trading.testnet,
        mode=trading.mode,
        market=trading.market,
        replay_dir=_replay_dir(trading),
        account=account,
        flags=flags,
        max_loops=_max_loops(values),
        policy=policies.live,
        shadow_policy=policies.shadow,
        shadow_problem=policies.problem,
        fingerprint=named(policies.live),
        shadow_fingerprint=None if policies.shadow is None else named(policies.shadow),
        services=services,
        intel=_read_intel(ops_dir, policies.live.universe),
        api_key=environment.read_secret(values, "BINANCE_API_KEY"),
        api_secret=environment.read_secret(values, "BINANCE_API_SECRET"),
        base_url=environment.read_base_url(values),
        firestore_project=_project(values),
        firestore_credentials=environment.read_path(values, "GOOGLE_APPLICATION_CREDENTIALS"),
        firestore_emulator=environment.read_emulator(values),
        nav_cutoff_ts_iso=environment.read_cutoff_ts(values),
        nav_cutoff_secago=environment.read_cutoff_age(values),
        paper_faults=_paper_faults(values, trading),
        machine_dir=None if trading.mode == "paper" else environment.read_machine_dir(values),
    )


def log_dir(environ: Environ | None = None) -> Path:
    """Return the log folder alone: an operator must reach it also where a setting is wrong."""
    exported, beneath = _sources(environ)
    return environment.read_path({**beneath, **exported}, "HEDGE_LOG_DIR") or ROOT / "logs"


def _sources(environ: Environ | None) -> tuple[Environ, Environ]:
    """Return what is exported, and the `.env` beneath it."""
    if environ is None:
        return os.environ, environment.read_dotenv(environment.dotenv_path(os.environ))
    beneath = environ.get("HEDGE_ENV_FILE")
    return environ, environment.read_dotenv(environment.dotenv_path(environ)) if beneath else {}


def _decide_trading(values: Environ) -> Trading | Refused:
    names = ("ENV", "DRY_RUN", "BINANCE_TESTNET", "MARKET")
    return guards.trading_mode(*map(values.get, names))


def _replay_dir(trading: Trading) -> Path | None:
    if trading.replay_folder is None:
        return None
    folder = environment.resolve("MARKET", trading.replay_folder)
    if not folder.is_dir():
        raise ConfigError(f"MARKET=replay:{trading.replay_folder}: there is no folder {folder}")
    return folder


def _paper_faults(values: Environ, trading: Trading) -> Path | None:
    path = environment.read_path(values, "PAPER_FAULTS")
    if path is None:
        return None
    if trading.mode != "paper":
        raise ConfigError("PAPER_FAULTS: faults are rehearsed on paper: unset it, or set DRY_RUN=1")
    if not path.is_file():
        raise ConfigError(f"PAPER_FAULTS: there is no file {path}")
    return path


def _max_loops(values: Environ) -> int:
    wanted = "a whole number, where 0 is for ever"
    return int(environment.read_matching(values, "MAX_LOOPS", r"[0-9]{1,9}", "0", wanted))


def _project(values: Environ) -> str | None:
    name, wanted = "FIRESTORE_PROJECT_ID", "a project's id, as in hedge-mirror-1"
    pattern = r"([a-z0-9][a-z0-9.:-]{0,62})?"
    return environment.read_matching(values, name, pattern, "", wanted) or None


# ---------------------------------------------------------------- publishing, read afresh


def publish_values(environ: Environ | None = None) -> PublishValues:
    """Collect what a publish decision reads, from environment and `.env` as they are now."""
    problem: str | None = None
    try:
        exported, beneath = _sources(environ)
    except ConfigError as error:
        exported, beneath, problem = os.environ if environ is None else environ, {}, str(error)
    values = {**beneath, **exported}
    decided = _decide_trading(values)
    trading = decided if isinstance(decided, Trading) else None
    return PublishValues(
        supervised="SUPERVISOR_ENABLED" in exported,
        exported=_guard_variables(exported),
        dotenv=_guard_variables(beneath),
        env=None if trading is None else trading.env,
        mode=None if trading is None else trading.mode,
        project_id=values.get("FIRESTORE_PROJECT_ID") or None,
        emulator_host=values.get("FIRESTORE_EMULATOR_HOST") or None,
        problem=problem,
    )


def _guard_variables(values: Environ) -> dict[str, str]:
    return {name: values[name] for name in guards.NEEDED["sync_state"] if name in values}


# ---------------------------------------------------------------- ops/*.toml


class _Policies(Struct, frozen=True):
    """The live policy, and the candidate or what is wrong with it."""

    live: Policy
    shadow: Policy | None
    problem: str | None


def read_overlay(ops_dir: Path) -> Overlay:
    """Read the candidate's changes."""
    return toml_files.read_toml(ops_dir / overlay.FILE, Overlay)


def _read_policies(
    ops_dir: Path, services: Services, market: Market, account: str, flags: Mapping[str, bool]
) -> _Policies:
    tables = policy_tables(ops_dir)
    decode = partial(_decode_policy, services=services, market=market, account=account, flags=flags)
    live = decode(tables, ops_dir)
    try:
        # A candidate that cannot be read must not keep the live policy from trading.
        laid = overlay.lay(tables, read_overlay(ops_dir))
        return _Policies(live, decode(laid, ops_dir / overlay.FILE), None)
    except ConfigError as error:
        return _Policies(live, None, str(error))


def policy_tables(ops_dir: Path) -> dict[str, overlay.Table]:
    """Read the live policy's toml files as they are, by name."""
    return {name: toml_files.read_raw(ops_dir / name) for name in POLICY_FILES}


def _decode_policy(
    tables: Mapping[str, overlay.Table],
    where: Path,
    *,
    services: Services,
    market: Market,
    account: str,
    flags: Mapping[str, bool],
) -> Policy:
    strategy_file = toml_files.decode(
        tables["strategy.toml"], StrategyFile, where / "strategy.toml"
    )
    limits = toml_files.decode(tables["risk.toml"], RiskLimits, where / "risk.toml")
    universe = toml_files.decode(tables["universe.toml"], Universe, where / "universe.toml")
    router = toml_files.decode(tables["router.toml"], Router, where / "router.toml")
    wrong = (
        *contradictions(strategy_file, limits, universe, router),
        *_margin_contradictions(limits, services),
        *_timing_contradictions(strategy_file.strategy, limits, services, market),
    )
    if wrong:
        raise ConfigError("\n".join(f"{where}/{line}" for line in wrong))
    return Policy(
        account=account,
        strategies=tuple(each for each in strategy_file.strategy if market in each.markets),
        sizing=strategy_file.sizing,
        limits=limits,
        router=router,
        universe=universe,
        leverage=float(services.account.leverage),
        position_mode=services.account.position_mode,
        clamp=flags["RISK_ENGINE_V6_ENABLED"],
    )


def _margin_contradictions(limits: RiskLimits, services: Services) -> Iterator[str]:
    gross_pct, carried_pct = limits.book.gross_cap_pct, 100 * float(services.account.leverage)
    if gross_pct > carried_pct:
        yield (
            f"risk.toml: book.gross_cap_pct {gross_pct:g} is above {carried_pct:g}, which is what the "
            f"account carries at account.leverage of services.toml"
        )


def _read_intel(ops_dir: Path, universe: Universe) -> Intel:
    intel = toml_files.read_toml(ops_dir / "intel.toml", Intel)
    wrong = tuple(intel_terms.contradictions(intel, universe))
    if wrong:
        raise ConfigError("\n".join(f"{ops_dir}/{line}" for line in wrong))
    return intel


def _timing_contradictions(
    strategies: tuple[Strategy, ...], limits: RiskLimits, services: Services, market: Market
) -> Iterator[str]:
    """Name what the files and the suite's clocks say against each other."""
    try:
        ZoneInfo(limits.book.day_time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f"risk.toml: book.day_time_zone: there is no time zone {limits.book.day_time_zone!r}"
    asking_s = services.exchange.round_s if market == "binance" else 0.0
    round_s = services.executor.loop_s + WORK_ALLOWANCE_S + asking_s
    for key, least_s in (
        ("nav_max_age_s", 2 * round_s),
        ("market_max_age_s", 2 * round_s),
        ("reconciliation_max_age_s", 2 * (round_s + services.executor.reconcile_s)),
    ):
        limit_s: float = getattr(limits.freshness, key)
        if limit_s < least_s:
            yield (
                f"risk.toml: freshness.{key} {limit_s:g} is below {least_s:g}, twice what a round "
                f"of services.toml takes: it would veto a healthy book"
            )
    base_s: dict[Market, int] = {
        "sim": services.sim.bar_s,
        "replay": RECORDED_BAR_S,
        "binance": RECORDED_BAR_S,
    }
    for strategy in strategies:
        for named in strategy.markets:
            if strategy.bar_s % base_s[named]:
                yield (
                    f"strategy.toml: strategy {strategy.name}: bar_s {strategy.bar_s} is no "
                    f"multiple of the {base_s[named]} s bars of market {named}"
                )


# ---------------------------------------------------------------- version and log folder


def engine_version(root: Path = ROOT) -> str:
    """Return the text of VERSION; a name of its own only where the file is missing."""
    path = root / "VERSION"
    try:
        version = small_files.read(path).decode().strip()
    except FileNotFoundError:
        return VERSION_WHEN_MISSING
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if not version:
        raise ConfigError(f"{path}: is empty: write the version into it, as in v6.0-rc 2026-01-31")
    return version


def refuse_mirror(log_dir: Path) -> None:
    """Raise ConfigError where a log folder is a copy of another machine's, pulled to be looked at."""
    if (log_dir / MIRROR).exists():
        raise ConfigError(
            f"log folder {log_dir}: is a mirror ({MIRROR}), which is for looking at only: "
            "set HEDGE_LOG_DIR to the suite's own"
        )


def prepare_log_dir(settings: Settings) -> None:
    """Make the log folder and what is in it, and prove that each folder can be written.

    Raises ConfigError naming the folder, also where every user of the machine could write to it:
    what is read there stops trading and closes positions.
    """
    socket = settings.log_dir / "run" / "supervisor.sock"
    length = len(os.fsencode(socket))
    if length > SOCKET_PATH_BYTES:
        raise ConfigError(
            f"log folder {settings.log_dir}: the socket {socket} has {length} bytes, and supervisor "
            f"can open at most {SOCKET_PATH_BYTES}: set HEDGE_LOG_DIR to a shorter path"
        )
    for folder in (settings.log_dir, *(settings.log_dir / name for name in FOLDERS)):
        try:
            small_files.prove_folder(folder, FOLDER_MODE)
            if folder.name == "run":
                folder.chmod(0o700)
        except OSError as error:
            raise ConfigError(
                f"log folder {folder}: cannot be written ({error.strerror}): mend it, or set "
                f"HEDGE_LOG_DIR to a folder that can"
            ) from error
