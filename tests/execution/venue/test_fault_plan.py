"""A plan of faults is typed and bounded, and the example in ops/ says the truth about itself."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomlkit

from execution import reconciler
from execution.core import reconcile
from execution.environment import ROOT
from execution.errors import ConfigError
from execution.toml_files import read_toml
from execution.venue import fault_plan
from execution.venue.fault_plan import CALLS, FaultPlan, RequestLost, Slow

EXAMPLE = ROOT / "ops" / "faults.example.toml"
CODES = ROOT.parent / "shared" / "venue" / "error_codes.json"

KINDS = {
    "request_lost": {},
    "reply_lost": {},
    "broken_reply": {"how": "reset", "arrived_frac": 0.5},
    "slow": {"delay_s": 1.0},
    "late_arrival": {"delay_s": 3.0},
    "refused": {"codes": ["-2019"]},
    "duplicate_id": {},
    "positions_empty": {},
    "missing_balance": {},
    "trades_repeated": {},
    "trades_reordered": {},
    "trades_late": {"lag_s": 20.0},
    "orders_late": {"lag_s": 6.0},
}


def decode(tmp_path: Path, faults: Sequence[dict[str, Any]], **fields: Any) -> FaultPlan:
    path = tmp_path / "faults.toml"
    content = {"seed": 1, "calm_after_s": 600.0, "fault": list(faults), **fields}
    path.write_text(tomlkit.dumps({k: v for k, v in content.items() if v is not None}))
    return read_toml(path, FaultPlan)


def refusal(tmp_path: Path, faults: Sequence[dict[str, Any]], **fields: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        decode(tmp_path, faults, **fields)
    path, _, what = str(caught.value).partition(": ")
    assert path == str(tmp_path / "faults.toml")
    return what


def test_every_kind_is_here() -> None:
    union = msgspec.inspect.type_info(FaultPlan).fields[2].type.item_type
    assert {kind.cls.__struct_config__.tag for kind in union.types} == {*KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_its_own_keys_and_no_other(tmp_path: Path, kind: str) -> None:
    fault = {"kind": kind, "frac": 0.5, "from_s": 1, "for_s": 2, "every_s": 3, **KINDS[kind]}
    assert decode(tmp_path, [fault]).fault[0].frac == 0.5
    unknown = "fault[0].surprise: is unknown: correct its name, or remove it"
    assert refusal(tmp_path, [{**fault, "surprise": 1}]) == unknown
    for key in ("kind", "frac", *KINDS[kind]):
        without = {name: value for name, value in fault.items() if name != key}
        assert refusal(tmp_path, [without]) == f"fault[0].{key}: is missing: add it"


BOUNDS = {
    "frac": (0.0001, 1.0, "request_lost"),
    "from_s": (0.0, 599.0, "request_lost"),
    "for_s": (0.001, 86_400.0, "request_lost"),
    "arrived_frac": (0.0, 1.0, "broken_reply"),
    "slow.delay_s": (0.001, fault_plan.SLOW_S, "slow"),
    "late_arrival.delay_s": (0.001, fault_plan.RECEIVE_WINDOW_S, "late_arrival"),
    "trades_late.lag_s": (0.001, fault_plan.TRADE_LAG_S, "trades_late"),
    "orders_late.lag_s": (0.001, fault_plan.ORDER_LAG_S, "orders_late"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_is_bounded(tmp_path: Path, name: str) -> None:
    least, most, kind = BOUNDS[name]
    key = name.rpartition(".")[2]
    for value in (least, most):
        decode(tmp_path, [{"kind": kind, "frac": 1.0, **KINDS[kind], key: value}])
    for value in (least - 0.01, most + 1, math.nan, math.inf, "1", True):
        fault = {"kind": kind, "frac": 1.0, **KINDS[kind], key: value}
        assert refusal(tmp_path, [fault]).startswith(f"fault[0].{key}")


def test_the_plan_itself_is_bounded(tmp_path: Path) -> None:
    fault = {"kind": "request_lost", "frac": 1.0}
    assert decode(tmp_path, [fault], seed=2**53).seed == 2**53
    for field, wrong in {
        "seed": (-1, 2**53 + 1, 1.5, None),
        "calm_after_s": (0.0, 86_401.0, None),
    }.items():
        for value in wrong:
            assert refusal(tmp_path, [fault], **{field: value}).startswith(f"{field}: ")
    assert refusal(tmp_path, []).startswith("fault: ")
    assert refusal(tmp_path, [fault], surprise=1).startswith("surprise: is unknown: ")


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ({"kind": "lost_request"}, "fault[0].kind: Invalid value 'lost_request'"),
        ({"kind": "request_lost", "calls": []}, "fault[0].calls: "),
        ({"kind": "slow", "delay_s": 1.0, "calls": ["health"]}, "fault[0].calls[0]: "),
        ({"kind": "refused", "codes": ["-2019", "-1007"]}, "fault[0]: codes: -1007 is none of"),
        ({"kind": "refused", "codes": ["-4116"]}, "fault[0]: codes: -4116 is none of"),
        ({"kind": "refused", "codes": []}, "fault[0].codes: "),
        (
            {"kind": "refused", "codes": ["-2019"], "every_s": 9},
            "fault[0]: every_s 9 needs a for_s",
        ),
        ({"kind": "request_lost", "every_s": 9.0}, "fault[0]: every_s 9 needs a for_s"),
        ({"kind": "request_lost", "every_s": 9, "for_s": 9}, "fault[0]: every_s 9 needs a for_s"),
        ({"kind": "request_lost", "from_s": 600.0}, "fault[0].from_s 600 is not before"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path: Path, fault: dict[str, Any], what: str) -> None:
    assert refusal(tmp_path, [{"frac": 1.0, **fault}]).startswith(what)


def open_seconds(rule: fault_plan.Rule, until_s: int) -> list[int]:
    return [at_s for at_s in range(until_s) if rule.is_open(float(at_s))]


def test_a_window_opens_and_closes() -> None:
    assert open_seconds(RequestLost(frac=1.0), 5) == [0, 1, 2, 3, 4]
    assert open_seconds(RequestLost(frac=1.0, from_s=3.0), 6) == [3, 4, 5]
    assert open_seconds(RequestLost(frac=1.0, from_s=3.0, for_s=2.0), 9) == [3, 4]
    again = RequestLost(frac=1.0, from_s=3.0, for_s=2.0, every_s=5.0)
    assert open_seconds(again, 15) == [3, 4, 8, 9, 13, 14]


def test_no_fault_goes_beyond_what_order_safety_counts_on() -> None:
    worst_s = fault_plan.RECEIVE_WINDOW_S + fault_plan.ORDER_LAG_S
    assert worst_s < reconcile.VISIBLE_AFTER_S
    assert fault_plan.TRADE_LAG_S < reconciler.OVERLAP_S


def test_a_refusal_is_a_code_that_leaves_nothing_open() -> None:
    if not CODES.is_file():
        pytest.skip("the reference folder `shared` is not beside this checkout")
    known = {str(code["code"]): code for code in json.loads(CODES.read_text())["codes"]}
    open_ended = re.compile(r"reconcile|already sent|treat as success|stop all REST", re.IGNORECASE)
    assert open_ended.search(known["-1007"]["suggested_action"])
    for code in fault_plan.REFUSALS:
        assert not open_ended.search(known[code]["suggested_action"]), code


# ---------------------------------------------------------------- the example


def test_the_example_has_every_kind_and_every_call() -> None:
    plan = read_toml(EXAMPLE, FaultPlan)
    assert {type(rule).__struct_config__.tag for rule in plan.fault} == {*KINDS}
    assert {rule.how for rule in plan.fault if hasattr(rule, "how")} == {*fault_plan.BREAKS}
    assert {call for rule in plan.fault for call in getattr(rule, "calls", ())} == {*CALLS}


def test_what_the_comments_of_the_example_say_is_so() -> None:
    text = " ".join(line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines())
    plan = read_toml(EXAMPLE, FaultPlan)

    def said(pattern: str) -> tuple[float, ...]:
        found = re.search(pattern, text)
        assert found, pattern
        return tuple(float(number) for number in found.groups())

    assert "a quarter of an hour" in text
    assert plan.calm_after_s == 15 * 60
    gone, blinks = (rule for rule in plan.fault if rule.frac == 1.0)
    assert said(r"from (\d+) s to (\d+) s after the start") == (
        open_seconds(gone, 900)[0],
        open_seconds(gone, 900)[-1] + 1,
    )
    every_s, for_s = said(r"of every (\d+) s, (\d+) s without")
    assert (blinks.every_s, blinks.for_s) == (every_s, for_s)
    assert len(open_seconds(blinks, 900)) == for_s * 9  # from 50 s on, 9 times in 900 s

    answered = math.prod(
        1 - rule.frac
        for rule in plan.fault
        if "submit" in getattr(rule, "calls", ()) and rule.frac < 1 and not isinstance(rule, Slow)
    )
    assert said(r"(\d+) of 100 are answered") == (round(100 * answered),)

    kinds = {type(rule).__struct_config__.tag: rule for rule in plan.fault}
    questions = plan.fault[2]
    assert questions.calls == ("observe", "find_order", "trades", "cash")
    assert said(r"One question in (\d+) goes") == (1 / questions.frac,)
    assert said(r"there (\d+) s later \(at most (\d+)") == (
        kinds["late_arrival"].delay_s,
        fault_plan.RECEIVE_WINDOW_S,
    )
    for what in ("order", "trade"):
        rule = kinds[f"{what}s_late"]
        most_s = fault_plan.ORDER_LAG_S if what == "order" else fault_plan.TRADE_LAG_S
        told = said(rf"One {what} in (\d+) .*? it is (\d+) s old \(at most (\d+)\)")
        assert told == (1 / rule.frac, rule.lag_s, most_s)
    slow = kinds["slow"]
    told = said(r"([\d.]+) s more on one call in (\d+) \(at most (\d+) s\)")
    assert told == (slow.delay_s, round(1 / slow.frac), fault_plan.SLOW_S)
