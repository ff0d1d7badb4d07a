"""The page in a real browser, from a real `streamlit run`, on files of the real writers."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import sample_journals
import sample_state as sample
from browsing import (
    CHROMIUM,
    DEADLINE_MS,
    LAUNCH,
    NEEDS_CHROMIUM,
    copy_ops,
    defects,
    free_port,
    screenshot,
    serve,
    stop,
    wait_for_text,
    wait_until_healthy,
)

from execution.clock import ManualClock
from execution.state_schema import registry
from execution.state_store import StateStore

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

HOSTILE = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) `b` **c**"

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A served page over a log folder of its own, redrawn twice a second."""
    folder = tmp_path_factory.mktemp("page")
    log_dir, ops_dir, output = folder / "logs", folder / "ops", folder / "streamlit.log"
    copy_ops(ops_dir, 0.5)
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
        stop(process)


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

    def opened(width: int = 1400, scheme: str = "light", path: str = "") -> sync_api.Page:
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
        page.goto(f"{suite.url}/{path}")
        page.locator("[class*='st-key-banner_']").first.wait_for()
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


def tile(page, label: str):
    return page.locator("[class*='st-key-tile_']").filter(has_text=label)


def clicked(page, button) -> sync_api.Download:
    """Click until the file comes: Streamlit keeps one for a redraw, which is half a second here."""
    for _ in range(4):
        try:
            with page.expect_download(timeout=DEADLINE_MS) as got:
                button.click()
            got.value.path()
        except sync_api.Error:
            continue
        return got.value
    raise AssertionError("no file came in four clicks")


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
    screenshot(page, suite.shots, f"overview_{width}_{scheme}")
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
    assert 0 <= box["y"] < 110


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
            limits={HOSTILE: sample.limit(1.0, 0.9, HOSTILE)},
        ),
        positions=sample.positions(now, rows=(sample.position(HOSTILE, now),)),
    )
    alert = sample.alert(now, kind=HOSTILE, subject=HOSTILE, text=HOSTILE)
    sample.append(suite.log_dir, ManualClock(now), registry.ALERTS, alert)
    page = open_page(420)
    page.get_by_text(f"ALARM  HALTED: {HOSTILE}", exact=True).wait_for()
    page.locator("[class*='st-key-alert_']").get_by_text(HOSTILE, exact=True).wait_for()
    assert page.get_by_text(HOSTILE).count() >= 5
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


def test_hostile_text_of_the_journals_is_shown_as_text(suite, open_page):
    now = time.time()
    refill(suite, now)
    told = {"reason": HOSTILE, "reasons": (HOSTILE,), "symbol": HOSTILE}
    vetoes = tuple(sample_journals.veto(now - at, HOSTILE, **told) for at in (5, 400))
    costs = (sample_journals.route(now - 5, HOSTILE, symbol=HOSTILE, strategy=HOSTILE),)
    sample_journals.append(suite.log_dir, now, {"risk_vetoes": vetoes, "order_metrics": costs})
    (suite.log_dir / "hedge-executor.log").write_text(f"{HOSTILE}\n")
    for path, drawn in (("risk", ".mark-rect path"), ("orders", ".mark-symbol path")):
        page = open_page(path=path)
        page.locator(drawn).first.hover()
        page.locator("#vg-tooltip-element.visible").get_by_text("<img src=x").first.wait_for()
        assert page.locator("img[src=x], a[href^=javascript]").count() == 0
    page = open_page(path="system")
    page.get_by_text(HOSTILE, exact=True).wait_for()
    assert page.locator("img[src=x], a[href^=javascript]").count() == 0


def test_a_link_leads_to_an_order_and_what_is_asked_is_in_the_address(suite, open_page):
    now = time.time()
    refill(suite, now)
    sample_journals.append(
        suite.log_dir,
        now,
        {k: v for k, v in sample_journals.journals(now).items() if k not in {"nav", "alerts"}},
    )
    page = open_page(path="orders?order=d1&symbol=BTCUSDT")
    wait_for_text(page, "Order d1")
    sync_api.expect(page.get_by_label("Symbol")).to_have_value("BTCUSDT", timeout=20_000)
    asked = page.get_by_label("Order", exact=True)
    asked.fill("hgp-d3-1")
    asked.press("Enter")
    wait_for_text(page, "Order hgp-d3-1")
    assert "order=hgp-d3-1" in page.url


@pytest.mark.parametrize(("path", "name"), [("orders", "orders"), ("positions", "closed")])
def test_a_file_is_made_of_what_there_is_at_the_click(suite, open_page, path, name):
    now = time.time()
    refill(suite, now)
    page = open_page(path=path)
    button = page.get_by_role("button", name=f"{name}.csv")
    button.wait_for()
    for told in ("hgp-one-1", "hgp-two-1"):
        closed = sample_journals.close(time.time(), position_id=told, strategy="=1+1")
        sample_journals.append(suite.log_dir, now, {"orders_executed": (closed,)})
        got = clicked(page, button)
        assert got.suggested_filename == f"{name}.csv"
        assert f",{told},'=1+1," in got.path().read_text()
