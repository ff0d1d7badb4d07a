"""Pipes, folders, devices, endless and deep files where a file is read or written at a known path.

A reader says which file it cannot use; a writer says what it could not write. Nobody waits.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from execution import boot, environment, settings, toml_files
from execution.clock import ManualClock
from execution.disk_reserve import DiskReserve
from execution.environment import ROOT
from execution.errors import ConfigError, LedgerError
from execution.jsonl_files import find_end
from execution.jsonl_log import JsonlLogger, Lost, read_from, tail
from execution.ledger_file import LedgerFile
from execution.operator_requests import OperatorRequests
from execution.state_publish import JournalSet
from execution.state_schema.journals import MarkPoint
from execution.state_schema.registry import COMMANDS, MARKS
from execution.venue.paper_store import PaperStore
from execution.venue.recording import Recording
from scripts.cli import ops_edits

NOW = 1_790_000_000.0
ENDLESS_BYTES = 1 << 30
PEAK_BYTES = 16 << 20
LIMITS = {"max_bytes": 1 << 30, "backups": 8, "max_age_s": 1e9}
LIVE = ("services.toml", "risk.toml", "universe.toml", "strategy.toml", "router.toml", "intel.toml")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    path.symlink_to(path)


def endless(path: Path) -> None:
    """Leave a file that is far larger than it may be, and takes no room."""
    path.touch()
    os.truncate(path, ENDLESS_BYTES)


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00\x1b[2J = \n[[[[")


def deep_lists(path: Path) -> None:
    path.write_bytes(b"a = " + b"[" * 50_000)


def deep_tables(path: Path) -> None:
    path.write_bytes(b"a." * 800 + b"a = 1\n")


SHAPELESS = (pipe, folder, device, circle, endless, garbage)
PLANTED = (*SHAPELESS, deep_lists, deep_tables)
Plant = Callable[[Path], None]


def replaced(path: Path, plant: Plant) -> Path:
    path.unlink(missing_ok=True)
    plant(path)
    return path


@pytest.fixture(autouse=True)
def nothing_endless_is_left(tmp_path: Path) -> Iterator[None]:
    """Take away what the search for planted keys would read to its end."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "ops", tmp_path / "ops", ignore=shutil.ignore_patterns("backups"))
    return tmp_path / "ops"


# ---------------------------------------------------------------- what refuses to start


@pytest.mark.parametrize("plant", PLANTED)
@pytest.mark.parametrize("name", LIVE)
def test_a_toml_file_is_refused_by_name(ops: Path, name: str, plant: Plant) -> None:
    path = replaced(ops / name, plant)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=f"^{path}: "):
        settings.load({"HEDGE_OPS_DIR": str(ops)})
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < PEAK_BYTES


@pytest.mark.parametrize("plant", PLANTED)
def test_a_candidate_leaves_the_live_policy_alone(ops: Path, plant: Plant) -> None:
    path = replaced(ops / "shadow.toml", plant)
    found = settings.load({"HEDGE_OPS_DIR": str(ops)})
    assert found.shadow_policy is None
    assert str(found.shadow_problem).startswith(f"{path}: ")


@pytest.mark.parametrize("plant", SHAPELESS)
def test_a_dotenv_is_refused_by_name(tmp_path: Path, plant: Plant) -> None:
    path = replaced(tmp_path / ".env", plant)
    with pytest.raises(ConfigError, match=f"^{path}: "):
        settings.load({"HEDGE_ENV_FILE": str(path)})
    # What decides anew in each cycle whether it may publish goes on, and is told why it may not.
    values = settings.publish_values({"HEDGE_ENV_FILE": str(path)})
    assert str(values.problem).startswith(f"{path}: ")
    assert values.dotenv == {}


@pytest.mark.parametrize("plant", SHAPELESS)
def test_a_version_is_refused_by_name(tmp_path: Path, plant: Plant) -> None:
    path = replaced(tmp_path / "VERSION", plant)
    with pytest.raises(ConfigError, match=f"^{path}: "):
        settings.engine_version(tmp_path)


