from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dashboard.reading import Reader
from execution import locks
from execution.clock import ManualClock, SystemClock
from execution.errors import ConfigError, LockHeld
from execution.state_schema import registry
from execution.state_schema.mirror_files import Mirror
from scripts.cli import contract, kill, status
from scripts.cli.sync import sync
from tests.support.firestore_server import FirestoreServer
from tests.support.mirrors import SHIPPED, Suite, allow, on_disk, points_in_journal, suite

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server() -> Iterator[FirestoreServer]:
    server = FirestoreServer()
    yield server
    server.stop()


@pytest.fixture
def book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FirestoreServer
) -> Iterator[Suite]:
    """Lend a suite whose clock is the machine's, because the commands have no other."""
    allow(monkeypatch, server.address)
    with suite(tmp_path, SHIPPED) as found:
        monkeypatch.setenv("HEDGE_LOG_DIR", str(found.log_dir))
        found.clock.set(SystemClock().now() - 70)
        found.tick()
        found.tick(1, seconds=65)
        yield found


def run(*words: str) -> Result:
    return CliRunner().invoke(sync, words)


def test_once_writes_what_is_new_and_says_so(book: Suite, server: FirestoreServer) -> None:
    done = run("--once")
    assert done.exit_code == 0, done.output
    assert "written" in done.output
    assert server.fields("state/nav")["nav"] == on_disk(book, "state/nav.json")["nav"]


def test_once_is_refused_beside_the_service(book: Suite, server: FirestoreServer) -> None:
    with locks.hold(book.log_dir / "run" / "sync.lock", "sync_state"):
        done = run("--once")
    assert isinstance(done.exception, LockHeld)
    assert server.calls == 0


