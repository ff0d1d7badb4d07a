"""Every page of the real suite at work on paper, in a real browser.

    pytest tests/dashboard/test_suite_page.py --full -k minutes --picture

lets it run for some minutes and takes README's picture, `ops/page.png`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from browsing import (
    CHROMIUM,
    LAUNCH,
    NEEDS_CHROMIUM,
    ROOT,
    copy_ops,
    defects,
    environment,
    free_port,
    screenshot,
    serve,
    stop,
    wait_until_healthy,
)

from execution.state_schema import registry
from execution.v6_flags import FLAG_NAMES

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PAGES = ("", "positions", "risk", "orders", "intel", "shadow", "system")
SERVICES = (
    "execution.sync_state",
    "scripts.pipeline_shadow_heartbeat",
    "scripts.pipeline_compare_service",
)
MINUTES = 4
DEADLINE_MS = 30_000
NAV = re.compile(r"^\d{2,3},\d{3}\.\d\d USD$")

pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def suite(tmp_path) -> Iterator[SimpleNamespace]:
    """The executor on a paper account of its own, its services, and the page over their files."""
    log_dir, ops_dir, output = tmp_path / "logs", tmp_path / "ops", tmp_path / "streamlit.log"
    copy_ops(ops_dir, 1.0)
    log_dir.mkdir()
    flags = dict.fromkeys(FLAG_NAMES, "1") | {"ROUTER_AUTOTUNE_V6_APPLY_ENABLED": "0"}
    running = []
    for module in ("execution.executor_live", *SERVICES):
        name = module.rpartition(".")[2].replace("executor_live", "executor")
        with (log_dir / f"hedge-{name}.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", module],
                    cwd=ROOT,
                    env=environment(log_dir, ops_dir) | flags,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    port = free_port()
    page = serve(log_dir, ops_dir, port, output)
    shots = log_dir / "screenshots"
    shots.mkdir()
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, page, output)
        yield SimpleNamespace(
            url=url, log_dir=log_dir, executor=running[0], output=output, shots=shots
        )
    finally:
        for process in (*running, page):
            stop(process)


@pytest.fixture
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(LAUNCH))
        yield launched
        launched.close()


def opened(browser, suite, path: str, width: int = 1400, scheme: str = "light") -> sync_api.Page:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=False
    )
    page = context.new_page()
    page.set_default_timeout(DEADLINE_MS)
    page.goto(f"{suite.url}/{path}")
    page.locator("[class*='st-key-banner_']").first.wait_for()
    page.get_by_text("PAPER", exact=True).wait_for()
    return page


def judged(page, suite, name: str) -> None:
    """Wait until nothing is being drawn any more, keep a picture, and look for what is wrong."""
    page.locator("[class*='st-key-panel_fresh_']").first.wait_for()
    page.locator("[data-testid=stSkeleton]").first.wait_for(state="detached")
    screenshot(page, suite.shots, name)
    assert defects(page) == [], name


def test_every_page_of_the_suite_draws_moves_and_turns_stale(suite, browser):
    overview = opened(browser, suite, "")
    nav = overview.locator("[class*='st-key-tile_']").filter(has_text="NAV").first
    shown = nav.get_by_text(NAV)
    shown.wait_for()
    first = shown.inner_text()
    overview.wait_for_function(
        "([tile, before]) => !tile.innerText.includes(before)", arg=[nav.element_handle(), first]
    )
    for path in PAGES:
        page = opened(browser, suite, path)
        judged(page, suite, path or "overview")
        page.context.close()
    suite.executor.kill()
    suite.executor.wait(10)
    killed = time.monotonic()
    overview.get_by_text(re.compile(r"^ALARM  Executor silent for")).wait_for()
    # Its limit, a redraw, and what a busy machine adds.
    assert time.monotonic() - killed < registry.EXECUTOR_HEALTH.max_age_s + 10
    assert "tile_stale" in (nav.get_attribute("class") or "")
    assert "Traceback" not in suite.output.read_text()


@pytest.mark.full
@pytest.mark.timeout(900)
def test_every_page_is_whole_after_minutes_at_every_width(suite, browser, request):
    overview = opened(browser, suite, "")
    overview.wait_for_timeout(MINUTES * 60_000)
    for path in PAGES:
        for width, scheme in ((1400, "light"), (1400, "dark"), (420, "light")):
            page = opened(browser, suite, path, width, scheme)
            judged(page, suite, f"{path or 'overview'}_{width}_{scheme}")
            page.context.close()
    if request.config.getoption("--picture"):
        shutil.copy(suite.shots / "overview_1400_light.png", ROOT / "ops" / "page.png")
    kept = request.config.getoption("--keep-pictures")
    if kept is not None:
        shutil.copytree(suite.shots, Path(kept), dirs_exist_ok=True)
