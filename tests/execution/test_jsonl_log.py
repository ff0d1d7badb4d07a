from __future__ import annotations

import fcntl
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution import jsonl_log
from execution.clock import ManualClock
from execution.jsonl_log import JsonlLogger, Lost, read_batches, read_from, tail
from execution.state_schema.files import JournalPosition
from execution.state_schema.journals import MarkPoint
from execution.state_schema.registry import MARKS

NOW = 1_780_000_000.0
ROOT = Path(__file__).resolve().parents[2]
DECODE = MARKS.decoder.decode


def mark(number: float, symbol: str = "BTCUSDT") -> MarkPoint:
    return MarkPoint(ts=NOW, run_id="r", symbol=symbol, mark_price=float(number), quote_ts=NOW)


LINE_BYTES = len(msgspec.json.encode(mark(10.0))) + 1


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "execution" / "marks.jsonl"


def logger(path: Path, clock: ManualClock, **limits: object) -> JsonlLogger:
    settled = {"max_bytes": 1 << 30, "backups": 50, "max_age_s": 1e12, **limits}
    return JsonlLogger(path, clock, **settled)  # type: ignore[arg-type]


def numbers(batch: jsonl_log.Batch[MarkPoint]) -> list[float]:
    return [record.mark_price for record in batch.records]


def everything(path: Path) -> list[float]:
    return [
        record.mark_price for batch in read_batches(path, None, DECODE) for record in batch.records
    ]


# ---------------------------------------------------------------- one writer


def test_records_come_back_in_their_order(path, clock):
    log = logger(path, clock)
    assert [log.write(mark(n)) for n in range(5)] == [None] * 5
    assert everything(path) == [0, 1, 2, 3, 4]
    assert path.read_bytes().count(b"\n") == 5
    assert path.read_bytes().endswith(b"}\n")


def test_a_required_nan_is_refused_and_an_absent_one_is_not_written(path, clock):
    log = logger(path, clock)
    lost = log.write(mark(math.nan))
    assert isinstance(lost, Lost)
    assert lost.journal == "marks.jsonl"
    assert "mark_price" in lost.reason
    assert not path.exists()
    assert log.write(mark(1.0)) is None
    assert everything(path) == [1.0]


def test_newlines_in_text_stay_inside_the_line(path, clock):
    logger(path, clock).write(mark(1.0, symbol="A\nB\r\n\u2028"))
    (record,) = tail(path, 5, DECODE).records
    assert record.symbol == "A\nB\r\n\u2028"


def test_a_record_too_long_for_a_line_is_refused(path, clock):
    lost = logger(path, clock).write(mark(1.0, symbol="S" * jsonl_log.MAX_LINE_BYTES))
    assert lost is not None
    assert "limit" in lost.reason


def test_the_file_is_not_for_everyone(path, clock):
    logger(path, clock).write(mark(1.0))
    assert path.stat().st_mode & 0o007 == 0


def test_a_link_in_the_place_of_the_journal_is_not_followed(path, clock, tmp_path):
    path.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    assert logger(path, clock).write(mark(1.0)) is not None
    assert victim.read_text() == "precious"


def test_a_folder_wiped_meanwhile_is_made_again(path, clock):
    log = logger(path, clock)
    log.write(mark(1.0))
    path.unlink()
    path.parent.rmdir()
    assert log.write(mark(2.0)) is None
    assert everything(path) == [2.0]


def test_an_unwritable_place_is_an_outcome(path, clock):
    path.parent.write_text("a file where the folder should be")
    log = logger(path, clock)
    for _ in range(2):
        lost = log.write(mark(1.0))
        assert lost is not None
        assert (lost.records, lost.reason) == (1, "Not a directory")
    path.parent.unlink()
    assert log.write(mark(2.0)) is None


# ---------------------------------------------------------------- a full disk

FULL = """
import resource, signal, sys
from pathlib import Path
from execution.clock import SystemClock
from execution.jsonl_log import JsonlLogger
from execution.state_schema.journals import MarkPoint

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails with an error, as on a full disk
limit = int(sys.argv[2])
log = JsonlLogger(Path(sys.argv[1]), SystemClock(), max_bytes=1 << 30, backups=1, max_age_s=1e9)
mark = lambda n: MarkPoint(ts=1.78e9, run_id="r", symbol="B", mark_price=n, quote_ts=1.0)
assert log.write(mark(1.0)) is None
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
lost = log.write(mark(2.0))
assert lost is not None and lost.records == 1 and lost.reason == "File too large", lost
assert log.write(mark(3.0)) is not None
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert log.write(mark(4.0)) is None
"""