def test_once_where_the_mirror_is_off_says_why(
    book: Suite, server: FirestoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALLOW_PROD_SYNC")
    done = run("--once")
    assert (done.exit_code, done.output) == (
        1,
        "the mirror is off: ALLOW_PROD_SYNC is not on in .env\n",
    )
    dry = run("--once", "--dry-run")
    assert dry.exit_code == 0
    assert "what is there was not looked at: ALLOW_PROD_SYNC" in dry.output
    assert "state/nav: " in dry.output
    assert server.calls == 0
    assert book.store.read(registry.NAV) is not None


def test_a_dry_run_tells_the_differences_and_writes_nothing(
    book: Suite, server: FirestoreServer
) -> None:
    new = run("--once", "--dry-run")
    assert "state/nav: new, " in new.output
    assert server.writes == 0
    book.sync_once()
    nav = book.store.read(registry.NAV)
    assert nav is not None
    before = (server.writes, set((book.log_dir / "run").iterdir()))
    same = run("--once", "--dry-run")
    assert same.exit_code == 0
    assert "state/nav: unchanged" in same.output
    book.store.write(registry.NAV, type(nav)(**{**fields(nav), "wallet_usd": 5.0}))
    changed = run("--once", "--dry-run")
    assert "state/nav: 1 values differ" in changed.output
    assert f"    wallet_usd: {nav.wallet_usd} -> 5.0\n" in changed.output
    assert (server.writes, set((book.log_dir / "run").iterdir())) == before


def fields(payload: object) -> dict[str, object]:
    return {name: getattr(payload, name) for name in payload.__struct_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [(), ("--dry-run",), ("--once", "pull", "--into", "x")])
def test_what_is_not_said_is_not_guessed(words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


# ---------------------------------------------------------------- pull


@pytest.fixture
def pulled(book: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    book.sync_once()
    book.pipelines_once()
    book.start_services()
    book.sync_once()
    for name in ("ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC"):
        monkeypatch.delenv(name)  # reading needs no guard
    folder = tmp_path / "pulled"
    done = run("pull", "--into", str(folder))
    assert done.exit_code == 0, done.output
    assert "17 files, 2 NAV points from " in done.output
    return folder


def test_a_pulled_folder_holds_the_contract(pulled: Path, book: Suite) -> None:
    findings = contract.inspect(pulled, SystemClock(), fresh=False)
    assert findings.ok, findings
    for file in registry.STATE_FILES:
        if file.owners != ("sync_state",):
            assert on_disk(book, file.path) == json.loads((pulled / file.path).read_text())
    assert (pulled / "synced_state.json").read_bytes() == (
        pulled / "state/synced_state.json"
    ).read_bytes()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in pulled.rglob("*.json*")}
    assert len(modes) == 20
    assert set(modes.values()) == {0o444}


def test_the_page_and_the_tools_read_it_as_a_mirror(
    pulled: Path, book: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Reader(pulled, ManualClock(book.clock.now())).read(registry.NAV_SERIES)
    assert isinstance(seen.mirror, Mirror)
    assert seen.mirror.source.endswith("/hedge/dev")
    assert [(point.ts, point.nav_usd) for point in seen.journals["nav"]] == points_in_journal(book)
    monkeypatch.setenv("HEDGE_LOG_DIR", str(pulled))
    shown = CliRunner().invoke(status.status, ["--json"])
    assert json.loads(shown.output)["nav"]["content"]["nav"] == seen.of(registry.NAV).nav  # type: ignore[union-attr]


def test_nobody_works_in_a_pulled_folder(pulled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEDGE_LOG_DIR", str(pulled))
    for refused in (
        run("--once"),
        CliRunner().invoke(kill.kill, ["on", "--reason", "test"]),
    ):
        assert isinstance(refused.exception, ConfigError)
        assert "is a mirror" in str(refused.exception)
    for module in ("execution.executor_live", "execution.sync_state"):
        ended = subprocess.run(
            [sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 78
        assert "is a mirror" in ended.stderr


def test_a_second_pull_renews_it(pulled: Path, book: Suite, server: FirestoreServer) -> None:
    before = (pulled / "state/nav.json").read_bytes()
    path = next(name for name in server.documents if name.endswith("state/nav"))
    server.put(path, {**server.fields("state/nav"), "nav": 5.0, "nav_usd": 5.0})
    assert run("pull", "--into", str(pulled)).exit_code == 0
    assert (pulled / "state/nav.json").read_bytes() != before
    assert json.loads((pulled / "state/nav.json").read_text())["nav"] == 5.0
    assert book.store.read(registry.NAV) is not None


def test_a_suites_own_folder_is_never_written_into(
    pulled: Path, book: Suite, tmp_path: Path
) -> None:
    before = (book.log_dir / "state" / "nav.json").read_bytes()
    own = run("pull", "--into", str(book.log_dir))
    assert "is not empty, and not a copy of a mirror" in str(own.exception)
    locks.hold(book.log_dir / "run" / "executor.lock", "executor").release()
    assert "is an executor's log folder" in str(run("pull", "--into", str(book.log_dir)).exception)
    (pulled / "run" / "executor.lock").touch()
    assert "is an executor's log folder" in str(run("pull", "--into", str(pulled)).exception)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter").touch()
    assert "is not empty" in str(run("pull", "--into", str(tmp_path / "other")).exception)
    assert (book.log_dir / "state" / "nav.json").read_bytes() == before


def test_what_is_missing_in_the_mirror_is_named(
    book: Suite, server: FirestoreServer, tmp_path: Path
) -> None:
    book.sync_once()
    for name in list(server.documents):
        if name.endswith("state/expectancy_v6"):
            del server.documents[name]
    done = run("pull", "--into", str(tmp_path / "pulled"))
    assert done.exit_code == 1
    assert "state/expectancy_v6 is not in the mirror" in done.output


def test_another_accounts_mirror_is_not_pulled(
    book: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.sync_once()
    monkeypatch.setenv("HEDGE_ACCOUNT", "second")
    done = run("pull", "--into", str(tmp_path / "pulled"))
    assert "the mirror is of account main, not second" in str(done.exception)
    assert not (tmp_path / "pulled").exists()


def test_without_a_target_there_is_nothing_to_pull(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_PROJECT_ID", "p")
    done = run("pull", "--into", str(tmp_path / "pulled"))
    assert "CREDENTIALS is not set" in str(done.exception)
