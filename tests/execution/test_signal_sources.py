"""Signals from outside, through the real executor process: the inbox, and modules good and bad."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from execution.state_schema import registry
from execution.state_schema.inbox_results import InboxResult
from tests.support.executors import Executor, write_ops

SIZING = """
[sizing]
base_trade_pct = 1.0
target_vol_pct = 50.0
vol_bars = 10
multiplier_min = 0.25
multiplier_max = 1.5
"""
INBOX = """
[[strategy]]
kind = "inbox"
name = "model"
markets = ["sim"]
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
bar_s = 1
max_age_s = 600.0
max_stop_bps = 500.0
exits = { atr_bars = 5, stop_atr = 4.0, take_profit_atr = 4.0, max_hold_bars = 4000 }
"""
MODULE = """
[[strategy]]
kind = "module"
name = "NAME"
markets = ["sim"]
symbols = ["SYMBOL"]
bar_s = 1
module = "NAME:decide"
window_bars = 12
answer_s = ANSWER
exits = { atr_bars = 5, stop_atr = 40.0, take_profit_atr = 40.0, max_hold_bars = 4000 }
"""
GOOD = """
import os
def decide(symbol, bars):
    print("a print is no answer")
    reason = ",".join(sorted(os.environ))
    return [{"action": "entry", "side": "LONG", "reason": reason, "strength": float(len(bars))}]
"""
# Finds the pipe whatever its number, as somebody hostile would.
ROGUE = """
import os
def say(text):
    for fd in range(3, 20):
        try:
            os.write(fd, text)
        except OSError:
            pass
"""
BAD = {
    "raises": "def decide(symbol, bars):\n    raise KeyError('nobody home')\n",
    "stalls": "import re\ndef decide(symbol, bars):\n    re.match('(a+)+b', 'a' * 60)\n",
    "dies": "import os\ndef decide(symbol, bars):\n    os._exit(7)\n",
    "floods": ROGUE + "def decide(symbol, bars):\n    while True:\n        say(b'x' * 65536)\n",
    "garbles": ROGUE + "def decide(symbol, bars):\n    say(b'{]\\n')\n    return ()\n",
    "wants": "def decide(symbol, bars):\n    return [{'action': 'entry', 'side': 'UP'}]\n",
    "loads-not": "import nowhere_to_be_found\n",
}


def executor(folder: Path, strategies: str, modules: dict[str, str], **changes: object) -> Executor:
    ops = write_ops(folder, **changes)
    (ops / "strategy.toml").write_text(SIZING + strategies)
    for name, text in modules.items():
        (ops / "strategies" / f"{name}.py").write_text(text)
    return Executor(folder, ops)


def intent(name: str, **fields: object) -> dict[str, object]:
    now = time.time()
    known = {
        "id": name,
        "ts": now,
        "valid_until_ts": now + 300,
        "strategy": "model",
        "symbol": "BTCUSDT",
        "side": "LONG",
        "action": "entry",
        "stop_bps": 400.0,
        "take_profit_bps": 900.0,
    }
    return known | fields


def put(log_dir: Path, *lines: dict[str, object] | str) -> None:
    """Let another process append lines, as somebody's model does."""
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines)
    code = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())"
    path = log_dir / registry.INBOX_PATH
    subprocess.run([sys.executable, "-c", code, path], input=text.encode(), check=True)


def results(log_dir: Path) -> list[InboxResult]:
    path = log_dir / registry.INBOX_RESULTS.path
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [registry.INBOX_RESULTS.decoder.decode(line) for line in lines]


def outcomes(log_dir: Path, name: str) -> list[tuple[str, str]]:
    return [(each.outcome, each.reason) for each in results(log_dir) if each.id == name]


def journal(log_dir: Path, name: str) -> list[dict]:
    path = log_dir / "execution" / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def entries(log_dir: Path) -> list[str]:
    with closing(sqlite3.connect(log_dir / "ledger" / "paper-main.sqlite")) as db:
        rows = db.execute("SELECT decision_id FROM intents WHERE action = 'entry'").fetchall()
    return [row[0] for row in rows]


def errors(process: Executor, stage: str) -> int:
    health = process.health()
    return 0 if health is None else health.errors.get(stage, 0)


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int]) -> None:
    until_s = time.monotonic() + 20
    while any(lives(pid) for pid in pids):
        assert time.monotonic() < until_s, f"still there: {[p for p in pids if lives(p)]}"
        time.sleep(0.02)


