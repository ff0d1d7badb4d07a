from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution import kill_latch, small_files
from execution.core.records import KillLatch
from execution.kill_latch import Doubtful
from execution.state_schema.operator_files import KillFile
from tests.support.disks import no_file_above

NOW = 1_790_000_000.0
OFF = KillFile(on=False, ts=NOW, user="ada", reason="checked")
OFF_BYTES = b'{"on":false,"ts":1790000000.0,"user":"ada","reason":"checked"}'

HOSTILE = {
    "empty": b"",
    "cut off": OFF_BYTES[:-1],
    "nothing but off": b'{"on":false}',
    "off as a number": OFF_BYTES.replace(b"false", b"0"),
    "off as a text": OFF_BYTES.replace(b"false", b'"false"'),
    "off as null": OFF_BYTES.replace(b"false", b"null"),
    "without on": OFF_BYTES.replace(b'"on":false,', b""),
    "off and on": OFF_BYTES.replace(b"{", b'{"on":true,', 1),
    "on and off under an escaped name": OFF_BYTES.replace(b"{", b'{"o\\u006e":true,', 1),
    "unknown key": OFF_BYTES.replace(b"{", b'{"off":true,', 1),
    "followed by more": OFF_BYTES + b"}",
    "twice": OFF_BYTES * 2,
    "in a list": b"[" + OFF_BYTES + b"]",
    "before 2001": OFF_BYTES.replace(b"1790000000.0", b"17"),
    "no time": OFF_BYTES.replace(b"1790000000.0", b"NaN"),
    "nobody": OFF_BYTES.replace(b"ada", b""),
    "no reason": OFF_BYTES.replace(b"checked", b""),
    "byte order mark": b"\xef\xbb\xbf" + OFF_BYTES,
    "utf-16": OFF_BYTES.decode().encode("utf-16"),
    "not utf-8": OFF_BYTES.replace(b"ada", b"\xff\xfe"),
    "zeros": b"\0" * 62,
    "deep": b"[" * 10_000,
    "too big": OFF_BYTES + b" " * small_files.MAX_BYTES,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / kill_latch.KILL_FILE
    found.parent.mkdir()
    return found


def is_on(path: Path) -> bool:
    seen = kill_latch.as_seen(kill_latch.read(path.parents[1]))
    return seen is not None and seen.on


def test_missing_is_none(tmp_path):
    assert kill_latch.read(tmp_path) is None
    assert kill_latch.as_seen(None) is None
    assert kill_latch.read(tmp_path / "no folder") is None


def test_what_is_written_is_read(tmp_path, path):
    kill_latch.write(tmp_path, OFF)
    assert path.read_bytes() == OFF_BYTES + b"\n"
    assert kill_latch.read(tmp_path) == OFF
    assert kill_latch.as_seen(OFF) == KillLatch(on=False, reason="checked", ts=NOW)
    on = KillFile(on=True, ts=NOW + 1, user="bob", reason="runaway")
    kill_latch.write(tmp_path, on)
    assert kill_latch.as_seen(kill_latch.read(tmp_path)) == KillLatch(True, "runaway", NOW + 1)


def test_it_is_private_and_leaves_nothing_beside_it(tmp_path):
    kill_latch.write(tmp_path, OFF)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run/kill.json").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["kill.json"]


def test_blanks_between_are_still_valid(path):
    path.write_text(json.dumps(json.loads(OFF_BYTES), indent=2))
    assert not is_on(path)


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_is_no_valid_latch_is_on(path, content):
    path.write_bytes(OFF_BYTES)
    assert not is_on(path)
    path.write_bytes(content)
    found = kill_latch.read(path.parents[1])
    assert isinstance(found, Doubtful)
    seen = kill_latch.as_seen(found)
    assert (seen.on, seen.ts) == (True, None)
    assert seen.reason.startswith("run/kill.json cannot be read: ")


def folder(path):
    path.mkdir()


def dangling(path):
    path.symlink_to(path.with_name("nowhere"))


def in_a_circle(path):
    path.symlink_to(path)


@pytest.mark.parametrize("plant", [folder, os.mkfifo, dangling, in_a_circle])
def test_whatever_is_no_file_is_on(path, plant):
    plant(path)
    assert is_on(path)


def test_a_file_where_its_folder_should_be_is_on(tmp_path):
    (tmp_path / "run").write_text("x")
    assert is_on(tmp_path / kill_latch.KILL_FILE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_on(path):
    path.write_bytes(OFF_BYTES)
    path.chmod(0)
    assert is_on(path)


def says_off(content: bytes) -> bool:
    """Read independently whether this is a latch that is off."""

    def once(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, AssertionError, RecursionError):
        return False
    return (
        isinstance(found, dict)
        and found.keys() == {"on", "ts", "user", "reason"}
        and found["on"] is False
        and type(found["ts"]) in (int, float)
        and found["ts"] >= 1e9
        and all(isinstance(found[key], str) and found[key] for key in ("user", "reason"))
    )


one_byte_off = st.builds(
    lambda at, byte: OFF_BYTES[:at] + bytes([byte]) + OFF_BYTES[at + 1 :],
    st.integers(0, len(OFF_BYTES) - 1),
    st.integers(0, 255),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
documents = st.dictionaries(
    st.sampled_from(["on", "ts", "user", "reason"]) | st.text(), scalars
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=600)
@given(st.binary(max_size=200) | one_byte_off | documents)
def test_no_bytes_raise_and_only_a_valid_off_is_off(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "latch" / kill_latch.KILL_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert is_on(path) or says_off(content)


texts = st.text(min_size=1, max_size=300)


@given(st.booleans(), st.floats(1e9, 1e11), texts, texts)
def test_every_valid_latch_says_what_it_says(tmp_path_factory, on, ts, user, reason):
    log_dir = tmp_path_factory.getbasetemp() / "said"
    log_dir.mkdir(exist_ok=True)
    latch = KillFile(on=on, ts=ts, user=user, reason=reason)
    kill_latch.write(log_dir, latch)
    assert kill_latch.read(log_dir) == latch


def test_the_signature_moves_with_the_file(tmp_path, path):
    assert kill_latch.signature(tmp_path) is None
    path.write_bytes(OFF_BYTES)
    first = kill_latch.signature(tmp_path)
    assert first == kill_latch.signature(tmp_path)
    kill_latch.write(tmp_path, OFF)
    assert kill_latch.signature(tmp_path) not in (None, first)


# A file may have no bytes at all here, as on a disk that is full.
def test_a_full_disk_keeps_the_old_latch_and_has_room_for_an_empty_one(tmp_path, path):
    path.write_bytes(OFF_BYTES)
    with no_file_above(0):
        with pytest.raises(OSError, match="File too large"):
            kill_latch.write(tmp_path, KillFile(on=True, ts=NOW, user="ada", reason="full"))
        assert not is_on(path)
        kill_latch.write_empty(tmp_path)
        assert is_on(path)
    assert path.read_bytes() == b""
    assert [each.name for each in path.parent.iterdir()] == ["kill.json"]
