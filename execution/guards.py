"""Truth tables over values: how a switch is spelled, what is traded where, what may be published.

Nothing here reads anything. What is unset, misspelled or contradictory never permits more.
"""

from __future__ import annotations

import math
import re
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from execution.core.policy import Market

Env = Literal["dev", "staging", "prod"]
Mode = Literal["paper", "testnet", "live"]
Service = Literal["sync_state", "pipeline_shadow_heartbeat", "pipeline_compare"]

ON: Final = frozenset({"1", "true", "yes", "on"})
OFF: Final = frozenset({"", "0", "false", "no", "off"})
SPELLINGS: Final = "1, true, yes or on; 0, false, no, off or nothing"

NEEDED: Final[dict[Service, tuple[str, ...]]] = {
    "sync_state": ("ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC"),
    "pipeline_shadow_heartbeat": ("ALLOW_PROD_WRITE",),
    "pipeline_compare": ("ALLOW_PROD_WRITE",),
}


def read_switch(text: str | None) -> bool | None:
    """Read one on/off spelling, in any case; None where it is neither."""
    word = (text or "").lower()
    return True if word in ON else False if word in OFF else None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only be this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_address(text: str) -> bool:
    """Tell whether `text` is `host:port` on this machine."""
    return is_loopback_url(f"http://{text}") and text.rpartition(":")[2].isdecimal()


def is_loopback_url(text: str) -> bool:
    """Tell whether every reader of this http(s) URL would end on this machine."""
    if re.fullmatch(r"https?://[!-\[\]-~]+", text) is None:  # printable ASCII, no backslash
        return False
    try:
        parts = urlsplit(text)
        port_is_usable = parts.port != 0
    except ValueError:
        return False
    plain = not re.search(r"[@?#]", text)  # where URL readers are known to disagree on the host
    return plain and port_is_usable and is_loopback(parts.hostname or "")


# ---------------------------------------------------------------- what is traded, and where


class Trading(Struct, frozen=True):
    """Where orders go and where prices come from; `replay_folder` only with market replay."""

    env: Env
    dry_run: bool
    testnet: bool
    mode: Mode
    market: Market
    replay_folder: str | None = None


class Refused(Struct, frozen=True):
    """A combination that does not start, and what to type instead."""

    reason: str


def trading_mode(
    env: str | None, dry_run: str | None, testnet: str | None, market: str | None
) -> Trading | Refused:
    """Decide the mode from ENV, DRY_RUN, BINANCE_TESTNET and MARKET as they are spelled."""
    known_env, paper, on_testnet = _read_env(env), _read_bit(dry_run), _read_bit(testnet)
    source = _read_market(market)
    if known_env is None:
        return Refused(f"ENV={env!r}: expected dev, staging or prod; unset means dev")
    if paper is None or on_testnet is None:
        name, text = ("DRY_RUN", dry_run) if paper is None else ("BINANCE_TESTNET", testnet)
        return Refused(f"{name}={text!r}: expected 1 or 0; unset means 1, the safe one")
    if source is None:
        return Refused(f"MARKET={market!r}: expected sim, replay:<folder> or binance")
    kind, folder = source
    if paper:
        return Trading(known_env, True, on_testnet, "paper", kind or "sim", folder)
    refusal = _refusal_of_real_orders(known_env, on_testnet, kind)
    if refusal is not None:
        return Refused(refusal)
    return Trading(known_env, False, on_testnet, "testnet" if on_testnet else "live", "binance")


def _refusal_of_real_orders(env: Env, testnet: bool, kind: Market | None) -> str | None:
    if kind not in (None, "binance"):
        return (
            f"MARKET={kind} with DRY_RUN=0: real orders need real prices: "
            "unset MARKET, or set DRY_RUN=1"
        )
    if testnet and env == "prod":
        return (
            "BINANCE_TESTNET=1 with DRY_RUN=0 and ENV=prod: the test environment is never prod: "
            "set ENV=staging, or DRY_RUN=1 for paper"
        )
    if not testnet and env != "prod":
        return (
            f"BINANCE_TESTNET=0 with DRY_RUN=0 trades live, which needs ENV=prod, not {env}: "
            "set BINANCE_TESTNET=1 for the test environment, or DRY_RUN=1 for paper"
        )
    return None