@pytest.mark.parametrize("plant", PLANTED)
def test_a_fault_file_is_refused_by_name(tmp_path: Path, plant: Plant) -> None:
    path = replaced(tmp_path / "faults.toml", plant)
    values = {"PAPER_FAULTS": str(path), "HEDGE_LOG_DIR": str(tmp_path / "logs")}

    def begin() -> None:
        found = settings.load(values)
        settings.prepare_log_dir(found)
        boot.build(found, ManualClock(NOW))

    with pytest.raises((ConfigError, OSError), match=str(path)) as refused:
        begin()
    assert isinstance(refused.value, ConfigError)


@pytest.mark.parametrize("plant", [*SHAPELESS, deep_lists])
def test_a_manifest_of_a_promotion_is_refused_by_name(ops: Path, plant: Plant) -> None:
    backup = ops / "backups" / "20260921T141320Z-0000"
    backup.mkdir(parents=True)
    path = backup / ops_edits.MANIFEST
    target = ops / "elsewhere.json"  # found by what is there, which is a file only behind a link
    plant(target)
    path.symlink_to(target)
    with pytest.raises(
        ConfigError, match=r"manifest\.json: (cannot be read|is damaged)|no promotion"
    ):
        ops_edits.roll_back(ops, force=True)


def test_a_manifest_leads_to_no_other_file(ops: Path, tmp_path: Path) -> None:
    backup = ops / "backups" / "20260921T141320Z-0000"
    backup.mkdir(parents=True)
    (tmp_path / "victim").write_text("mine")
    manifest = b'{"ts":1,"live_policy":"a","shadow_policy":"b","left":{"../victim":"x"}}'
    (backup / ops_edits.MANIFEST).write_bytes(manifest)
    (backup.parent / "victim").write_text("theirs")
    with pytest.raises(ConfigError, match=r"manifest.json: '\.\./victim' is no file"):
        ops_edits.roll_back(ops, force=True)
    assert (tmp_path / "victim").read_text() == "mine"


# ---------------------------------------------------------------- recordings

FUNDING = "BTCUSDT-8h-funding_rate.csv"


@pytest.mark.parametrize("plant", [pipe, folder, device, endless, garbage])
def test_a_recording_is_refused_by_name(tmp_path: Path, plant: Plant) -> None:
    (tmp_path / FUNDING).write_text("ts_ms,funding_rate\n")
    path = replaced(tmp_path / "BTCUSDT-1m.csv", plant)
    with pytest.raises(ConfigError, match=f"^{path}: "):
        Recording(tmp_path, ["BTCUSDT"])


