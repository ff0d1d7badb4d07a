"""The production tick at the exchange over HTTP, in every weather: the books agree in the end.

What a storm is made of is drawn from its seed: faults on the line, people, a clock that is off, and
a process that dies, now and then as soon as the exchange has taken an order.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.exchange.faults import (
    ACCOUNT,
    CANCEL,
    FIND,
    INCOME,
    OPEN_ORDERS,
    POSITIONS,
    SUBMIT,
    TRADES,
    Fault,
)
from tests.exchange.trading import Killed, Trading, trading

SENDS = (SUBMIT, CANCEL)
READS = (ACCOUNT, FIND, TRADES, INCOME, OPEN_ORDERS, POSITIONS)
# An answer is waited for this long; what stalls costs the test as much.
CALL_S = 0.4

FAULTS = {
    "request lost": Fault(kind="lost", on=SENDS, chance=0.3, arrives=False),
    "reply lost": Fault(kind="lost", on=SENDS, chance=0.3),
    "late": Fault(kind="late", on=SENDS, chance=0.3, delay_s=3.0),
    "late beyond the window": Fault(kind="late", on=SENDS, chance=0.3, delay_s=6.0),
    "503 not taken": Fault(kind="error", on=SENDS, chance=0.3, code=-1000, arrives=False),
    "503 taken": Fault(kind="error", on=SENDS, chance=0.3, code=-1006),
    "-1007 taken": Fault(kind="error", on=SENDS, chance=0.3, status=408, code=-1007),
    "502 with HTML": Fault(kind="error", on=SENDS, chance=0.3, status=502),
    "200 with HTML": Fault(kind="html", on=SENDS, chance=0.3),
    "half a reply": Fault(kind="half", on=SENDS, chance=0.3),
    "an empty reply": Fault(kind="empty", on=SENDS, chance=0.3),
    "stalled": Fault(kind="stall", on=SENDS, chance=0.1, delay_s=3 * CALL_S),
    "-1021": Fault(kind="error", chance=0.1, status=400, code=-1021, arrives=False),
    "-4116": Fault(kind="error", on=(SUBMIT,), chance=0.3, status=400, code=-4116),
    "-5022": Fault(kind="error", on=(SUBMIT,), chance=0.3, status=400, code=-5022, arrives=False),
    "-2019": Fault(kind="error", on=(SUBMIT,), chance=0.3, status=400, code=-2019, arrives=False),
    "no positions": Fault(kind="no_positions", on=(ACCOUNT, POSITIONS), chance=0.1),
    "no balance": Fault(kind="no_balance", on=(ACCOUNT,), chance=0.1),
    "reads lost": Fault(kind="lost", on=READS, chance=0.15),
    "reads of HTML": Fault(kind="html", on=READS, chance=0.15),
    "reads cut in half": Fault(kind="half", on=READS, chance=0.15),
    "reads empty": Fault(kind="empty", on=READS, chance=0.15),
    "prices empty": Fault(
        kind="empty",
        on=(
            "GET /fapi/v1/exchangeInfo",
            "GET /fapi/v1/klines",
            "GET /fapi/v1/premiumIndex",
            "GET /fapi/v1/ticker/bookTicker",
        ),
        chance=0.2,
    ),
    "trades twice": Fault(kind="repeated", on=(TRADES,), chance=0.7),
    "trades in any order": Fault(kind="shuffled", on=(TRADES,), chance=0.7),
    "trades late": Fault(kind="trades_late", chance=0.3, delay_s=25.0),
    "orders late": Fault(kind="orders_late", chance=0.3, delay_s=8.0),
    "429": Fault(kind="throttle", chance=0.01),
    "418": Fault(kind="ban", chance=0.01, delay_s=20.0),
}
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "S0USDT", "S1USDT")


class Storm:
    """One seed: what goes wrong in it, and when."""

    def __init__(self, made: Trading, seed: int, names: list[str]) -> None:
        self.made = made
        self.rng = random.Random(seed)
        self.seed = seed
        self.names = names
        self.met: Counter[str] = Counter()

    def blow(self, ticks: int, *, people: bool) -> None:
        """Trade through it."""
        for number in range(ticks):
            if number % 12 == 0:
                self._turn(number)
            if people:
                self._meddle()
            try:
                self.made.look(self.rng.uniform(0.5, 9.0))
            except Killed:
                self._die("killed after acceptance")
        assert self.made.heard.unjournalled == []

    def _turn(self, number: int) -> None:
        drawn = self.rng.sample(self.names, min(6, len(self.names)))
        self.made.exchange.suffer(*(FAULTS[name] for name in drawn), seed=self.seed + number)

    def _die(self, how: str) -> None:
        self.met[how] += 1
        self.made.restart(after_s=self.rng.choice((0.0, 1.0, 15.0)))

    def _meddle(self) -> None:
        rng, ask = self.rng, self.made.exchange.ask
        symbol = rng.choice(SYMBOLS)
        deed = rng.choices(
            ("nothing", "move", "close", "rest", "fund", "skew", "kill", "die"),
            (60, 12, 4, 3, 3, 4, 3, 5),
        )[0]
        self.met[deed] += 1
        match deed:
            case "move":
                ask("move", symbol=symbol, factor=rng.uniform(0.97, 1.03))
            case "close":
                ask("close", symbol=symbol, share=rng.choice(("1", "0.5")))
            case "rest":
                price = round(self.made.exchange.truth["marks"]["BTCUSDT"] * 0.97, 1)
                ask("order", symbol="BTCUSDT", side="BUY", position_side="LONG", qty="0.01",
                    price=str(price))  # fmt: skip
            case "fund":
                ask("fund", symbol=symbol, rate=rng.choice((0.0005, -0.0003)))
            case "skew":
                ask("skew", seconds=rng.choice((-3.0, -1.2, 0.0, 0.4, 3.0)))
            case "kill":
                self._die("killed between ticks")
            case "die":
                self.made.die_at_the_next_order()

    def check(self) -> None:
        """Assert that the books agree when it is over, also to a process that starts then."""
        self._die("killed at the end")
        self.made.calm()
        requests = self.made.exchange.requests
        assert not any(each["banned"] for each in requests), "the exchange was asked while banned"
        assert max(each["used"] for each in requests) < 2400, "more weight than there is was used"
        self.met.update(self.made.exchange.truth["struck"])
        self.met["orders"] = len(self.made.accounts.orders())
        self.met["fills"] = len(self.made.accounts.fills())
        print(f"seed={self.seed} {dict(self.met)}")


def run(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    seed: int,
    names: list[str],
    ticks: int,
    *,
    people: bool,
) -> Counter[str]:
    with trading(monkeypatch, folder, seed=seed, call_s=CALL_S) as made:
        storm = Storm(made, seed, names)
        made.look(1.0)
        storm.blow(ticks, people=people)
        storm.check()
        return storm.met


@pytest.mark.parametrize("seed", range(2))
def test_the_books_agree_after_a_storm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    met = run(monkeypatch, tmp_path, seed, list(FAULTS), 60, people=True)
    assert met["fills"] > 5
    assert sum(met[kind] for kind in ("lost", "late", "error", "html", "half", "empty")) > 5


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(100, 160, 10))
def test_the_books_agree_after_many_storms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: int
) -> None:
    for seed in range(first, first + 10):
        run(monkeypatch, tmp_path / str(seed), seed, list(FAULTS), 120, people=True)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FAULTS)
def test_the_books_agree_under_each_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    met = run(monkeypatch, tmp_path, 7, [name], 60, people=False)
    kind = FAULTS[name].kind
    assert met[kind] > 0 or kind.endswith("_late")
    assert met["orders"] > 5
