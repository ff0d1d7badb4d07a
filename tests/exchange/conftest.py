"""An exchange on a clock that the test moves, and somebody who speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from execution.clock import ManualClock
from tests.exchange.caller import Caller
from tests.exchange.running import Running, in_thread
from tests.exchange.setup import LISTINGS, Setup

NOW = 1_800_014_400.0


class Floor:
    """A running exchange, its clock, and a caller with the right keys."""

    def __init__(self, running: Running, clock: ManualClock) -> None:
        self.exchange = running
        self.clock = clock
        self.caller = Caller(running.port, clock)

    def touch(self, symbol: str = "BTCUSDT") -> tuple[float, float]:
        """Return bid and ask."""
        told = self.caller.get("/fapi/v1/ticker/bookTicker", symbol=symbol)
        return float(told["bidPrice"]), float(told["askPrice"])


@pytest.fixture
def open_floor() -> Iterator[Callable[..., Floor]]:
    """Open exchanges that are set up as the keywords say."""
    with ExitStack() as stack:

        def opened(**fields: object) -> Floor:
            clock = ManualClock(NOW)
            setup = Setup(**{"listings": LISTINGS, **fields})  # type: ignore[arg-type]  # a builder
            return Floor(stack.enter_context(in_thread(setup, clock)), clock)

        yield opened


@pytest.fixture
def floor(open_floor: Callable[..., Floor]) -> Floor:
    return open_floor()
