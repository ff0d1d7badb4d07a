"""What the executor asks of the exchange in ten minutes of trading, counted by the exchange itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.exchange.trading import Trading, trading

MINUTES = 10
LIMIT = 2400
LOOP_S = 1.0


def table(made: Trading, minutes: int) -> tuple[list[str], list[int]]:
    """Return lines of requests and weight by endpoint, and the weight of each minute."""
    requests: Counter[str] = Counter()
    weights: Counter[str] = Counter()
    by_minute: defaultdict[int, int] = defaultdict(int)
    for each in made.exchange.requests:
        name = f"{each['method']} {each['path']}"
        requests[name] += 1
        weights[name] += each["weight"]
        by_minute[int(each["ts"] // 60)] += each["weight"]
    lines = [
        f"  {name:38} {requests[name] / minutes:7.1f}/min  weight {weights[name] / minutes:7.1f}/min"
        for name in sorted(requests, key=lambda name: -weights[name])
    ]
    return lines, [by_minute[minute] for minute in sorted(by_minute)]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("symbols", [3, 20])
def test_ten_minutes_stay_within_the_weight(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, symbols: int
) -> None:
    with trading(monkeypatch, tmp_path, symbols=symbols) as made:
        blind = 0
        for number in range(int(MINUTES * 60 / LOOP_S)):
            # Prices must move for orders to fill; a jump now and then makes exits too.
            if number % 60 == 30:
                made.exchange.ask("move", symbol="BTCUSDT", factor=1.002 if number % 120 else 0.998)
            blind += type(made.look(LOOP_S).seen).__name__ == "Blind"
        lines, used = table(made, MINUTES)
        orders = len(made.accounts.orders())
        print(f"\n{symbols} symbols, {MINUTES} minutes, {orders} orders, {blind} blind rounds")
        print("\n".join(lines))
        print(f"  weight by minute: {used}; the limit is {LIMIT}")
        assert blind == 0
        assert orders > 2 * symbols
        assert max(used) < LIMIT
        assert max(each["used"] for each in made.exchange.requests) < LIMIT
        told = made.engine.venue.health().weight_used_1m
        assert told is not None
        assert 0 < told < LIMIT
        made.calm()
