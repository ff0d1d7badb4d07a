"""What our order path costs over ccxt's bare `create_order`, in one run on this machine.

It stands here and not in `scripts/benchmarks`: it drives the desk, the only sender of orders, with
plans that only tests may make up, and ccxt itself, whose door is the exchange venue's. It asserts
that every order went out once; the figures are printed, and are nobody's pass or fail.
"""

from __future__ import annotations

import gc
import statistics
import time
from pathlib import Path

import ccxt
import pytest

from execution import settings
from execution.clock import SystemClock
from execution.core.seam import Accepted, Ambiguous, NewOrder, Rejected
from execution.venue import ccxt_assembly
from execution.venue.base import Venue
from tests.exchange.bare import echoing
from tests.exchange.planted import KEY, SECRET
from tests.exchange.test_exchange import client
from tests.support import builders
from tests.support.rig import Rig
from tests.support.venue import FakeVenue

ORDERS = 400
WARM = 20


class Sending(FakeVenue):
    """An account in memory whose orders go out through the exchange's venue."""

    def __init__(self, wire: Venue) -> None:
        super().__init__(rests_stops=False)
        self._wire = wire
        self.submit_s: list[float] = []

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        begun_s = time.perf_counter()
        answer = self._wire.submit(order)
        self.submit_s.append(time.perf_counter() - begun_s)
        super().submit(order)
        return answer


class Ours:
    """The desk on a ledger, and the venue of the exchange."""

    def __init__(self, folder: Path, url: str, *, durable: bool) -> None:
        loaded = settings.load(
            {
                "DRY_RUN": "0",
                "BINANCE_BASE_URL": url,
                "BINANCE_API_KEY": KEY,
                "BINANCE_API_SECRET": SECRET,
                "HEDGE_LOG_DIR": str(folder / "logs"),
            }
        )
        settings.prepare_log_dir(loaded)
        self.wire = ccxt_assembly.exchange(loaded, SystemClock())
        self.venue = Sending(self.wire)
        self.rig = Rig(folder / "ledger.sqlite", self.venue, time.time(), durable=durable)

    def send(self, number: int) -> float:
        """Send one approved order; return how long the desk took from approval to record."""
        rig = self.rig
        rig.tick()
        seen = self.venue.observe(rig.clock.now())
        wanted = builders.intent("1", f"d{number}", mark_price=100.0)
        live = builders.decided(builders.plan(wanted, builders.TAKER))
        begun_s = time.perf_counter()
        (result,) = rig.desk.act(live, seen, rig.state, rig.clock.now())
        took_s = time.perf_counter() - begun_s
        assert result.change.order.state == "LIVE", result
        self.wire._session.begin()
        self.venue.fill(result.change.order.client_id)
        return took_s


def ranks(seconds: list[float]) -> tuple[float, float]:
    """Return p50 and p99 in milliseconds."""
    ranked = sorted(seconds[WARM:])
    return statistics.median(ranked) * 1000, ranked[round(0.99 * (len(ranked) - 1))] * 1000


@pytest.mark.full
@pytest.mark.timeout(300)
def test_overhead_of_the_order_path(tmp_path: Path) -> None:
    with echoing() as url:
        ours, unsynced = (
            Ours(tmp_path / name, url, durable=name == "durable") for name in ("durable", "not")
        )
        bare: ccxt.binanceusdm = client(url)
        bare.load_markets()
        of_bare, of_ours, of_unsynced = [], [], []
        gc.collect()
        for number in range(ORDERS):
            params = {"positionSide": "LONG", "newClientOrderId": f"bare-{number}"}
            begun_s = time.perf_counter()
            bare.create_order("BTC/USDT:USDT", "market", "buy", 1, None, params)
            of_bare.append(time.perf_counter() - begun_s)
            of_ours.append(ours.send(number))
            of_unsynced.append(unsynced.send(number))
        for each in (ours, unsynced):
            each.wire.close()
    for each in (ours, unsynced):
        assert len(each.venue.sent) == len({o.client_id for o in each.venue.sent}) == ORDERS
    print(
        f"\n{ORDERS} orders each, in turn, on loopback                 p50 ms    p99 ms    ratios"
    )
    base = ranks(of_bare)
    for name, seconds in (
        ("ccxt's bare create_order", of_bare),
        ("our venue's submit alone", ours.venue.submit_s),
        ("our path: journal, submit, record; no fsync", of_unsynced),
        ("our path: journal, submit, record; durable", of_ours),
    ):
        p50, p99 = ranks(seconds)
        print(f"  {name:45} {p50:9.2f} {p99:9.2f}  {p50 / base[0]:5.2f} {p99 / base[1]:5.2f}")
