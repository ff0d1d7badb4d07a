from __future__ import annotations

import copy
import os
import pickle
import re
import time
from pathlib import Path

import msgspec
import pytest

from execution import environment, settings
from execution.environment import Secret
from execution.errors import ConfigError


def test_the_environment_beats_the_env_file_and_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    env_file = tmp_path / ".env"
    env_file.write_text("HEDGE_ACCOUNT=file\nMAX_LOOPS=3 # three\nexport ENV='staging'\n")
    for name in [each for each in os.environ if not each.startswith("PYTEST")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEDGE_ENV_FILE", str(env_file))
    monkeypatch.setenv("HEDGE_ACCOUNT", "shell")
    before = dict(os.environ)
    found = settings.load()
    assert (found.account, found.max_loops, found.env) == ("shell", 3, "staging")
    assert dict(os.environ) == before
    assert found == settings.load({"HEDGE_ENV_FILE": str(env_file), "HEDGE_ACCOUNT": "shell"})


def test_a_missing_env_file_has_no_variables(tmp_path: Path):
    assert settings.load({"HEDGE_ENV_FILE": str(tmp_path / "none")}) == settings.load({})


@pytest.mark.parametrize("content", [b"A=1\nDRY_RUN 0\n", b"A=1\nDRY_RUN\n", b"A=1\nDRY_RUN='0\n"])
def test_a_line_of_the_env_file_is_never_skipped(tmp_path: Path, content: bytes):
    env_file = tmp_path / "broken.env"
    env_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.env: line 2: expected NAME=value"):
        settings.load({"HEDGE_ENV_FILE": str(env_file)})


def test_an_unreadable_env_file_is_named(tmp_path: Path):
    binary = tmp_path / "binary.env"
    binary.write_bytes(b"A=\xff\xfe\n")
    for path in (binary, tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            settings.load({"HEDGE_ENV_FILE": str(path)})


def test_nothing_in_the_env_file_is_interpolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLANTED", "leak")
    env_file = tmp_path / ".env"
    env_file.write_text("BINANCE_API_SECRET=a${PLANTED}b\n")
    env_file.chmod(0o600)
    found = settings.load({"HEDGE_ENV_FILE": str(env_file)})
    assert found.api_secret.reveal() == "a${PLANTED}b"


def test_a_secret_stays_one():
    secret = Secret("planted")
    shown = (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", repr([secret]))
    assert not any("planted" in text for text in shown)
    assert secret.reveal() == "planted"
    assert secret == Secret("planted") != Secret("other")
    assert hash(secret) == hash(Secret("planted"))
    assert bool(secret) is True
    assert bool(Secret("")) is False
    assert repr(Secret("")) == "Secret(unset)"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    assert not hasattr(secret, "__dict__")


# ---------------------------------------------------------------- single variables


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        ("1970-01-02", 86400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:00:01.5", 1.5),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_cutoff_times_are_utc_unless_they_say_so(
    monkeypatch: pytest.MonkeyPatch, zone: str, text: str, ts: float
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert environment.read_cutoff_ts({"NAV_CUTOFF_ISO": text}) == ts
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_may_read_is_refused_with_what_to_type(
    tmp_path: Path, name: str, mode: int
):
    env_file = tmp_path / ".env"
    env_file.write_text(f"{name}=PlantedWord\n")
    env_file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600") as refused:
        settings.load({"HEDGE_ENV_FILE": str(env_file)})
    assert "PlantedWord" not in str(refused.value)
    env_file.chmod(0o600)
    assert settings.load({"HEDGE_ENV_FILE": str(env_file)}).account == "main"


def test_a_file_without_a_key_may_be_read_by_others(tmp_path: Path):
    env_file = tmp_path / ".env"
    env_file.write_text("HEDGE_ACCOUNT=file\nBINANCE_API_KEY=\n")
    env_file.chmod(0o644)
    assert settings.load({"HEDGE_ENV_FILE": str(env_file)}).account == "file"
