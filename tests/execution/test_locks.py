from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from execution import locks
from execution.errors import ConfigError, LockHeld
from tests.support.disks import no_file_above

ROOT = Path(__file__).resolve().parents[2]


def test_the_second_is_told_who_holds_it(tmp_path):
    path = tmp_path / "run" / "sync.lock"
    with locks.hold(path, "sync_state"), pytest.raises(LockHeld) as refused:
        locks.hold(path, "another")
    assert (
        str(refused.value) == f"{path}: held by sync_state (pid {os.getpid()}): stop that one first"
    )


def test_a_released_lock_is_free_and_names_the_new_holder(tmp_path):
    path = tmp_path / "a.lock"
    locks.hold(path, "a holder with a much longer name").release()
    with locks.hold(path, "short"):
        assert path.read_text() == f"short (pid {os.getpid()})"


def test_releasing_twice_leaves_the_next_holder_alone(tmp_path):
    path = tmp_path / "a.lock"
    first = locks.hold(path, "first")
    first.release()
    with locks.hold(path, "second"):
        first.release()
        with pytest.raises(LockHeld, match="second"):
            locks.hold(path, "third")


def test_a_killed_holder_leaves_it_free(tmp_path):
    path = tmp_path / "a.lock"
    program = (
        "import sys, time; from pathlib import Path; from execution import locks\n"
        f"lock = locks.hold(Path({str(path)!r}), 'doomed')\n"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockHeld, match=rf"doomed \(pid {holder.pid}\)"):
            locks.hold(path, "heir")
        holder.kill()
        holder.wait()
    locks.hold(path, "heir").release()


def test_an_unreadable_name_is_not_repeated(tmp_path):
    path = tmp_path / "a.lock"
    with locks.hold(path, "first"):
        path.write_bytes(b"\x1b[2J\xff\n")
        with pytest.raises(LockHeld, match="held by another process"):
            locks.hold(path, "second")


@pytest.mark.parametrize("kind", ["folder", "link", "below a file"])
def test_what_cannot_be_a_lock_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "a.lock"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("")
        path = path / "below.lock"
    with pytest.raises(ConfigError, match=str(path)):
        locks.hold(path, "anyone")
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_that_cannot_say_who_holds_it_is_refused_and_free(tmp_path):
    path = tmp_path / "a.lock"
    with no_file_above(0), pytest.raises(ConfigError, match="cannot be locked: File too large"):
        locks.hold(path, "anyone")
    locks.hold(path, "heir").release()
