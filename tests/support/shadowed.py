"""A replay with a candidate, and what its journals come to by an arithmetic of their own.

Nothing of the project computes here: lines are read as JSON, bars from the recording, prices are
counted in ticks, and every order is followed bar by bar from its decision to the horizon.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from scripts.cli import hedge

ROOT = Path(__file__).resolve().parents[2]
MARKET = ROOT.parent / "shared" / "market"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "LAYERUSDT")
FLAGS = ("PIPELINE_V6_SHADOW_ENABLED", "RISK_ENGINE_V6_ENABLED")

WHO = ("live", "shadow")
HORIZON_S = 900
MAKER_FEE, TAKER_FEE, SLIPPAGE, VOLUME_SHARE = 2e-4, 5e-4, 1e-4, 0.1
NOTHING = 1e-9
DEAR = -1

Row = dict[str, Any]


def copy_ops(to: Path, candidate: str) -> Path:
    """Copy `ops/` with this candidate in it."""
    shutil.copytree(ROOT / "ops", to, ignore=shutil.ignore_patterns("backups"))
    (to / "shadow.toml").write_text(candidate)
    return to


def replay(folder: Path, market: Path, candidate: str) -> Shadowed:
    """Run `hedge replay` with the candidate in its shadow; read what it left."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HEDGE_ENV_FILE", str(folder / "no.env"))
        environment.setenv("HEDGE_OPS_DIR", str(copy_ops(folder / "ops", candidate)))
        for flag in FLAGS:
            environment.setenv(flag, "1")
        words = ["replay", "--market", str(market), "--symbols", ",".join(SYMBOLS), "--json"]
        done = CliRunner().invoke(
            hedge, [*words, "--out", str(folder / "out")], catch_exceptions=False
        )
    assert done.exit_code == 0, done.output
    return Shadowed(folder, market)


class Bar(msgspec.Struct, frozen=True):
    """One recorded minute; `close_ts` is its end."""

    close_ts: float
    open: float
    high: float
    low: float
    close: float
    volume: float


class Ghost(msgspec.Struct):
    """One order as far as it came."""

    qty: float = 0.0
    worth: float = 0.0
    fee: float = 0.0

    def fill(self, qty: float, price: float, *, takes: bool) -> None:
        self.qty += qty
        self.worth += qty * price
        self.fee += qty * price * (TAKER_FEE if takes else MAKER_FEE)