@pytest.mark.parametrize("extra", [0, 1, 40])
def test_a_write_that_fails_or_ends_midway_is_reported_and_closed(path, extra):
    path.parent.mkdir()
    line = len(
        msgspec.json.encode(
            MarkPoint(ts=1.78e9, run_id="r", symbol="B", mark_price=1.0, quote_ts=1.0)
        )
    )
    subprocess.run(
        [sys.executable, "-c", FULL, path, str(line + 1 + extra)], cwd=ROOT, check=True, timeout=30
    )
    batch = read_from(path, None, DECODE)
    assert numbers(batch) == [1.0, 4.0]
    assert batch.broken == (1 if extra else 0)


# ---------------------------------------------------------------- a torn last line


def test_a_torn_last_line_is_tolerated_and_closed_by_the_next_writer(path, clock):
    logger(path, clock).write(mark(1.0))
    with path.open("ab") as file:
        file.write(b'{"event":"mark","ts":17')
    assert numbers(tail(path, 5, DECODE)) == [1.0]
    assert numbers(read_from(path, None, DECODE)) == [1.0]
    logger(path, clock).write(mark(2.0))
    batch = read_from(path, None, DECODE)
    assert numbers(batch) == [1.0, 2.0]
    assert batch.broken == 1


def test_a_line_torn_by_another_process_is_closed_by_a_writer_that_has_the_file_open(path, clock):
    log = logger(path, clock)
    log.write(mark(1.0))
    with path.open("ab") as other:
        other.write(b'{"event"')
    log.write(mark(2.0))
    log.write(mark(3.0))
    batch = read_from(path, None, DECODE)
    assert (numbers(batch), batch.broken) == ([1.0, 2.0, 3.0], 1)


# ---------------------------------------------------------------- rotation and retention


def archives(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each != path)


def test_a_full_file_becomes_a_numbered_archive(path, clock):
    log = logger(path, clock, max_bytes=3 * LINE_BYTES)
    for n in range(10, 18):
        log.write(mark(n))
    assert archives(path) == ["marks.000001.jsonl", "marks.000002.jsonl"]
    assert path.stat().st_size == 2 * LINE_BYTES
    assert everything(path) == list(range(10, 18))


def test_archives_go_by_count_oldest_first_and_numbers_are_not_reused(path, clock):
    log = logger(path, clock, max_bytes=LINE_BYTES, backups=2)
    for n in range(10, 16):
        log.write(mark(n))
    assert archives(path) == ["marks.000004.jsonl", "marks.000005.jsonl"]
    assert everything(path) == [13, 14, 15]


def test_archives_go_by_age(path, clock):
    log = logger(path, clock, max_bytes=LINE_BYTES, max_age_s=3600)
    for n in (10, 11):
        log.write(mark(n))
    old = path.with_name("marks.000001.jsonl")
    os.utime(old, (NOW - 3700, NOW - 3700))
    for n in (12, 13):
        log.write(mark(n))
    assert not old.exists()
    assert everything(path) == [11, 12, 13]


def test_an_archive_of_another_journal_is_left_alone(path, clock):
    path.parent.mkdir()
    other = path.with_name("marksman.000001.jsonl")
    other.write_text("x")
    log = logger(path, clock, max_bytes=LINE_BYTES, backups=1)
    for n in range(10, 14):
        log.write(mark(n))
    assert other.read_text() == "x"


def test_a_rotation_that_fails_loses_nothing(tmp_path, clock, caplog):
    path = tmp_path / f"{'m' * 247}.jsonl"  # a file name; with a number in it, too long for one
    log = logger(path, clock, max_bytes=LINE_BYTES)
    assert [log.write(mark(n)) for n in (10, 11, 12)] == [None] * 3
    assert caplog.text.count("journal not rotated") == 2  # at one line and at two, not at each
    assert archives(path) == []
    assert everything(path) == [10, 11, 12]


