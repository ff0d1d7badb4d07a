from __future__ import annotations

import fcntl
import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import state_store
from execution.clock import ManualClock
from execution.core.payloads import nav, positions, shadow_head
from execution.core.payloads.shadow_head import ShadowFacts
from execution.errors import StateWriteError
from execution.state_schema.files import Nav, ShadowHead
from execution.state_schema.registry import NAV, POSITIONS, SHADOW_HEAD, SYNCED
from execution.state_store import StateStore, Unreadable
from scripts.benchmarks import sample

NOW = sample.NOW


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> StateStore:
    return StateStore(tmp_path, clock)


def a_nav() -> Nav:
    return nav.build(sample.tick(0), sample.run_info())


def a_head(now: float = NOW) -> ShadowHead:
    return shadow_head.build(ShadowFacts(), "v6", sample.FLAGS, "r", now)


def kind(found: object) -> str:
    assert isinstance(found, Unreadable), found
    return found.kind


# ---------------------------------------------------------------- writing


def test_what_is_written_is_read(store, tmp_path):
    written = store.write(NAV, a_nav())
    assert store.read(NAV) == written
    assert written.nav == 100_000.0
    assert written.written_ts == NOW
    raw = json.loads((tmp_path / "state/nav.json").read_bytes())
    assert raw["nav_usd"] == 100_000.0
    assert raw["identity_residual_usd"] == 0.0


def test_only_seq_and_written_ts_are_set(store, clock):
    first = store.write(NAV, a_nav())
    clock.advance(5)
    second = store.write(NAV, a_nav())
    assert msgspec.structs.replace(second, seq=first.seq, written_ts=first.written_ts) == first
    assert second.written_ts == NOW + 5
    assert second.updated_ts == NOW


def test_seq_is_epoch_milliseconds_or_one_more_than_the_last(store, clock):
    assert store.write(NAV, a_nav()).seq == int(NOW * 1000)
    assert store.write(NAV, a_nav()).seq == int(NOW * 1000) + 1
    clock.advance(2)
    assert store.write(NAV, a_nav()).seq == int((NOW + 2) * 1000)


def test_seq_grows_across_a_restart_and_a_clock_that_steps_back(store, tmp_path):
    last = store.write(NAV, a_nav()).seq
    again = StateStore(tmp_path, ManualClock(NOW - 3600))
    assert again.write(NAV, a_nav()).seq == last + 1


def test_seq_grows_after_a_wiped_folder(store, clock, tmp_path):
    last = store.write(NAV, a_nav()).seq
    (tmp_path / "state/nav.json").unlink()
    (tmp_path / "state").rmdir()
    clock.advance(0.5)
    assert store.write(NAV, a_nav()).seq > last
    assert StateStore(tmp_path, ManualClock(NOW + 1)).write(NAV, a_nav()).seq > last


@pytest.mark.parametrize("content", [b"", b"{", b'{"seq": 1e400}', b'{"seq": 9223372036854775807}'])
def test_a_broken_predecessor_does_not_stop_the_writer(store, tmp_path, content):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/nav.json").write_bytes(content)
    assert store.write(NAV, a_nav()).seq == int(NOW * 1000)


@given(st.lists(st.floats(-7200, 7200), min_size=2, max_size=8))
def test_seq_never_goes_back_whatever_the_clock_does(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("seq")
    last = 0
    for step in steps:
        written = StateStore(folder, ManualClock(NOW + step)).write(NAV, a_nav())
        assert written.seq > last
        last = written.seq


def test_the_twin_has_identical_bytes(store, tmp_path):
    report, run = sample.tick(3), sample.run_info()
    rows = positions.rows(report.state.book)
    store.write(SYNCED, positions.build_synced(report, run, rows))
    one = (tmp_path / "synced_state.json").read_bytes()
    assert one == (tmp_path / "state/synced_state.json").read_bytes()
    assert len(json.loads(one)["items"]) == 3


def test_the_file_is_not_for_everyone(store, tmp_path):
    store.write(NAV, a_nav())
    mode = stat.S_IMODE((tmp_path / "state/nav.json").stat().st_mode)
    assert mode & 0o007 == 0
    assert mode & 0o600 == 0o600


def test_no_temporary_is_left(store, tmp_path):
    store.write(NAV, a_nav())
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["nav.json"]


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(store, tmp_path):
    (tmp_path / "state").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "state/nav.json").symlink_to(victim)
    store.write(NAV, a_nav())
    assert victim.read_text() == "precious"
    assert not (tmp_path / "state/nav.json").is_symlink()


# ---------------------------------------------------------------- what may not be written


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_in_a_required_float_names_file_and_field(store, tmp_path, number):
    store.write(NAV, a_nav())
    before = (tmp_path / "state/nav.json").read_bytes()
    with pytest.raises(StateWriteError, match=r"state/nav\.json.*nav_usd"):
        store.write(NAV, msgspec.structs.replace(a_nav(), nav_usd=number))
    assert (tmp_path / "state/nav.json").read_bytes() == before


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_in_an_optional_float_is_null(store, tmp_path, number):
    store.write(NAV, msgspec.structs.replace(a_nav(), wallet_usd=number))
    assert json.loads((tmp_path / "state/nav.json").read_bytes())["wallet_usd"] is None


