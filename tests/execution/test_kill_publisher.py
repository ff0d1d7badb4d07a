"""A thousand `kill -9` of a process that publishes in a loop, while readers read.

The parent is a process of its own, warm and single-threaded: it forks one publisher after the
other and the readers, kills each publisher at a random moment, and prints what was seen.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from execution.clock import SystemClock
from execution.core.payloads import positions
from execution.state_publish import TickPublisher
from execution.state_schema.registry import STATE_FILES, SYNCED
from execution.state_store import StateStore, Unreadable
from scripts.benchmarks import sample

ROOT = Path(__file__).resolve().parents[2]
LEGS = 40


def test_a_thousand_kills_tear_nothing_and_seq_never_goes_back(tmp_path):
    seen = run(tmp_path, "store", kills=1000, timeout_s=200)
    assert seen["kills"] == 1000
    assert seen["torn"] == []
    assert seen["went_back"] == []
    # The proof is only one if kills struck in the middle of writes, and readers did read meanwhile.
    assert seen["orphans_swept"] > 20
    assert seen["orphans_left"] == 0
    assert seen["reads"] > 5000
    assert seen["changes"] > 1000
    assert seen["twins_compared"] > 0
    assert seen["twins_differ"] == 0


def test_the_same_readers_catch_a_writer_that_writes_in_place(tmp_path):
    seen = run(tmp_path, "in_place", kills=60, timeout_s=60)
    assert len(seen["torn"]) > 0


@pytest.mark.full
@pytest.mark.timeout(1300)
def test_ten_thousand_kills(tmp_path):
    seen = run(tmp_path, "store", kills=10_000, timeout_s=1200)
    assert (seen["kills"], seen["torn"], seen["went_back"]) == (10_000, [], [])


def run(folder: Path, writer: str, kills: int, timeout_s: float) -> dict:
    done = subprocess.run(
        [sys.executable, __file__, str(folder), writer, str(kills)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---------------------------------------------------------------- the parent and its children


def parent(folder: Path, writer: str, kills: int) -> dict:
    report, info = sample.tick(LEGS, time.time()), sample.run_info(time.time())
    go_on, hold_open = os.pipe()
    readers = [fork_reader(folder, go_on, index) for index in range(2)]
    chance = random.Random(7)
    swept = 0
    for _ in range(kills):
        ready, told = os.pipe()
        publisher = os.fork()
        if publisher == 0:
            os.close(ready)
            publish(folder, writer, report, info, told)
        os.close(told)
        first = os.read(ready, 16)  # its first publish is done, and how many orphans it swept
        os.close(ready)
        assert first, "a publisher died by itself"
        swept += int(first)
        time.sleep(chance.uniform(0, 0.008))
        os.kill(publisher, signal.SIGKILL)
        _, status = os.waitpid(publisher, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    swept += StateStore(folder, SystemClock()).sweep("executor")
    os.close(hold_open)  # the readers look once more and end
    for reader in readers:
        _, status = os.waitpid(reader, 0)
        assert status == 0
    found = [json.loads((folder / f"seen-{index}").read_text()) for index in range(2)]
    left = list(folder.rglob("*.tmp"))
    return {
        "kills": kills,
        "orphans_swept": swept,
        "orphans_left": len(left),
        "torn": found[0]["torn"] + found[1]["torn"],
        "went_back": found[0]["went_back"] + found[1]["went_back"],
        "reads": found[0]["reads"] + found[1]["reads"],
        "changes": found[0]["changes"] + found[1]["changes"],
        **twins(folder),
    }


def fork_reader(folder: Path, go_on: int, index: int) -> int:
    pid = os.fork()
    if pid == 0:
        os.closerange(3, go_on)
        os.closerange(go_on + 1, 64)  # the other end too: its last holder ends the readers
        read(folder, go_on, index)
        os._exit(0)
    return pid


def publish(folder: Path, writer: str, report, info, told: int) -> None:
    """Publish until the parent ends this, or has ended itself."""
    alive = os.getppid()
    clock = SystemClock()
    store = StateStore(folder, clock) if writer == "store" else in_place(folder, clock)
    swept = store.sweep("executor")
    publisher = TickPublisher(store, clock, 60.0)
    published = publisher.publish(report, info, None)
    assert published.failed_writes == (), published.failures
    os.write(told, str(swept).encode())
    while os.getppid() == alive:
        publisher.publish(msgspec.structs.replace(report, now=clock.now()), info, None)
    os._exit(1)


def in_place(folder: Path, clock):
    """Return a store as one would write it without thinking: it writes the file itself."""

    class InPlace(StateStore):
        def write(self, file, payload):
            stamped = msgspec.structs.replace(
                payload, seq=int(clock.now() * 1000), written_ts=clock.now()
            )
            content = msgspec.json.encode(stamped)
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb", buffering=0) as opened:
                for at in range(0, len(content), 4096):
                    opened.write(content[at : at + 4096])
                os.fsync(opened.fileno())
            return stamped

    return InPlace(folder, clock)


def read(folder: Path, go_on: int, index: int) -> None:
    """Read every file in turn until the parent lets go; note what may not be."""
    store = StateStore(folder, SystemClock())
    last: dict[str, int] = {}
    seen = {"torn": [], "went_back": [], "reads": 0, "changes": 0}
    ended = False
    while not ended:
        ended = bool(select.select([go_on], [], [], 0.003)[0])
        for file in STATE_FILES:
            found = store.inspect(file)
            seen["reads"] += 1
            if isinstance(found, Unreadable):
                if found.kind != "missing" or file.path in last:
                    seen["torn"].append(str(found)[:200])
                continue
            seq = last.get(file.path, 0)
            if found.seq < seq:
                seen["went_back"].append(f"{file.path}: {seq} then {found.seq}")
            seen["changes"] += found.seq > seq
            last[file.path] = found.seq
    (folder / f"seen-{index}").write_text(json.dumps(seen))


def twins(folder: Path) -> dict:
    """Compare the twins after one more whole publish: a kill between two renames parts them."""
    report, info = sample.tick(1), sample.run_info()
    rows = positions.rows(report.state.book)
    StateStore(folder, SystemClock()).write(SYNCED, positions.build_synced(report, info, rows))
    one, other = (folder / SYNCED.path).read_bytes(), (folder / str(SYNCED.twin)).read_bytes()
    return {"twins_compared": 1, "twins_differ": int(one != other)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(parent(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
