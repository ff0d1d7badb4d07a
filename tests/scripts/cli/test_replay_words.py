"""What `hedge replay` says to a person."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from execution.errors import ConfigError
from scripts.cli.replay import replay
from tests.support.replays import ROOT, cut

MARKET = ROOT.parent / "shared" / "market"
START_TS = 1_746_403_200.0

pytestmark = pytest.mark.skipif(
    not MARKET.is_dir(), reason="the reference folder is not beside this checkout"
)


def test_the_figures_are_a_table_of_plain_words(tmp_path: Path) -> None:
    market = cut(MARKET, tmp_path / "market", ("BTCUSDT",), START_TS, START_TS + 30 * 3600)
    done = CliRunner().invoke(replay, ["--market", str(market), "--symbols", "BTCUSDT"])
    assert done.exit_code == 0
    rows = dict(
        [cell.strip() for cell in line.split("│")[1:3]]
        for line in done.stdout.split("worst prospective")[0].splitlines()
        if line.startswith("│")
    )
    assert re.fullmatch(r"none|\w+ \d+", rows["vetoes"])
    assert int(rows["bars"].replace(",", "")) > 0
    assert len(rows["max_drawdown_pct"]) <= len("100.0000")


def test_a_folder_or_symbol_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = CliRunner().invoke(replay, ["--market", str(tmp_path / "no"), "--symbols", "X"])
    assert nowhere.exit_code == 2
    assert "does not exist" in nowhere.stderr
    nothing = CliRunner().invoke(replay, ["--market", str(MARKET), "--symbols", ""])
    assert isinstance(nothing.exception, ConfigError)
    assert "name them, as in BTCUSDT,ETHUSDT" in str(nothing.exception)
