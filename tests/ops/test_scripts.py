"""The scripts, on copies of this checkout whose programs only stay."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ops.suite import PROGRAMS, Suite, wait_for

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("scripts/up", "scripts/down", "scripts/test", "scripts/bench", ".ci/run")
SOURCED = ("scripts/setup.sh", "scripts/suite.sh")


@pytest.fixture
def suite(scratch_project: Path) -> Suite:
    return Suite(scratch_project)


@pytest.mark.parametrize("name", COMMANDS + SOURCED)
def test_a_script_is_sound_bash(name: str) -> None:
    checked = subprocess.run(
        ["bash", "-n", ROOT / name], capture_output=True, text=True, check=False
    )
    assert checked.stderr == ""
    if name in COMMANDS:
        assert os.access(ROOT / name, os.X_OK)
        lines = (ROOT / name).read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env bash"
        assert "set -euo pipefail" in lines


# ---------------------------------------------------------------- setting up


def stand_in(suite: Suite, tool: str, script: str) -> None:
    path = suite.project / ".venv" / "bin" / tool
    path.unlink()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def programs_only(folder: Path, **own: str) -> str:
    """Make a search path with the shell's usual programs and these, and with no Python."""
    folder.mkdir()
    usual = "bash readlink dirname basename cat cksum flock grep id sed tail"
    for name in usual.split():
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, script in own.items():
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_machine_without_python_is_told_what_to_install(suite: Suite, tmp_path: Path) -> None:
    shutil.rmtree(suite.project / ".venv")
    up = suite.script("up", path=programs_only(tmp_path / "bin"))
    assert up.code == 1
    assert "Python 3.11 or newer is needed; found: none." in up.text
    assert "apt-get install python3 python3-venv" in up.text


def test_an_old_python_is_named(suite: Suite, tmp_path: Path) -> None:
    shutil.rmtree(suite.project / ".venv")
    old = '[ "$1" = --version ] && echo "Python 3.9.2" && exit; exit 1'
    up = suite.script("up", path=programs_only(tmp_path / "bin", python3=old))
    assert up.code == 1
    assert "Python 3.11 or newer is needed; found: Python 3.9.2." in up.text


def test_a_python_that_makes_no_environments_is_named_with_its_package(
    suite: Suite, tmp_path: Path
) -> None:
    shutil.rmtree(suite.project / ".venv")
    bare = f'case "$*" in *ensurepip*) exit 1 ;; esac; exec {sys.executable} "$@"'
    up = suite.script("up", path=programs_only(tmp_path / "bin", python3=bare))
    assert up.code == 1
    version = f"python3.{sys.version_info.minor}"
    assert f"apt-get install {version}-venv" in up.text
    assert not (suite.project / ".venv").exists()


def test_a_borrowed_environment_is_never_installed_into(suite: Suite) -> None:
    borrowed = suite.project / ".venv"
    borrowed.rename(suite.project.parent / "elsewhere")
    borrowed.symlink_to(suite.project.parent / "elsewhere")
    up = suite.script("up")
    assert up.code == 1
    assert f"{borrowed} is a link to" in up.text
    assert "Installing" not in up.text


