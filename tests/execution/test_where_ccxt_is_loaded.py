"""ccxt is loaded where an exchange is spoken to, and nowhere else: asked of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.execution.venue.test_recording import bar_line, write
from tests.support.executors import ROOT

EXECUTOR = "execution.executor_live"
NEITHER = [
    (EXECUTOR, "sim"),
    (EXECUTOR, "replay"),
    ("execution.sync_state", "binance"),
    ("scripts.pipeline_shadow_heartbeat", "binance"),
    ("scripts.pipeline_compare_service", "binance"),
    ("scripts.cli", "binance"),
]
# A port on which nobody listens, so that nothing leaves this machine.
NOWHERE = "http://127.0.0.1:9"


def imported(module: str, market: str, folder: Path) -> set[str]:
    """Run a process of the suite for one loop, and return every module that it loaded."""
    (folder / "bars").mkdir()
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "LAYERUSDT"):
        lines = [bar_line(minute, "100,101,99,100,5") for minute in range(1600)]
        write(folder / "bars", lines, symbol)
    environment = {
        **os.environ,
        "HEDGE_LOG_DIR": str(folder / "logs"),
        "MARKET": f"replay:{folder / 'bars'}" if market == "replay" else market,
        "BINANCE_BASE_URL": NOWHERE if market == "binance" else "",
        "MAX_LOOPS": "1",
    }
    words = ["status"] if module == "scripts.cli" else []
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert len(told) > 100, done.stderr[-2000:]
    if words == []:
        assert done.returncode == 0, done.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in told}


@pytest.mark.parametrize(("module", "market"), NEITHER)
def test_a_process_without_an_exchange_never_loads_it(
    module: str, market: str, tmp_path: Path
) -> None:
    loaded = imported(module, market, tmp_path)
    assert {name for name in loaded if name.split(".")[0] in ("ccxt", "requests")} == set()
    assert not any(name.startswith("execution.venue.ccxt") for name in loaded)
