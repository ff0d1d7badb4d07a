from __future__ import annotations

import math
from itertools import product

import pytest

from execution import guards
from execution.guards import Arm, PublishValues, Refused, Trading

ON = ("1", "true", "yes", "on", "TRUE", "True", "YES", "On")
OFF = (None, "", "0", "false", "no", "off", "FALSE", "No", "OFF")
GARBAGE = ("2", "enabled", " 1", "1\n", "yes please", "nan")
SPELLINGS = ON + OFF + GARBAGE

ENVS = (None, "", "dev", "staging", "prod", "Prod", "PROD", "production", "test", " dev", "0")
BITS = (None, "", "0", "1", "true", "false", "yes", "2", "01", " 1", "-0")
MARKETS = (
    *(None, "", "sim", "binance", "replay:/bars", "replay:a:b"),
    *("replay", "replay:", "sim:", "sim:x", "binance:x", "SIM", "bybit", " sim", ":"),
)


# ---------------------------------------------------------------- trading


def expected_mode(env, dry_run, testnet, market):
    """State the table of safety.md in the words of safety.md; None is a refusal."""
    env, dry_run, testnet = env or "dev", dry_run or "1", testnet or "1"
    folder = market[len("replay:") :] if (market or "").startswith("replay:") else None
    if env not in {"dev", "staging", "prod"} or not {dry_run, testnet} <= {"0", "1"}:
        return None
    if market not in {None, "", "sim", "binance"} and not folder:
        return None
    if dry_run == "1":
        return "paper", "replay" if folder else (market or "sim"), folder
    if market not in {None, "", "binance"}:
        return None
    if testnet == "1":
        return None if env == "prod" else ("testnet", "binance", None)
    return ("live", "binance", None) if env == "prod" else None


def test_trading_mode_over_every_spelling():
    seen: dict[str, int] = {}
    for env, dry_run, testnet, market in product(ENVS, BITS, BITS, MARKETS):
        decided = guards.trading_mode(env, dry_run, testnet, market)
        expected = expected_mode(env, dry_run, testnet, market)
        case = (env, dry_run, testnet, market)
        if expected is None:
            assert isinstance(decided, Refused), case
            assert decided.reason.split("=")[0] in {"ENV", "DRY_RUN", "BINANCE_TESTNET", "MARKET"}
            seen["refused"] = seen.get("refused", 0) + 1
            continue
        assert isinstance(decided, Trading), case
        assert (decided.mode, decided.market, decided.replay_folder) == expected, case
        assert decided.env == (env or "dev")
        assert decided.dry_run is (dry_run != "0")
        assert decided.testnet is (testnet != "0")
        seen[decided.mode] = seen.get(decided.mode, 0) + 1
    # 5 spellings of a known ENV, 3 of a bit that is on or unset, 3 markets that real orders take
    assert seen["live"] == 1 * 1 * 1 * 3
    assert seen["testnet"] == 4 * 1 * 3 * 3
    assert seen["paper"] == 5 * 3 * 4 * 6
    assert sum(seen.values()) == len(ENVS) * len(BITS) ** 2 * len(MARKETS)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("live", None, None, None), "ENV='live'"),
        ((None, "yes", None, None), "DRY_RUN='yes'"),
        ((None, None, "yes", None), "BINANCE_TESTNET='yes'"),
        ((None, None, None, "kraken"), "MARKET='kraken'"),
        ((None, "0", None, "sim"), "MARKET=sim with DRY_RUN=0"),
        (("prod", "0", "1", None), "BINANCE_TESTNET=1 with DRY_RUN=0 and ENV=prod"),
        (("staging", "0", "0", None), "needs ENV=prod, not staging"),
    ],
)
def test_a_refusal_names_the_variable(words, name):
    decided = guards.trading_mode(*words)
    assert isinstance(decided, Refused)
    assert name in decided.reason


# ---------------------------------------------------------------- arming


def test_arming_over_every_combination_of_facts():
    now = 1000.0
    accounts, hashes = ("main", "other", ""), ("abc", "abd", "")
    expiries = (999.0, 1000.0, 1000.5, math.nan, math.inf, -math.inf)
    outcomes = []
    for account, config_hash, expires_ts, own, wanted in product(
        accounts, hashes, expiries, accounts, hashes
    ):
        permission = guards.may_trade_live(
            Arm(account, config_hash, expires_ts), account=own, config_hash=wanted, now=now
        )
        matches = account == own != "" and config_hash == wanted != "" and math.isfinite(expires_ts)
        expected = "disarmed" if not matches else "armed" if expires_ts > now else "arm_expired"
        assert permission.state == expected
        outcomes.append(permission.state)
    # 2 accounts by 2 hashes that match, 3 finite expiries of which one lies ahead
    assert outcomes.count("armed") == 4
    assert outcomes.count("arm_expired") == 8
    assert outcomes.count("disarmed") == len(outcomes) - 12


@pytest.mark.parametrize("arm", ["missing", "unreadable"])
def test_without_an_arm_file_nothing_is_live(arm):
    permission = guards.may_trade_live(arm, account="main", config_hash="abc", now=0.0)
    assert permission.state == "disarmed"
    assert arm in permission.reason


@pytest.mark.parametrize("now", [math.nan, math.inf])
def test_without_a_time_nothing_is_live(now):
    arm = Arm("main", "abc", 1e12)
    assert (
        guards.may_trade_live(arm, account="main", config_hash="abc", now=now).state == "disarmed"
    )


# ---------------------------------------------------------------- publishing


