from __future__ import annotations

from pathlib import Path

import pytest

from execution.errors import ConfigError
from tests.support.operators import Operator
from tests.support.replays import copy_ops


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    operator = Operator(tmp_path / "logs")
    operator.publish(1)
    monkeypatch.setenv("HEDGE_LOG_DIR", str(operator.log_dir))
    monkeypatch.setenv("HEDGE_ENV_FILE", str(tmp_path / "no.env"))
    return operator


def test_the_mode_the_book_and_what_is_missing_are_shown(operator: Operator) -> None:
    done = operator.type("status")
    assert done.exit_code == 1
    assert done.stdout.startswith("paper, ")
    assert "open positions: 1" in done.stdout
    assert "S000USDT" in done.stdout
    assert "process_sync_state.json" in done.stdout


def test_before_the_first_start_the_next_step_is_named(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEDGE_LOG_DIR", str(tmp_path / "none"))
    done = operator.type("status")
    assert done.exit_code == 1
    assert (
        done.stdout
        == f"nothing is published in {tmp_path / 'none'}: scripts/up starts the suite there\n"
    )


def test_a_wrong_limit_is_named_and_does_not_hide_the_book(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ops = copy_ops(tmp_path / "ops", {})
    risk = ops / "risk.toml"
    risk.write_text(risk.read_text().replace("\ngross_cap_pct", "\ngros_cap_pct"))
    monkeypatch.setenv("HEDGE_OPS_DIR", str(ops))
    done = operator.type("status")
    assert "S000USDT" in done.stdout
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).endswith(
        "risk.toml: book.gros_cap_pct: is unknown: correct its name, or remove it"
    )
