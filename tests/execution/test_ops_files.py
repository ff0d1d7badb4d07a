from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import hypothesis
import msgspec
import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from execution import settings, toml_files
from execution.core.policy import RiskLimits
from execution.environment import ROOT
from execution.errors import ConfigError
from execution.services import Services

OPS_FILES = (
    "risk.toml",
    "universe.toml",
    "strategy.toml",
    "router.toml",
    "services.toml",
    "intel.toml",
)


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    """Copy the project's own configuration, to be spoiled."""
    folder = tmp_path / "ops"
    folder.mkdir()
    for name in OPS_FILES:
        shutil.copy(ROOT / "ops" / name, folder)
    return folder


def load_ops(ops: Path, **variables: str) -> settings.Settings:
    return settings.load({"HEDGE_OPS_DIR": str(ops), **variables})


def change(path: Path, key: str, value: object) -> None:
    """Set the value at a dotted key; a number steps into a list, None removes the key."""
    document = tomlkit.parse(path.read_text())
    *steps, last = key.split(".")
    inner = document
    for step in steps:
        inner = inner[int(step) if step.isdecimal() else step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    path.write_text(tomlkit.dumps(document))


def refusal(ops: Path, **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_ops(ops, **variables)
    return str(caught.value)


@pytest.mark.parametrize("name", OPS_FILES)
def test_a_missing_or_broken_file_is_named(ops: Path, name: str):
    (ops / name).write_text("a = = 1")
    assert str(ops / name) in refusal(ops)
    (ops / name).write_bytes(b"a = '\xff'")
    assert str(ops / name) in refusal(ops)
    (ops / name).unlink()
    assert f"{ops / name}: is missing" in refusal(ops)


def leaves(value: object, key: str = ""):
    """List the dotted keys of a decoded toml that hold a value, with what they hold."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{key}.{place}")
    else:
        yield key, value


OPTIONAL = re.compile(r"symbols\.\w+\.(cap_pct|blocked_sides)|listing\.\d\.sim")
LEAVES = [
    (name, key, value)
    for name in OPS_FILES
    for key, value in leaves(tomllib.loads((ROOT / "ops" / name).read_text()))
]


@pytest.mark.parametrize(("name", "key", "value"), LEAVES)
def test_every_key_is_required_and_typed(ops: Path, name: str, key: str, value: object):
    original = (ops / name).read_text()
    last = key.rpartition(".")[2]

    change(ops / name, key, {"not": "this"})
    assert last in (message := refusal(ops))
    assert str(ops / name) in message

    (ops / name).write_text(original)
    if not OPTIONAL.fullmatch(key):
        change(ops / name, key, None)
        assert re.search(rf"{re.escape(str(ops / name))}: .*\b{last}: is missing", refusal(ops))

    (ops / name).write_text(original)
    if isinstance(value, float):
        for wrong in (float("nan"), float("inf"), -float("inf")):
            change(ops / name, key, wrong)
            assert f"{last}: nan and inf are not numbers here" in refusal(ops)
    if isinstance(value, int | float):
        change(ops / name, key, "many")
        assert re.search(rf"{last}: (Expected|.*must be)", refusal(ops))
        change(ops / name, key, not isinstance(value, bool) or 1)
        assert last in refusal(ops)


@pytest.mark.parametrize("name", OPS_FILES)
def test_an_unknown_key_is_named_wherever_it_stands(ops: Path, name: str):
    original = (ops / name).read_text()
    raw = tomllib.loads(original)
    (ops / name).write_text("surprise = 1\n" + original)
    assert f"{ops / name}: surprise: is unknown" in refusal(ops)
    for table in [key for key, value in raw.items() if isinstance(value, dict)]:
        (ops / name).write_text(original)
        if table in ("tiers", "symbols"):
            change(ops / name, f"{table}.surprise", {"cap_pct": 1.0})
            assert f"{ops / name}: {table}.surprise: " in refusal(ops)
        else:
            change(ops / name, f"{table}.surprise", 1)
            assert f"{ops / name}: {table}.surprise: is unknown" in refusal(ops)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("risk.toml", "book.day_loss_limit_pct", 100.5, "book.day_loss_limit_pct: Expected"),
        ("risk.toml", "book.nav_drawdown_limit_pct", 0.0, "book.nav_drawdown_limit_pct: Expected"),
        ("risk.toml", "book.max_concurrent", 0, "book.max_concurrent: Expected"),
        ("risk.toml", "tiers.CORE.cap_pct", -1.0, "tiers.CORE.cap_pct: Expected"),
        ("risk.toml", "tiers.SATELLITE.cap", 1.0, "tiers.SATELLITE.cap: is unknown"),
        ("risk.toml", "symbols.LAYERUSDT.cap_pct", 0.0, "symbols.LAYERUSDT.cap_pct: Expected"),
        ("risk.toml", "symbols.LAYERUSDT.blocked_sides", ["BOTH"], "symbols.LAYERUSDT.blocked"),
        ("risk.toml", "book.day_time_zone", "Mars/Olympus", "book.day_time_zone: there is no"),
        ("risk.toml", "book.day_time_zone", "../etc", "book.day_time_zone: there is no"),
        ("risk.toml", "book.day_time_zone", "", "book.day_time_zone: there is no"),
        ("risk.toml", "tiers.ALT-EXT", None, "tiers.ALT-EXT.cap_pct is missing: universe.toml"),
        ("risk.toml", "book.symbol_cap_pct", 151.0, "book.symbol_cap_pct 151 is above"),
        ("risk.toml", "symbols.LAYERUSDT.cap_pct", 41.0, "symbols.LAYERUSDT.cap_pct 41 is above"),
        (
            "risk.toml",
            "book.trade_cap_pct",
            40.5,
            "book.trade_cap_pct 40.5 is above book.symbol_cap",
        ),
        (
            "risk.toml",
            "book.net_cap_pct",
            151.0,
            "book.net_cap_pct 151 is above book.gross_cap_pct",
        ),
        ("risk.toml", "book.day_loss_limit_pct", 10.5, "book.day_loss_limit_pct 10.5 is above"),
        ("risk.toml", "book.min_notional_usd", 25_001.0, "book.min_notional_usd 25001 is above"),
        ("risk.toml", "book.entries_per_second", 21, "book.entries_per_second 21 is above"),
        (
            "risk.toml",
            "book.entries_per_minute",
            4,
            "entries_per_second 5 is above book.entries_per_m",
        ),
        (
            "risk.toml",
            "book.leverage_cap",
            1.4,
            "book.gross_cap_pct 150 is above what book.leverage",
        ),
        ("services.toml", "account.leverage", 1, "book.gross_cap_pct 150 is above 100, which is"),
        (
            "risk.toml",
            "tiers.CORE.cap_pct",
            151.0,
            "tiers.CORE.cap_pct 151 is above book.gross_cap",
        ),
        (
            "risk.toml",
            "tiers.ALT-EXT.cap_pct",
            9.5,
            "cap_pct 10 is above tiers.ALT-EXT.cap_pct 9.5",
        ),
        (
            "strategy.toml",
            "sizing.base_trade_pct",
            15.5,
            "sizing.base_trade_pct 15.5 is above risk",
        ),
        (
            "risk.toml",
            "book.price_collar_bps",
            19.5,
            "is above risk.toml book.price_collar_bps 19.5",
        ),
        ("risk.toml", "book.cooldown_s", -1.0, "book.cooldown_s: Expected"),
        ("risk.toml", "book.nav_jump_pct", 0.0, "book.nav_jump_pct: Expected"),
        ("risk.toml", "book.nav_jump_confirm_s", 0.0, "book.nav_jump_confirm_s: Expected"),
        ("risk.toml", "book.repeat_rejects", 1, "book.repeat_rejects: Expected"),
        ("risk.toml", "book.repeat_pause_s", 0.0, "book.repeat_pause_s: Expected"),
        ("risk.toml", "symbols.DOGEUSDT", {}, "symbols.DOGEUSDT is not listed in universe.toml"),
        ("risk.toml", "freshness.nav_max_age_s", 2.9, "freshness.nav_max_age_s 2.9 is below 3"),
        ("risk.toml", "freshness.market_max_age_s", 2.9, "freshness.market_max_age_s 2.9"),
        ("risk.toml", "freshness.reconciliation_max_age_s", 62.9, "_max_age_s 62.9 is below 63"),
        ("universe.toml", "listing.0.tier", "HUGE", "listing[BTCUSDT].tier: Invalid"),
        ("universe.toml", "listing.1.symbol", "BTCUSDT", "symbol BTCUSDT is listed twice"),
        ("universe.toml", "listing.2.symbol", "sol/usdt", "listing[sol/usdt].symbol: Expected"),
        ("universe.toml", "listing.2.symbol", "SOLUSDT\n", "].symbol: Expected"),
        ("universe.toml", "listing.1.tick_size", "0", "listing[ETHUSDT]: tick_size 0 must be"),
        ("universe.toml", "listing.1.step_size", "NaN", "listing[ETHUSDT]: step_size NaN must be"),
        ("universe.toml", "listing.1.min_qty", "-1", "listing[ETHUSDT]: min_qty -1 must be"),
        ("universe.toml", "listing.1.max_qty", "Infinity", "max_qty Infinity must be"),
        ("universe.toml", "listing.1.max_qty", "0.0001", "min_qty 0.001 must not be above"),
        ("universe.toml", "listing.3.sim", None, "LAYERUSDT runs on sim, but its listing"),
        ("universe.toml", "listing.3.sim.price_usd", 0.0, "listing[LAYERUSDT].sim.price_usd: Exp"),
        (
            "strategy.toml",
            "strategy.1.fast_bars",
            24,
            "strategy[trend]: fast_bars 24 must be below",
        ),
        (
            "strategy.toml",
            "strategy.0.exit_z",
            2.2,
            "strategy[reversion]: exit_z 2.2 must be below",
        ),
        ("strategy.toml", "strategy.0.kind", "magic", "strategy[reversion].kind: Invalid"),
        ("strategy.toml", "strategy.0.markets", [], "strategy[reversion].markets: Expected"),
        ("strategy.toml", "strategy.0.symbols", [], "strategy[reversion].symbols: Expected"),
        ("strategy.toml", "strategy.0.symbols", ["XRPUSDT"], "XRPUSDT is not listed in universe"),
        ("strategy.toml", "strategy.0.symbols", ["BTCUSDT"] * 2, "BTCUSDT is named twice"),
        ("strategy.toml", "strategy.1.name", "reversion", "name reversion is used twice"),
        ("strategy.toml", "strategy.0.bar_s", 90, "bar_s 90 is no multiple of the 60 s bars"),
        ("strategy.toml", "strategy.3.bar_s", 7, "bar_s 7 is no multiple of the 5 s bars"),
        ("services.toml", "sim.bar_s", 10, "reversion-sim: bar_s 5 is no multiple of the 10 s"),
        ("services.toml", "sim.seed", -1, "sim.seed: Expected"),
        ("services.toml", "replay.speed", 7, "replay: speed 7 must divide 60"),
        ("services.toml", "executor.loop_s", 0.0, "executor.loop_s: Expected"),
        ("services.toml", "executor.loop_s", 8.0, "freshness.nav_max_age_s 15 is below 17"),
        ("services.toml", "executor.probe_s", 301.0, "executor.probe_s: Expected"),
        ("services.toml", "executor.shadow_head_s", 601.0, "executor.shadow_head_s: Expected"),
        ("services.toml", "compare.interval_s", 901.0, "compare.interval_s: Expected"),
        ("intel.toml", "apply.symbols", ["XRPUSDT"], "XRPUSDT is not listed in universe.toml"),
        ("intel.toml", "apply.qualities", ["unknown"], "apply.qualities[0]: Invalid"),
        ("intel.toml", "autotune.every_s", 899.0, "autotune.every_s: Expected"),
        ("intel.toml", "autotune.offset_step_bps", 1.1, "autotune.offset_step_bps: Expected"),
        ("intel.toml", "autotune.bias_step", 0.06, "autotune.bias_step: Expected"),
        ("intel.toml", "autotune.offset_min_bps", 0.4, "autotune.offset_min_bps: Expected"),
        ("intel.toml", "autotune.offset_max_bps", 8.1, "autotune.offset_max_bps: Expected"),
        ("intel.toml", "autotune.fill_low_frac", 0.97, "fill_low_frac 0.97 must be below"),
        ("intel.toml", "allocator.every_s", 1799.0, "allocator.every_s: Expected"),
        ("intel.toml", "allocator.cautious_drawdown_pct", 10.0, "must be below defensive_drawdown"),
        (
            "intel.toml",
            "allocator.defensive_caps_frac",
            0.8,
            "must not be above cautious_caps_frac",
        ),
        ("services.toml", "heartbeat.beat_s", 601.0, "heartbeat: beat_s 601 must not be above"),
        ("services.toml", "paper.start_usd", "NaN", "paper: start_usd NaN must be from"),
        ("services.toml", "paper.start_usd", "0", "paper: start_usd 0 must be from"),
        ("services.toml", "paper.taker_fee_bps", "-1", "paper: taker_fee_bps -1 must be from"),
        ("services.toml", "paper.volume_share_frac", "1.1", "volume_share_frac 1.1 must be from"),
        ("services.toml", "account.leverage", 0, "account.leverage: Expected"),
        ("services.toml", "account.position_mode", "net", "account.position_mode: Invalid"),
        ("services.toml", "account.margin_mode", "crossed", "account.margin_mode: Invalid"),
        ("services.toml", "exchange.round_s", 11.0, "exchange.round_s: Expected"),
        ("router.toml", "offset_bps", 50.1, "router.toml: offset_bps: Expected"),
        ("router.toml", "requotes", 1.5, "router.toml: requotes: Expected"),
        ("router.toml", "taker_bias", 1.01, "router.toml: taker_bias: Expected"),
        ("router.toml", "taker_budget_bps", 0.0, "router.toml: taker_budget_bps: Expected"),
        (
            "router.toml",
            "taker_budget_bps",
            150.5,
            "router.toml: taker_budget_bps 150.5 is above risk.toml book.price_collar_bps 150",
        ),
        ("router.toml", "post_only_refusals", -1, "router.toml: post_only_refusals: Expected"),
        ("router.toml", "health.min_routes", 2001, "min_routes 2001 is above max_routes 2000"),
        ("router.toml", "health.ok.maker_fill_frac", 0.8, "maker_fill_frac must not be stricter"),
        ("router.toml", "health.ok.slippage_p95_bps", 9.0, "slippage_p95_bps must not be stricter"),
        ("router.toml", "regimes.calm_below", 1.5, "calm_below 1.5 must be below wild_above 1.5"),
    ],
)
def test_a_wrong_value_is_named_with_file_and_key(
    ops: Path, name: str, key: str, value: object, message: str
):
    change(ops / name, key, value)
    assert message in refusal(ops)


def test_all_contradictions_are_told_at_once(ops: Path):
    change(ops / "risk.toml", "book.symbol_cap_pct", 200.0)
    change(ops / "strategy.toml", "strategy.0.symbols", ["XRPUSDT"])
    told = refusal(ops).splitlines()
    assert len(told) == 2
    assert all(line.startswith(str(ops)) for line in told)


def test_the_named_entry_is_the_wrong_one(ops: Path):
    change(ops / "risk.toml", "tiers.TACTICAL.cap_pct", 0.0)
    change(ops / "risk.toml", "symbols.LAYERUSDT.cap_pct", 0.0)
    assert "tiers.TACTICAL.cap_pct: Expected" in refusal(ops)


def test_contradictions_of_other_markets_are_told_too(ops: Path):
    change(ops / "strategy.toml", "strategy.0.bar_s", 90)  # a strategy of replay and binance
    assert "reversion: bar_s 90" in refusal(ops, MARKET="sim")


@given(
    loop_s=st.floats(0.05, 60),
    reconcile_s=st.floats(0.1, 600),
    limit_s=st.floats(0.1, 2000),
    market=st.sampled_from(["sim", "replay", "binance"]),
)
def test_freshness_is_at_least_twice_a_round(loop_s, reconcile_s, limit_s, market):
    limits, services = decoded("risk.toml", RiskLimits), decoded("services.toml", Services)
    executor = msgspec.structs.replace(services.executor, loop_s=loop_s, reconcile_s=reconcile_s)
    services = msgspec.structs.replace(services, executor=executor)
    keys = ("nav_max_age_s", "market_max_age_s", "reconciliation_max_age_s")
    freshness = msgspec.structs.replace(limits.freshness, **dict.fromkeys(keys, limit_s))
    limits = msgspec.structs.replace(limits, freshness=freshness)
    told = "\n".join(settings._timing_contradictions((), limits, services, market))
    round_s = loop_s + 0.5 + (services.exchange.round_s if market == "binance" else 0.0)
    assert ("nav_max_age_s" in told) is (limit_s < 2 * round_s)
    assert ("market_max_age_s" in told) is (limit_s < 2 * round_s)
    assert ("reconciliation_max_age_s" in told) is (limit_s < 2 * (round_s + reconcile_s))


def decoded(name, shape):
    return toml_files.read_toml(ROOT / "ops" / name, shape)


@hypothesis.settings(deadline=None)  # it writes files, on machines that do more than this
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats()
        | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["book", "tiers", "symbols", "cap_pct", "x"]), inner)
        ),
        max_leaves=8,
    )
)
def test_garbage_in_a_table_is_a_named_refusal(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("garbage") / "risk.toml"
    path.write_text(f"tiers = {json_as_toml(value)}\n", encoding="utf-8", errors="replace")
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        toml_files.read_toml(path, RiskLimits)


def json_as_toml(value: object) -> str:
    """Write a value inline; toml has no null, so null is left bare and does not parse."""
    if isinstance(value, dict):
        inner = ", ".join(
            f"{json.dumps(key)} = {json_as_toml(each)}" for key, each in value.items()
        )
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(json_as_toml(each) for each in value)}]"
    return str(value) if isinstance(value, float) else json.dumps(value)