def test_nan_in_a_row_names_the_row(store):
    report, run = sample.tick(2), sample.run_info()
    rows = positions.rows(report.state.book)
    bad = (rows[0], msgspec.structs.replace(rows[1], qty=math.nan))
    with pytest.raises(StateWriteError, match=r"rows\[1\]\.qty|rows\[\.\.\.\]\.qty"):
        store.write(POSITIONS, positions.build(report, run, bad))


@pytest.mark.parametrize(
    ("field", "value"),
    [("engine_version", ""), ("engine_version", 7), ("updated_ts", 3.0), ("known", "yes")],
)
def test_a_payload_against_the_contract_is_refused(store, field, value):
    with pytest.raises(StateWriteError, match=field):
        store.write(NAV, msgspec.structs.replace(a_nav(), **{field: value}))


def test_text_that_is_no_unicode_is_refused(store):
    with pytest.raises(StateWriteError, match=r"state/nav\.json"):
        store.write(NAV, msgspec.structs.replace(a_nav(), engine_version="\ud800"))


def test_an_oversized_payload_is_refused(store):
    with pytest.raises(StateWriteError, match=r"state/nav\.json.*limit"):
        store.write(NAV, msgspec.structs.replace(a_nav(), engine_version="v" * 9_000_000))


def test_a_folder_in_the_way_is_named_and_leaves_nothing(store, tmp_path):
    (tmp_path / "state/nav.json").mkdir(parents=True)
    with pytest.raises(StateWriteError, match=r"state/nav\.json"):
        store.write(NAV, a_nav())
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["nav.json"]


def test_a_file_where_the_folder_should_be_is_named(store, tmp_path):
    (tmp_path / "state").write_text("not a folder")
    with pytest.raises(StateWriteError, match=r"state/nav\.json: Not a directory"):
        store.write(NAV, a_nav())


FULL = """
import resource, signal, sys
from pathlib import Path
from execution.clock import SystemClock
from execution.core.payloads import positions
from execution.errors import StateWriteError
from execution.state_schema.registry import POSITIONS
from execution.state_store import StateStore
from scripts.benchmarks import sample

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then ends midway, as on a full disk
store = StateStore(Path(sys.argv[1]), SystemClock())

def write(legs):
    report = sample.tick(legs)
    rows = positions.rows(report.state.book)
    return store.write(POSITIONS, positions.build(report, sample.run_info(), rows))

write(2)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    write(200)
except StateWriteError as error:
    print(error)
"""


def test_a_disk_that_is_full_midway_keeps_the_last_file_and_leaves_nothing(store, tmp_path):
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "state/positions.json: File too large\n"
    assert len(store.read(POSITIONS).rows) == 2
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["positions.json"]


def test_seq_is_not_given_twice_when_a_write_fails(store, tmp_path):
    report, run = sample.tick(0), sample.run_info()
    payload = positions.build_synced(report, run, ())
    blocker = tmp_path / "state/synced_state.json"
    blocker.mkdir(parents=True)
    with pytest.raises(StateWriteError, match=r"state/synced_state\.json"):
        store.write(SYNCED, payload)  # the first of the twins is already renamed
    first = json.loads((tmp_path / "synced_state.json").read_bytes())["seq"]
    blocker.rmdir()
    assert store.write(SYNCED, payload).seq == first + 1


# ---------------------------------------------------------------- reading what anyone may have left


def test_missing(store):
    assert kind(store.inspect(NAV)) == "missing"
    assert store.read(NAV) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"schema_version":1,"seq":1,"engine_version":"\xff"}', "not_json"),
        (b"[" * 1_000_000, "wrong_shape"),
        (b'{"a":' + b"[" * 1_000_000, "not_json"),
        (b'{"a":' + b'{"a":' * 500_000, "not_json"),
        (b"null", "wrong_shape"),
        (b'{"schema_version":1,"seq":NaN}', "not_json"),
        (b'{"schema_version":1,"seq":1e400}', "wrong_shape"),
        (b'{"schema_version":1,"seq":-1,"engine_version":"v","written_ts":2e9}', "wrong_shape"),
        (b'{"schema_version":1,"seq":1,"engine_version":"v","written_ts":2e9}', "wrong_shape"),
        (b'{"schema_version":2,"seq":1,"engine_version":"v","written_ts":2e9}', "wrong_version"),
        (b" " * (state_store.MAX_BYTES + 1), "too_big"),
    ],
)
def test_garbage_is_named(store, tmp_path, content, expected):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/nav.json").write_bytes(content)
    assert kind(store.inspect(NAV)) == expected
    assert store.read(NAV) is None


def test_a_newer_version_says_which_one_is_read(store, tmp_path):
    store.write(NAV, a_nav())
    path = tmp_path / "state/nav.json"
    path.write_bytes(path.read_bytes().replace(b'"schema_version":1', b'"schema_version":7'))
    found = store.inspect(NAV)
    assert str(found) == "state/nav.json: wrong_version: schema_version 7, this program reads 1"


