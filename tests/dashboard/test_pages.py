"""Each page as Streamlit runs it, over fresh, stale, missing, garbage and hostile files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import sample_journals
import sample_state as sample
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import intel, orders, positions, risk, shadow, system
from execution.clock import ManualClock
from execution.state_schema import registry

ROOT = Path(__file__).resolve().parents[2]
UNSEEN = "BTC\u202eTDSU\u200b\x1b[2J\r\nALARM  HALTED\0"
HOSTILE = "<script>alert(1)</script> [a](javascript:alert(1)) `b` **c** :red[d] $e$"
# What a page says of a fresh folder, and the names of its values that a stale one must grey.
PAGES = {
    "positions": (positions, "Open legs"),
    "risk": (risk, "Vetoes today, all symbols"),
    "orders": (orders, "Routes ended"),
    "intel": (intel, "Allocator"),
    "shadow": (shadow, "Decisions compared"),
    "system": (system, "Loop time"),
}
SCRIPT = """
import streamlit as st
from dashboard import live, {name}
from execution.state_schema import registry
wanted = getattr({name}, "JOURNALS", (registry.NAV_SERIES,))
live.page({name}.draw, *wanted, logs={logs})()
"""


@pytest.fixture
def log_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("HEDGE_LOG_DIR", str(tmp_path))
    monkeypatch.setenv("HEDGE_ENV_FILE", str(tmp_path / "no.env"))
    st.cache_resource.clear()
    yield tmp_path
    st.cache_resource.clear()


def opened(name: str, **asked: str) -> AppTest:
    script = SCRIPT.format(name=name, logs=name == "system")
    page = AppTest.from_string(script, default_timeout=30)
    for key, value in asked.items():
        page.session_state[key] = value
    return again(page)


def again(page: AppTest) -> AppTest:
    page.run()
    assert not page.exception, page.exception
    return page


def texts(page: AppTest) -> list[str]:
    return [each.value for each in page.text]


def cells(page: AppTest) -> list[str]:
    return [str(cell) for each in page.dataframe for cell in each.value.to_numpy().ravel()]


@pytest.mark.parametrize("name", PAGES)
def test_a_fresh_folder_is_drawn_under_its_mode(log_dir, name):
    sample_journals.fill_folder(log_dir, time.time())
    page = opened(name)
    assert "PAPER" in texts(page)
    assert PAGES[name][1] in texts(page)
    assert not any("stale" in text for text in texts(page))


@pytest.mark.parametrize("name", PAGES)
def test_an_old_folder_is_stale_on_every_page(log_dir, name):
    sample_journals.fill_folder(log_dir, time.time() - 7 * 86_400)
    page = opened(name)
    assert any(text.startswith("ALARM  Executor silent for 7 d") for text in texts(page))
    assert any(text == "stale 7 d" for text in texts(page)) or "stale" in cells(page)


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_folder_shows_no_number_of_the_book(log_dir, name):
    page = opened(name)
    assert "ALARM  No state file exists yet: is the executor running?" in texts(page)
    assert any(text == "unknown" for text in texts(page))
    assert not any(text.endswith(" USD") for text in texts(page))
    assert log_dir.is_dir()


@pytest.mark.parametrize("name", PAGES)
def test_a_folder_of_garbage_leaves_a_page_without_a_number_of_the_book(log_dir, name):
    sample_journals.fill_folder(log_dir, time.time())
    for file in registry.STATE_FILES:
        (log_dir / file.path).write_bytes(b'{"garbage": ')
    page = opened(name)
    for file in registry.STATE_FILES:
        assert any(f"{file.path}: not_json" in text for text in texts(page))


@pytest.mark.full
@pytest.mark.parametrize("name", [*PAGES, "overview"])
def test_each_file_gone_garbage_or_of_last_week_leaves_a_page_that_says_so(log_dir, tmp_path, name):
    now = time.time()
    sample_journals.fill_folder(log_dir, now)
    sample.fill(tmp_path / "week", now - 7 * 86_400)
    page = opened(name)
    for file in registry.STATE_FILES:
        path = log_dir / file.path
        content = path.read_bytes()
        path.write_bytes(b'{"garbage": ')
        assert any(f"{file.path}: not_json" in text for text in texts(again(page)))
        path.unlink()
        assert any(file.path in text for text in texts(again(page)))
        path.write_bytes((tmp_path / "week" / file.path).read_bytes())
        old = [text for text in texts(again(page)) if "7 d" in text]
        assert any(text.startswith(("ALARM", "WARNING", "NOTE")) for text in old), file.path
        path.write_bytes(content)


@pytest.mark.parametrize("name", PAGES)
def test_journals_that_are_gone_or_garbage_leave_a_page(log_dir, name):
    sample_journals.fill_folder(log_dir, time.time())
    for journal in PAGES[name][0].JOURNALS:
        (log_dir / journal.path).write_bytes(b'\x00{"event":"fill"}\nno json\n\xff\n{"event":')
    page = opened(name)
    shutil.rmtree(log_dir / "execution")
    (log_dir / "execution").write_text("no folder")
    again(page)
    assert "PAPER" in texts(page)


def hostile(now: float, text: str) -> dict[str, tuple[object, ...]]:
    name = {"symbol": text, "strategy": text}
    return {
        "orders_attempted": (sample_journals.intent(now - 9, text, reason=text, **name),),
        "risk_vetoes": (sample_journals.veto(now - 9, text, reason=text, reasons=(text,), **name),),
        "orders_executed": (
            sample_journals.order(
                sample_journals.order_journals.Reject,
                now - 8,
                text,
                code=text,
                symbol=text,
            ),
            sample_journals.close(now - 7, **name),
        ),
        "order_metrics": (
            sample_journals.route(now - 6, text, **name),
            sample_journals.policy_change(now - 5, symbol=text, rationale=(text,)),
        ),
        "pipeline_v6_shadow": (sample_journals.shadow(now - 9, text, **name),),
        "audit": (
            sample_journals.shapes.OperatorAct(
                ts=now, run_id="r", act=text, user=text, reason=text
            ),
        ),
    }


def fill_hostile(log_dir: Path, now: float, text: str) -> None:
    sample.fill(
        log_dir,
        now,
        executor_health=sample.executor(now, errors={text: 1}),
        risk_snapshot=sample.risk(
            now,
            limits={text: sample.limit(1.0, 0.5, text)},
            vetoes={text: 3},
            symbols=(sample.risk_row(text, now),),
        ),
        positions=sample.positions(now, rows=(sample.position(text, now),)),
        sync_health=sample.sync(now, disabled_reason=text),
        process_sync_state=sample.service(now, errors={text: 1}, last_error=text),
    )
    sample_journals.append(log_dir, now, hostile(now, text))
    (log_dir / "hedge-executor.log").write_text(f"{text}\n")


@pytest.mark.parametrize("name", PAGES)
def test_hostile_text_stays_text(log_dir, name):
    fill_hostile(log_dir, time.time(), HOSTILE)
    page = opened(name, **({"order": HOSTILE[:80]} if name == "orders" else {}))
    # The banner has the executor's errors, and each page shows some of its own.
    assert sum(HOSTILE in text for text in [*texts(page), *cells(page)]) >= 2
    for kind in ("markdown", "caption", "error", "warning", "info", "success", "metric", "code"):
        assert not page.get(kind), kind
    for html in page.get("html"):
        assert "alert(1)" not in str(html.proto)
    for link in (cell for cell in cells(page) if cell.startswith("orders?order=")):
        assert "<" not in link
        assert ":" not in link


@pytest.mark.parametrize("name", PAGES)
def test_nothing_turns_or_hides_what_stands_beside_it(log_dir, name):
    fill_hostile(log_dir, time.time(), UNSEEN)
    page = opened(name)
    shown = [*texts(page), *cells(page)]
    assert sum(r"BTC\u202eTDSU\u200b" in each for each in shown) >= 2
    for line in "\n".join(shown).split("\n"):
        assert line.isprintable(), repr(line)


def test_a_link_leads_to_one_symbol_and_one_order(log_dir):
    now = time.time()
    sample_journals.fill_folder(log_dir, now)
    page = opened("orders", symbol="ETHUSDT", order="d1")
    assert "Order d1" in texts(page)
    story, newest = page.dataframe[0].value, page.dataframe[1].value
    assert list(story["What"]) == ["signal", "intent", "resting", "fill", "route over"]
    assert set(newest["Symbol"]) == {"ETHUSDT"}
    assert newest["Decision"].iloc[0] == "orders?order=d2"
    unheard = opened("orders", order="nobody")
    assert "Not among the newest orders of the last 24 hours." in texts(unheard)


def test_the_log_is_filtered_by_process_and_text(log_dir):
    sample_journals.fill_folder(log_dir, time.time())
    assert "hedge-executor.log: 2 of the last 2 lines" in texts(opened("system"))
    low = texts(opened("system", containing="DISK"))
    assert "2027-01-15T08:00:01Z WARNING disk low" in low
    assert "No such log. There are: hedge-executor.log." in texts(
        opened("system", process="nobody")
    )


def test_a_rewritten_file_is_shown_at_the_next_run(log_dir):
    now = time.time()
    sample_journals.fill_folder(log_dir, now)
    page = opened("risk")
    before = len(page.dataframe[2].value)
    late = sample_journals.veto(now - 1, "v9", symbol="BTCUSDT")
    sample.append(log_dir, ManualClock(now), registry.RISK_VETOES, late)
    assert len(again(page).dataframe[2].value) == before + 1
