"""The real suite under the real supervisord, in a copy of this checkout."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from configparser import RawConfigParser
from itertools import pairwise
from pathlib import Path

import pytest

from execution.clock import SystemClock
from execution.state_schema import registry
from execution.state_store import StateStore
from tests.ops.suite import PROGRAMS, Suite, wait_for

ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------- the files as they are written


def read_conf(name: str) -> RawConfigParser:
    conf = RawConfigParser(inline_comment_prefixes=(";",))
    conf.read(ROOT / "ops" / name)
    return conf


def test_the_five_programs_are_one_group() -> None:
    conf = read_conf("hedge.conf")
    assert set(conf.sections()) == {"group:hedge", *(f"program:{name}" for name in PROGRAMS)}
    listed = conf["group:hedge"]["programs"].split(",")
    assert len(listed) == 5
    assert set(listed) == PROGRAMS


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_program_is_kept_running_and_ends_whole(program: str) -> None:
    settings = read_conf("hedge.conf")[f"program:{program}"]
    assert int(settings["startsecs"]) >= 5
    assert int(settings["stopwaitsecs"]) > 10
    assert 1 <= int(settings["startretries"]) <= 10
    for switch in ("autostart", "autorestart", "stopasgroup", "killasgroup", "redirect_stderr"):
        assert settings[switch] == "true", switch
    assert settings["stdout_logfile"] == f"%(here)s/../logs/{program}.log"
    assert settings["stdout_logfile_maxbytes"] == "10MB"
    assert int(settings["stdout_logfile_backups"]) >= 3


@pytest.mark.parametrize(
    ("program", "guards"),
    [
        ("hedge-executor", {}),
        ("hedge-dashboard", {}),
        ("hedge-sync_state", {"ALLOW_PROD_WRITE": "1", "ALLOW_PROD_SYNC": "1"}),
        ("hedge-pipeline-shadow-heartbeat", {"ALLOW_PROD_WRITE": "1"}),
        ("hedge-pipeline-compare", {"ALLOW_PROD_WRITE": "1"}),
    ],
)
def test_a_program_has_its_half_of_the_guards(program: str, guards: dict[str, str]) -> None:
    environment = read_conf("hedge.conf")[f"program:{program}"]["environment"]
    found = dict(re.findall(r'(\w+)="([^"]*)"', environment))
    common = {"PYTHONPATH": "%(here)s/..", "PYTHONUNBUFFERED": "1"}
    assert found == {**common, **guards}


def test_the_page_is_for_this_machine_only() -> None:
    command = read_conf("hedge.conf")["program:hedge-dashboard"]["command"].split()
    options = dict(pairwise(command))
    assert options["--server.address"] == "127.0.0.1"
    assert options["--server.port"] == "8501"
    assert options["--server.headless"] == "true"
    assert options["--server.enableXsrfProtection"] == "true"
    assert options["--server.fileWatcherType"] == "none"
    assert options["--browser.gatherUsageStats"] == "false"


def test_the_daemon_listens_on_a_private_socket_alone() -> None:
    conf = read_conf("supervisord.conf")
    assert "inet_http_server" not in conf
    assert conf["unix_http_server"]["chmod"] == "0700"
    assert conf["supervisord"]["umask"] == "027"
    assert conf["include"]["files"] == "hedge.conf"


@pytest.mark.parametrize("name", ["supervisord.conf", "hedge.conf"])
def test_every_path_starts_at_the_files_own_folder(name: str) -> None:
    values = "\n".join(
        value for _, section in read_conf(name).items() for value in section.values()
    )
    paths = re.findall(r"\S*/\S*", values)
    assert len(paths) > 4
    assert [path for path in paths if "%(here)s/.." not in path] == []


# ---------------------------------------------------------------- a supervisor of the machine

STUB = """#!/bin/sh
echo "folder=$PWD path=$PYTHONPATH write=$ALLOW_PROD_WRITE sync=$ALLOW_PROD_SYNC command=$*"
exec sleep 600
"""
OTHER_CONF = """
[unix_http_server]
file=%(here)s/s
[supervisord]
nodaemon=false
logfile=%(here)s/supervisord.log
pidfile=%(here)s/pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/s
[program:neighbour]
command=sleep 600
stdout_logfile=%(here)s/neighbour.log
[include]
files={hedge_conf}
"""


def test_a_supervisor_of_the_machine_can_include_the_file(scratch_project: Path) -> None:
    suite = Suite(scratch_project)
    bin_ = scratch_project / ".venv" / "bin"
    (bin_ / "python").unlink()
    (bin_ / "python").write_text(STUB)
    (bin_ / "python").chmod(0o755)
    machine = scratch_project.parent / "machine"
    machine.mkdir()
    conf = machine / "supervisord.conf"
    conf.write_text(OTHER_CONF.format(hedge_conf=scratch_project / "ops" / "hedge.conf"))

    assert suite.run(bin_ / "supervisord", "-c", conf).code == 0
    try:
        logs = {name: scratch_project / "logs" / f"{name}.log" for name in PROGRAMS}
        wait_for(
            "every program has written to its log",
            lambda: all(log.exists() and "command=" in log.read_text() for log in logs.values()),
            seconds=20,
        )
    finally:
        suite.run(bin_ / "supervisorctl", "-c", conf, "shutdown")
        wait_for("nothing is left", lambda: not (machine / "pid").exists(), seconds=30)

    assert (machine / "neighbour.log").exists()
    project = str(scratch_project)
    for name, log in logs.items():
        text = log.read_text()
        assert f"folder={project} path={project}/ops/.. " in text, name
    sync = logs["hedge-sync_state"].read_text()
    assert "write=1 sync=1 command=-m execution.sync_state" in sync
    assert "write= sync= command=-m execution.executor_live" in logs["hedge-executor"].read_text()
    dashboard = logs["hedge-dashboard"].read_text()
    assert "command=-m dashboard --server.address" in dashboard


# ---------------------------------------------------------------- the suite itself


@pytest.fixture(scope="module")
def suite(module_project: Path) -> Iterator[Suite]:
    suite = Suite(module_project)
    started = suite.script("up")
    try:
        assert started.code == 0, started.text
        yield suite
    finally:
        suite.script("down")


@pytest.fixture(scope="module")
def store(suite: Suite) -> StateStore:
    return StateStore(suite.logs, SystemClock())


def test_five_programs_run_and_every_file_is_fresh(suite: Suite, store: StateStore) -> None:
    processes = suite.processes()
    assert set(processes) == PROGRAMS
    assert {process.state for process in processes.values()} == {"RUNNING"}
    wait_for(
        "every state file exists",
        lambda: all(store.read(file) is not None for file in registry.STATE_FILES),
        seconds=15,
    )
    assert len(registry.STATE_FILES) == 17
    now = time.time()
    for file in registry.STATE_FILES:
        payload = store.read(file)
        assert payload is not None, file.name
        assert now - file.computed_ts(payload) < file.max_age_s, file.name
        assert payload.seq > 0, file.name


def test_the_page_answers_here_and_nowhere_else(suite: Suite) -> None:
    conf = (suite.project / "ops" / "hedge.conf").read_text()
    port = int(conf.split("--server.port ")[1].split()[0])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
        assert page.status == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1", b"101"),
        ("localhost", "http://localhost", b"101"),
        ("127.0.0.1", "http://evil.example", b"403"),
        ("evil.example", "http://evil.example", b"403"),  # a name that was made to lead here
    ],
)
def test_the_page_is_for_no_other_sites_page(
    suite: Suite, host: str, origin: str, status: bytes
) -> None:
    conf = (suite.project / "ops" / "hedge.conf").read_text()
    port = int(conf.split("--server.port ")[1].split()[0])
    key = base64.b64encode(bytes(16)).decode()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as page:
        page.sendall(
            f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {origin}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert page.recv(1024).split()[1] == status


def test_nothing_is_published_by_default(store: StateStore) -> None:
    health = store.read(registry.SYNC_HEALTH)
    assert health is not None
    assert health.enabled is False
    assert health.disabled_reason
    assert health.writes == 0


def test_a_killed_executor_is_back_within_seconds(suite: Suite, store: StateStore) -> None:
    before = store.read(registry.NAV)
    killed = suite.pids()["hedge-executor"]
    assert before is not None
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    killed_ts = time.time()

    def is_fresh() -> bool:
        nav = store.read(registry.NAV)
        return nav is not None and nav.updated_ts > killed_ts and nav.seq > before.seq

    assert wait_for("nav.json is fresh", is_fresh, seconds=30) < 5.0
    wait_for(
        "the executor is RUNNING",
        lambda: suite.processes()["hedge-executor"].state == "RUNNING",
        seconds=30,
    )
    assert suite.pids()["hedge-executor"] != killed
    nav = store.read(registry.NAV)
    assert nav is not None
    assert nav.known
    assert not nav.stale
    assert nav.identity_residual_usd == 0.0
    assert nav.day_start_usd == before.day_start_usd


@pytest.mark.parametrize("program", sorted(PROGRAMS - {"hedge-executor"}))
def test_the_executor_does_not_notice_that_another_is_killed(
    suite: Suite, store: StateStore, program: str
) -> None:
    pids = suite.pids()
    killed = pids[program]
    before = store.read(registry.EXECUTOR_HEALTH)
    assert killed is not None
    assert before is not None
    os.kill(killed, signal.SIGKILL)

    def has_gone_on() -> bool:
        health = store.read(registry.EXECUTOR_HEALTH)
        return health is not None and health.loop_seq >= before.loop_seq + 3

    wait_for("the executor's loop goes on", has_gone_on, seconds=20)
    wait_for(
        "the program is RUNNING",
        lambda: suite.processes()[program].state == "RUNNING",
        seconds=30,
    )
    after = suite.pids()
    assert after[program] != killed
    assert after["hedge-executor"] == pids["hedge-executor"]
    health = store.read(registry.EXECUTOR_HEALTH)
    assert health is not None
    assert health.errors == before.errors


def test_a_second_up_changes_nothing(suite: Suite) -> None:
    pids = suite.pids()
    env = (suite.project / ".env").stat()
    again = suite.script("up")
    assert again.code == 0
    assert "running already" in again.text
    assert suite.pids() == pids
    assert (suite.project / ".env").stat().st_mtime_ns == env.st_mtime_ns
    assert env.st_mode & 0o777 == 0o600
    assert (suite.logs / "run").stat().st_mode & 0o777 == 0o700


def test_down_leaves_no_process(suite: Suite) -> None:
    assert len(suite.left_over()) >= 6
    stopped = suite.script("down")
    assert stopped.code == 0
    assert suite.left_over() == []
    assert not (suite.logs / "run" / "supervisor.sock").exists()
    assert suite.script("down").text == "The suite is not running.\n"


# ---------------------------------------------------------------- as an operator sees it begin


def events(journal: Path) -> list[str]:
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [json.loads(line)["event"] for line in lines]


def read_account(store: StateStore) -> tuple[float | None, dict[tuple[str, str], float]]:
    nav, positions = store.read(registry.NAV), store.read(registry.POSITIONS)
    assert nav is not None
    assert positions is not None
    legs = {(row.symbol, row.position_side): row.qty for row in positions.rows}
    return nav.wallet_usd, legs


def kill_executor(suite: Suite, store: StateStore) -> None:
    killed, killed_ts = suite.pids()["hedge-executor"], time.time()
    assert killed is not None
    os.kill(killed, signal.SIGKILL)

    def is_fresh() -> bool:
        positions = store.read(registry.POSITIONS)
        return positions is not None and positions.updated > killed_ts + 1.0

    wait_for("positions.json is fresh", is_fresh, seconds=30)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_demonstration_trades_and_its_account_outlives_a_kill(scratch_project: Path) -> None:
    suite = Suite(scratch_project)
    store = StateStore(suite.logs, SystemClock())
    orders = suite.logs / "execution" / "orders_executed.jsonl"
    vetoes = suite.logs / "execution" / "risk_vetoes.jsonl"
    assert suite.script("up").code == 0
    try:
        wait_for(
            "a fill, a closed trade and a veto are in the journals",
            lambda: {"fill", "close", "veto"} <= {*events(orders), *events(vetoes)},
            seconds=300,
        )
        # Something may be traded between the two looks; then there is nothing to compare.
        for _ in range(20):
            wait_for("a position is open", lambda: read_account(store)[1] != {}, seconds=120)
            before, seen = read_account(store), len(events(orders))
            kill_executor(suite, store)
            after = read_account(store)
            if len(events(orders)) == seen:
                break
        else:
            pytest.fail("in twenty tries something was traded around every kill")
        assert after == before
    finally:
        suite.script("down")
    assert suite.left_over() == []