def test_a_missing_field_is_named(store, tmp_path):
    store.write(NAV, a_nav())
    path = tmp_path / "state/nav.json"
    path.write_bytes(path.read_bytes().replace(b'"stale"', b'"stail"'))
    found = store.inspect(NAV)
    assert kind(found) == "wrong_shape"
    assert "stail" in str(found)


def test_what_is_not_a_regular_file_does_not_block_the_reader(store, tmp_path):
    (tmp_path / "state").mkdir()
    os.mkfifo(tmp_path / "state/nav.json")
    assert kind(store.inspect(NAV)) == "not_a_file"
    (tmp_path / "state/positions.json").mkdir()
    assert kind(store.inspect(POSITIONS)) == "not_a_file"
    assert kind(StateStore(Path("/dev"), ManualClock(NOW)).read_bytes("zero")) == "not_a_file"


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("garbage")
    (folder / "state").mkdir()
    (folder / "state/nav.json").write_bytes(content)
    assert isinstance(StateStore(folder, ManualClock(NOW)).inspect(NAV), Unreadable)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_a_damaged_payload_is_read_or_named(tmp_path_factory, at, damage):
    folder = tmp_path_factory.mktemp("damage")
    store = StateStore(folder, ManualClock(NOW))
    store.write(NAV, a_nav())
    path = folder / "state/nav.json"
    content = path.read_bytes()
    path.write_bytes(content[:at] + damage + content[at + len(damage) :])
    assert isinstance(store.inspect(NAV), Nav | Unreadable)


# ---------------------------------------------------------------- orphans


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def temporary(folder: Path, name: str, pid: int) -> Path:
    path = folder / f".{name}.{pid}-{'0' * 16}.tmp"
    path.write_bytes(b"{")
    return path


def test_only_the_dead_writers_own_orphans_are_swept(store, tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    gone = dead_pid()
    orphan = temporary(folder, "nav.json", gone)
    twin = temporary(tmp_path, "synced_state.json", gone)
    predecessor = temporary(folder, "positions.json", os.getpid())
    of_another_process = temporary(folder, "sync_health.json", gone)
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        of_a_living_writer = temporary(folder, "pipeline_v6_shadow_head.json", living.pid)
        not_ours = folder / ".nav.json.tmp"
        not_ours.write_bytes(b"")
        assert store.sweep("executor") == 3
        kept = [of_another_process, of_a_living_writer, not_ours]
        assert all(path.exists() for path in kept)
        assert not any(path.exists() for path in (orphan, twin, predecessor))
    finally:
        living.communicate()


def test_sweeping_an_empty_folder_is_no_error(tmp_path):
    assert StateStore(tmp_path / "nowhere", ManualClock(NOW)).sweep("executor") == 0


# ---------------------------------------------------------------- the shared pair


def test_two_writers_of_the_pair_share_one_seq(tmp_path, clock):
    one, other = StateStore(tmp_path, clock), StateStore(tmp_path, clock)
    seqs = [writer.write(SHADOW_HEAD, a_head()).seq for writer in (one, other, one, other)]
    assert seqs == [int(NOW * 1000) + step for step in range(4)]


def test_the_lock_may_be_nested(store):
    with store.locked(), store.locked():
        store.write(SHADOW_HEAD, a_head())
    with store.locked():
        pass


def test_a_lock_that_another_keeps_is_reported_in_bounded_time(store, clock, tmp_path):
    store.write(SHADOW_HEAD, a_head())
    with (tmp_path / "run/shared.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begun = clock.monotonic()
        with pytest.raises(StateWriteError, match=r"shared\.lock"):
            store.write(SHADOW_HEAD, a_head())
        assert 0.4 <= clock.monotonic() - begun <= 0.6
    assert store.write(SHADOW_HEAD, a_head()).total == 0


def test_the_lock_is_free_after_an_error(store, tmp_path, clock):
    with pytest.raises(StateWriteError):
        store.write(SHADOW_HEAD, msgspec.structs.replace(a_head(), engine_version=""))
    assert StateStore(tmp_path, clock).write(SHADOW_HEAD, a_head()).total == 0


def test_the_run_folder_is_private(store, tmp_path):
    store.write(SHADOW_HEAD, a_head())
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


COUNTER = """
import sys
from pathlib import Path
from execution.clock import SystemClock
from execution.core.payloads import shadow_head
from execution.core.payloads.shadow_head import ShadowFacts
from execution.state_schema.registry import SHADOW_HEAD
from execution.state_store import StateStore
from scripts.benchmarks import sample

store = StateStore(Path(sys.argv[1]), SystemClock())
for _ in range(100):
    with store.locked():
        head = store.read(SHADOW_HEAD)
        total = 1 if head is None else head.total + 1
        facts = ShadowFacts(total=total, vetoed=total)
        store.write(SHADOW_HEAD, shadow_head.build(facts, "v6", sample.FLAGS, "r", sample.NOW))
"""


def test_two_processes_lose_no_update(tmp_path, store):
    root = Path(__file__).resolve().parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", COUNTER, tmp_path], cwd=root) for _ in range(2)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert store.read(SHADOW_HEAD).total == 200
