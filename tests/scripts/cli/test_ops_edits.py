from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from execution import overlay, settings
from execution.environment import ROOT
from execution.errors import ConfigError
from scripts.cli import ops_edits
from scripts.cli.ops_edits import MANIFEST

NOW = 1_790_000_000.0
CANDIDATE = """# Why: the month said so.
[risk.book]
trade_cap_pct = 10.0  # tighter
[risk.symbols.BTCUSDT]
cap_pct = 30.0
[router]
offset_bps = 1.5
[router.health]
min_routes = 25
[sizing]
base_trade_pct = 2.0
[strategy.reversion-sim]
entry_z = 2.4
[strategy.reversion-sim.exits]
stop_atr = 4.5
"""
LIVE = ("risk.toml", "router.toml", "strategy.toml")
EDITED = (*LIVE, "shadow.toml")


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    to = tmp_path / "ops"
    shutil.copytree(ROOT / "ops", to, ignore=shutil.ignore_patterns("backups"))
    (to / "shadow.toml").write_text(CANDIDATE)
    return to


def load(ops: Path) -> settings.Settings:
    return settings.load({"HEDGE_OPS_DIR": str(ops)})


def promote(ops: Path, now: float = NOW) -> Path:
    loaded = load(ops)
    assert loaded.shadow_fingerprint is not None
    changes = overlay.changes(settings.policy_tables(ops), settings.read_overlay(ops))
    return ops_edits.promote(
        ops,
        changes,
        loaded.fingerprint,
        loaded.shadow_fingerprint,
        lambda folder: load(folder).fingerprint,
        now,
    )


def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in EDITED}


def test_the_live_files_then_state_the_candidate_and_keep_every_comment(ops: Path):
    before, wanted = texts(ops), load(ops)
    others = {path.name: path.read_text() for path in ops.glob("*.toml") if path.name not in EDITED}
    backup = promote(ops)
    after = load(ops)
    assert after.policy == wanted.shadow_policy == after.shadow_policy
    assert after.fingerprint == wanted.shadow_fingerprint == after.shadow_fingerprint
    for name in LIVE:
        lines = (ops / name).read_text().splitlines()
        said = [line for line in before[name].splitlines() if line.startswith("#")]
        assert [line for line in lines if line.startswith("#")] == said
        changed = set(lines) ^ set(before[name].splitlines())
        assert 0 < len(changed) <= 8
    assert (ops / "shadow.toml").read_text().startswith("# Why: the month said so.")
    assert texts(backup) == before
    assert {path.name: path.read_text() for path in ops.glob("*.toml")} == others | texts(ops)
    assert [path for path in ops.iterdir() if path.name.startswith(".")] == []


def test_a_rollback_puts_everything_back_and_the_one_before_it_next(ops: Path):
    first = texts(ops)
    promote(ops)
    (ops / "shadow.toml").write_text("[router]\noffset_bps = 2.5\n")
    second = texts(ops)
    promote(ops, NOW + 60)
    backup, manifest = ops_edits.roll_back(ops, force=False)
    assert texts(ops) == second
    assert set(manifest.left) == {"router.toml", "shadow.toml"}
    assert backup.name.endswith("-rolled-back")
    # Of the first promotion the overlay was edited since: that is what a person decides about.
    with pytest.raises(ConfigError, match=r"shadow\.toml: was edited since"):
        ops_edits.roll_back(ops, force=False)
    ops_edits.roll_back(ops, force=True)
    assert texts(ops) == first
    with pytest.raises(ConfigError, match="no promotion to roll back"):
        ops_edits.roll_back(ops, force=True)


@pytest.mark.parametrize("name", EDITED)
def test_edits_that_were_made_since_are_not_lost_without_a_word(ops: Path, name: str):
    before = texts(ops)
    promote(ops)
    edited = (ops / name).read_text() + "# by hand\n"
    (ops / name).write_text(edited)
    left = texts(ops)
    with pytest.raises(ConfigError, match="was edited since the promotion") as refused:
        ops_edits.roll_back(ops, force=False)
    assert str(ops / name) in str(refused.value)
    assert texts(ops) == left
    ops_edits.roll_back(ops, force=True)
    assert texts(ops) == before