def values(exported=(), dotenv=(), **others):
    """Build the values of a hand-started, configured process; unset variables are left out."""
    fields = {
        "supervised": False,
        "env": "dev",
        "mode": "paper",
        "project_id": "fund",
        "emulator_host": None,
    } | others
    return PublishValues(exported=spelled(exported), dotenv=spelled(dotenv), **fields)


def spelled(pair):
    names = ("ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC")
    return {name: text for name, text in zip(names, pair, strict=False) if text is not None}


def guard_is_on(supervised, exported, dotenv):
    """State the rule of safety.md for one variable."""
    if supervised:
        return exported in ON and dotenv in ON
    return (dotenv if exported is None else exported) in ON


def test_publishing_over_every_spelling_of_both_guards():
    cases = 0
    single = {case: guard_is_on(*case) for case in product((False, True), SPELLINGS, SPELLINGS)}
    for supervised, exp_write, exp_sync, env_write, env_sync in product(
        (False, True), *(SPELLINGS,) * 4
    ):
        found = values((exp_write, exp_sync), (env_write, env_sync), supervised=supervised)
        write = single[supervised, exp_write, env_write]
        sync = single[supervised, exp_sync, env_sync]
        assert guards.may_publish(found, "sync_state").allowed is (write and sync)
        cases += 1
    assert cases == 2 * len(SPELLINGS) ** 4


@pytest.mark.parametrize("service", ["pipeline_shadow_heartbeat", "pipeline_compare"])
def test_the_pipeline_services_need_write_alone(service):
    for supervised, exported, dotenv, sync in product(
        (False, True), SPELLINGS, SPELLINGS, (None, "1", "0", "garbage")
    ):
        found = values((exported, sync), (dotenv, sync), supervised=supervised)
        decided = guards.may_publish(found, service)
        assert decided.allowed is guard_is_on(supervised, exported, dotenv)


def test_publishing_over_every_target_and_mode():
    emulators = (None, "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "db.example.com:443")
    trading = [
        *product(("dev", "staging", "prod"), ("paper", "testnet", "live")),
        (None, None),
    ]
    for (env, mode), project, emulator, permitted in product(
        trading, (None, "", "fund"), emulators, (False, True)
    ):
        word = "1" if permitted else None
        found = values((word, word), env=env, mode=mode, project_id=project, emulator_host=emulator)
        reachable = bool(project) if emulator is None else "example" not in emulator
        allowed = permitted and reachable and mode is not None and (env, mode) != ("prod", "paper")
        decided = guards.may_publish(found, "sync_state")
        assert decided.allowed is allowed
        assert (decided.reason == "allowed") is allowed


def test_garbage_is_off_and_alerted_only_where_it_decides():
    by_hand = guards.may_publish(values(("maybe", "1"), ("1", "si")), "sync_state")
    assert not by_hand.allowed
    assert [alert.split(":")[0] for alert in by_hand.alerts] == [
        "ALLOW_PROD_WRITE in the environment is neither on nor off"
    ]
    supervised = guards.may_publish(values(("1", "1"), ("1", "si"), supervised=True), "sync_state")
    assert supervised.reason == "ALLOW_PROD_SYNC is not on in .env"
    assert [alert.split(":")[0] for alert in supervised.alerts] == [
        "ALLOW_PROD_SYNC in .env is neither on nor off"
    ]
    assert guards.may_publish(values(), "sync_state").alerts == ()


def test_an_unreadable_env_file_is_alerted():
    decided = guards.may_publish(values(("1", "1"), problem="line 3"), "sync_state")
    assert decided.allowed  # started by hand, the exported values decide
    assert decided.alerts == ("line 3",)


# ---------------------------------------------------------------- this machine only

LOOPBACK_URLS = (
    "http://127.0.0.1:8080",
    "https://localhost:1",
    "http://[::1]:9000/",
    "http://127.8.9.1",
    "http://localhost/path",
    "http://LOCALHOST:80",
)
OTHER_URLS = (
    "http://example.com",
    "http://localhost.example.com",
    "http://127.0.0.1@example.com",
    "http://key:secret@127.0.0.1",
    "http://example.com\\@127.0.0.1",
    "http://example.com#@127.0.0.1",
    "http://127.0.0.1?.example.com",
    "http://10.0.0.1:80",
    "http://0.0.0.0:80",
    "http://2130706433",
    "http://127.1",
    "http://[::ffff:10.0.0.1]",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:0",
    "http://127.0.0.1:port",
    "http://127.0.0.1 ",
    "http://127.0.0.1\n",
    "http://[::1",
    "http://",
    "http:///path",
    "ftp://127.0.0.1",
    "file:///etc/passwd",
    "//127.0.0.1",
    "127.0.0.1:8080",
    "",
)


@pytest.mark.parametrize("url", LOOPBACK_URLS)
def test_urls_of_this_machine(url):
    assert guards.is_loopback_url(url)


@pytest.mark.parametrize("url", OTHER_URLS)
def test_urls_of_other_machines(url):
    assert not guards.is_loopback_url(url)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:8080", True),
        ("localhost:8080", True),
        ("[::1]:8080", True),
        ("127.0.0.1", False),
        ("localhost", False),
        ("127.0.0.1:", False),
        ("127.0.0.1:8080/x", False),
        ("::1:8080", False),
        ("http://127.0.0.1:8080", False),
        ("db.example.com:8080", False),
        ("", False),
    ],
)
def test_addresses_of_this_machine(address, local):
    assert guards.is_loopback_address(address) is local
