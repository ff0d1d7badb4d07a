"""The runtime probe records the six flags, on or off, at start and every five minutes."""

from __future__ import annotations

import itertools
import json

import pytest

from execution import boot, executor_live, settings
from execution.clock import ManualClock
from execution.v6_flags import FLAG_NAMES

NOW = 1_800_000_000.0


def probe(log_dir):
    return json.loads((log_dir / "state" / "v6_runtime_probe.json").read_text())


@pytest.mark.parametrize("flags", [(False,) * 6, (True,) * 6, (True, False) * 3])
def test_probe_records_the_flags_as_they_are_set(monkeypatch, flags):
    for name, is_on in zip(FLAG_NAMES, flags, strict=True):
        monkeypatch.setenv(name, "1" if is_on else "0")

    outcomes = executor_live._maybe_write_v6_runtime_probe()

    assert [outcome.failed for outcome in outcomes] == [None]
    written = probe(settings.load().log_dir)
    assert [written[name] for name in FLAG_NAMES] == list(flags)
    assert written["v6_flags"] == executor_live.get_v6_flag_snapshot()
    assert written["engine_version"] == executor_live._ENGINE_VERSION != ""
    assert (written["env"], written["dry_run"], written["testnet"]) == ("dev", True, True)
    assert written["venue"] == "paper"


def test_probe_is_written_at_start_and_every_interval_also_with_all_flags_off():
    loaded = settings.load()
    settings.prepare_log_dir(loaded)
    engine = boot.build(loaded, ManualClock(NOW))
    written = []
    for _ in itertools.repeat(None, 61):
        executor_live.beat(engine)
        written.append(probe(loaded.log_dir)["ts"])
        engine.clock.advance(10.0)
    engine.close()

    assert sorted(set(written)) == [NOW, NOW + 300, NOW + 600]


def test_engine_version_is_the_version_file_and_in_every_synced_state():
    executor_live._pub_tick()
    loaded = settings.load()

    synced = json.loads((loaded.log_dir / "synced_state.json").read_text())
    assert synced["engine_version"] == (loaded.root / "VERSION").read_text().strip()
    assert list(synced["v6_flags"]) == list(FLAG_NAMES)