class Shadowed:
    """One replay's folder: the published summary, and the same counted anew."""

    def __init__(self, folder: Path, market: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.summary = self.state("pipeline_v6_compare_summary")
        lines = list(self._lines("pipeline_v6_shadow"))
        self.heartbeats = [row for row in lines if row["event"] == "heartbeat"]
        self.decisions = [row for row in lines if row["event"] == "decision"]
        self.chosen = [row for row in self.decisions if row["action"] in ("entry", "exit")]
        self._bars = {symbol: _recorded(market, symbol) for symbol in SYMBOLS}
        self._filled: dict[str, list[Row]] = defaultdict(list)
        for row in self._lines("execution/orders_executed"):
            if row["event"] == "fill" and row["decision_id"]:
                self._filled[row["decision_id"]].append(row)

    def state(self, name: str) -> Row:
        found: Row = json.loads((self.out / "state" / f"{name}.json").read_text())
        return found

    def _lines(self, name: str) -> Iterator[Row]:
        path = self.out / f"{name}.jsonl"
        for file in [*sorted(path.parent.glob(f"{path.stem}.*.jsonl")), path]:
            for line in file.read_text().splitlines():
                yield json.loads(line)

    # ------------------------------------------------------------ verdicts

    @property
    def pairs(self) -> list[Row]:
        return [row for row in self.chosen if row["live"] and row["shadow"]]

    @property
    def both(self) -> list[Row]:
        return [r for r in self.pairs if r["live"]["approved"] and r["shadow"]["approved"]]

    def agreement(self, key: str | None = None) -> dict[str, tuple[int, float]]:
        """Count pairs and the share of agreement, by a field of the line."""
        counted: dict[str, list[bool]] = defaultdict(list)
        for row in self.pairs:
            agrees = row["live"]["approved"] == row["shadow"]["approved"]
            counted["all" if key is None else row[key]].append(agrees)
        return {name: (len(all_), 100 * sum(all_) / len(all_)) for name, all_ in counted.items()}

    def reasons(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for row in self.pairs:
            for refuses, approves in (("live", "shadow"), ("shadow", "live")):
                if row[approves]["approved"] and not row[refuses]["approved"]:
                    found[f"{refuses}:{row[refuses]['reason']}"] += 1
        return dict(found)

    def alone(self, who: str) -> int:
        other = "shadow" if who == "live" else "live"
        return sum(bool(row[who]) and not row[other] for row in self.chosen)

    def sizes(self) -> list[float]:
        return [row["shadow"]["qty"] / row["live"]["qty"] - 1 for row in self.both]

    def same_routes(self) -> tuple[int, float]:
        same = [row["live"]["legs"] == row["shadow"]["legs"] for row in self.both]
        return len(same), 100 * sum(same) / len(same)

    # ------------------------------------------------------------ results

    def pending(self) -> int:
        """Count the orders whose horizon lies beyond the recording."""
        over = {row["decision_id"] for row in self._over()}
        sent = [r for r in self.chosen if any(r[who] and r[who]["approved"] for who in WHO)]
        return sum(row["decision_id"] not in over for row in sent)

    def _over(self) -> list[Row]:
        return [r for r in self.chosen if r["ts"] + HORIZON_S in self._bars[r["symbol"]]]

    def results(self) -> list[tuple[Row, float | None, float | None]]:
        """Return each decision in which the two differ, and what either order came to in USD."""
        found = []
        for row in self._over():
            live, shadow = self._worked(row, "live"), self._worked(row, "shadow")
            if live is None and shadow is None:
                continue
            if live and shadow and _is_same(row):
                continue
            usd = (self._came_to(row, live), self._came_to(row, shadow))
            found.append((row, *usd))
        return found

    def slippages(self) -> list[float]:
        found = []
        for row in self._over():
            fills = self._filled.get(row["decision_id"])
            if not fills or not row["shadow"] or not row["shadow"]["approved"]:
                continue
            if row["live"]["legs"] == row["shadow"]["legs"]:
                found.append(0.0)
                continue
            ghost = self._worked(row, "shadow")
            if ghost is None or ghost.qty < NOTHING:
                continue
            qty = sum(fill["qty"] for fill in fills)
            paid = sum(fill["qty"] * fill["price"] for fill in fills) / qty
            worse = 1 if row["side"] == "BUY" else -1
            found.append(worse * 1e4 * (ghost.worth / ghost.qty - paid) / row["mark_price"])
        return found

    def _until_horizon(self, row: Row) -> list[Bar]:
        bars, bar = self._bars[row["symbol"]], []
        ts = row["ts"] + 60
        while ts <= row["ts"] + HORIZON_S:
            bar.append(bars[ts])
            ts += 60
        return bar

    def _came_to(self, row: Row, ghost: Ghost | None) -> float | None:
        if ghost is None:
            return None
        mark = self._until_horizon(row)[-1].close
        gained = (mark * ghost.qty - ghost.worth) * (1 if row["side"] == "BUY" else -1)
        leaving = mark * ghost.qty * TAKER_FEE
        return gained - ghost.fee + (leaving if row["action"] == "exit" else -leaving)

    def _worked(self, row: Row, who: str) -> Ghost | None:
        """Follow one policy's order; None where it sent none."""
        judged = row[who]
        if not judged or not judged["approved"] or not judged["legs"]:
            return None
        tick = float(row["touch"]["tick_size"])
        step = float(row["touch"]["step_size"])
        bid, ask = row["touch"]["bid"], row["touch"]["ask"]
        half = (ask - bid) / (ask + bid)
        ghost, legs = Ghost(), [*judged["legs"]]
        limit, takes = _quote(legs[0], row, bid, ask, tick), _takes(legs[0])
        until = row["ts"] + legs[0]["rest_s"]
        for bar in self._until_horizon(row):
            if limit == DEAR:
                break
            price, takes = _traded(bar, limit, half, tick, takes=takes, buys=row["side"] == "BUY")
            if price is not None:
                most = math.floor(bar.volume * VOLUME_SHARE / step + NOTHING) * step
                left = judged["qty"] - ghost.qty
                ghost.fill(left if takes else min(left, most), price * tick, takes=takes)
            if judged["qty"] - ghost.qty < NOTHING:
                break
            takes = False
            if bar.close_ts >= until:
                legs.pop(0)
                if not legs:
                    break
                bid, ask = bar.close * (1 - half), bar.close * (1 + half)
                limit, takes = _quote(legs[0], row, bid, ask, tick), _takes(legs[0])
                until = bar.close_ts + legs[0]["rest_s"]
        return ghost


def _traded(
    bar: Bar, limit: int | None, half: float, tick: float, *, takes: bool, buys: bool
) -> tuple[int | None, bool]:
    """Return what the bar fills an order at, None where it does not, and whether it takes."""
    if takes:
        price = _crossing(bar, half + SLIPPAGE, tick, buys=buys)
        if limit is None or (price <= limit if buys else price >= limit):
            return price, True
    low, high = round(bar.low / tick), round(bar.high / tick)
    assert limit is not None
    through = low < limit if buys else high > limit
    return (limit if through else None), False


def _is_same(row: Row) -> bool:
    one, other = row["live"], row["shadow"]
    return bool((one["qty"], one["legs"]) == (other["qty"], other["legs"]))


def _takes(leg: Row) -> bool:
    return leg["type"] == "MARKET" or leg["budget_bps"] is not None


def _quote(leg: Row, row: Row, bid: float, ask: float, tick: float) -> int | None:
    """Return a leg's limit in ticks: None for the market, DEAR where its budget does not reach."""
    buys = row["side"] == "BUY"
    if leg["type"] == "MARKET":
        return None
    if leg["budget_bps"] is None:
        if buys:
            return math.floor(bid * (1 - leg["offset_bps"] / 1e4) / tick + NOTHING)
        return math.ceil(ask * (1 + leg["offset_bps"] / 1e4) / tick - NOTHING)
    budget = leg["budget_bps"] / 1e4
    if buys:
        limit = math.floor(row["mark_price"] * (1 + budget) / tick + NOTHING)
        return DEAR if ask / tick > limit + NOTHING else limit
    limit = math.ceil(row["mark_price"] * (1 - budget) / tick - NOTHING)
    return DEAR if bid / tick < limit - NOTHING else limit


def _crossing(bar: Bar, frac: float, tick: float, *, buys: bool) -> int:
    """Return what a taker pays on a bar, in ticks, and nothing outside the bar."""
    if buys:
        return min(math.ceil(bar.open * (1 + frac) / tick - NOTHING), round(bar.high / tick))
    return max(math.floor(bar.open * (1 - frac) / tick + NOTHING), round(bar.low / tick))


def _recorded(market: Path, symbol: str) -> dict[float, Bar]:
    with gzip.open(market / f"{symbol}-1m.csv.gz", "rt") as file:
        bars = {}
        for row in csv.DictReader(file):
            close_ts = int(row["ts_ms"]) / 1000 + 60
            prices = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
            bars[close_ts] = Bar(close_ts, *prices)
        return bars
