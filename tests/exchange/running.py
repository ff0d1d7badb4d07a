"""An exchange for a test: in a thread on the test's own clock, or in a process on the wall clock."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import msgspec

from execution.clock import Clock
from tests.exchange.faults import Fault
from tests.exchange.server import serve
from tests.exchange.setup import Setup

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0


class Running:
    """A running exchange, as whoever runs the test sees it; `books` is its truth in a file."""

    def __init__(self, port: int, books: Path | None) -> None:
        self.port = port
        self.books = books
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, verb: str, **wish: object) -> Any:
        """Do something by hand, and hear what came of it."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request("POST", f"/test/{verb}", json.dumps(wish))
            reply = line.getresponse()
            told = reply.read()
            assert reply.status == 200, f"{verb}: {reply.status} {told[:500]!r}"
            return json.loads(told)
        finally:
            line.close()

    def suffer(self, *faults: Fault, seed: int | None = None) -> None:
        """Let these faults strike from now on; without any the line is good again."""
        self.ask("faults", faults=[msgspec.to_builtins(each) for each in faults], seed=seed)

    @property
    def truth(self) -> dict[str, Any]:
        told: dict[str, Any] = self.ask("truth")
        return told

    @property
    def requests(self) -> list[dict[str, Any]]:
        """List every request that reached this machine, with its time and weight."""
        told: list[dict[str, Any]] = self.ask("requests")
        return told

    def posts(self) -> dict[str, int]:
        """Count the orders that were sent, by client id."""
        found: dict[str, int] = {}
        for each in self.requests:
            if (each["method"], each["path"]) == ("POST", "/fapi/v1/order"):
                found[each["client_id"]] = found.get(each["client_id"], 0) + 1
        return found


@contextmanager
def in_thread(setup: Setup, clock: Clock, books: Path | None = None) -> Iterator[Running]:
    """Run an exchange beside the test, on the test's clock."""
    answers: Queue[int | BaseException] = Queue()
    ending = threading.Event()

    async def ready(port: int) -> None:
        answers.put(port)
        await asyncio.get_running_loop().run_in_executor(None, ending.wait)

    def run() -> None:
        try:
            asyncio.run(serve(setup, clock, books, ready))
        except BaseException as error:
            answers.put(error)
            raise

    thread = threading.Thread(target=run, name="exchange", daemon=True)
    thread.start()
    answer = answers.get(timeout=START_S)
    if isinstance(answer, BaseException):
        raise answer
    try:
        yield Running(answer, books)
    finally:
        ending.set()
        thread.join(START_S)


@contextmanager
def in_process(setup: Setup, folder: Path) -> Iterator[Running]:
    """Run an exchange that outlives whoever trades on it, but not the test."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "setup.json"
    wanted.write_bytes(msgspec.json.encode(setup))
    with (
        (folder / "stderr").open("ab") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "tests.exchange", str(wanted), str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        port = process.stdout.readline()
        assert port, (folder / "stderr").read_text()[-2000:]
        try:
            yield Running(int(port), folder / "paper.sqlite")
        finally:
            process.stdin.close()
            process.wait(START_S)
