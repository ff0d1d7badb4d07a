"""A page served to a real browser: how it is started, waited for and looked at."""

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
from pathlib import Path

import pytest

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
    "--server.allowedHosts=127.0.0.1",
    "--server.headless=true",
    "--server.enableXsrfProtection=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=minimal",
    "--client.disableDataExport=true",
    "--client.showErrorLinks=false",
    "--runner.magicEnabled=false",
)
DEADLINE_MS = 15_000

NEEDS_CHROMIUM = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"there is no chromium at {CHROMIUM}: apt-get install chromium"
)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def environment(log_dir: Path, ops_dir: Path) -> dict[str, str]:
    """Return what a process of the suite on this log folder is started with."""
    kept = {"PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR"}
    return {name: value for name, value in os.environ.items() if name in kept} | {
        "HEDGE_LOG_DIR": str(log_dir),
        "HEDGE_OPS_DIR": str(ops_dir),
        "HEDGE_ENV_FILE": str(log_dir / "no.env"),
        "XDG_STATE_HOME": str(log_dir / "machine"),
    }


def serve(log_dir: Path, ops_dir: Path, port: int, output: Path) -> subprocess.Popen[bytes]:
    command = ["-m", "streamlit", "run", "dashboard/app.py", *FLAGS, f"--server.port={port}"]
    with output.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment(log_dir, ops_dir),
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def copy_ops(to: Path, refresh_s: float) -> None:
    """Copy the configuration, with a page that redraws itself this often."""
    shutil.copytree(ROOT / "ops", to)
    services = (to / "services.toml").read_text()
    faster, count = re.subn(r"(?m)^refresh_s = .*$", f"refresh_s = {refresh_s:g}", services)
    assert count == 1
    (to / "services.toml").write_text(faster)


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


def wait_for_text(page, text: str) -> None:
    page.get_by_text(text, exact=True).first.wait_for()


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


def screenshot(page, folder: Path, name: str) -> Path:
    path = folder / f"{name}.png"
    tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": tall})
    page.screenshot(path=str(path))
    assert path.stat().st_size > 20_000
    return path
