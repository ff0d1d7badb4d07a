"""The page as Streamlit runs it, on files written by the real store and journals."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sample_state as sample
import streamlit as st
from streamlit.testing.v1 import AppTest

from execution.clock import ManualClock
from execution.state_schema import registry
from execution.state_store import StateStore

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "dashboard"
HOSTILE = "<script>alert(1)</script> [a](javascript:alert(1)) `b` **c** :red[d] $e$"


@pytest.fixture
def log_dir(tmp_path, monkeypatch):
    for name in ("ENV", "DRY_RUN", "BINANCE_TESTNET", "MARKET", "HEDGE_OPS_DIR", "HEDGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEDGE_LOG_DIR", str(tmp_path))
    monkeypatch.setenv("HEDGE_ENV_FILE", str(tmp_path / "no.env"))
    st.cache_resource.clear()
    yield tmp_path
    st.cache_resource.clear()


def run(page: AppTest | None = None, zone: str | None = None) -> AppTest:
    page = page or AppTest.from_file(str(PAGE / "app.py"), default_timeout=30)
    if zone is not None:
        page.context = {"timezone": zone}
    page.run()
    assert not page.exception, page.exception
    return page


def texts(page: AppTest) -> list[str]:
    return [each.value for each in page.text]


def after(page: AppTest, label: str, place: int = 1) -> str:
    found = texts(page)
    return found[found.index(label) + place]


def test_a_healthy_suite_is_shown_with_its_numbers(log_dir):
    now = time.time()
    sample.fill(log_dir, now, nav=sample.nav(now, nav_usd=123_456.78, day_pnl_usd=-1_000.5))
    page = run(zone="Asia/Tokyo")
    assert "PAPER" in texts(page)
    assert "OK  Nothing needs attention" in texts(page)
    assert after(page, "NAV") == "123,456.78 USD"
    assert after(page, "Day P&L") == "\N{MINUS SIGN}1,000.50 USD"
    assert after(page, "NAV", 3).endswith(" s ago")
    assert after(page, "Trading state", 2) == "ACTIVE"
    assert after(page, "gross cap") == "41,250 of 150,960 USD"
    assert after(page, "executor") == "running"
    assert any(text.endswith("JST") for text in texts(page))
    (table,) = page.dataframe
    assert list(table.value["Symbol"]) == ["BTCUSDT", "ETHUSDT", "LAYERUSDT"]
    assert list(table.value["To stop %"]) == ["1.74", "1.79", "4.17"]


def test_a_rewritten_file_is_shown_at_the_next_run(log_dir):
    now = time.time()
    sample.fill(log_dir, now)
    page = run()
    sample.write(StateStore(log_dir, ManualClock(now)), "nav", sample.nav(now, nav_usd=77.0))
    assert after(run(page), "NAV") == "77.00 USD"


def test_old_files_are_stale_everywhere(log_dir):
    sample.fill(log_dir, time.time() - 200)
    page = run()
    assert "ALARM  Executor silent for 3 m, with 3 open positions; it last said ACTIVE" in texts(
        page
    )
    assert after(page, "NAV", 3) == "stale 3 m"
    for head in ("Trading state", "Exposure and losses against their limits", "Positions"):
        assert after(page, head).startswith("stale 3 m"), head
    assert after(page, "executor", 2) == "stale 3 m"


def test_an_empty_folder_shows_unknowns_and_no_number(log_dir):
    page = run()
    assert "ALARM  No state file exists yet: is the executor running?" in texts(page)
    for label in ("NAV", "Day P&L", "Drawdown", "Gross exposure", "Net exposure"):
        assert (after(page, label), after(page, label, 3)) == ("unknown", "file missing")
    assert after(page, "Trading state", 2) == "unknown"
    assert not page.dataframe
    assert log_dir.is_dir()


def test_each_missing_file_and_each_garbage_file_leaves_a_page(log_dir):
    now = time.time()
    sample.fill(log_dir, now)
    page = run()
    for file in registry.STATE_FILES:
        path = log_dir / file.path
        content = path.read_bytes()
        path.write_bytes(b'{"garbage": ')
        assert any(f"{file.path}: not_json" in text for text in texts(run(page)))
        path.unlink()
        assert any(file.path in text for text in texts(run(page)))
        path.write_bytes(content)


def test_halted_is_the_banner(log_dir):
    now = time.time()
    sample.fill(
        log_dir,
        now,
        executor_health=sample.executor(now, trading_state="HALTED", mode="live"),
        risk_snapshot=sample.risk(
            now, trading_state="HALTED", trading_state_reasons=("kill_switch",)
        ),
    )
    page = run()
    assert "LIVE" in texts(page)
    assert "ALARM  HALTED: kill switch" in texts(page)
    assert after(page, "HALTED") == "kill switch"


def test_hostile_text_stays_text(log_dir):
    now = time.time()
    sample.fill(
        log_dir,
        now,
        executor_health=sample.executor(
            now, trading_state="HALTED", errors={HOSTILE: 1}, failed_writes=(HOSTILE,)
        ),
        risk_snapshot=sample.risk(
            now,
            trading_state="HALTED",
            trading_state_reasons=(HOSTILE,),
            limits={HOSTILE: sample.limit(1.0, 0.5, HOSTILE)},
        ),
        positions=sample.positions(now, rows=(sample.position(HOSTILE, now, exit=None),)),
    )
    alert = sample.alert(now, kind=HOSTILE, subject=HOSTILE, text=HOSTILE)
    sample.append(log_dir, ManualClock(now), registry.ALERTS, alert)
    (log_dir / "run").mkdir(exist_ok=True)
    (log_dir / "run/mirror.json").write_text(
        f'{{"source": "{HOSTILE}", "pulled_ts": {now}}}', encoding="utf-8"
    )
    page = run()
    assert sum(HOSTILE in text for text in texts(page)) >= 7
    assert list(page.dataframe[0].value["Symbol"]) == [HOSTILE]
    # Whatever reads markdown or HTML has seen none of it.
    for kind in ("markdown", "caption", "error", "warning", "info", "success", "metric", "code"):
        assert not page.get(kind), kind
    for html in page.get("html"):
        assert "alert(1)" not in str(html.proto)
    for expander in page.expander:
        assert "alert(1)" not in expander.label


def test_a_wrong_setting_is_named_in_place_of_the_page(log_dir, monkeypatch):
    monkeypatch.setenv("ENV", "production")
    page = run()
    assert "ALARM  The configuration cannot be read, so nothing is shown." in texts(page)
    assert any("ENV='production'" in text for text in texts(page))
    monkeypatch.setenv("ENV", "dev")
    assert "ALARM  No state file exists yet: is the executor running?" in texts(run(page))
    assert log_dir.is_dir()


def test_an_unknown_time_zone_is_utc(log_dir):
    sample.fill(log_dir, time.time())
    for zone in ("Nowhere/Else", "../../etc/passwd", "UTC", "x\x00y"):
        clocks = [text for text in texts(run(zone=zone)) if text.endswith("UTC")]
        assert clocks


def test_a_copy_of_the_project_draws_itself_and_not_the_installed_one(tmp_path):
    copy = tmp_path / "copy"
    for name in ("dashboard", "execution", "ops"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "VERSION").write_text("the copy's own")
    ask = (
        "import sys; from streamlit.testing.v1 import AppTest;"
        "page = AppTest.from_file(sys.argv[1], default_timeout=60).run();"
        "print([each.value for each in page.text][-1])"
    )
    # The path of the installed project comes before that of the copy, as an editable install's may.
    answer = subprocess.run(
        [sys.executable, "-c", ask, str(copy / "dashboard" / "app.py")],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HEDGE_LOG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert answer.stdout.strip() == "executor unknown, page the copy's own"


# ---------------------------------------------------------------- the rules of this folder

PURE = (
    "nav_series",
    "records",
    "seen",
    "shown",
    "trouble",
    *(each.stem for each in sorted(PAGE.glob("view_*.py"))),
)
DRAWN = {"text", "container", "columns", "expander", "progress", "dataframe", "vega_lite_chart"}
ASKED = {"text_input", "download_button"}
RUN = {"html", "column_config", "set_page_config", "navigation", "Page", "fragment", "context"}
KEPT = {"session_state", "cache_resource"}


@pytest.mark.parametrize("name", PURE)
def test_what_decides_does_not_draw_or_look(name):
    tree = ast.parse((PAGE / f"{name}.py").read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    roots = {str(each).partition(".")[0] for each in imported}
    assert roots <= {
        "__future__",
        "collections",
        "dashboard",
        "datetime",
        "execution",
        "itertools",
        "msgspec",
        "typing",
    }


def test_text_is_drawn_only_by_what_reads_no_markup():
    used = set()
    for file in sorted(PAGE.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "st":
                    used.add(node.attr)
            elif isinstance(node, ast.keyword):
                assert node.arg not in {"unsafe_allow_html", "unsafe_allow_javascript", "help"}
    assert used <= DRAWN | ASKED | RUN | KEPT
