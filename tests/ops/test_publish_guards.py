"""Who may write to the mirror: the real suite under the real supervisord, guard by guard."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.clock import SystemClock
from execution.state_schema import registry
from execution.state_store import StateStore
from tests.ops.suite import PROGRAMS, Suite, wait_for
from tests.support.firestore_server import FirestoreServer

SYNC = "hedge-sync_state"
PIPELINES = {"hedge-pipeline-shadow-heartbeat", "hedge-pipeline-compare"}
GUARDED = {SYNC, *PIPELINES}
PAIR = {"hedge/dev/state/pipeline_v6_shadow_head", "hedge/dev/state/pipeline_v6_compare_summary"}
FILES = {
    SYNC: registry.PROCESS_SYNC_STATE,
    "hedge-pipeline-shadow-heartbeat": registry.PROCESS_SHADOW_HEARTBEAT,
    "hedge-pipeline-compare": registry.PROCESS_COMPARE,
}

TABLE = [
    ("no .env", None, set()),
    ("unset", "", set()),
    ("write only", "ALLOW_PROD_WRITE=1\n", PIPELINES),
    ("sync only", "ALLOW_PROD_SYNC=1\n", set()),
    ("both", "ALLOW_PROD_WRITE=1\nALLOW_PROD_SYNC=on\n", GUARDED),
    ("garbage", "ALLOW_PROD_WRITE=enabled\nALLOW_PROD_SYNC=2\n", set()),
    ("off", "ALLOW_PROD_WRITE=0\nALLOW_PROD_SYNC=1\n", set()),
]


@pytest.fixture
def server() -> Iterator[FirestoreServer]:
    server = FirestoreServer()
    yield server
    server.stop()


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_truth_table_under_supervisor(scratch_project: Path, server: FirestoreServer) -> None:
    suite = Suite(scratch_project)
    conf = suite.project / "ops" / "services.toml"
    conf.write_text(conf.read_text().replace("beat_s = 30.0", "beat_s = 1.0"))
    for name, dotenv, writers in TABLE:
        calls, writes = server.calls, server.writes
        server.documents.clear()
        env = suite.project / ".env"
        env.unlink(missing_ok=True)
        if dotenv is not None:
            env.write_text(dotenv)
        opened, loaded = run_suite(suite, server, writers)
        assert opened == writers, name
        assert loaded == writers, name
        if writers:
            assert server.writes > writes, name
        else:
            assert (server.calls, server.writes) == (calls, writes), name
        assert (server.names() >= PAIR) == (writers >= PIPELINES), name
        assert ("hedge/dev/state/nav" in server.names()) == (SYNC in writers), name
        print(
            f"\n{name:>10}: clients {sorted(opened) or 'none'}, calls {server.calls - calls}, "
            f"writes {server.writes - writes}, documents {len(server.documents)}",
            end="",
        )
    alerts = (suite.logs / "execution" / "alerts.jsonl").read_text()
    assert alerts.count("is neither on nor off") >= 3  # garbage: each service says it


def run_suite(
    suite: Suite, server: FirestoreServer, writers: set[str]
) -> tuple[set[str], set[str]]:
    """Run the five programs; return which opened a client, and which have Google's code loaded."""
    store = StateStore(suite.logs, SystemClock())
    for program in GUARDED:
        (suite.logs / f"{program}.log").unlink(missing_ok=True)
    (suite.logs / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    start(suite, server)
    try:
        wait_for("all run", lambda: len(running(suite)) == len(PROGRAMS), 90)
        before = {program: cycles(store, program) for program in GUARDED}
        wait_for(
            "each service has gone through three cycles",
            lambda: all(
                cycles(store, p) >= (before[p] if p == SYNC else before[p] + 3) for p in GUARDED
            ),
            60,
        )
        if SYNC in writers:
            wait_for("the book is there", lambda: "hedge/dev/state/nav" in server.names(), 60)
        if writers:
            wait_for("the pair is there", lambda: server.names() >= PAIR, 60)
        pids = suite.pids()
        loaded = {p for p in GUARDED if "cygrpc" in Path(f"/proc/{pids[p]}/maps").read_text()}
    finally:
        suite.ctl("shutdown")
        wait_for("nothing is left", lambda: suite.left_over() == [], 60)
    logs = {program: (suite.logs / f"{program}.log").read_text() for program in GUARDED}
    assert not any("Traceback" in log for log in logs.values())
    return {program for program, log in logs.items() if "client opened" in log}, loaded


def start(suite: Suite, server: FirestoreServer) -> None:
    """Start the daemon in an environment that names the server, and no guard."""
    user = ["-u", "root"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            suite.project / ".venv/bin/supervisord",
            "-c",
            suite.project / "ops/supervisord.conf",
            *user,
        ],
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(suite.project.parent),
            "FIRESTORE_EMULATOR_HOST": server.address,
            "FIRESTORE_PROJECT_ID": "hedge-test",
        },
        check=True,
        timeout=60,
    )


def running(suite: Suite) -> set[str]:
    return {name for name, process in suite.processes().items() if process.state == "RUNNING"}


def cycles(store: StateStore, program: str) -> int:
    found = store.read(FILES[program])
    return 0 if found is None else found.cycles
