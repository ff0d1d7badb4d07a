"""What every test stands on: a clean environment, long proofs on request, a copy of the project."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest

from tests.exchange.planted import is_planted, planted

ROOT = Path(__file__).resolve().parents[1]

# Every variable of the contract, but for FIRESTORE_EMULATOR_JAR, which speaks to the tests.
CONTRACT_VARIABLES = (
    "ENV",
    "DRY_RUN",
    "BINANCE_TESTNET",
    "MARKET",
    "HEDGE_ACCOUNT",
    "BINANCE_API_KEY",
    "BINANCE_API_SECRET",
    "BINANCE_BASE_URL",
    "ALLOW_PROD_WRITE",
    "ALLOW_PROD_SYNC",
    "FIRESTORE_PROJECT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "FIRESTORE_EMULATOR_HOST",
    "INTEL_V6_ENABLED",
    "RISK_ENGINE_V6_ENABLED",
    "PIPELINE_V6_SHADOW_ENABLED",
    "ROUTER_AUTOTUNE_V6_ENABLED",
    "FEEDBACK_ALLOCATOR_V6_ENABLED",
    "ROUTER_AUTOTUNE_V6_APPLY_ENABLED",
    "HEDGE_LOG_DIR",
    "HEDGE_OPS_DIR",
    "HEDGE_ENV_FILE",
    "PAPER_FAULTS",
    "NAV_CUTOFF_ISO",
    "NAV_CUTOFF_SECAGO",
    "MAX_LOOPS",
)
SCRUBBED_PREFIXES = ("ALLOW_", "SUPERVISOR_", "HEDGE_")

# A machine that is busy with the other half of the tests is slow, not wrong.
hypothesis.settings.register_profile(
    "hedge", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("hedge")


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Take away what the machine says, so that a test hears only what it says itself."""
    for name in [*os.environ]:
        if name in CONTRACT_VARIABLES or name.startswith(SCRUBBED_PREFIXES):
            monkeypatch.delenv(name)
    folder = tmp_path_factory.mktemp("environment")
    monkeypatch.setenv("HEDGE_LOG_DIR", str(folder / "logs"))
    monkeypatch.setenv("HEDGE_ENV_FILE", str(folder / "no.env"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "machine"))


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder whose path is short: a log folder holds a socket, with 107 bytes at most."""
    return tmp_path_factory.mktemp("t")


# ---------------------------------------------------------------- no key in any output


@pytest.fixture(scope="session", autouse=True)
def no_planted_key_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search every file that the tests left behind, once at the end."""
    yield
    found = planted(tmp_path_factory.getbasetemp())
    assert found == [], f"a planted key stands in {found}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Fail a test whose output, log or traceback shows a planted key."""
    outcome = yield
    report = outcome.get_result()
    if is_planted("\n".join([report.longreprtext, *(text for _, text in report.sections)])):
        report.outcome = "failed"
        report.sections, report.longrepr = [], "a planted key stands in what this test wrote"


# ---------------------------------------------------------------- a project of one's own


@pytest.fixture
def scratch_project() -> Iterator[Path]:
    """Copy this checkout into a folder of its own, with its set-up done and its own port."""
    with _scratch_project() as project:
        yield project


@pytest.fixture(scope="module")
def module_project() -> Iterator[Path]:
    """Copy this checkout as `scratch_project` does, once for all tests of a file."""
    with _scratch_project() as project:
        yield project


@contextmanager
def _scratch_project() -> Iterator[Path]:
    # Not pytest's temporary folder: the path must be short enough for a socket.
    with tempfile.TemporaryDirectory(prefix="hedge-", dir="/tmp") as folder:
        project = Path(folder) / "p"
        _copy_checkout(project)
        _borrow_venv(project / ".venv")
        hedge_conf = project / "ops" / "hedge.conf"
        hedge_conf.write_text(hedge_conf.read_text().replace(" 8501 ", f" {_free_port()} "))
        finish = "source scripts/setup.sh && write_supervisor_defaults && stamp >.venv/hedge.stamp"
        subprocess.run(["bash", "-c", finish], cwd=project, check=True)
        yield project


def _copy_checkout(to: Path) -> None:
    """Copy what git knows of this checkout or would take in, without its history."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listing.split("\0")):
        target = to / name
        if (ROOT / name).is_file():  # git also lists what was deleted and not yet committed
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def _borrow_venv(to: Path) -> None:
    """Make an environment that uses the programs and packages of the one that runs the tests."""
    (to / "bin").mkdir(parents=True)
    for program in (Path(sys.prefix) / "bin").iterdir():
        (to / "bin" / program.name).symlink_to(program)
    (to / "lib").symlink_to(Path(sys.prefix) / "lib")
    shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", to)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


# ---------------------------------------------------------------- the long proofs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long proofs too")
    parser.addoption("--picture", action="store_true", help="take README's picture of the page")
    parser.addoption("--keep-pictures", metavar="DIR", help="copy the pictures of every page there")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    long_proofs = [item for item in items if item.get_closest_marker("full") is not None]
    if long_proofs:
        config.hook.pytest_deselected(items=long_proofs)
        items[:] = [item for item in items if item not in long_proofs]


class _DeselectedByWorkers:
    """Brings xdist's closing line what only its workers know: which tests were left out."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left_out: list[str] = []

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._left_out.extend(item.nodeid for item in items)

    def pytest_sessionfinish(self) -> None:
        # Each worker collects everything; the first one speaks for all.
        if getattr(self._config, "workerinput", {}).get("workerid") == "gw0":
            self._config.workeroutput["left_out"] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        left_out = getattr(node, "workeroutput", {}).get("left_out", [])
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        told = reporter.stats.setdefault("deselected", [])
        told.extend(SimpleNamespace(nodeid=nodeid) for nodeid in left_out)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_DeselectedByWorkers(config))
