from __future__ import annotations

from pathlib import Path

import pytest

from execution.clock import ManualClock
from execution.jsonl_files import find_end
from execution.jsonl_log import JsonlLogger, read_from
from execution.state_schema.journals import ShadowHeartbeat
from execution.state_schema.registry import SHADOW

NOW = 1_790_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def write(path: Path, *reasons: str, max_bytes: int = 1 << 20) -> None:
    journal = JsonlLogger(path, ManualClock(NOW), max_bytes=max_bytes, backups=9, max_age_s=1e9)
    for reason in reasons:
        assert journal.write(ShadowHeartbeat(ts=NOW, run_id="r", reason=reason)) is None
    journal.close()


def after(path: Path) -> list[str]:
    """Return what is read from the end that was found."""
    end = find_end(path)
    return [each.reason for each in read_from(path, end, SHADOW.decoder.decode).records]


def test_where_nothing_was_written_there_is_no_end(path: Path):
    assert find_end(path) is None
    assert find_end(path.parent / "no folder" / "journal.jsonl") is None


def test_an_empty_file_ends_at_its_start(path: Path):
    path.touch()
    end = find_end(path)
    assert end is not None
    assert (end.inode, end.offset) == (path.stat().st_ino, 0)
    write(path, "a")
    assert [each.reason for each in read_from(path, end, SHADOW.decoder.decode).records] == ["a"]


def test_from_the_end_on_only_what_follows_is_read(path: Path):
    write(path, "a", "b")
    end = find_end(path)
    assert end is not None
    assert end.offset == path.stat().st_size
    write(path, "c", "d", max_bytes=1)  # each into a file of its own
    found = read_from(path, end, SHADOW.decoder.decode)
    assert ([each.reason for each in found.records], found.gap) == (["c", "d"], False)
    assert after(path) == []


def test_a_line_without_its_end_is_still_to_come(path: Path):
    write(path, "a")
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"event":"heartbeat","ts":1790000000.0,')
    end = find_end(path)
    assert end is not None
    assert end.offset == whole
    with path.open("ab") as file:
        file.write(b'"run_id":"r","reason":"late"}\n')
    found = read_from(path, end, SHADOW.decoder.decode)
    assert [each.reason for each in found.records] == ["late"]


def test_of_a_file_that_was_just_rotated_the_archive_has_the_end(path: Path):
    write(path, "a")
    path.rename(path.with_name("journal.000001.jsonl"))
    end = find_end(path)
    assert end is not None
    assert end.offset > 0
    assert after(path) == []
    write(path, "b")
    assert [each.reason for each in read_from(path, end, SHADOW.decoder.decode).records] == ["b"]


def test_what_cannot_be_read_is_an_error(path: Path):
    path.mkdir()
    with pytest.raises(OSError, match="regular"):
        find_end(path)
