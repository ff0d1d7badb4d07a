from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from execution import environment, guards, settings
from execution.environment import ROOT, Secret
from execution.errors import ConfigError
from execution.v6_flags import FLAG_NAMES

CONTRACT_VARIABLES = {
    *("ENV", "DRY_RUN", "BINANCE_TESTNET", "MARKET", "HEDGE_ACCOUNT"),
    *("BINANCE_API_KEY", "BINANCE_API_SECRET", "BINANCE_BASE_URL"),
    *("ALLOW_PROD_WRITE", "ALLOW_PROD_SYNC", "FIRESTORE_PROJECT_ID"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "FIRESTORE_EMULATOR_HOST", *FLAG_NAMES),
    *("HEDGE_LOG_DIR", "HEDGE_OPS_DIR", "HEDGE_ENV_FILE", "PAPER_FAULTS"),
    *("FIRESTORE_EMULATOR_JAR", "NAV_CUTOFF_ISO", "NAV_CUTOFF_SECAGO", "MAX_LOOPS"),
}


# ---------------------------------------------------------------- the defaults


def test_the_defaults_are_paper_on_the_simulated_market():
    found = settings.load({})
    assert (found.env, found.mode, found.market, found.account) == ("dev", "paper", "sim", "main")
    assert (found.dry_run, found.testnet, found.max_loops) == (True, True, 0)
    assert found.log_dir == ROOT / "logs"
    assert found.ops_dir == ROOT / "ops"
    assert found.flags == dict.fromkeys(FLAG_NAMES, False)
    assert found.policy.clamp is False
    assert [strategy.name for strategy in found.policy.strategies] == [
        "reversion-sim",
        "trend-sim",
        "inbox-sim",
    ]
    assert found.services.paper.start_usd == Decimal(100_000)
    assert found.services.paper.volume_share_frac == Decimal("0.1")
    assert found.policy.leverage == 4.0
    assert found.api_key == Secret("")
    assert found.base_url is found.replay_dir is found.paper_faults is None
    assert found.firestore_project is found.firestore_emulator is None
    assert found.nav_cutoff_ts_iso is found.nav_cutoff_secago is None


@pytest.mark.parametrize("market", ["replay", "binance"])
def test_strategies_are_those_of_the_market(market: str, tmp_path: Path):
    variable = f"replay:{tmp_path}" if market == "replay" else market
    found = settings.load({"MARKET": variable})
    assert found.market == market
    assert [strategy.name for strategy in found.policy.strategies] == [
        "reversion",
        "trend",
        "inbox",
    ]
    assert {strategy.bar_s for strategy in found.policy.strategies} == {300, 900}
    assert found.replay_dir == (tmp_path if market == "replay" else None)


def test_every_variable_is_read(tmp_path: Path):
    faults = tmp_path / "faults.toml"
    faults.touch()
    found = settings.load(
        {
            "ENV": "staging",
            "HEDGE_ACCOUNT": "fund-2",
            "BINANCE_API_KEY": "public-part",
            "BINANCE_API_SECRET": "planted-secret",
            "BINANCE_BASE_URL": "http://127.0.0.1:8080/",
            "FIRESTORE_PROJECT_ID": "fund-mirror",
            "GOOGLE_APPLICATION_CREDENTIALS": "keys/mirror.json",
            "FIRESTORE_EMULATOR_HOST": "127.0.0.1:9090",
            "RISK_ENGINE_V6_ENABLED": "yes",
            "HEDGE_LOG_DIR": str(tmp_path / "logs"),
            "PAPER_FAULTS": str(faults),
            "NAV_CUTOFF_ISO": "2026-01-31T00:00:00Z",
            "NAV_CUTOFF_SECAGO": "86400",
            "MAX_LOOPS": "12",
        }
    )
    assert (found.env, found.account, found.max_loops) == ("staging", "fund-2", 12)
    assert found.policy.account == "fund-2"
    assert found.policy.clamp is True
    assert found.base_url == "http://127.0.0.1:8080"
    assert found.firestore_project == "fund-mirror"
    assert found.firestore_credentials == ROOT / "keys/mirror.json"
    assert found.firestore_emulator == "127.0.0.1:9090"
    assert found.log_dir == tmp_path / "logs"
    assert found.paper_faults == faults
    assert found.nav_cutoff_ts_iso == 1769817600.0
    assert found.nav_cutoff_secago == 86400.0
    assert found.api_secret.reveal() == "planted-secret"
    assert "planted" not in repr(found)
    assert "public-part" not in repr(found)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ENV", "production"),
        ("DRY_RUN", "yes"),
        ("BINANCE_TESTNET", "false"),
        ("MARKET", "kraken"),
        ("MARKET", "replay:/no/such/folder"),
        ("HEDGE_ACCOUNT", "Main"),
        ("HEDGE_ACCOUNT", "a" * 17),
        ("HEDGE_ACCOUNT", "a/b"),
        ("HEDGE_ACCOUNT", "main\n"),
        ("BINANCE_BASE_URL", "https://example.com"),
        ("BINANCE_BASE_URL", "http://127.0.0.1@example.com"),
        ("FIRESTORE_EMULATOR_HOST", "example.com:80"),
        ("FIRESTORE_EMULATOR_HOST", "127.0.0.1"),
        ("FIRESTORE_PROJECT_ID", "a/b"),
        ("BINANCE_API_KEY", "two words"),
        ("BINANCE_API_SECRET", "pasted\n"),
        ("MAX_LOOPS", "-1"),
        ("MAX_LOOPS", "1.5"),
        ("MAX_LOOPS", "١٢"),
        ("NAV_CUTOFF_ISO", "yesterday"),
        ("NAV_CUTOFF_SECAGO", "nan"),
        ("NAV_CUTOFF_SECAGO", "-1"),
        ("NAV_CUTOFF_SECAGO", "1h"),
        ("PAPER_FAULTS", "/no/such/file.toml"),
        ("INTEL_V6_ENABLED", "maybe"),
        ("HEDGE_LOG_DIR", "~nobody-of-that-name/logs"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str):
    with pytest.raises(ConfigError, match=f"^{variable}"):
        settings.load({variable: text})


