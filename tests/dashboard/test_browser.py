"""The page in a real browser, from a real `streamlit run`, on files of the real writers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sample_state as sample

from execution.clock import ManualClock
from execution.state_schema import registry
from execution.state_store import StateStore

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
LAUNCH = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
FLAGS = (
    "--server.address=127.0.0.1",
    "--server.headless=true",
    "--server.enableXsrfProtection=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=minimal",
    "--client.disableDataExport=true",
    "--client.showErrorLinks=false",
    "--runner.magicEnabled=false",
)
HOSTILE = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) `b` **c**"
DEADLINE_MS = 15_000

pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"there is no chromium at {CHROMIUM}: apt-get install chromium"
)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def serve(log_dir: Path, ops_dir: Path, port: int, output: Path) -> subprocess.Popen[bytes]:
    environ = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR"}
    }
    with output.open("wb") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                "dashboard/app.py",
                *FLAGS,
                f"--server.port={port}",
            ],
            cwd=ROOT,
            env=environ
            | {
                "HEDGE_LOG_DIR": str(log_dir),
                "HEDGE_OPS_DIR": str(ops_dir),
                "HEDGE_ENV_FILE": str(log_dir / "no.env"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], output: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, output.read_text()
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"not healthy in 60 s: {output.read_text()}")


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A served page over a log folder of its own, redrawn twice a second."""
    folder = tmp_path_factory.mktemp("page")
    log_dir, ops_dir, output = folder / "logs", folder / "ops", folder / "streamlit.log"
    shutil.copytree(ROOT / "ops", ops_dir)
    services = (ops_dir / "services.toml").read_text()
    faster, count = re.subn(r"(?m)^refresh_s = .*$", "refresh_s = 0.5", services)
    assert count == 1
    (ops_dir / "services.toml").write_text(faster)
    log_dir.mkdir()
    port = free_port()
    process = serve(log_dir, ops_dir, port, output)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, process, output)
        yield SimpleNamespace(
            url=url, log_dir=log_dir, process=process, output=output, shots=folder
        )
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(LAUNCH))
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser, suite):
    """Open the page, and watch for what must never happen on it."""
    contexts = []
    seen = SimpleNamespace(dialogs=[], errors=[], requests=[])

    def opened(width: int = 1400, scheme: str = "light") -> sync_api.Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            timezone_id="Asia/Tokyo",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(DEADLINE_MS)
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(suite.url)
        page.get_by_text("Trading state").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert seen.dialogs == []
    assert seen.errors == []
    assert [url for url in seen.requests if not url.startswith((suite.url, "data:", "blob:"))] == []


def refill(suite: SimpleNamespace, now: float, **changes) -> None:
    for name in ("state", "execution", "run"):
        shutil.rmtree(suite.log_dir / name, ignore_errors=True)
    sample.fill(suite.log_dir, now, **changes)


def write(suite: SimpleNamespace, name: str, payload) -> None:
    store = StateStore(suite.log_dir, ManualClock(payload.written_ts or time.time()))
    sample.write(store, name, payload)


def wait_for_text(page, text: str) -> None:
    page.get_by_text(text, exact=True).first.wait_for()


def tile(page, label: str):
    return page.locator("[class*='st-key-tile_']").filter(has_text=label)


def wait_for_drawn_charts(page) -> None:
    """Wait until NAV's line and the drawdown's area are drawn from side to side of their charts."""
    page.wait_for_function(
        """() => ['.mark-line path', '.mark-area path'].every(mark => {
          const shape = document.querySelector(mark);
          if (!shape) return false;
          const drawn = shape.getBoundingClientRect();
          const chart = shape.closest('svg').getBoundingClientRect();
          return drawn.width > 0.7 * chart.width && drawn.height > 20;
        })"""
    )


def defects(page) -> list[str]:
    """Return what an eye would find at once: errors, and text that is cut or off the page."""
    found: list[str] = page.evaluate(
        """() => {
          const found = [];
          if (document.documentElement.scrollWidth > window.innerWidth) found.push('wider than page');
          if (document.querySelector('[data-testid=stException]')) found.push('exception');
          for (const text of document.querySelectorAll('[data-testid=stText]')) {
            const box = text.getBoundingClientRect();
            if (!box.width) continue;
            if (text.scrollWidth > text.clientWidth + 1) found.push('cut: ' + text.innerText);
            if (box.right > window.innerWidth + 1 || box.left < 0)
              found.push('off the page: ' + text.innerText);
          }
          for (const svg of document.querySelectorAll('[data-testid=stVegaLiteChart] svg'))
            for (const text of svg.querySelectorAll('text')) {
              const box = text.getBoundingClientRect(), frame = svg.getBoundingClientRect();
              if (box.left < frame.left - 1 || box.right > frame.right + 1)
                found.push('cut in the chart: ' + text.textContent);
            }
          return found;
        }"""
    )
    return found


