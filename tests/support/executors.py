"""The real executor process on a log folder of its own, quick enough to be watched."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from execution.clock import SystemClock
from execution.state_schema import registry
from execution.state_schema.files import ExecutorHealth
from execution.state_store import StateStore

ROOT = Path(__file__).resolve().parents[2]

# Like the others on the simulated market, so that much happens at once.
MORE = [f"S{number}USDT" for number in range(8)]
LISTING = """
[[listing]]
symbol = "NAME"
tier = "SATELLITE"
tick_size = "0.01"
step_size = "1"
min_qty = "1"
max_qty = "1000000"
min_notional_usd = "5"
half_spread_bps = 0.5
sim = { price_usd = 90.0, vol_bps = 8.0, beta = 0.5, volume_usd = 60000.0 }
"""
# One bar a second, and hardly one without a signal: minutes of trading within seconds.
STRATEGIES = """
[sizing]
base_trade_pct = 3.0
target_vol_pct = 50.0
vol_bars = 10
multiplier_min = 0.25
multiplier_max = 1.5

[[strategy]]
kind = "zscore"
name = "brisk-fade"
markets = ["sim"]
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "LAYERUSDT", MORE]
bar_s = 1
window_bars = 12
entry_z = 0.5
exit_z = 0.1
exits = { atr_bars = 5, stop_atr = 4.0, take_profit_atr = 4.0, max_hold_bars = HOLD }

[[strategy]]
kind = "trend"
name = "brisk-trend"
markets = ["sim"]
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "LAYERUSDT", MORE]
bar_s = 2
fast_bars = 2
slow_bars = 4
min_atr_bps = 0.0
exits = { atr_bars = 5, stop_atr = 4.0, take_profit_atr = 4.0, max_hold_bars = HOLD }
"""
BRISK = {
    "services.toml": {"loop_s": 0.05, "reconcile_s": 2.0, "risk_s": 0.5, "bar_s": 1},
    "risk.toml": {
        "entries_per_second": 1000,
        "entries_per_minute": 10_000,
        "entries_per_symbol_window": 1000,
        "max_concurrent": 24,
    },
    "router.toml": {"stop_retry_s": 0.5},
}
# Entries far enough from the touch to rest for a while, in the book until somebody takes them.
PATIENT = {
    "offset_bps": 12.0,
    "rest_bars": 100.0,
    "requotes": 0,
    "entry_taker_fallback": "false",
}


def write_ops(folder: Path, *, hold_bars: int = 6, **changes: object) -> Path:
    """Copy `ops/` with its numbers made brisk; `changes` replaces keys in whichever file has them.

    A key that stands in several tables is named with its own, as in `mirror.deadline_s`.
    """
    ops = folder / "ops"
    shutil.copytree(ROOT / "ops", ops)
    names = ", ".join(f'"{name}"' for name in MORE)
    strategies = STRATEGIES.replace("MORE", names).replace("HOLD", str(hold_bars))
    (ops / "strategy.toml").write_text(strategies)
    with (ops / "universe.toml").open("a") as universe:
        universe.writelines(LISTING.replace("NAME", name) for name in MORE)
    wanted = {key: value for numbers in BRISK.values() for key, value in numbers.items()}
    for key, value in {**wanted, **changes}.items():
        _set(ops, key, value)
    return ops


def _set(ops: Path, key: str, value: object) -> None:
    table, _, key = key.rpartition(".")
    before = rf"^\[{table}\]\n(?:[^\[].*\n|\n)*?" if table else "^"
    changed = 0
    for name in ("services.toml", "risk.toml", "router.toml", "intel.toml"):
        text, count = re.subn(
            rf"({before}){key} = .*$",
            rf"\g<1>{key} = {value}",
            (ops / name).read_text(),
            flags=re.MULTILINE,
        )
        (ops / name).write_text(text)
        changed += count
    assert changed == 1, f"{key} stands {changed} times in the copy of ops"


class Executor:
    """An executor that is started, stopped and killed from outside, like by an operator."""

    def __init__(self, folder: Path, ops: Path) -> None:
        self.folder = folder
        self.log_dir = folder / "logs"
        self.stderr = folder / "stderr"
        self.store = StateStore(self.log_dir, SystemClock())
        self._ops = ops
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HEDGE_LOG_DIR": str(self.log_dir),
            "HEDGE_OPS_DIR": str(self._ops),
        }

    def start(self, faults: Path | None = None) -> None:
        """Start it, and wait for the first loop that it publishes."""
        assert self._process is None
        begun_ts = time.time()
        self._process = self.spawn(faults)
        self.wait_for(
            "its first loop",
            lambda: (health := self.health()) is not None and health.updated_ts > begun_ts,
        )

    def spawn(self, faults: Path | None = None) -> subprocess.Popen[bytes]:
        """Start one more process, whatever comes of it."""
        told = {} if faults is None else {"PAPER_FAULTS": str(faults)}
        with self.stderr.open("ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "execution.executor_live"],
                cwd=ROOT,
                env={**self.environment, **told},
                stdout=stderr,
                stderr=stderr,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> tuple[int, float]:
        """Ask it to end; return its exit code and how many seconds that took."""
        assert self._process is not None
        begun_s = time.monotonic()
        self._process.terminate()
        code = self._process.wait(30)
        self._process = None
        return code, time.monotonic() - begun_s

    def kill(self) -> None:
        """End it here and now."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def hedge(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the `hedge` command beside it."""
        return subprocess.run(
            [sys.executable, "-m", "scripts.cli", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def health(self) -> ExecutorHealth | None:
        """Read what it last told of itself."""
        return self.store.read(registry.EXECUTOR_HEALTH)

    def loops(self, count: int) -> None:
        """Wait until it has gone through `count` more loops."""
        before = self.health()
        assert before is not None
        self.wait_for(
            f"{count} more loops",
            lambda: (now := self.health()) is not None and now.loop_seq >= before.loop_seq + count,
        )

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait until `condition` holds; it must hold while the process lives."""
        until_s = time.monotonic() + seconds
        while not condition():
            ended = None if self._process is None else self._process.poll()
            assert ended is None, f"it ended with {ended}: {self.said[-2000:]}"
            assert time.monotonic() < until_s, f"after {seconds} s not: {what}\n{self.said[-2000:]}"
            time.sleep(0.02)

    @property
    def said(self) -> str:
        """Return all that it wrote to standard error."""
        return self.stderr.read_text() if self.stderr.exists() else ""
