from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomlkit
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from execution import overlay, settings
from execution.environment import ROOT
from execution.overlay import Change, Overlay

TABLES = {name: tomllib.loads((ROOT / "ops" / name).read_text()) for name in settings.POLICY_FILES}


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "ops", tmp_path / "ops")
    return tmp_path / "ops"


def load(ops: Path, candidate: str | None = None, **variables: str) -> settings.Settings:
    if candidate is not None:
        (ops / "shadow.toml").write_text(candidate)
    return settings.load({"HEDGE_OPS_DIR": str(ops), **variables})


# ---------------------------------------------------------------- every key


def leaves(value: Any, *place: str):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, *place, name)
    else:
        yield place, value


def keys():
    """List every key that may stand in an overlay, with what it is in the live files."""
    yield from leaves(TABLES["risk.toml"], "risk")
    yield from leaves(TABLES["router.toml"], "router")
    yield from leaves(TABLES["strategy.toml"]["sizing"], "sizing")
    for entry in TABLES["strategy.toml"]["strategy"]:
        own = {key: value for key, value in entry.items() if key != "name"}
        yield from leaves(own, "strategy", entry["name"])


KEYS = list(keys())


def nested(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    for step in reversed(place):
        value = {step: value}
    return value


def moved(value: Any) -> Any:
    """Return another value of the same kind, as near as can be so that little contradicts it."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 0.999 if value else 0.001
        case list():
            return value[:-1]
        case _:
            return f"{value}x"


def test_there_are_keys_of_every_file():
    assert {place[0] for place, _ in KEYS} == {"risk", "router", "sizing", "strategy"}
    assert len(KEYS) > 90


@pytest.mark.parametrize(("place", "value"), KEYS)
def test_each_key_changes_its_own_place_and_nothing_else(place: tuple[str, ...], value: Any):
    candidate = overlay_of(nested(place, moved(value)))
    (change,) = overlay.changes(TABLES, candidate)
    assert (change.was, change.becomes) == (value, moved(value))
    laid = overlay.lay(TABLES, candidate)
    differing = [
        (one, two) for one, two in zip(flat(TABLES), flat(laid), strict=True) if one != two
    ]
    assert [(one[1], two[1]) for one, two in differing] == [(value, moved(value))]


def overlay_of(table: dict[str, Any]) -> Overlay:
    return msgspec.convert(table, Overlay)


def flat(tables: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, table in tables.items():
        found += ((name + "/" + "/".join(place), value) for place, value in deep(table))
    return found


def deep(value: Any, *place: str):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from deep(inner, *place, name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from deep(inner, *place, str(number))
    else:
        yield place, value


def test_an_empty_overlay_changes_nothing():
    assert list(overlay.changes(TABLES, Overlay())) == []
    assert overlay.lay(TABLES, Overlay()) == TABLES


def test_a_key_that_live_leaves_out_is_set():
    candidate = overlay_of({"risk": {"symbols": {"BTCUSDT": {"cap_pct": 7.0}}}})
    change = Change("risk.toml", ("symbols", "BTCUSDT", "cap_pct"), None, 7.0)
    assert list(overlay.changes(TABLES, candidate)) == [change]
    laid = overlay.lay(TABLES, candidate)
    assert laid["risk.toml"]["symbols"]["BTCUSDT"] == {"cap_pct": 7.0}
    assert "BTCUSDT" not in TABLES["risk.toml"]["symbols"]


# ---------------------------------------------------------------- fingerprints


@pytest.mark.parametrize(
    ("candidate", "market"),
    [
        ("[risk.book]\ntrade_cap_pct = 10.0", "sim"),
        ("[risk.symbols.LAYERUSDT]\nblocked_sides = []", "sim"),
        ("[router]\noffset_bps = 1.0", "sim"),
        ("[router.health]\nmin_routes = 21", "sim"),
        ("[sizing]\nbase_trade_pct = 2.0", "sim"),
        ("[strategy.reversion-sim]\nentry_z = 2.4", "sim"),
        ("[strategy.reversion-sim.exits]\nstop_atr = 4.0", "sim"),
        ("[strategy.reversion]\nentry_z = 2.4", "binance"),
    ],
)
def test_a_candidate_that_differs_has_another_fingerprint(ops: Path, candidate: str, market: str):
    found = load(ops, candidate, MARKET=market)
    assert found.shadow_problem is None
    assert found.shadow_policy is not None
    assert found.shadow_policy != found.policy
    assert found.shadow_fingerprint != found.fingerprint
    assert found.fingerprint == load(ops, "").fingerprint or market != "sim"


@pytest.mark.parametrize(
    "candidate",
    ["", "# nothing\n", "[risk.book]\ntrade_cap_pct = 15.0", "[strategy.reversion]\nentry_z = 2.4"],
)
def test_one_that_differs_in_nothing_has_the_same(ops: Path, candidate: str):
    found = load(ops, candidate)  # the last one's strategy does not run on the simulated market
    assert found.shadow_policy == found.policy
    assert found.shadow_fingerprint == found.fingerprint


def test_a_policy_has_another_name_in_another_mode(ops: Path):
    paper = load(ops, "", MARKET="binance")
    keys = {"BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}
    testnet = load(ops, DRY_RUN="0", **keys)
    assert (paper.mode, testnet.mode) == ("paper", "testnet")
    assert paper.policy == testnet.policy
    assert paper.fingerprint != testnet.fingerprint == testnet.shadow_fingerprint


@profile(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry_z=st.floats(0.3, 5.0), base_pct=st.floats(0.5, 15.0))
def test_fingerprints_differ_if_and_only_if_policies_do(ops: Path, entry_z: float, base_pct: float):
    candidate = tomlkit.dumps(
        {
            "sizing": {"base_trade_pct": base_pct},
            "strategy": {"reversion-sim": {"entry_z": entry_z}},
        }
    )
    found = load(ops, candidate)
    same = (entry_z, base_pct) == (2.0, 3.0)
    assert (found.shadow_policy == found.policy) is same
    assert (found.shadow_fingerprint == found.fingerprint) is same
    live = tomlkit.parse((ops / "strategy.toml").read_text())
    live["sizing"]["base_trade_pct"] = base_pct
    next(e for e in live["strategy"] if e["name"] == "reversion-sim")["entry_z"] = entry_z
    (ops / "strategy.toml").write_text(tomlkit.dumps(live))
    written = load(ops, "")
    shutil.copy(ROOT / "ops" / "strategy.toml", ops)
    assert (written.fingerprint, written.policy) == (found.shadow_fingerprint, found.shadow_policy)


# ---------------------------------------------------------------- wrong ones


WRONG = [
    ("[risk.book]\ntrade_cap = 1.0", ("shadow.toml/risk.toml", "book.trade_cap: is unknown")),
    ("[risk.book]\ntrade_cap_pct = -1.0", ("risk.toml", "book.trade_cap_pct")),
    ('[router]\noffset_bps = "wide"', ("router.toml", "offset_bps")),
    ("[sizing]\nbase_trade_pct = 99.0", ("sizing.base_trade_pct 99 is above", "trade_cap_pct 15")),
    ("[strategy.reversion]\nentry_z = 0.1", ("strategy.toml", "strategy[reversion]")),
    ("[strategy.nobody]\nentry_z = 2.0", ("strategy.nobody", "no strategy of that name")),
    ('[strategy.trend]\nname = "other"', ("strategy.trend.name", "keeps its name")),
    ("[strategy.trend]\nentry_z = 2.0", ("strategy[trend]", "entry_z: is unknown")),
    ("[universe]\nlisting = []", ("shadow.toml", "universe: is unknown")),
    ("[risk.book]\ntrade_cap_pct = nan", ("risk.book.trade_cap_pct", "not numbers")),
    ("[risk", ("shadow.toml", "cannot be read as toml")),
    ("risk = 3", ("shadow.toml", "risk")),
    ("[risk]\nbook = 3", ("risk.toml", "book")),
    ("[strategy]\nreversion = 3", ("shadow.toml", "strategy.reversion")),
]


@pytest.mark.parametrize(("candidate", "said"), WRONG, ids=[each[0] for each in WRONG])
def test_a_wrong_candidate_is_named_and_live_is_as_ever(
    ops: Path, candidate: str, said: tuple[str, ...]
):
    as_ever = load(ops, "")
    found = load(ops, candidate)
    assert found.shadow_problem is not None
    for part in said:
        assert part in found.shadow_problem
    assert (found.shadow_policy, found.shadow_fingerprint) == (None, None)
    assert (found.policy, found.fingerprint) == (as_ever.policy, as_ever.fingerprint)


def test_a_missing_one_is_a_problem_too(ops: Path):
    (ops / "shadow.toml").unlink()
    found = load(ops)
    assert (
        found.shadow_problem == f"{ops}/shadow.toml: is missing: restore it, or mend HEDGE_OPS_DIR"
    )
    assert found.shadow_policy is None