def screenshot(page, suite: SimpleNamespace, name: str) -> Path:
    path: Path = suite.shots / f"{name}.png"
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": tall})
    page.screenshot(path=str(path))
    assert path.stat().st_size > 20_000
    return path


@pytest.mark.parametrize(
    ("width", "scheme"), [(1400, "light"), (1400, "dark"), (420, "light"), (420, "dark")]
)
def test_the_page_is_whole_at_every_width(suite, open_page, width, scheme):
    now = time.time()
    refill(suite, now, nav=sample.nav(now, nav_usd=123_456.78))
    page = open_page(width, scheme)
    wait_for_text(page, "123,456.78 USD")
    wait_for_text(page, "PAPER")
    wait_for_text(page, "OK  Nothing needs attention")
    wait_for_drawn_charts(page)
    assert page.get_by_text(re.compile(r"^\d{4}-.* UTC .* JST$")).count() == 1
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
    screenshot(page, suite, f"overview_{width}_{scheme}")
    assert defects(page) == []


def test_nav_updates_by_itself_and_the_mode_stays_in_view(suite, open_page):
    now = time.time()
    refill(suite, now)
    page = open_page()
    write(suite, "nav", sample.nav(time.time(), nav_usd=1_000.25))
    wait_for_text(page, "1,000.25 USD")
    write(suite, "nav", sample.nav(time.time(), nav_usd=2_000.5))
    wait_for_text(page, "2,000.50 USD")
    page.mouse.wheel(0, 600)
    box = page.get_by_text("PAPER", exact=True).bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 60


def test_the_page_turns_stale_as_time_passes(suite, open_page):
    now = time.time()
    # Three seconds before its limit, with a number that must not be taken for the present's.
    refill(suite, now - registry.NAV.max_age_s + 3, minutes=60)
    page = open_page()
    nav = tile(page, "NAV").first
    assert "fresh" in (nav.get_attribute("class") or "")
    nav.get_by_text(re.compile(r"^stale 1\d s$")).wait_for()
    assert "tile_stale" in (tile(page, "NAV").first.get_attribute("class") or "")
    page.get_by_text(re.compile(r"^ALARM  Executor silent for 1\d s, with 3 open")).wait_for()
    grey = nav.locator("[data-testid=stElementContainer]").nth(1)
    assert float(grey.evaluate("each => getComputedStyle(each).opacity")) <= 0.5


def test_old_files_are_stale_at_once_and_missing_ones_unknown(suite, open_page):
    refill(suite, time.time() - 200)
    page = open_page()
    wait_for_text(page, "stale 3 m")
    shutil.rmtree(suite.log_dir / "state")
    (suite.log_dir / "synced_state.json").unlink()
    wait_for_text(page, "ALARM  No state file exists yet: is the executor running?")
    assert tile(page, "NAV").first.get_by_text("unknown", exact=True).count() == 1
    assert defects(page) == []


def test_hostile_text_is_shown_as_text(suite, open_page):
    now = time.time()
    refill(
        suite,
        now,
        executor_health=sample.executor(now, trading_state="HALTED", failed_writes=(HOSTILE,)),
        risk_snapshot=sample.risk(
            now,
            trading_state="HALTED",
            trading_state_reasons=(HOSTILE,),
            limits={HOSTILE: sample.limit(1.0, 0.5, HOSTILE)},
        ),
        positions=sample.positions(now, rows=(sample.position(HOSTILE, now),)),
        sync_health=sample.sync(now, disabled_reason=HOSTILE),
    )
    alert = sample.alert(now, kind=HOSTILE, subject=HOSTILE, text=HOSTILE)
    sample.append(suite.log_dir, ManualClock(now), registry.ALERTS, alert)
    page = open_page(420)
    page.get_by_text(f"ALARM  HALTED: {HOSTILE}", exact=True).wait_for()
    assert page.get_by_text(HOSTILE).count() >= 6
    assert page.locator("img[src=x], a[href^=javascript]").count() == 0
    assert defects(page) == []


def test_a_page_whose_server_stopped_says_so(suite, open_page):
    refill(suite, time.time())
    page = open_page()
    style = "getComputedStyle(document.querySelector('[class*=st-key-silence_]'), '::after')"
    page.wait_for_function(f"() => {style}.visibility === 'hidden'")
    assert "no longer updated" in page.evaluate(f"{style}.content")
    suite.process.send_signal(signal.SIGSTOP)
    try:
        page.wait_for_function(f"() => {style}.visibility === 'visible'")
        page.screenshot(path=str(suite.shots / "stopped.png"))
    finally:
        suite.process.send_signal(signal.SIGCONT)
    page.wait_for_function(f"() => {style}.visibility === 'hidden'")


def test_the_process_logs_its_start_and_no_error(suite, open_page):
    open_page()
    output = suite.output.read_text()
    assert re.search(r"start engine_version='.+' mode=paper INTEL_V6_ENABLED=off", output)
    assert "Traceback" not in output
    assert "Warning" not in output
