"""One account at an exchange, two checkouts of one machine: two real processes, one of which trades."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from execution import locks, settings

ROOT = Path(__file__).resolve().parents[2]
# The executor's own run with a loop that only says that it trades: the exchange is not needed here.
PROGRAM = """
import sys, threading
from execution import executor_live, service_loop
from execution.errors import LockHeld

def body(settings, clock, stop):
    with executor_live._alone(settings, "executor"):
        print("trades", flush=True)
        sys.stdin.readline()

sys.exit(service_loop.start("executor", body))
"""


class Checkout:
    """An executor process with a log folder of its own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        known = {
            "HEDGE_LOG_DIR": str(folder / "logs"),
            "DRY_RUN": "0",
            "BINANCE_TESTNET": "1",
            **environ,
        }
        self.child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={**os.environ, **known},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Let it end; return its exit code and what it said."""
        out, said = self.child.communicate("\n", timeout=60)
        return self.child.returncode, out, said


@pytest.fixture
def first(tmp_path: Path):
    made = Checkout(tmp_path / "a")
    assert made.child.stdout is not None
    assert made.child.stdout.readline() == "trades\n"
    yield made
    made.child.kill()
    made.child.communicate()


def test_the_second_checkout_exits_75_and_says_who_trades(first: Checkout, tmp_path: Path) -> None:
    code, out, said = Checkout(tmp_path / "b").end()
    assert (code, out) == (75, "")
    lock = Path(os.environ["XDG_STATE_HOME"]) / "hedge" / "testnet-main.lock"
    holder = f"held by executor of {tmp_path / 'a' / 'logs'} (pid {first.child.pid})"
    assert said.splitlines()[-1] == f"executor: {lock}: {holder}: stop that one first"
    first.child.kill()
    first.child.wait()
    assert Checkout(tmp_path / "b").end()[:2] == (0, "trades\n")


@pytest.mark.parametrize("other", [{"HEDGE_ACCOUNT": "other"}, {"DRY_RUN": "1"}])
@pytest.mark.usefixtures("first")
def test_another_account_and_paper_are_free(tmp_path: Path, other: dict[str, str]) -> None:
    assert Checkout(tmp_path / "b", **other).end()[:2] == (0, "trades\n")


@pytest.mark.parametrize(
    ("home", "where"),
    [("/somewhere", Path("/somewhere/hedge")), ("", None), ("relative", None)],
)
def test_the_machine_s_folder_follows_xdg(home: str, where: Path | None) -> None:
    environ = {"DRY_RUN": "0", "XDG_STATE_HOME": home}
    loaded = settings.load(environ)
    assert loaded.machine_dir == (where or Path.home() / ".local/state/hedge")
    assert locks.of_account(Path("/m"), "live", "main") == Path("/m/live-main.lock")


def test_paper_shares_nothing() -> None:
    assert settings.load({"XDG_STATE_HOME": "relative"}).machine_dir is None