@pytest.mark.parametrize("written", range(len(EDITED) + 1))
def test_a_crash_between_the_files_can_be_rolled_back(ops: Path, written: int):
    """A promotion that broke off left some files new and some old; the backup was whole before."""
    before = texts(ops)
    backup = promote(ops)
    for name in EDITED[written:]:
        (ops / name).write_text(before[name])
    assert (backup / MANIFEST).is_file()
    ops_edits.roll_back(ops, force=False)
    assert texts(ops) == before


@pytest.mark.parametrize("name", EDITED)
def test_a_file_that_was_removed_since_is_put_back_by_force_only(ops: Path, name: str):
    before = texts(ops)
    promote(ops)
    (ops / name).unlink()
    with pytest.raises(ConfigError, match=f"{name}: was removed since the promotion"):
        ops_edits.roll_back(ops, force=False)
    assert not (ops / name).exists()
    ops_edits.roll_back(ops, force=True)
    assert texts(ops) == before


@pytest.mark.parametrize(("name", "said"), [(MANIFEST, "is damaged"), ("risk.toml", "cannot be")])
def test_a_damaged_backup_is_named_and_nothing_is_changed(ops: Path, name: str, said: str):
    backup = promote(ops)
    left = texts(ops)
    (backup / name).write_bytes(b"\xff" if name == "risk.toml" else b"{}")
    with pytest.raises(ConfigError, match=f"{name}: {said}"):
        ops_edits.roll_back(ops, force=True)
    assert texts(ops) == left


def test_each_file_keeps_its_mode(ops: Path):
    modes = {"risk.toml": 0o600, "router.toml": 0o640, "strategy.toml": 0o664, "shadow.toml": 0o444}
    for name, mode in modes.items():
        (ops / name).chmod(mode)
    backup = promote(ops)
    assert {name: (ops / name).stat().st_mode & 0o777 for name in modes} == modes
    assert {name: (backup / name).stat().st_mode & 0o777 for name in modes} == modes
    (ops / "risk.toml").unlink()
    ops_edits.roll_back(ops, force=True)
    assert {name: (ops / name).stat().st_mode & 0o777 for name in modes} == modes


def test_the_backup_is_whole_before_the_first_live_file_moves(ops: Path):
    """A file that cannot be replaced stops it there; what was replaced can be put back."""
    router = ops / "router.toml"
    router.write_text(router.read_text() + "# long\n" * 5_000)
    (ops / "shadow.toml").write_text(CANDIDATE.replace("offset_bps = 1.5", "offset_bps = 1.0625"))
    before = texts(ops)
    loaded = load(ops)
    changes = [*overlay.changes(settings.policy_tables(ops), settings.read_overlay(ops))]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fingerprint(folder: Path) -> str:
        found = load(folder).fingerprint
        # Room for every file as it is and for none that is longer than the longest.
        resource.setrlimit(resource.RLIMIT_FSIZE, (router.stat().st_size, limits[1]))
        return found

    try:
        with pytest.raises(ConfigError, match=r"router\.toml: cannot be written"):
            ops_edits.promote(
                ops, changes, loaded.fingerprint, str(loaded.shadow_fingerprint), fingerprint, NOW
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert texts(ops)["risk.toml"] != before["risk.toml"]
    assert texts(ops)["router.toml"] == before["router.toml"]
    assert [path for path in ops.iterdir() if path.name.startswith(".")] == []
    ops_edits.roll_back(ops, force=False)
    assert texts(ops) == before


def test_a_backup_that_cannot_be_made_leaves_everything_as_it_is(ops: Path):
    before = texts(ops)
    (ops / "backups").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"backups.*cannot be written"):
        promote(ops)
    assert texts(ops) == before


def test_a_backup_that_was_never_completed_is_none(ops: Path):
    (ops / "backups" / "20990101T000000Z-broken").mkdir(parents=True)
    before = texts(ops)
    promote(ops)
    ops_edits.roll_back(ops, force=False)
    assert texts(ops) == before


def test_edits_that_would_not_state_the_candidate_are_refused(ops: Path):
    before, loaded = texts(ops), load(ops)
    changes = [*overlay.changes(settings.policy_tables(ops), settings.read_overlay(ops))]
    with pytest.raises(ConfigError, match="would not state the candidate's policy"):
        ops_edits.promote(
            ops,
            changes[1:],
            loaded.fingerprint,
            str(loaded.shadow_fingerprint),
            lambda folder: load(folder).fingerprint,
            NOW,
        )
    assert texts(ops) == before
    assert not (ops / "backups").exists()
