"""A strategy of one's own, as an example: follow a close beyond the range of the bars before it.

`decide` is asked once for every closed bar of every symbol. It wants; how much, whether and how it is
ordered is the suite's. It may keep what it likes in memory, but begins anew whenever it is restarted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

RANGE_BARS = 20


class Bar(Protocol):
    """What a bar is made of; `ts` is its open time, epoch seconds UTC."""

    ts: float
    open: float
    high: float
    low: float
    close: float
    volume: float


def decide(_symbol: str, bars: tuple[Bar, ...]) -> Iterator[dict[str, object]]:
    """Yield what is wanted on the last of `bars`, which are oldest first.

    An entry opens a leg, an exit leaves it; what is not held cannot be left and is passed over.
    """
    before, last = bars[-RANGE_BARS - 1 : -1], bars[-1]
    if len(before) < RANGE_BARS:
        return
    high, low = max(bar.high for bar in before), min(bar.low for bar in before)
    middle = (high + low) / 2
    if last.close > high:
        yield {"action": "entry", "side": "LONG", "reason": f"above {high:g}"}
    elif last.close < low:
        yield {"action": "entry", "side": "SHORT", "reason": f"below {low:g}", "size_frac": 0.5}
    if last.close < middle:
        yield {"action": "exit", "side": "LONG"}
    elif last.close > middle:
        yield {"action": "exit", "side": "SHORT"}