def test_the_inbox_through_the_process_and_its_deaths(tmp_path: Path):
    process = executor(tmp_path, INBOX, {})
    log_dir = process.log_dir
    process.start()
    try:
        assert (log_dir / "run").stat().st_mode & 0o777 == 0o700
        put(
            log_dir,
            "garbage",
            "[]",
            "x" * 5000,
            "y" * 400_000,
            '{"id": "half", "ts": 1',
            '{"id": "unshaped", "order": "BUY EVERYTHING"}',
            intent("over", size_frac=1.01),
            intent("late", ts=time.time() - 700),
            intent("expired", valid_until_ts=time.time() - 1),
            intent("stranger", strategy="somebody"),
            intent("elsewhere", symbol="LAYERUSDT"),
            intent("nowhere", symbol="DOGEUSDT"),
            intent("leave", action="exit", stop_bps=None, take_profit_bps=None),
            intent("good"),
            intent("good"),
        )
        process.wait_for("every answer", lambda: len(results(log_dir)) >= 9)
        found = {name: outcomes(log_dir, name) for name in ("good", "late", "nowhere", "unshaped")}
        assert [outcome for outcome, _ in found["good"]] == ["accepted"]
        assert found["late"][0][0] == "refused"
        assert "(max_age_s)" in found["late"][0][1]
        assert found["nowhere"] == [("vetoed", "symbol_not_allowed")]
        assert found["unshaped"][0][1].startswith("not an intent:")
        for name in ("over", "expired", "stranger", "elsewhere", "leave"):
            assert [outcome for outcome, _ in outcomes(log_dir, name)] == ["refused"], name
        process.wait_for("the nameless lines", lambda: errors(process, "inbox") > 0)
        (good,) = [each for each in results(log_dir) if each.id == "good"]
        assert entries(log_dir) == [good.decision_id]
        acks = {each["decision_id"] for each in journal(log_dir, "orders_executed")}
        assert good.decision_id in acks

        # The same id again: once, as long as it lives, after kill -9, and where no answer was kept.
        put(log_dir, intent("good", symbol="ETHUSDT"))
        process.wait_for("the duplicate", lambda: len(outcomes(log_dir, "good")) == 2)
        assert outcomes(log_dir, "good")[1][1].startswith("duplicate")
        process.kill()
        process.start()
        put(log_dir, intent("good"), intent("next", symbol="ETHUSDT", size_frac=0.5))
        process.wait_for("the next", lambda: outcomes(log_dir, "next") != [])
        assert outcomes(log_dir, "next") == [("accepted", "")]
        assert len(entries(log_dir)) == 2
        process.kill()
        (log_dir / registry.INBOX_RESULTS.path).unlink()
        process.start()
        process.wait_for("its answer anew", lambda: outcomes(log_dir, "next") != [])
        assert outcomes(log_dir, "next") == [("accepted", "before the executor's last start")]
        assert outcomes(log_dir, "good") == [("accepted", "before the executor's last start")]
        assert len(entries(log_dir)) == 2
        assert process.stop()[0] == 0
    finally:
        process.kill()


def test_modules_good_and_bad_are_contained_and_leave_nothing_behind(tmp_path: Path):
    symbols = {name: f"S{number}USDT" for number, name in enumerate(("good", *BAD))}
    strategies = "".join(
        MODULE.replace("SYMBOL", symbol)
        .replace('"NAME:', f'"{name.replace("-", "_")}:')
        .replace("NAME", name)
        .replace("ANSWER", "0.5" if name == "stalls" else "20.0")
        for name, symbol in symbols.items()
    )
    texts = {name.replace("-", "_"): text for name, text in {"good": GOOD, **BAD}.items()}
    changes = {"failures": 2, "restart_s": 0.1}
    process = executor(tmp_path, strategies, texts, **changes)
    log_dir = process.log_dir
    process.start()
    try:
        process.wait_for(
            "the bad ones to be off",
            lambda: (told := process.health()) is not None and len(told.strategies_off) == len(BAD),
            seconds=60,
        )
        health = process.health()
        assert health is not None
        assert set(health.strategies_off) == set(BAD)
        # What a loop counts stands in the file of the next one.
        process.wait_for("the counts", lambda: all(errors(process, name) == 2 for name in BAD))
        assert "nobody home" in health.strategies_off["raises"]
        assert "no answer within 0.5 s" in health.strategies_off["stalls"]
        assert "ended with 7" in health.strategies_off["dies"]
        assert "garbage" in health.strategies_off["floods"]
        assert "garbage" in health.strategies_off["garbles"]
        assert "ValidationError" in health.strategies_off["wants"]
        assert "ModuleNotFoundError" in health.strategies_off["loads-not"]
        spoken = {a["subject"] for a in journal(log_dir, "alerts") if a["kind"] == "strategy_off"}
        assert spoken == set(BAD)

        process.wait_for("an entry", lambda: entries(log_dir) != [])
        said = journal(log_dir, "signal_metrics")
        assert {each["strategy"] for each in said} == {"good"}
        assert set(said[-1]["reason"].split(",")) <= {"LANG", "LC_CTYPE", "PATH"}
        assert said[-1]["strength"] == 12.0

        # Killed from outside it comes back; it ends with its executor, however that ends.
        (child,) = children(process.pid)
        heard = len(said)
        os.kill(child, signal.SIGKILL)
        process.wait_for(
            "its successor's answer", lambda: len(journal(log_dir, "signal_metrics")) > heard + 1
        )
        (successor,) = children(process.pid)
        assert successor != child
        code, _ = process.stop()
        assert code == 0
        wait_until_gone([successor])
    finally:
        process.kill()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "stalled"])
def test_no_module_outlives_an_executor_that_was_killed(tmp_path: Path, *, busy: bool):
    text = BAD["stalls"] if busy else "def decide(symbol, bars):\n    return None\n"
    strategy = MODULE.replace("SYMBOL", "BTCUSDT").replace("NAME", "quiet")
    process = executor(tmp_path, strategy.replace("ANSWER", "60.0"), {"quiet": text})
    process.start()
    try:
        process.wait_for("its child", lambda: children(process.pid) != [])
        (child,) = children(process.pid)
        process.wait_for("its bar", lambda: not busy or _is_busy(child))
    finally:
        process.kill()
    wait_until_gone([child])


def _is_busy(pid: int) -> bool:
    """Tell whether it has computed for longer than its loading takes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return fields[0] == "R" and int(fields[11]) > 0