def test_a_set_up_is_done_once_for_each_lock(suite: Suite) -> None:
    stand_in(suite, "activate", f"# {suite.project}/.venv")
    stand_in(suite, "python", 'echo "python $*"')
    set_up = ("bash", "-c", f"source {suite.project}/scripts/setup.sh; set_up")
    assert suite.run(*set_up) == (0, "")
    with (suite.project / "ops" / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    done = suite.run(*set_up)
    assert done.code == 0
    locked, project = [line for line in done.text.splitlines() if line.startswith("python ")]
    assert "--no-deps --require-hashes -r ops/requirements.lock" in locked
    assert "--no-deps --no-index --no-build-isolation -e ." in project
    assert suite.run(*set_up) == (0, "")


def test_a_path_too_long_for_a_socket_is_refused(suite: Suite) -> None:
    deep = suite.project.parent / ("d" * 80)
    suite.project.rename(deep)
    long_suite = Suite(deep)
    stamp = "source scripts/setup.sh; stamp >.venv/hedge.stamp"
    long_suite.run("bash", "-c", stamp, cwd=deep)
    up = long_suite.script("up")
    assert up.code == 1
    assert "too long for a socket" in up.text
    assert long_suite.left_over() == []


# ---------------------------------------------------------------- up and down


def test_a_taken_port_is_named_before_anything_starts(suite: Suite) -> None:
    suite.silence()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        hedge_conf = suite.project / "ops" / "hedge.conf"
        hedge_conf.write_text(
            re.sub(r"(--server\.port) \d+", rf"\1 {port}", hedge_conf.read_text())
        )
        up = suite.script("up")
        page = ("-m", "dashboard", "--server.address", "127.0.0.1", "--server.port", str(port))
        alone = suite.run(suite.project / ".venv" / "bin" / "python", *page, cwd=suite.project)
    assert up.code == 1
    assert f"port {port} is taken by another program; nothing was started." in up.text
    assert suite.left_over() == []
    assert alone.code == 78
    assert f"dashboard: 127.0.0.1:{port} cannot be listened on" in alone.text
    assert "change --server.port in ops/hedge.conf" in alone.text


def test_up_says_which_program_does_not_run_and_why(suite: Suite) -> None:
    suite.silence()
    sync = suite.project / "execution" / "sync_state.py"
    sync.write_text("import sys\n\nprint('HEDGE_ACCOUNT: mend this')\nsys.exit(78)\n")
    try:
        up = suite.script("up")
        assert up.code == 1
        assert "hedge:hedge-sync_state is FATAL; the end of logs/hedge-sync_state.log:" in up.text
        assert up.text.count("HEDGE_ACCOUNT: mend this") == 4  # tried, and tried again three times
        assert "hedge-executor is" not in up.text
        states = {name: process.state for name, process in suite.processes().items()}
        assert states.pop("hedge-sync_state") == "FATAL"
        assert set(states.values()) == {"RUNNING"}

        sync.write_text((suite.project / "execution" / "executor_live.py").read_text())
        mended = suite.script("up")
        assert mended.code == 0
        assert "not all of its programs are: starting those" in mended.text
        assert {process.state for process in suite.processes().values()} == {"RUNNING"}
    finally:
        down = suite.script("down")
    assert down == (0, "Stopping the suite ...\nStopped; no process is left.\n")
    assert suite.left_over() == []


def test_up_and_down_clear_what_a_killed_daemon_left(suite: Suite, tmp_path: Path) -> None:
    suite.silence()
    link = tmp_path / "start"
    link.symlink_to(suite.project / "scripts" / "up")
    bare_ctl = suite.project / ".venv" / "bin" / "supervisorctl"
    try:
        assert suite.run(link).code == 0
        # As with the environment active: no -c, from any folder.
        assert suite.run(bare_ctl, "start", "hedge:*").code == 0
        assert suite.run(bare_ctl, "pid").text == f"{suite.daemon_pid()}\n"

        first = suite.pids()
        os.kill(suite.daemon_pid(), signal.SIGKILL)
        again = suite.script("up")
        assert again.code == 0
        assert "Stopping what an earlier daemon left behind" in again.text
        assert set(suite.pids()) == PROGRAMS
        assert set(suite.pids().values()).isdisjoint(first.values())
        assert len(suite.left_over()) == 6

        # The daemon runs, but nobody can reach it any more.
        shutil.rmtree(suite.logs / "run")
    finally:
        down = suite.script("down")
    assert down.code == 0
    assert down.text.endswith("Stopped; no process is left.\n")
    wait_for("every process has ended", lambda: suite.left_over() == [], seconds=5)


def test_a_first_up_makes_a_private_env_and_keeps_an_existing_one(suite: Suite) -> None:
    files = ("bash", "-c", "source scripts/setup.sh; make_private_files")
    env = suite.project / ".env"
    assert "Made .env" in suite.run(*files, cwd=suite.project).text
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    assert env.read_text() == (suite.project / ".env.example").read_text()
    env.write_text("ENV=dev\n")
    assert suite.run(*files, cwd=suite.project) == (0, "")
    assert env.read_text() == "ENV=dev\n"


# ---------------------------------------------------------------- test, bench, ci


def keep_one_test(suite: Suite) -> None:
    needed = ("conftest.py", "exchange/planted.py")
    kept = {path: (suite.project / "tests" / path).read_text() for path in needed}
    shutil.rmtree(suite.project / "tests")
    (suite.project / "tests" / "exchange").mkdir(parents=True)
    for path, text in kept.items():
        (suite.project / "tests" / path).write_text(text)
    (suite.project / "tests" / "test_one.py").write_text(
        "import pytest\n\n\ndef test_short(): ...\n\n\n@pytest.mark.full\ndef test_long(): ...\n"
    )


def test_the_test_script_ends_with_pytests_closing_line(suite: Suite) -> None:
    stand_in(suite, "ruff", 'echo "ruff $*"')
    stand_in(suite, "mypy", 'echo "mypy $*"')
    keep_one_test(suite)
    short = suite.script("test")
    assert short.code == 0, short.text
    lines = short.text.splitlines()
    assert lines[:3] == ["ruff check .", "ruff format --check .", "mypy "]
    assert lines[-1].startswith("1 passed, 1 deselected in ")
    full = suite.script("test", "--full")
    assert full.text.splitlines()[-1].startswith("2 passed in ")
    chosen = suite.script("test", "-k", "long")
    assert chosen.code == 5
    assert chosen.text.splitlines()[-1].startswith("2 deselected in ")


@pytest.mark.parametrize(("tool", "told"), [("ruff", "ruff's findings"), ("mypy", "mypy's")])
def test_a_finding_stops_the_test_script(suite: Suite, tool: str, told: str) -> None:
    stand_in(suite, "ruff", "exit 0")
    stand_in(suite, "mypy", "exit 0")
    stand_in(suite, tool, "exit 1")
    found = suite.script("test")
    assert found.code == 1
    assert told in found.text
    assert "passed" not in found.text


def test_bench_runs_what_is_named(suite: Suite) -> None:
    benchmarks = suite.project / "scripts" / "benchmarks"
    (benchmarks / "publish.py").write_text("print('ratio 1.2')\n")
    assert suite.script("bench", "publish") == (0, "== publish\nratio 1.2\n")
    unknown = suite.script("bench", "nothing")
    assert unknown.code == 1
    assert "there is no benchmark scripts/benchmarks/nothing.py" in unknown.text


@pytest.mark.parametrize(
    ("user", "there", "asked"),
    [
        (0, (), "chromium default-jre-headless"),
        (0, ("java",), "chromium"),
        (0, ("java", "chromium"), None),
        (1000, (), None),
    ],
)
def test_ci_adds_the_system_programs_that_are_missing(
    suite: Suite, tmp_path: Path, user: int, there: tuple[str, ...], asked: str | None
) -> None:
    (suite.project / "scripts" / "test").write_text('#!/usr/bin/env bash\necho "tests: $*"\n')
    own = {"id": f"echo {user}", "apt-get": 'echo "apt-get $*"', **dict.fromkeys(there, "exit 0")}
    path = programs_only(tmp_path / "bin", **{"env": 'exec "$@"', **own})
    ran = suite.run(suite.project / ".ci" / "run", "--full", path=path)
    assert ran.code == 0
    lines = ran.text.splitlines()
    assert lines[-1] == "tests: --full"
    installs = [line for line in lines if " install " in line]
    assert [line.split("recommends ")[1] for line in installs] == ([asked] if asked else [])


# ---------------------------------------------------------------- from nothing


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_clean_copy_comes_up_with_its_own_environment(suite: Suite) -> None:
    shutil.rmtree(suite.project / ".venv")
    began = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if "HEDGE" not in name}
    up = subprocess.run(
        [suite.project / "scripts" / "up"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        took_s = time.monotonic() - began
        assert up.returncode == 0, up.stdout + up.stderr
        assert {process.state for process in suite.processes().values()} == {"RUNNING"}
        bare = suite.run(suite.project / ".venv" / "bin" / "supervisorctl", "start", "hedge:*")
        assert bare.code == 0
    finally:
        suite.script("down")
    assert suite.left_over() == []
    assert took_s < 180  # about 90 s where nothing else runs