def test_a_writer_notices_that_another_rotated_the_file_under_it(path, clock):
    one = logger(path, clock, max_bytes=3 * LINE_BYTES)
    other = logger(path, clock, max_bytes=3 * LINE_BYTES)
    for n in range(10, 40, 2):
        one.write(mark(n))
        other.write(mark(n + 1))
    assert everything(path) == list(range(10, 40))
    assert all(each.stat().st_size == 3 * LINE_BYTES for each in path.parent.glob("marks.0*.jsonl"))


# ---------------------------------------------------------------- several processes

WRITER = """
import sys
from pathlib import Path
from execution.clock import SystemClock
from execution.jsonl_log import JsonlLogger
from execution.state_schema.journals import MarkPoint
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
log = JsonlLogger(path, SystemClock(), max_bytes=100_000, backups=10_000, max_age_s=1e9)
print("ready", flush=True)
sys.stdin.readline()
for n in range(count):
    record = MarkPoint(ts=1.78e9, run_id=name, symbol="S" * (n % 40 + 1), mark_price=n, quote_ts=1.0)
    assert log.write(record) is None
"""


def test_processes_lose_nothing_across_rotations_while_a_reader_follows(path):
    count = 10_000
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, name, str(count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("one", "two", "three")
    ]
    for writer in writers:
        with writer.stdout as told:
            assert told.readline() == b"ready\n"
    for writer in writers:  # all are there: they begin together
        writer.stdin.close()
    followed: dict[str, list[float]] = {"one": [], "two": [], "three": []}
    position, broken, gaps, turns = None, 0, 0, 0
    last = ""
    done = False
    while not done:
        done = all(writer.poll() is not None for writer in writers)
        batch = read_from(path, position, DECODE)
        position = batch.position
        broken += batch.broken
        gaps += batch.gap
        for record in batch.records:
            followed[record.run_id].append(record.mark_price)
            turns += record.run_id != last
            last = record.run_id
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert (broken, gaps) == (0, 0)
    assert len(list(path.parent.glob("marks.0*.jsonl"))) > 20
    assert turns > 10  # they did write at the same time
    expected = [float(n) for n in range(count)]
    assert followed == {"one": expected, "two": expected, "three": expected}


def test_a_stopped_lock_holder_delays_once_and_stops_nobody(path, clock):
    log = logger(path, clock, max_bytes=2 * LINE_BYTES)
    log.write(mark(10))
    with path.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begun = clock.monotonic()
        for n in range(11, 15):
            assert log.write(mark(n)) is None
        assert clock.monotonic() - begun <= 0.3
        assert archives(path) == []
    log.write(mark(15))
    assert archives(path) == ["marks.000001.jsonl"]
    assert everything(path) == [10, 11, 12, 13, 14, 15]


# ---------------------------------------------------------------- buffered


def test_buffered_writes_at_flush_and_close(path, clock):
    log = logger(path, clock, buffered=True)
    for n in range(100):
        assert log.write(mark(n)) is None
    assert not path.exists()
    assert log.flush() is None
    assert len(everything(path)) == 100
    log.write(mark(100))
    assert log.close() is None
    assert everything(path) == list(range(101))


def test_buffered_counts_every_record_it_could_not_write(path, clock):
    path.parent.write_text("in the way")
    log = logger(path, clock, buffered=True)
    for n in range(7):
        log.write(mark(n))
    lost = log.flush()
    assert lost is not None
    assert lost.records == 7


def test_buffered_rotates_too(path, clock):
    log = logger(path, clock, buffered=True, max_bytes=jsonl_log.BUFFER_BYTES)
    for n in range(8000):
        log.write(mark(n))
    log.close()
    assert len(archives(path)) >= 2
    assert everything(path) == list(range(8000))


# ---------------------------------------------------------------- readers


def test_nothing_written_is_nothing_read(path):
    assert tail(path, 5, DECODE).records == ()
    batch = read_from(path, None, DECODE)
    assert (batch.records, batch.position, batch.gap) == ((), None, False)
    assert list(read_batches(path, None, DECODE)) == []


