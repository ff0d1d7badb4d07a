from __future__ import annotations

import logging
from itertools import product
from pathlib import Path

import pytest

from execution import v6_flags
from execution.errors import ConfigError

ON = ("1", "true", "yes", "on", "TRUE", "Yes", "oN")
OFF = (None, "", "0", "false", "no", "off", "False", "NO", "Off")
WRONG = ("2", "enabled", "y", "t", "01", " 1", "1 ", "none", "-1", "ja")


def environ_with(name: str, text: str | None) -> dict[str, str]:
    return {} if text is None else {name: text}


def test_names_stand_in_the_order_of_the_contract():
    assert v6_flags.FLAG_NAMES == (
        "INTEL_V6_ENABLED",
        "RISK_ENGINE_V6_ENABLED",
        "PIPELINE_V6_SHADOW_ENABLED",
        "ROUTER_AUTOTUNE_V6_ENABLED",
        "FEEDBACK_ALLOCATOR_V6_ENABLED",
        "ROUTER_AUTOTUNE_V6_APPLY_ENABLED",
    )
    assert tuple(v6_flags.read_flags({})) == v6_flags.FLAG_NAMES


def test_every_spelling_of_every_flag():
    for name, text in product(v6_flags.FLAG_NAMES, ON + OFF):
        flags = v6_flags.read_flags(environ_with(name, text))
        assert flags == {each: each == name and text in ON for each in v6_flags.FLAG_NAMES}


@pytest.mark.parametrize("name", v6_flags.FLAG_NAMES)
@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_refused_by_name(name: str, text: str):
    with pytest.raises(ConfigError, match=name) as caught:
        v6_flags.read_flags({name: text})
    assert "expected 1, true, yes or on" in str(caught.value)


def test_the_snapshot_follows_environment_and_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in v6_flags.FLAG_NAMES:
        monkeypatch.delenv(name, raising=False)
    env_file = tmp_path / "some.env"
    monkeypatch.setenv("HEDGE_ENV_FILE", str(env_file))
    assert v6_flags.get_v6_flag_snapshot() == dict.fromkeys(v6_flags.FLAG_NAMES, False)

    env_file.write_text("INTEL_V6_ENABLED=1\nRISK_ENGINE_V6_ENABLED=on\n")
    monkeypatch.setenv("RISK_ENGINE_V6_ENABLED", "0")
    snapshot = v6_flags.get_v6_flag_snapshot()
    assert snapshot == {name: name == "INTEL_V6_ENABLED" for name in v6_flags.FLAG_NAMES}

    env_file.write_text("INTEL_V6_ENABLED=perhaps\n")
    with pytest.raises(ConfigError, match="INTEL_V6_ENABLED='perhaps'"):
        v6_flags.get_v6_flag_snapshot()


def test_the_start_line_says_version_mode_and_all_six(caplog: pytest.LogCaptureFixture):
    flags = v6_flags.read_flags({"INTEL_V6_ENABLED": "1"})
    with caplog.at_level(logging.INFO):
        v6_flags.log_flags(logging.getLogger("hedge"), "v6.0-rc today", "paper", flags)
    (record,) = caplog.records
    line = record.getMessage()
    assert "engine_version='v6.0-rc today' mode=paper" in line
    assert "INTEL_V6_ENABLED=on" in line
    assert line.count("=off") == 5