@pytest.mark.parametrize("variable", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
def test_a_wrong_secret_is_not_shown(variable: str):
    with pytest.raises(ConfigError) as caught:
        settings.load({variable: "planted secret"})
    assert "planted" not in str(caught.value)


def test_empty_variables_are_unset():
    assert settings.load(dict.fromkeys(CONTRACT_VARIABLES, "")) == settings.load({})


def test_faults_are_for_paper(tmp_path: Path):
    variables = {"PAPER_FAULTS": str(tmp_path), "DRY_RUN": "0"}
    with pytest.raises(ConfigError, match="PAPER_FAULTS: faults are rehearsed on paper"):
        settings.load(variables)


def test_relative_paths_start_at_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert settings.load({"HEDGE_LOG_DIR": "elsewhere"}).log_dir == ROOT / "elsewhere"
    assert environment.dotenv_path({"HEDGE_ENV_FILE": "other.env"}) == ROOT / "other.env"
    assert environment.dotenv_path({}) == ROOT / ".env"


# ---------------------------------------------------------------- .env.example


def test_the_example_names_every_variable_and_starts():
    text = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, flags=re.MULTILINE)) == CONTRACT_VARIABLES
    found = settings.load({"HEDGE_ENV_FILE": str(ROOT / ".env.example")})
    assert found.flags == {name: name != FLAG_NAMES[5] for name in FLAG_NAMES}
    published = settings.publish_values({"HEDGE_ENV_FILE": str(ROOT / ".env.example")})
    assert published.dotenv == {}


def test_the_defaults_in_the_example_are_the_defaults(tmp_path: Path):
    text = (ROOT / ".env.example").read_text()
    everything = tmp_path / ".env"
    everything.write_text(re.sub(r"^#(?=[A-Z][A-Z0-9_]+=)", "", text, flags=re.MULTILINE))
    shown = settings.load({"HEDGE_ENV_FILE": str(everything)})
    assert shown == settings.load({"HEDGE_ENV_FILE": str(ROOT / ".env.example")})


# ---------------------------------------------------------------- publishing


def test_publish_values_are_read_afresh(tmp_path: Path):
    env_file = tmp_path / ".env"
    environ = {
        "HEDGE_ENV_FILE": str(env_file),
        "SUPERVISOR_ENABLED": "1",
        "ALLOW_PROD_WRITE": "1",
        "ALLOW_PROD_SYNC": "1",
        "FIRESTORE_PROJECT_ID": "fund",
    }

    def allowed() -> bool:
        return guards.may_publish(settings.publish_values(environ), "sync_state").allowed

    assert allowed() is False
    env_file.write_text("ALLOW_PROD_WRITE=1\n")
    assert allowed() is False
    env_file.write_text("ALLOW_PROD_WRITE=1\nALLOW_PROD_SYNC=on\n")
    assert allowed() is True
    env_file.write_text("ALLOW_PROD_WRITE=1\nALLOW_PROD_SYNC=0\n")
    assert allowed() is False
    del environ["SUPERVISOR_ENABLED"]  # started by hand, the exported value decides
    assert allowed() is True
    environ["ALLOW_PROD_SYNC"] = ""
    assert allowed() is False
    del environ["ALLOW_PROD_SYNC"]
    assert allowed() is False
    env_file.write_text("ALLOW_PROD_SYNC=yes\n")
    assert allowed() is True


