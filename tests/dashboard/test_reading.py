from __future__ import annotations

import os

import pytest
import sample_journals
import sample_state as sample

from dashboard import intel, orders, positions, risk, shadow, system
from dashboard.reading import COUNTS, LOG_LINES, NAV_POINTS, Reader
from dashboard.seen import Seen
from execution.clock import ManualClock
from execution.state_schema import registry
from execution.state_schema.files import Nav
from execution.state_schema.mirror_files import Mirror
from execution.state_store import StateStore, Unreadable

NOW = 1_800_000_000.0
READ = (registry.NAV_SERIES, registry.ALERTS)


class Folder:
    """A filled log folder, and a reader of it that counts what it opens."""

    def __init__(self, log_dir):
        self.log_dir = log_dir
        self.store = StateStore(log_dir, ManualClock(NOW))
        sample.fill(log_dir, NOW, minutes=300)
        self.reader = Reader(log_dir, ManualClock(NOW))
        self.opened: list[str] = []

    def read(self) -> Seen:
        return self.reader.read(*READ)


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
    assert len(seen.records(registry.NAV_SERIES)) == 300 - 50  # the sample's gap
    assert [each.kind for each in seen.records(registry.ALERTS)] == ["missing_stop", "risk_reset"]
    assert (seen.unread(registry.ALERTS), seen.mirror) == (None, None)


def test_only_what_changed_is_read_again(folder):
    before = folder.read()
    again = folder.read()
    assert all(again.files[name] is before.files[name] for name in before.files)
    assert again.records(registry.NAV_SERIES) is before.records(registry.NAV_SERIES)
    sample.write(folder.store, "nav", sample.nav(NOW, nav_usd=5.0))
    sample.append(folder.log_dir, ManualClock(NOW), registry.NAV_SERIES, sample.nav_point(NOW))
    after = folder.read()
    changed = {name for name in before.files if after.files[name] is not before.files[name]}
    assert changed == {"nav"}
    nav = after.of(registry.NAV)
    assert isinstance(nav, Nav)
    assert nav.nav_usd == 5.0
    assert len(after.records(registry.NAV_SERIES)) == len(before.records(registry.NAV_SERIES)) + 1


def test_an_empty_folder_is_missing_files_and_no_alert(tmp_path):
    seen = Reader(tmp_path / "none", ManualClock(NOW)).read(*READ)
    for file in registry.STATE_FILES:
        found = seen.of(file)
        assert isinstance(found, Unreadable)
        assert found.kind == "missing"
    assert dict(seen.journals) == {"nav": (), "alerts": ()}


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
    assert dict(seen.journals) == {"nav": (), "alerts": ()}
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
    assert isinstance(seen.journals["nav"], Unreadable)
    assert seen.records(registry.ALERTS) == ()


def test_a_broken_line_costs_only_itself(folder):
    count = len(folder.read().records(registry.NAV_SERIES))
    with (folder.log_dir / registry.NAV_SERIES.path).open("ab") as file:
        file.write(b'{"event":"nav","ts":"x"}\n\x00\x00\n{"event":"na')
    assert len(folder.read().records(registry.NAV_SERIES)) == count


def test_the_series_is_bounded_however_long_the_journal(folder):
    points = [sample.nav_point(NOW + at) for at in range(2 * NAV_POINTS)]
    sample.append(folder.log_dir, ManualClock(NOW), registry.NAV_SERIES, *points)
    seen = folder.read()
    assert len(seen.records(registry.NAV_SERIES)) == NAV_POINTS
    assert seen.records(registry.NAV_SERIES)[-1].ts == points[-1].ts


def test_a_mirror_is_read(folder):
    path = folder.log_dir / "run/mirror.json"
    path.write_text('{"source": "box", "pulled_ts": 1800000000.0, "more": 1}')
    assert folder.read().mirror == Mirror("box", NOW)


def test_only_the_journals_that_a_page_wants_are_read(folder):
    assert dict(folder.reader.read().journals) == {}
    sample_journals.append(folder.log_dir, NOW, {"risk_vetoes": (sample_journals.veto(NOW),)})
    seen = folder.reader.read(registry.RISK_VETOES)
    assert [each.reason for each in seen.records(registry.RISK_VETOES)] == ["max_concurrent"]
    assert seen.records(registry.NAV_SERIES) == ()


def test_the_ends_of_the_logs_are_read_and_nothing_else_of_the_folder(folder):
    lines = [f"line {number}" for number in range(2 * LOG_LINES)]
    (folder.log_dir / "hedge-executor.log").write_text("\n".join(lines) + "\n\xff", "latin-1")
    (folder.log_dir / "hedge-x.log.1").write_text("old\n")
    (folder.log_dir / "secrets.log").write_text("no\n")
    os.mkfifo(folder.log_dir / "hedge-compare.log")
    (folder.log_dir / "hedge-sync_state.log").mkdir()
    logs = folder.reader.read(logs=True).logs
    assert list(logs) == ["hedge-compare.log", "hedge-executor.log", "hedge-sync_state.log"]
    assert logs["hedge-executor.log"] == tuple(lines[-LOG_LINES:])
    assert isinstance(logs["hedge-compare.log"], Unreadable)
    assert isinstance(logs["hedge-sync_state.log"], Unreadable)
    assert folder.reader.read().logs == {}


def test_every_journal_that_a_page_may_want_has_a_bound():
    for page in (positions, risk, orders, intel, shadow, system):
        assert {journal.name for journal in page.JOURNALS} <= set(COUNTS)
