"""The five programs trade with keys at an exchange, in trouble: the keys are in nothing they leave.

What they listen on, and who may read what they write, is looked at in the same run.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import csv_text
from execution.clock import SystemClock
from execution.jsonl_log import tail
from execution.state_schema import registry
from execution.state_store import StateStore
from tests.exchange.faults import Fault
from tests.exchange.planted import KEY, SECRET, is_planted, planted
from tests.exchange.running import Running, in_process
from tests.exchange.trading import environment, setup_for, write_exchange_ops
from tests.ops.suite import PROGRAMS, Suite, wait_for

PAGES = ("overview", "positions", "risk", "orders", "intel", "shadow", "system")
PAGE = """
from dashboard import live, {name}
from execution.state_schema import registry
wanted = getattr({name}, "JOURNALS", (registry.NAV_SERIES,))
live.page({name}.draw, *wanted, logs={logs})()
"""
LISTEN = "0A"
TROUBLE = (
    Fault(kind="lost", chance=0.05),
    Fault(kind="html", chance=0.05),
    Fault(kind="half", chance=0.05),
    Fault(kind="error", chance=0.1, status=400, code=-1102, msg=f"signed by {KEY} with {SECRET}"),
)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Running]:
    with in_process(setup_for(write_exchange_ops(tmp_path)), tmp_path / "exchange") as running:
        yield running


@pytest.fixture
def suite(scratch_project: Path, tmp_path: Path, exchange: Running) -> Iterator[Suite]:
    for file in (tmp_path / "ops").glob("*.toml"):
        (scratch_project / "ops" / file.name).write_bytes(file.read_bytes())
    told = environment(exchange, scratch_project)
    env = scratch_project / ".env"
    env.touch(mode=0o600)
    env.write_text("".join(f"{k}={v}\n" for k, v in told.items() if not k.endswith("_DIR")))
    suite = Suite(scratch_project)
    done = suite.script("up")
    assert done.code == 0, done.text
    assert not is_planted(done.text)
    yield suite
    suite.script("down")
    assert suite.left_over() == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_keys_of_a_whole_run_are_in_none_of_its_outputs(
    suite: Suite, exchange: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(suite.logs, SystemClock())
    wait_for("an order is at the exchange", lambda: bool(exchange.truth["orders"]), 120)
    exchange.suffer(*TROUBLE, seed=1)
    (suite.logs / registry.INBOX_PATH).mkdir()  # a stage that fails, so that there is a traceback
    wait_for("errors are counted", lambda: bool(errors(store)), 60)
    before = len(exchange.requests)
    wait_for("much was asked", lambda: len(exchange.requests) > before + 100, 120)

    assert_only_loopback(suite)
    assert_nobody_else_reads(suite)
    said = [
        *(suite.run(suite.project / ".venv/bin/hedge", *words).text for words in COMMANDS),
        suite.ctl("status").text,
        suite.ctl("tail", "hedge:hedge-executor").text,
        *command_lines(suite),
        *shown(suite, monkeypatch),
        *downloads(suite),
    ]
    stopped = suite.script("down")
    said.append(stopped.text)
    assert stopped.code == 0
    for text in said:
        assert not is_planted(text), text[:200]
    holders = {Path(path).name for path in planted(suite.project)}
    assert holders == {".env", "planted.py"}
    size = sum(path.stat().st_size for path in suite.logs.rglob("*") if path.is_file())
    print(f"\n{len(said)} outputs, {size} bytes of files, errors {errors(store)}", end="")


COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("contract", "check"),
    ("kill", "status"),
    ("risk", "reset", "--reason", "r"),
    ("shadow", "report"),
    ("sync", "--once", "--dry-run"),
    ("flatten", "--yes", "--reason", "r"),
    ("kill", "on", "--reason", "r"),
)


def errors(store: StateStore) -> dict[str, int]:
    health = store.read(registry.EXECUTOR_HEALTH)
    return {} if health is None else dict(health.errors)


def command_lines(suite: Suite) -> list[str]:
    """Return what every user of the machine sees of the processes, and their environments."""
    found = []
    for line in suite.left_over():
        folder = Path("/proc") / line.split()[0]
        found += [line, (folder / "environ").read_text()]
    assert len(found) >= 2 * (len(PROGRAMS) + 1)
    return found


def shown(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return what the page's server gives, and every text and cell of every page."""
    port = re.findall(r"--server\.port (\d+)", (suite.project / "ops/hedge.conf").read_text())[0]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}/", timeout=30) as reply:
        yield reply.read().decode()
    monkeypatch.setenv("HEDGE_LOG_DIR", str(suite.logs))
    monkeypatch.setenv("HEDGE_OPS_DIR", str(suite.project / "ops"))
    monkeypatch.setenv("HEDGE_ENV_FILE", str(suite.project / ".env"))
    st.cache_resource.clear()
    for name in PAGES:
        script = PAGE.format(name=name, logs=name == "system")
        page = AppTest.from_string(script, default_timeout=60).run()
        assert not page.exception, page.exception
        assert "TESTNET" in [each.value for each in page.text]
        yield "\n".join(each.value for each in page.text)
        yield "\n".join(each.value.to_csv() for each in page.dataframe)
    st.cache_resource.clear()


def downloads(suite: Suite) -> Iterator[str]:
    for journal in registry.JOURNALS:
        path = suite.logs / journal.path
        if path.is_file():
            yield csv_text.write(tail(path, 5_000, journal.decoder.decode).records)


def assert_only_loopback(suite: Suite) -> None:
    """Look at every socket of the suite: one port on loopback, one socket of its owner's."""
    found, unix = set(), set()
    for line in suite.left_over():
        process = Path("/proc") / line.split()[0]
        inodes = {
            link[8:-1]
            for each in (process / "fd").iterdir()
            if (link := str(each.readlink())).startswith("socket:[")
        }
        for name in ("tcp", "tcp6", "udp", "udp6"):
            for row in (process / "net" / name).read_text().splitlines()[1:]:
                _, local, _, state, *rest = row.split()
                if rest[5] in inodes and (state == LISTEN or name.startswith("udp")):
                    found.add((name, local.split(":")[0]))
        for row in (process / "net/unix").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[6] in inodes and len(cells) > 7:
                unix.add(cells[7])
    assert found == {("tcp", "0100007F")}
    assert {Path(path).name.split(".sock")[0] for path in unix} == {"supervisor"}
    assert (suite.logs / "run/supervisor.sock").stat().st_mode & 0o777 == 0o700


def assert_nobody_else_reads(suite: Suite) -> None:
    """Ask each file of the book for its mode; what is under `run` is behind its folder's."""
    assert (suite.project / ".env").stat().st_mode & 0o777 == 0o600
    assert (suite.logs / "run").stat().st_mode & 0o777 == 0o700
    for path in suite.logs.rglob("*"):
        if "run" not in path.relative_to(suite.logs).parts and path.name != ".gitkeep":
            assert path.stat().st_mode & 0o007 == 0, path
