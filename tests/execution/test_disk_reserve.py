"""The reserve on the ledger's disk: held, let go in time, taken back when there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.disk_reserve import DiskReserve
from tests.support.disks import MIB, fill, free_bytes, no_file_above, small_disk

SIZE = 4 * MIB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reserve"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 16) as folder:
        yield folder


# ---------------------------------------------------------------- with room


def test_it_is_held_in_blocks_and_not_only_in_name(path: Path) -> None:
    reserve = DiskReserve(path, SIZE)
    assert not path.exists()
    assert reserve.check() is False
    held = path.stat()
    assert held.st_size == SIZE
    assert held.st_blocks * 512 >= SIZE
    assert held.st_mode & 0o777 == 0o600


def test_one_that_was_cut_is_made_whole(path: Path) -> None:
    path.write_bytes(b"x" * 1000)
    assert DiskReserve(path, SIZE).check() is False
    assert path.stat().st_blocks * 512 >= SIZE


def test_what_is_freed_is_taken_back_where_there_is_room(path: Path) -> None:
    reserve = DiskReserve(path, SIZE)
    reserve.check()
    reserve.free()
    assert reserve.is_low
    assert not path.exists()
    assert reserve.check() is False
    assert not reserve.is_low
    assert path.stat().st_size == SIZE


def test_freeing_what_is_not_held_is_low_all_the_same(path: Path) -> None:
    reserve = DiskReserve(path, SIZE)
    reserve.free()
    reserve.free()
    assert reserve.is_low


def test_no_link_is_followed(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    assert DiskReserve(path, SIZE).check() is True
    assert not elsewhere.exists()


# ---------------------------------------------------------------- without


def test_a_disk_with_less_than_its_size_is_low(path: Path) -> None:
    disk = os.statvfs(path.parent)
    assert DiskReserve(path, 2 * disk.f_blocks * disk.f_frsize).check() is True
    assert not path.exists()


def test_one_that_may_not_grow_is_low_until_it_may(path: Path) -> None:
    reserve = DiskReserve(path, SIZE)
    with no_file_above(SIZE // 2):
        assert reserve.check() is True
        assert not path.exists()
        assert reserve.check() is True
    assert reserve.check() is False
    assert path.stat().st_size == SIZE


def test_a_disk_that_cannot_be_asked_is_as_it_was(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "gone" / "reserve", SIZE)
    assert reserve.check() is False
    reserve.free()
    assert reserve.check() is True


def test_a_full_disk_gets_exactly_its_room_back(disk: Path) -> None:
    reserve = DiskReserve(disk / "reserve", SIZE)
    assert reserve.check() is False
    fill(disk)
    assert reserve.check() is True
    assert free_bytes(disk) == SIZE
    assert reserve.check() is True


def test_it_comes_back_with_twice_its_room_and_not_before(disk: Path) -> None:
    reserve = DiskReserve(disk / "reserve", SIZE)
    fill(disk)
    assert reserve.check() is True
    os.truncate(disk / "ballast", 16 * MIB - 2 * SIZE + 4096)
    assert SIZE < free_bytes(disk) < 2 * SIZE
    assert reserve.check() is True
    assert not (disk / "reserve").exists()
    os.truncate(disk / "ballast", 16 * MIB - 2 * SIZE)
    assert free_bytes(disk) == 2 * SIZE
    assert reserve.check() is False
    assert free_bytes(disk) == SIZE