@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_tail_is_the_end_of_everything(tmp_path_factory, count, wanted, per_file):
    path = tmp_path_factory.mktemp("tail") / "marks.jsonl"
    log = logger(path, ManualClock(NOW), max_bytes=per_file * LINE_BYTES, backups=1000)
    for n in range(count):
        log.write(mark(10 + n))
    log.close()
    expected = [10.0 + n for n in range(count)]
    assert numbers(tail(path, wanted, DECODE)) == expected[-wanted:]
    assert everything(path) == expected


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_reading_on_gives_each_record_once(tmp_path_factory, bursts, per_file):
    path = tmp_path_factory.mktemp("follow") / "marks.jsonl"
    log = logger(path, ManualClock(NOW), max_bytes=per_file * LINE_BYTES, backups=1000)
    position: JournalPosition | None = None
    seen: list[float] = []
    total = 0
    for burst in bursts:
        for _ in range(burst):
            log.write(mark(10 + total))
            total += 1
        batch = read_from(path, position, DECODE)
        assert not batch.gap
        seen += numbers(batch)
        position = batch.position
    assert seen == [10.0 + n for n in range(total)]


def test_a_batch_is_bounded_and_the_next_goes_on(path, clock):
    log = logger(path, clock, max_bytes=1 << 20)
    for n in range(20_000):
        log.write(mark(n))
    batches = []
    position = None
    while True:
        batch = read_from(path, position, DECODE, limit_bytes=300_000)
        if batch.position == position:
            break
        batches.append(len(batch.records))
        position = batch.position
    assert sum(batches) == 20_000
    assert len(batches) > 3
    assert max(batches) * LINE_BYTES < 1_000_000


def test_records_gone_by_retention_are_a_gap(path, clock):
    log = logger(path, clock, max_bytes=LINE_BYTES, backups=2)
    log.write(mark(10))
    position = read_from(path, None, DECODE).position
    for n in range(11, 20):
        log.write(mark(n))
    batch = read_from(path, position, DECODE)
    assert batch.gap
    assert numbers(batch) == [17, 18, 19]


def test_a_new_file_under_a_reused_inode_is_not_taken_for_the_old(path, clock):
    log = logger(path, clock)
    for n in range(10, 13):
        log.write(mark(n))
    position = read_from(path, None, DECODE).position
    assert position is not None
    path.write_bytes(b"")  # the same inode, another content
    log.close()
    for n in range(20, 30):
        log.write(mark(n))
    batch = read_from(path, position, DECODE)
    assert batch.gap
    assert numbers(batch) == list(range(20, 30))


def test_broken_lines_are_counted_and_passed_over(path, clock):
    log = logger(path, clock)
    log.write(mark(1.0))
    with path.open("ab") as file:
        file.write(b"\n")
        file.write(b"not json\n")
        file.write(b'{"event":"other","ts":1780000000,"run_id":"r"}\n')
        file.write(b"\xff\xfe\n")
        file.write(b"[" * 100_000 + b"\n")
    log.write(mark(2.0))
    batch = read_from(path, None, DECODE)
    assert (numbers(batch), batch.broken) == ([1.0, 2.0], 5)
    assert (numbers(tail(path, 7, DECODE)), tail(path, 7, DECODE).broken) == ([1.0, 2.0], 5)


def test_an_endless_line_is_passed_in_bounded_pieces(path, clock):
    log = logger(path, clock)
    log.write(mark(1.0))
    with path.open("ab") as file:
        file.write(b"x" * (3 * jsonl_log.MAX_LINE_BYTES) + b"\n")
    log.write(mark(2.0))
    assert everything(path) == [1.0, 2.0]
    assert numbers(tail(path, 1, DECODE)) == [2.0]


def test_tail_of_a_large_file_reads_its_end_only(path):
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(5 << 30)  # sparse: reading it whole would take minutes and the memory
        file.seek(0, os.SEEK_END)
        for n in range(3):
            file.write(b"\n" + msgspec.json.encode(mark(n)))
        file.write(b"\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert numbers(tail(path, 2, DECODE)) == [1, 2]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000


@given(st.binary(max_size=400))
@settings(max_examples=80, deadline=None)
def test_no_bytes_make_a_reader_raise(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("garbage") / "marks.jsonl"
    path.write_bytes(content)
    whole = content.count(b"\n")
    assert tail(path, 1000, DECODE).broken == whole
    batch = read_from(path, None, DECODE)
    assert batch.broken == whole
    assert batch.position is not None
    assert batch.position.offset == content.rfind(b"\n") + 1
