"""The locks hold every dependency, pinned and hashed, and name no machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.house import Module, read_modules

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "ops" / "requirements.lock"
OWN = {"execution", "scripts", "dashboard"}
RENEW = (
    "renew it with: uv pip compile --universal --generate-hashes --no-header --no-annotate "
    "--extra dev pyproject.toml -o ops/requirements.lock"
)
EXECUTOR_LOCK = ROOT / "ops" / "requirements-executor.lock"
RENEW_EXECUTOR = (
    "renew it with: uv pip compile --universal --generate-hashes --no-header --no-annotate "
    "--group executor -c ops/requirements.lock -o ops/requirements-executor.lock"
)
# Lets a program import what the standard library, this project and the named packages bring.
ALONE = """
import runpy, sys
from importlib.metadata import packages_distributions
names = set(sys.argv.pop(1).split(","))
brings = packages_distributions()
class Missing:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        owners = {each.replace("_", "-").lower() for each in brings.get(top, [])}
        if owners and not owners & names:
            raise ModuleNotFoundError(f"{name} would not be installed", name=name)
sys.meta_path.insert(0, Missing())
for first in filter(None, sys.argv.pop(1).split(",")):
    __import__(first)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""

PINNED = re.compile(r"(?P<name>[a-z0-9-]+)==[\w.!+]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")


def read_entries(text: str) -> list[str]:
    """Join each requirement with the hashes on its continued lines."""
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines()]


def unpinned(text: str) -> list[str]:
    return [entry for entry in read_entries(text) if PINNED.fullmatch(entry) is None]


def pinned_names(text: str) -> set[str]:
    found = (PINNED.fullmatch(entry) for entry in read_entries(text))
    return {match["name"] for match in found if match is not None}


def required_names(*, with_dev: bool) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = project["dependencies"]
    if with_dev:
        required = required + project["optional-dependencies"]["dev"]
    names = [re.match(r"[\w.-]+", requirement) for requirement in required]
    return {plain(name[0]) for name in names if name is not None}


def needed(names: set[str]) -> set[str]:
    """Name these distributions and, as they are installed here, all that they require."""
    found: set[str] = set()
    wanted = [Requirement(name) for name in names]
    while wanted:
        one = wanted.pop()
        found.add(plain(one.name))
        for extra in one.extras or {""}:
            inner = (Requirement(text) for text in requires(one.name) or [])
            for each in inner:
                if each.marker is None or each.marker.evaluate({"extra": extra}):
                    wanted += [each] if plain(each.name) not in found else []
    return found


def executor_names() -> set[str]:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return set(groups["executor"])


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def undeclared(modules: list[Module], declared: set[str]) -> set[str]:
    """Name the packages that these modules import and that no declared distribution brings."""
    brings = packages_distributions()
    imported = {target.split(".")[0] for module in modules for _, target in module.imports}
    foreign = imported - sys.stdlib_module_names - OWN
    return {name for name in foreign if not declared & {plain(d) for d in brings.get(name, [])}}


@pytest.mark.parametrize(("lock", "least"), [(LOCK, 40), (EXECUTOR_LOCK, 20)])
def test_every_line_is_one_exact_version_with_its_hashes(lock: Path, least: int) -> None:
    text = lock.read_text()
    assert len(pinned_names(text)) > least
    assert unpinned(text) == [], RENEW


@pytest.mark.parametrize(
    "line",
    [
        "click==8.5.1",
        "click>=8.5.1 --hash=sha256:" + "a" * 64,
        "click==8.5.1 --hash=sha256:" + "a" * 63,
        "click @ https://host/click.whl --hash=sha256:" + "a" * 64,
        "--find-links https://host/",
        "-e .",
        "# from /some/folder/pyproject.toml",
    ],
)
def test_anything_else_is_found(line: str) -> None:
    assert unpinned(line) == [line]


def test_it_names_no_host_and_no_folder() -> None:
    assert re.findall(r"://|(?<![\w.])/\w|file:", LOCK.read_text()) == []


def test_every_dependency_of_the_project_is_in_it() -> None:
    required = required_names(with_dev=True)
    assert {"msgspec", "google-cloud-firestore", "pytest"} <= required
    assert required - pinned_names(LOCK.read_text()) == set(), RENEW


def test_everything_imported_is_declared() -> None:
    runtime = required_names(with_dev=False)
    assert undeclared(read_modules("execution", "scripts", "dashboard"), runtime) == set()
    assert undeclared([Module("execution/boot.py", "import pytest, nowhere")], runtime) == {
        "pytest",
        "nowhere",
    }


def test_no_package_is_pinned_twice_for_one_interpreter() -> None:
    entries = read_entries(LOCK.read_text())
    twice = [entry.split("==")[0] for entry in entries if " ; " not in entry]
    assert len(twice) == len(set(twice))


# ---------------------------------------------------------------- a machine that only trades


def test_the_lock_of_the_executor_is_a_part_of_the_lock() -> None:
    every = set(read_entries(LOCK.read_text()))
    assert set(read_entries(EXECUTOR_LOCK.read_text())) - every == set(), RENEW_EXECUTOR
    assert executor_names() <= required_names(with_dev=True)


def test_the_lock_of_the_executor_holds_what_its_packages_need_and_no_more() -> None:
    pinned = pinned_names(EXECUTOR_LOCK.read_text())
    elsewhere = {e.split("==")[0] for e in read_entries(EXECUTOR_LOCK.read_text()) if " ; " in e}
    wanted = needed(executor_names())
    assert wanted - pinned == set(), RENEW_EXECUTOR
    assert pinned - wanted - elsewhere == set(), RENEW_EXECUTOR
    assert {"streamlit", "google-cloud-firestore"} & pinned == set()


@pytest.mark.parametrize(
    ("first", "program"),
    [
        ("ccxt", ("execution.executor_live",)),
        ("", ("execution.sync_state",)),
        ("", ("scripts.pipeline_shadow_heartbeat",)),
        ("", ("scripts.pipeline_compare_service",)),
        ("scripts.cli.replay,scripts.cli.shadow,scripts.cli.status", ("scripts.cli", "--help")),
    ],
    ids=["executor", "sync_state", "heartbeat", "compare", "hedge"],
)
def test_a_machine_that_only_trades_needs_nothing_else(
    tmp_path: Path, first: str, program: tuple[str, ...]
) -> None:
    done = run_alone(tmp_path, first, *program)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_what_would_not_be_installed_is_found_out(tmp_path: Path) -> None:
    done = run_alone(tmp_path, "streamlit", "scripts.cli")
    assert "streamlit would not be installed" in done.stderr


def run_alone(folder: Path, first: str, *program: str) -> subprocess.CompletedProcess[str]:
    """Run a program once with the packages of the executor's lock alone, importing `first` first."""
    names = ",".join(sorted({"hedge"} | pinned_names(EXECUTOR_LOCK.read_text())))
    return subprocess.run(
        (sys.executable, "-c", ALONE, names, first, *program),
        cwd=ROOT,
        env={
            "PATH": os.defpath,
            "HEDGE_LOG_DIR": str(folder / "logs"),
            "HEDGE_ENV_FILE": str(folder / ".env"),
            "MAX_LOOPS": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