def _read_env(text: str | None) -> Env | None:
    match text or "dev":
        case "dev" | "staging" | "prod" as env:
            return env
        case _:
            return None


def _read_bit(text: str | None) -> bool | None:
    return {"": True, "1": True, "0": False}.get(text or "")


def _read_market(text: str | None) -> tuple[Market | None, str | None] | None:
    match (text or "").partition(":"):
        case ("", "", ""):
            return None, None
        case ("sim" | "binance" as kind, "", ""):
            return kind, None
        case ("replay", ":", folder) if folder:
            return "replay", folder
        case _:
            return None


# ---------------------------------------------------------------- may it trade live?


class Arm(Struct, frozen=True):
    """What the arm file says: who armed which configuration of which account, until when."""

    account: str
    config_hash: str
    expires_ts: float


class LivePermission(Struct, frozen=True):
    """`armed`, or the trading state's reason: `disarmed` halts, `arm_expired` only reduces."""

    state: Literal["armed", "disarmed", "arm_expired"]
    reason: str


def may_trade_live(
    arm: Arm | Literal["missing", "unreadable"], *, account: str, config_hash: str, now: float
) -> LivePermission:
    """Decide from the arm file; `now` in epoch seconds."""
    if not isinstance(arm, Arm):
        return LivePermission("disarmed", f"the arm file is {arm}: run `hedge arm`")
    if not arm.account or arm.account != account:
        return LivePermission("disarmed", "the arm file is for another account")
    if not arm.config_hash or arm.config_hash != config_hash:
        return LivePermission("disarmed", "the configuration has changed since it was armed")
    if not (math.isfinite(arm.expires_ts) and math.isfinite(now)):
        return LivePermission("disarmed", "the arm file has no readable expiry")
    if now >= arm.expires_ts:
        return LivePermission("arm_expired", "the arm file has expired: run `hedge arm` again")
    return LivePermission("armed", "armed")


# ---------------------------------------------------------------- may it publish?


class PublishValues(Struct, frozen=True):
    """Everything that a publish decision reads, as found at one moment.

    `exported` and `dotenv` hold the guard variables of the process and of `.env`, absent where
    unset. `env` and `mode` are None where the trading variables are refused.
    """

    supervised: bool
    exported: dict[str, str]
    dotenv: dict[str, str]
    env: Env | None
    mode: Mode | None
    project_id: str | None
    emulator_host: str | None
    problem: str | None = None


class Publishing(Struct, frozen=True):
    """Whether a service may write to Firestore, why not, and what a person should look at."""

    allowed: bool
    reason: str
    alerts: tuple[str, ...] = ()


def may_publish(values: PublishValues, service: Service) -> Publishing:
    """Decide whether `service` may write to Firestore now."""
    alerts = [] if values.problem is None else [values.problem]
    off: list[str] = []
    for name in NEEDED[service]:
        for place, text in _deciding(values, name):
            on = read_switch(text)
            if on is None:
                alerts.append(f"{name} in {place} is neither on nor off: expected {SPELLINGS}")
            if not on:
                off.append(f"{name} is not on in {place}")
    if not off:
        off.extend(_without_target(values))
    return Publishing(not off, "; ".join(off) or "allowed", tuple(alerts))


def _deciding(values: PublishValues, name: str) -> list[tuple[str, str | None]]:
    """List the places that must all say on: both under supervisor, else the nearer one."""
    exported = ("the environment", values.exported.get(name))
    dotenv = (".env", values.dotenv.get(name))
    if values.supervised:
        return [exported, dotenv]
    return [exported if name in values.exported else dotenv]


def _without_target(values: PublishValues) -> list[str]:
    if values.mode is None:
        return ["ENV, DRY_RUN, BINANCE_TESTNET and MARKET do not make a mode"]
    if values.mode == "paper" and values.env == "prod":
        return ["paper results are never written under hedge/prod"]
    if values.emulator_host is not None:
        if is_loopback_address(values.emulator_host):
            return []
        return ["FIRESTORE_EMULATOR_HOST is not on this machine"]
    return [] if values.project_id else ["FIRESTORE_PROJECT_ID is not set"]