def test_publish_values_never_raise(tmp_path: Path):
    env_file = tmp_path / ".env"
    env_file.write_bytes(b"\xff\xff")
    found = settings.publish_values({"HEDGE_ENV_FILE": str(env_file), "ENV": "moon"})
    assert (found.env, found.mode) == (None, None)
    assert found.problem is not None
    assert str(env_file) in found.problem
    decided = guards.may_publish(found, "sync_state")
    assert decided.allowed is False
    assert decided.alerts == (found.problem,)


@pytest.mark.parametrize(("value", "supervised"), [("1", True), ("", True), (None, False)])
def test_supervised_means_set(value: str | None, supervised: bool):
    environ = {} if value is None else {"SUPERVISOR_ENABLED": value}
    assert settings.publish_values(environ).supervised is supervised


def test_publish_values_know_mode_and_target():
    found = settings.publish_values(
        {"ENV": "prod", "FIRESTORE_PROJECT_ID": "fund", "FIRESTORE_EMULATOR_HOST": "localhost:1"}
    )
    assert (found.env, found.mode) == ("prod", "paper")
    assert (found.project_id, found.emulator_host) == ("fund", "localhost:1")
    assert found.exported == found.dotenv == {}


# ---------------------------------------------------------------- version and log folder


def test_the_version_is_the_files_text(tmp_path: Path):
    assert settings.engine_version(tmp_path) == "v6.0-beta-preview"
    version = tmp_path / "VERSION"
    version.write_text("  v6.0-rc 2026-01-31\n\n")
    assert settings.engine_version(tmp_path) == "v6.0-rc 2026-01-31"
    for wrong in (b"", b" \n", b"\xff\xfe"):
        version.write_bytes(wrong)
        with pytest.raises(ConfigError, match=re.escape(str(version))):
            settings.engine_version(tmp_path)
    version.unlink()
    version.mkdir()
    with pytest.raises(ConfigError, match=re.escape(str(version))):
        settings.engine_version(tmp_path)


def with_log_dir(log_dir: Path) -> settings.Settings:
    return settings.load({"HEDGE_LOG_DIR": str(log_dir)})


def test_the_log_folder_is_made_and_left_clean(tmp_path: Path):
    log_dir = tmp_path / "new" / "logs"
    for _ in range(2):
        settings.prepare_log_dir(with_log_dir(log_dir))
        made = sorted(path.relative_to(log_dir).as_posix() for path in log_dir.rglob("*"))
        assert made == ["execution", "ledger", "run", "state"]
        assert (log_dir / "run").stat().st_mode & 0o777 == 0o700


def test_an_open_run_folder_is_closed(tmp_path: Path):
    (tmp_path / "run").mkdir(mode=0o755)
    settings.prepare_log_dir(with_log_dir(tmp_path))
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "state", "execution", "run", "ledger"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str):
    log_dir = tmp_path / "logs"
    blocked = log_dir / name
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.touch()
    with pytest.raises(ConfigError, match=re.escape(f"log folder {blocked}: cannot be written")):
        settings.prepare_log_dir(with_log_dir(log_dir))


@pytest.mark.skipif(os.geteuid() == 0, reason="mode bits say nothing to root")
def test_a_folder_without_the_right_to_write_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match=re.escape(f"log folder {tmp_path}/state")):
        settings.prepare_log_dir(with_log_dir(tmp_path))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc on this system")
def test_a_file_system_that_takes_no_files_is_named():
    with pytest.raises(ConfigError, match="log folder /proc/hedge: cannot be written"):
        settings.prepare_log_dir(with_log_dir(Path("/proc/hedge")))


@pytest.mark.parametrize(("bytes_over", "refused"), [(0, False), (1, True)])
def test_the_socket_path_fits(tmp_path: Path, bytes_over: int, refused: bool):
    room = 99 + bytes_over - len(os.fsencode(tmp_path / "x" / "run" / "supervisor.sock")) + 1
    log_dir = tmp_path / ("x" * room)
    assert len(os.fsencode(log_dir / "run/supervisor.sock")) == 99 + bytes_over
    if refused:
        with pytest.raises(ConfigError, match="has 100 bytes, and supervisor can open at most 99"):
            settings.prepare_log_dir(with_log_dir(log_dir))
        assert not log_dir.exists()
    else:
        settings.prepare_log_dir(with_log_dir(log_dir))
        assert log_dir.is_dir()


# ---------------------------------------------------------------- weight


def test_settings_load_light():
    """Hold what every service pays for; three of them have 30 MB in all."""
    code = (
        "import sys, resource\n"
        "from execution import settings\n"
        "settings.load({})\n"
        "heavy = {'click', 'sqlite3', 'ccxt', 'google', 'streamlit', 'asyncio', 'rich'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
        "print(open('/proc/self/statm').read().split()[1])\n"
    )
    for _ in range(2):  # a first run may compile, which costs memory once
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
            check=True,
        )
    loaded, pages = done.stdout.splitlines()
    assert loaded == "[]"
    assert int(pages) * os.sysconf("SC_PAGE_SIZE") < 24 * 2**20
