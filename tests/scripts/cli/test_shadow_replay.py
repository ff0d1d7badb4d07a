"""What the comparison says of a candidate over recorded days, beside an independent count."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.support import shadowed
from tests.support.replays import cut
from tests.support.shadowed import MARKET, SYMBOLS, Shadowed

# 2025-05-05 and 05-06: after a day of history, signals in all four symbols.
DAYS_TS = (1_746_403_200.0, 1_746_576_000.0)
CANDIDATES = {
    "tighter caps": "[risk.book]\ntrade_cap_pct = 3.2\nmax_concurrent = 2\n",
    "another z threshold": "[strategy.reversion]\nentry_z = 2.6\nexit_z = 0.2\n",
    "a wider maker offset": "[router]\noffset_bps = 4.0\n",
    "takers only": "[router]\nmaker_first = false\n",
}
WIDTHS = {"size_diff_stats": 0.001, "slippage_diff_bps": 0.05, "difference_usd": 0.01}

pytestmark = pytest.mark.skipif(
    not MARKET.is_dir(), reason="the reference folder is not beside this checkout"
)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut(MARKET, tmp_path_factory.mktemp("m") / "market", SYMBOLS, *DAYS_TS)


def is_equal(run: Shadowed) -> None:
    """Check that a shadow equal to live differs in nothing, with numbers to say so."""
    told = run.summary
    assert told["shadow_enabled"]
    assert told["live_policy"] == told["shadow_policy"]
    assert told["sample_size"] == len(run.pairs) == len(run.chosen) > 0
    assert (told["agreement_pct"], told["veto_mismatch_pct"]) == (100.0, 0.0)
    for name in ("size_diff_stats", "slippage_diff_bps"):
        stats = told[name]
        assert stats["n"] > 0
        assert (stats["mean"], stats["p50"], stats["p95"]) == (0.0, 0.0, 0.0)
    assert told["size_diff_stats"]["n"] == len(run.both)
    assert told["slippage_diff_bps"]["n"] == len(run.slippages())
    assert (told["routes"]["n"], told["routes"]["agreement_pct"]) == (len(run.both), 100.0)
    assert (told["live_alone"], told["shadow_alone"], told["new_breaches"]) == (0, 0, 0)
    assert told["counterfactual"]["difference_usd"]["n"] == 0
    head = run.state("pipeline_v6_shadow_head")
    assert head["total"] == len(run.decisions)
    print(f"pairs={told['sample_size']} sizes={told['size_diff_stats']} ", end="")
    print(f"slippage={told['slippage_diff_bps']}")


def agrees(run: Shadowed) -> None:
    """Check the whole summary against the independent count."""
    told = run.summary
    assert told["live_policy"] != told["shadow_policy"]
    (n, pct), *_ = run.agreement().values()
    assert (told["sample_size"], told["agreement_pct"]) == (n, pytest.approx(pct))
    assert told["veto_mismatch_pct"] == pytest.approx(100 - pct)
    for field, key in (("symbol", "by_symbol"), ("strategy", "by_strategy")):
        rows = {name: (row["n"], row["agreement_pct"]) for name, row in told[key].items()}
        assert rows == {name: pytest.approx(row) for name, row in run.agreement(field).items()}
    assert told["by_reason"] == run.reasons()
    breaches = sum(count for name, count in run.reasons().items() if name.startswith("live:"))
    assert told["new_breaches"] == breaches
    assert (told["live_alone"], told["shadow_alone"]) == (run.alone("live"), run.alone("shadow"))
    routes = told["routes"]
    assert (routes["n"], routes["agreement_pct"]) == pytest.approx(run.same_routes())
    holds("size_diff_stats", told["size_diff_stats"], run.sizes())
    holds("slippage_diff_bps", told["slippage_diff_bps"], run.slippages())
    results_agree(run)


def results_agree(run: Shadowed) -> None:
    told, found = run.summary["counterfactual"], run.results()
    assert (told["pending"], told["unmeasured"]) == (run.pending(), 0)
    for name, mine in (
        ("live_only", [live for _, live, shadow in found if shadow is None]),
        ("shadow_only", [shadow for _, live, shadow in found if live is None]),
    ):
        assert told[name]["n"] == len(mine)
        assert (told[name]["total_usd"] or 0.0) == pytest.approx(sum(mine), abs=1e-6)
    differences = [(shadow or 0.0) - (live or 0.0) for _, live, shadow in found]
    holds("difference_usd", told["difference_usd"], differences)


def holds(name: str, stats: dict[str, Any], mine: list[float]) -> None:
    """Check count and mean exactly, percentiles as far as their bins tell."""
    assert stats["n"] == len(mine)
    if not mine:
        assert (stats["mean"], stats["p50"], stats["p95"]) == (None, None, None)
        return
    assert stats["mean"] == pytest.approx(sum(mine) / len(mine), rel=1e-6, abs=1e-9)
    ranked = sorted(mine)
    for pct in (50, 95):
        exact = ranked[math.ceil(pct * len(ranked) / 100) - 1]
        assert stats[f"p{pct}"] == pytest.approx(exact, abs=WIDTHS[name] / 2 + 1e-6)


def differs(name: str, run: Shadowed) -> None:
    """Check that this candidate shows what it is for."""
    told = run.summary
    if name == "tighter caps":
        assert told["size_diff_stats"]["mean"] < 0
        assert told["by_reason"]["shadow:max_concurrent"] > 0
        assert told["counterfactual"]["live_only"]["n"] > 0
    elif name == "another z threshold":
        assert told["live_alone"] > 0
        assert told["size_diff_stats"]["mean"] == 0.0
    else:
        assert (told["agreement_pct"], told["size_diff_stats"]["mean"]) == (100.0, 0.0)
        assert told["slippage_diff_bps"]["mean"] != 0.0
        assert told["counterfactual"]["difference_usd"]["n"] > 0
    stated = {key: told[key] for key in ("sample_size", "agreement_pct", "by_reason")}
    print(f"\n{name}: {stated} alone={told['live_alone']}/{told['shadow_alone']}")
    print(f"sizes={told['size_diff_stats']} slippage={told['slippage_diff_bps']}")
    print(f"routes={told['routes']} results={told['counterfactual']}")


def test_a_shadow_equal_to_live_differs_in_nothing(tmp_path: Path, days: Path) -> None:
    is_equal(shadowed.replay(tmp_path, days, "# nothing\n"))


@pytest.mark.parametrize("name", CANDIDATES)
def test_the_summary_says_what_the_journals_say(tmp_path: Path, days: Path, name: str) -> None:
    run = shadowed.replay(tmp_path, days, CANDIDATES[name])
    agrees(run)
    differs(name, run)


@pytest.mark.full
def test_a_shadow_equal_to_live_differs_in_nothing_over_the_month(tmp_path: Path) -> None:
    is_equal(shadowed.replay(tmp_path, MARKET, "# nothing\n"))


@pytest.mark.full
@pytest.mark.parametrize("name", CANDIDATES)
def test_the_summary_says_what_the_journals_of_the_month_say(tmp_path: Path, name: str) -> None:
    run = shadowed.replay(tmp_path, MARKET, CANDIDATES[name])
    agrees(run)
    differs(name, run)