def test_a_packed_line_without_an_end_is_refused_without_being_held(tmp_path: Path) -> None:
    (tmp_path / FUNDING).write_text("ts_ms,funding_rate\n")
    path = tmp_path / "BTCUSDT-1m.csv.gz"
    header = b"ts_ms,open,high,low,close,volume\n"
    path.write_bytes(gzip.compress(header + b"1" * (64 << 20), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(ConfigError, match=f"^{path}: line 2: ") as refused:
        Recording(tmp_path, ["BTCUSDT"])
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < PEAK_BYTES
    assert len(str(refused.value)) < 4_000


# ---------------------------------------------------------------- journals


@pytest.mark.parametrize("plant", [pipe, folder, device, circle])
def test_a_journal_that_is_no_file_loses_its_lines_and_nothing_else(
    tmp_path: Path, plant: Plant
) -> None:
    path = replaced(tmp_path / "marks.jsonl", plant)
    logger = JsonlLogger(path, ManualClock(NOW), **LIMITS)  # type: ignore[arg-type]
    mark = MarkPoint(ts=NOW, run_id="r" * 8_000, symbol="BTCUSDT", mark_price=1.0, quote_ts=NOW)
    for _ in range(20):  # more than a pipe holds
        lost = logger.write(mark)
        assert isinstance(lost, Lost)
        assert lost.journal == "marks.jsonl"
        assert lost.reason
    logger.close()


@pytest.mark.parametrize("plant", [pipe, folder, device, circle])
@pytest.mark.parametrize(
    "read", [partial(tail, count=5, decode=bytes), partial(read_from, position=None, decode=bytes)]
)
def test_a_journal_that_is_no_file_cannot_be_read(
    tmp_path: Path, plant: Plant, read: Callable[[Path], object]
) -> None:
    with pytest.raises(OSError, match=r"not a regular file|symbolic links"):
        read(replaced(tmp_path / "marks.jsonl", plant))


@pytest.mark.parametrize("plant", SHAPELESS)
def test_requests_that_cannot_be_read_are_none(tmp_path: Path, plant: Plant) -> None:
    (tmp_path / "run").mkdir()
    replaced(tmp_path / COMMANDS.path, plant)
    clock = ManualClock(NOW)
    asked = OperatorRequests(tmp_path, clock, JournalSet(tmp_path, clock, **LIMITS), "r")  # type: ignore[arg-type]
    for _ in range(3):
        assert asked.read(NOW).pending == ()


def test_the_end_of_a_journal_of_nothing_but_zeros_is_found_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    path.touch()
    os.truncate(path, 128 << 20)  # as a power loss can leave it: byte by byte, minutes
    end = find_end(path)
    assert end is not None
    assert end.offset == 0
    with path.open("ab") as file:
        file.write(b"\n")
    assert read_from(path, find_end(path), MARKS.decoder.decode).records == ()


# ---------------------------------------------------------------- databases, reserve, folders


def link(path: Path) -> None:
    path.with_name("victim").write_bytes(b"")
    path.symlink_to("victim")


def dangling(path: Path) -> None:
    path.symlink_to("victim")


@pytest.mark.parametrize("plant", [pipe, folder, device, circle, link, dangling])
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("begin", [LedgerFile, PaperStore])
def test_a_database_is_refused_by_name_and_nothing_is_written_behind_it(
    tmp_path: Path, begin: type[LedgerFile | PaperStore], suffix: str, plant: Plant
) -> None:
    path = tmp_path / "paper-main.sqlite"
    opens = partial(begin, path, "paper", "main") if begin is LedgerFile else partial(begin, path)
    if suffix:
        opens().close()
    replaced(Path(f"{path}{suffix}"), plant)
    with pytest.raises(LedgerError, match=f"{path}{suffix} is not a regular file"):
        opens()
    victim = tmp_path / "victim"
    assert not victim.exists() or victim.read_bytes() == b""


@pytest.mark.parametrize("plant", [pipe, folder, device, circle])
def test_a_reserve_that_is_no_file_is_no_reserve(tmp_path: Path, plant: Plant) -> None:
    reserve = DiskReserve(replaced(tmp_path / "reserve", plant), 1 << 20)
    assert reserve.check() is True
    reserve.free()


def test_the_folders_of_a_book_are_nobody_elses(tmp_path: Path) -> None:
    found = settings.load({"HEDGE_LOG_DIR": str(tmp_path / "logs")})
    before = os.umask(0)
    try:
        settings.prepare_log_dir(found)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "logs").iterdir()}
    assert modes == {"state": 0o750, "execution": 0o750, "ledger": 0o750, "run": 0o700}
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("name", [".", "state", "execution", "ledger", "run"])
def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path, name: str) -> None:
    found = settings.load({"HEDGE_LOG_DIR": str(tmp_path / "logs")})
    settings.prepare_log_dir(found)
    folder = tmp_path / "logs" / name
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match=f"chmod o-w {folder}"):
        settings.prepare_log_dir(found)


def test_the_bounds_leave_room_for_what_is_there() -> None:
    assert max(path.stat().st_size for path in (ROOT / "ops").glob("*.toml")) * 8 < (
        toml_files.MAX_BYTES
    )
    assert (ROOT / ".env.example").stat().st_size * 8 < environment.DOTENV_BYTES
