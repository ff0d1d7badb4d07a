"""The lock holds every dependency, pinned and hashed, and names no machine."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.house import Module, read_modules

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "ops" / "requirements.lock"
OWN = {"execution", "scripts", "dashboard"}
RENEW = (
    "renew it with: uv pip compile --universal --generate-hashes --no-header --no-annotate "
    "--extra dev pyproject.toml -o ops/requirements.lock"
)

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


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def undeclared(modules: list[Module], declared: set[str]) -> set[str]:
    """Name the packages that these modules import and that no declared distribution brings."""
    brings = packages_distributions()
    imported = {target.split(".")[0] for module in modules for _, target in module.imports}
    foreign = imported - sys.stdlib_module_names - OWN
    return {name for name in foreign if not declared & {plain(d) for d in brings.get(name, [])}}


def test_every_line_is_one_exact_version_with_its_hashes() -> None:
    text = LOCK.read_text()
    assert len(pinned_names(text)) > 40
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
