"""An exchange as a process of its own: `python -m tests.exchange SETUP.json FOLDER`.

It prints its port, and ends when its standard input does: with whoever started it, however they end.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from execution.clock import SystemClock
from tests.exchange.server import serve
from tests.exchange.setup import Setup


async def _until_input_ends(port: int) -> None:
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main(setup: str, folder: str) -> None:
    """Run an exchange on the wall clock; its books are `paper.sqlite` in the folder."""
    wanted = msgspec.json.decode(Path(setup).read_bytes(), type=Setup)
    path = Path(folder) / "paper.sqlite"
    asyncio.run(serve(wanted, SystemClock(), path, _until_input_ends))


if __name__ == "__main__":
    main(*sys.argv[1:])
