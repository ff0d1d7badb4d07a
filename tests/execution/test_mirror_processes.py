"""The real processes and a real server: Google's emulator, kills, and a server that is away."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from execution.core.mirror import documents
from execution.state_schema import registry
from tests.support.emulator import emulator
from tests.support.executors import ROOT, Executor, write_ops
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import allow, points_in_mirror, read_back, without_marks

SERVICES = (
    "execution.sync_state",
    "scripts.pipeline_shadow_heartbeat",
    "scripts.pipeline_compare_service",
)


def brisk_ops(folder: Path, **changes: object) -> Path:
    """Copy `ops/` for an executor that trades at once and a mirror that follows at once."""
    ops = write_ops(
        folder,
        hold_bars=600,
        operations_a_day=10_000_000,
        **{"mirror.deadline_s": 1.0},
        backoff_max_s=10.0,
        **changes,
    )
    toml = (ops / "services.toml").read_text()
    for was, now in (("interval_s = 10.0", "interval_s = 0.3"), ("beat_s = 30.0", "beat_s = 0.3")):
        assert was in toml
        toml = toml.replace(was, now)
    (ops / "services.toml").write_text(toml)
    return ops


@contextmanager
def service(module: str, executor: Executor) -> Iterator[subprocess.Popen[bytes]]:
    """Run one service beside an executor."""
    with (executor.folder / f"{module}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env=executor.environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    found = Executor(tmp_path, brisk_ops(tmp_path))
    yield found
    found.kill()


def on_disk(executor: Executor, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((executor.log_dir / path).read_text())
    return found


def wait_for(what: str, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, f"after {seconds} s not: {what}"
        time.sleep(0.1)


def has_legs(executor: Executor, least: int) -> bool:
    found = executor.store.read(registry.POSITIONS)
    return found is not None and len(found.rows) >= least


def read_all(executor: Executor, address: str) -> dict[str, dict[str, Any]]:
    """Read the mirror of an executor that has stopped, once it has caught up."""
    stopped_ts = time.time()

    def caught_up() -> bool:
        health = executor.store.read(registry.SYNC_HEALTH)
        return health is not None and (health.last_success_ts or 0) > stopped_ts + 1

    wait_for("the mirror has caught up", caught_up)
    return read_back(address)


MOVING = {"seq", "written_ts", "updated_ts", "updated", "updated_at", "as_of_ts", "generated_ts"}


def settled(value: Any) -> Any:
    """Leave out the times that alone do not make a document worth writing."""
    if isinstance(value, dict):
        return {key: settled(inner) for key, inner in value.items() if key not in MOVING}
    return [settled(inner) for inner in value] if isinstance(value, list) else value


def check_equal(executor: Executor, found: dict[str, dict[str, Any]]) -> int:
    """Compare every document of a state file with its file; return how many there are."""
    names = [documents.name_of(file) for file in (*documents.BOOK, *documents.PAIR)]
    there = [name for name in names if name in found]
    for name in there:
        local = on_disk(executor, f"{name}.json")
        assert settled(without_marks(found[name])) == settled(local), name
    return len(there)


@pytest.mark.full
def test_a_real_suite_is_mirrored_to_googles_emulator(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with emulator(tmp_path) as address:
        allow(monkeypatch, address)
        executor.start()
        with (
            service(SERVICES[0], executor),
            service(SERVICES[1], executor),
            service(SERVICES[2], executor),
        ):
            executor.wait_for("four legs", lambda: has_legs(executor, 4), 60)
            time.sleep(61)  # the series has a point a minute
            executor.stop()
            found = read_all(executor, address)
        assert check_equal(executor, found) == 12
        assert {"telemetry/health", "risk/peak_state"} <= set(found)
        assert len([name for name in found if name.startswith("series/")]) >= 1
        exposures = found["telemetry/health"]["sync_health"]["exposures"]
        assert exposures["gross_usd"] > 0
        pulled = tmp_path / "pulled"
        done = executor.hedge("sync", "pull", "--into", str(pulled))
        assert done.returncode == 0, done.stderr
        checked = executor.hedge("contract", "check", "--log-dir", str(pulled))
        assert checked.returncode == 0, checked.stdout
        points = sum(fields["n"] for name, fields in found.items() if name.startswith("series/"))
    print(
        f"\nemulator: {len(found)} documents, {sum(f['seq'] > 0 for f in found.values())} with seq, "
        f"gross {exposures['gross_usd']:.2f} USD, net {exposures['net_usd']:.2f} USD, "
        f"{len(exposures['by_symbol'])} symbols, {points} NAV points; {done.stdout.strip()}"
    )


# ---------------------------------------------------------------- kills


def history_is_sound(server: FirestoreServer) -> int:
    """Look at every write that was done: nothing goes back, nothing is anybody else's."""
    seqs: dict[str, int] = {}
    for name, fields in server.history:
        assert fields["seq"] >= seqs.get(name, 0), name
        assert (fields["mode"], fields["account"]) == ("paper", "main"), name
        seqs[name] = fields["seq"]
    return len(server.history)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_kill_at_any_moment_leaves_no_wrong_document(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer
) -> None:
    allow(monkeypatch, server.address)
    chance = random.Random(8)
    executor.start()
    for _ in range(25):
        with service(SERVICES[0], executor) as process:
            commits = len(server.commits)
            # Half of them soon after the first commit, the others anywhere in the start-up too.
            if chance.random() < 0.5:
                wait_for("a commit", lambda: len(server.commits) > commits, 60)  # noqa: B023
            server.fault = "slow" if chance.random() < 0.5 else None
            time.sleep(chance.uniform(0.0, 3.0))
            process.kill()
            process.wait(30)
        server.fault = None
        if server.names():
            assert all(fields_are_whole(server, name) for name in server.names())
    executor.stop()
    with service(SERVICES[0], executor):
        found = read_all(executor, server.address)
    assert check_equal(executor, found) == 10
    local = executor.log_dir / registry.NAV_SERIES.path
    points = [json.loads(line) for line in local.read_text().splitlines()]
    assert points_in_mirror(server) == [(point["ts"], point["nav_usd"]) for point in points]
    log = (executor.folder / f"{SERVICES[0]}.log").read_text()
    assert "Traceback" not in log
    print(f"\nkills: 25 rounds, {history_is_sound(server)} writes")


