from __future__ import annotations

import os

import pytest
import sample_state as sample

from dashboard.reading import NAV_POINTS, Reader
from dashboard.seen import Seen
from execution.clock import ManualClock
from execution.state_schema import registry
from execution.state_schema.files import Nav
from execution.state_schema.mirror_files import Mirror
from execution.state_store import StateStore, Unreadable

NOW = 1_800_000_000.0


class Folder:
    """A filled log folder, and a reader of it that counts what it opens."""

    def __init__(self, log_dir):
        self.log_dir = log_dir
        self.store = StateStore(log_dir, ManualClock(NOW))
        sample.fill(log_dir, NOW, minutes=300)
        self.reader = Reader(log_dir, ManualClock(NOW))
        self.opened: list[str] = []

    def read(self) -> Seen:
        return self.reader.read()


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_everything_that_was_written_is_seen(folder):
    seen = folder.read()
    assert set(seen.files) == {file.name for file in registry.STATE_FILES}
    assert not [each for each in seen.files.values() if isinstance(each, Unreadable)]
    nav = seen.of(registry.NAV)
    assert isinstance(nav, Nav)
    assert nav.nav_usd == round(sample.nav_usd(NOW), 2)
    assert len(seen.nav_points) == 300 - 50  # the sample's gap
    assert [each.kind for each in seen.alerts] == ["missing_stop", "risk_reset"]
    assert (seen.unread, seen.mirror) == ((), None)


def test_only_what_changed_is_read_again(folder):
    before = folder.read()
    again = folder.read()
    assert all(again.files[name] is before.files[name] for name in before.files)
    assert again.nav_points is before.nav_points
    sample.write(folder.store, "nav", sample.nav(NOW, nav_usd=5.0))
    sample.append(folder.log_dir, ManualClock(NOW), registry.NAV_SERIES, sample.nav_point(NOW))
    after = folder.read()
    changed = {name for name in before.files if after.files[name] is not before.files[name]}
    assert changed == {"nav"}
    nav = after.of(registry.NAV)
    assert isinstance(nav, Nav)
    assert nav.nav_usd == 5.0
    assert len(after.nav_points) == len(before.nav_points) + 1


def test_an_empty_folder_is_missing_files_and_no_alert(tmp_path):
    seen = Reader(tmp_path / "none", ManualClock(NOW)).read()
    for file in registry.STATE_FILES:
        found = seen.of(file)
        assert isinstance(found, Unreadable)
        assert found.kind == "missing"
    assert (seen.nav_points, seen.alerts, seen.unread) == ((), (), ())


def test_a_deleted_file_is_not_remembered(folder):
    folder.read()
    (folder.log_dir / registry.NAV.path).unlink()
    found = folder.read().of(registry.NAV)
    assert isinstance(found, Unreadable)
    assert found.kind == "missing"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"nav": NaN}', b"[" * 100_000, b"{}" * 5_000_000],
    ids=["empty", "half", "null", "list", "binary", "nan", "deep", "huge"],
)
def test_garbage_in_every_file_is_named_and_never_raised(folder, content):
    for file in registry.STATE_FILES:
        (folder.log_dir / file.path).write_bytes(content)
    for journal in (registry.NAV_SERIES, registry.ALERTS):
        (folder.log_dir / journal.path).write_bytes(content + b"\n")
    (folder.log_dir / "run/mirror.json").write_bytes(content)
    seen = folder.read()
    for file in registry.STATE_FILES:
        assert isinstance(seen.of(file), Unreadable), file.path
    assert (seen.nav_points, seen.alerts) == ((), ())
    assert isinstance(seen.mirror, Unreadable)


def test_folders_and_pipes_in_place_of_files_do_not_stop_the_page(folder):
    for file in registry.STATE_FILES:
        (folder.log_dir / file.path).unlink()
        (folder.log_dir / file.path).mkdir()
    (folder.log_dir / registry.NAV_SERIES.path).unlink()
    (folder.log_dir / registry.NAV_SERIES.path).mkdir()
    (folder.log_dir / registry.ALERTS.path).unlink()
    os.mkfifo(folder.log_dir / registry.ALERTS.path)
    os.mkfifo(folder.log_dir / "run/mirror.json")
    seen = folder.read()
    assert all(isinstance(seen.of(file), Unreadable) for file in registry.STATE_FILES)
    assert isinstance(seen.mirror, Unreadable)
    assert [each.path for each in seen.unread] == [registry.NAV_SERIES.path]
    assert seen.alerts == ()


def test_a_broken_line_costs_only_itself(folder):
    count = len(folder.read().nav_points)
    with (folder.log_dir / registry.NAV_SERIES.path).open("ab") as file:
        file.write(b'{"event":"nav","ts":"x"}\n\x00\x00\n{"event":"na')
    assert len(folder.read().nav_points) == count


def test_the_series_is_bounded_however_long_the_journal(folder):
    points = [sample.nav_point(NOW + at) for at in range(2 * NAV_POINTS)]
    sample.append(folder.log_dir, ManualClock(NOW), registry.NAV_SERIES, *points)
    seen = folder.read()
    assert len(seen.nav_points) == NAV_POINTS
    assert seen.nav_points[-1].ts == points[-1].ts


def test_a_mirror_is_read(folder):
    path = folder.log_dir / "run/mirror.json"
    path.write_text('{"source": "box", "pulled_ts": 1800000000.0, "more": 1}')
    assert folder.read().mirror == Mirror("box", NOW)