def fields_are_whole(server: FirestoreServer, name: str) -> bool:
    fields = server.fields(name)
    return {"mode", "account", "writer", "mirrored_ts", "seq"} <= set(fields)


# ---------------------------------------------------------------- away


@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_executor_does_not_notice_a_server_that_is_away(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer
) -> None:
    allow(monkeypatch, server.address)
    executor.start()
    figures = {}
    with service(SERVICES[0], executor):
        wait_for("a commit", lambda: len(server.commits) > 0, 60)
        for phase in ("up", "dead", "up again", "stalled", "denied", "exhausted", "back"):
            if phase == "dead":
                server.stop()
            elif phase == "up again":
                server.start()
            server.fault = phase if phase in ("stalled", "denied", "exhausted") else None
            figures[phase] = watch(executor, 25.0)
        wait_for("the circuit is closed", lambda: is_well(executor), 150)
        executor.stop()
        found = read_all(executor, server.address)
    assert check_equal(executor, found) == 10
    log = (executor.folder / f"{SERVICES[0]}.log").read_text()
    assert "Traceback" not in log
    base_ms, base_mb = figures["up"]
    for phase, (loop_ms, rss_mb) in figures.items():
        print(
            f"\n{phase:>10}: loop p50 {loop_ms:6.2f} ms, ratio {loop_ms / base_ms:5.2f}; "
            f"sync_state {rss_mb:6.1f} MB, {rss_mb - base_mb:+.1f}",
            end="",
        )
    assert figures["back"][1] - base_mb < 5.0
    assert executor.health() is not None
    assert executor.health().errors == {}  # type: ignore[union-attr]


def watch(executor: Executor, seconds: float) -> tuple[float, float]:
    """Return the median of the executor's loops in the next seconds, and sync_state's memory."""
    loops: dict[int, float] = {}
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        health = executor.health()
        if health is not None and health.loop_ms.last is not None:
            loops[health.loop_seq] = health.loop_ms.last
        time.sleep(0.02)
    process = executor.store.read(registry.PROCESS_SYNC_STATE)
    assert process is not None
    return median(loops.values()), process.rss_mb


def is_well(executor: Executor) -> bool:
    health = executor.store.read(registry.SYNC_HEALTH)
    return health is not None and health.enabled and "next try" not in (health.last_error or "")
