"""A replay told anew from what it left behind: own arithmetic over its ledger, journals and prices.

Nothing of the project computes here: positions come from fills, NAV from fills, cash and the
recorded closes, what is in flight from the approved intents and what became of their orders.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import sqlite3
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]

Row = dict[str, Any]
Leg = tuple[str, str]

MINUTE_S = 60
DAY_S = 86_400
SIGN = {"BUY": 1, "SELL": -1}
NOTHING = 1e-9
# Rounding of sums of floats, and nothing that anybody could trade.
SLACK = 1 + 1e-9


class Held(msgspec.Struct):
    """One leg: signed quantity and average entry."""

    qty: float = 0.0
    entry: float = 0.0

    def fill(self, qty: float, price: float) -> float:
        """Take in one signed fill; return what it realized."""
        if self.qty * qty >= 0:
            self.entry = (self.entry * self.qty + price * qty) / (self.qty + qty)
            self.qty += qty
            return 0.0
        realized = -qty * (price - self.entry)
        self.qty = 0.0 if abs(self.qty + qty) < NOTHING else self.qty + qty
        return realized


class Entry(msgspec.Struct):
    """One approved entry, from its approval to the last thing that became of it."""

    ts: float
    symbol: str
    leg: Leg
    side: str
    qty: float
    price: float
    end_ts: float
    left: float


class Moment(msgspec.Struct, frozen=True):
    """One tick: what was worth what, and what was approved in it.

    `by_leg`, `long_usd` and `short_usd` count everything in flight and this tick's approvals; a
    position is a hedge for the other side, an order is none.
    """

    ts: float
    nav_usd: float
    wallet_usd: float
    by_leg: dict[Leg, float]
    long_usd: float
    short_usd: float
    peak_usd: float
    day_start_usd: float
    approved: list[Entry]

    @property
    def gross_usd(self) -> float:
        return sum(self.by_leg.values())

    @property
    def day_loss_pct(self) -> float:
        return max(0.0, 100 * (1 - self.nav_usd / self.day_start_usd))

    @property
    def drawdown_pct(self) -> float:
        return max(0.0, 100 * (1 - self.nav_usd / self.peak_usd))

    def usd(self, *symbols: str) -> float:
        return sum(usd for leg, usd in self.by_leg.items() if leg[0] in symbols)


class Remains:
    """What one replay left in its folder, beside the recording that it was given."""

    def __init__(self, folder: Path, market: Path, symbols: tuple[str, ...]) -> None:
        self.folder = folder
        self.symbols = symbols
        self.nav = {row["ts"]: row["nav_usd"] for row in self.journal("nav")}
        self.vetoes = self.journal("risk_vetoes")
        self.closes = {symbol: dict(_closes(market, symbol)) for symbol in symbols}
        self.orders = self._ledger("SELECT * FROM orders")
        self.entry_orders = self._ledger(
            "SELECT o.*, i.ts AS approved_ts FROM orders o JOIN intents i USING (decision_id)"
            " WHERE i.action = 'entry' ORDER BY o.signed_ts"
        )
        self._events = self.journal("orders_executed")

    def journal(self, name: str) -> list[Row]:
        path = self.folder / "execution" / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def moments(self) -> Iterator[Moment]:
        """Go through every minute of the recording as the executor met it."""
        fills = self._fills()
        cash = self._ledger("SELECT kind, amount, ts FROM cash ORDER BY ts")
        entries = self._entries()
        held: dict[Leg, Held] = defaultdict(Held)
        wallet_usd, peak_usd, day_start_usd, day = 0.0, 0.0, 0.0, -1
        coming, working = list(entries.values()), []
        for ts in sorted(set.intersection(*map(set, self.closes.values()))):
            marks = {symbol: closes[ts] for symbol, closes in self.closes.items()}
            while cash and cash[0]["ts"] <= ts:
                wallet_usd += float(cash.pop(0)["amount"])
            for decision_id, fill in fills.get(ts, ()):
                if decision_id in entries:
                    entries[decision_id].left -= float(fill["qty"])
                leg = (fill["symbol"], fill["position_side"])
                signed = SIGN[fill["side"]] * float(fill["qty"])
                wallet_usd += held[leg].fill(signed, float(fill["price"])) - float(fill["fee_usd"])
            open_legs = {leg: h for leg, h in held.items() if h.qty}
            nav_usd = wallet_usd + sum(
                h.qty * (marks[leg[0]] - h.entry) for leg, h in open_legs.items()
            )
            peak_usd = max(peak_usd, nav_usd)
            if int(ts // DAY_S) > day:
                day, day_start_usd = int(ts // DAY_S), nav_usd
            while coming and coming[0].ts <= ts:
                working.append(coming.pop(0))
            working = [entry for entry in working if entry.end_ts >= ts]
            by_leg, towards_usd = _prospect(open_legs, working, marks)
            yield Moment(
                ts=ts,
                nav_usd=nav_usd,
                wallet_usd=wallet_usd,
                by_leg=by_leg,
                long_usd=towards_usd["BUY"],
                short_usd=towards_usd["SELL"],
                peak_usd=peak_usd,
                day_start_usd=day_start_usd,
                approved=[entry for entry in working if entry.ts == ts],
            )

    # ------------------------------------------------------------ what is read

    def _ledger(self, sql: str) -> list[Row]:
        with closing(sqlite3.connect(self.folder / "ledger" / "replay.sqlite")) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql)]

    def _fills(self) -> dict[float, list[tuple[str | None, Row]]]:
        """Give each fill of the ledger the tick and decision that the journal told it with."""
        rows = {(r["symbol"], r["trade_id"]): r for r in self._ledger("SELECT * FROM fills")}
        heard: dict[float, list[tuple[str | None, Row]]] = defaultdict(list)
        for event in self._events:
            if event["event"] == "fill":
                fill = rows.pop((event["symbol"], event["trade_id"]))
                heard[event["ts"]].append((event["decision_id"], fill))
        assert not rows, "the ledger has fills that the journal never told"
        return heard

    def _entries(self) -> dict[str, Entry]:
        found = {
            row["decision_id"]: Entry(
                ts=row["ts"],
                symbol=row["symbol"],
                leg=(row["symbol"], row["position_side"]),
                side=row["side"],
                qty=float(row["qty"]),
                price=row["mark_price"],
                end_ts=row["ts"],
                left=float(row["qty"]),
            )
            for row in self._ledger("SELECT * FROM intents WHERE action = 'entry' ORDER BY ts")
        }
        for event in self._events:
            entry = found.get(event.get("decision_id") or "")
            if entry is not None:
                entry.end_ts = max(entry.end_ts, event["ts"])
        return found


def _prospect(
    held: dict[Leg, Held], working: list[Entry], marks: dict[str, float]
) -> tuple[dict[Leg, float], dict[str, float]]:
    """Add up what would be held, leg by leg, and the net towards either side."""
    by_leg = {leg: abs(h.qty) * marks[leg[0]] for leg, h in held.items()}
    net_usd = sum(h.qty * marks[leg[0]] for leg, h in held.items())
    towards_usd = {"BUY": net_usd, "SELL": -net_usd}
    for entry in working:
        usd = entry.left * max(entry.price, marks[entry.symbol])
        by_leg[entry.leg] = by_leg.get(entry.leg, 0.0) + usd
        towards_usd[entry.side] += usd
    return by_leg, towards_usd


def _closes(market: Path, symbol: str) -> Iterator[tuple[float, float]]:
    """Yield when each recorded minute ended, and its close."""
    with gzip.open(market / f"{symbol}-1m.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            yield int(row["ts_ms"]) / 1000 + MINUTE_S, float(row["close"])


# ---------------------------------------------------------------- how it is run


def cut(market: Path, to: Path, symbols: tuple[str, ...], from_ts: float, until_ts: float) -> Path:
    """Write the part of a recording that lies between two times."""
    to.mkdir()
    for symbol in symbols:
        for kind in ("1m", "8h-funding_rate"):
            name = f"{symbol}-{kind}.csv.gz"
            with gzip.open(market / name, "rt") as whole, gzip.open(to / name, "wt") as part:
                part.write(next(whole))
                part.writelines(
                    line
                    for line in whole
                    if from_ts <= int(line.partition(",")[0]) / 1000 < until_ts
                )
    return to


def copy_ops(to: Path, changes: Mapping[str, object]) -> Path:
    """Copy `ops/` with numbers of its limits and sizes changed; they are named `table.key`."""
    shutil.copytree(ROOT / "ops", to)
    for name, number in changes.items():
        table, _, key = name.rpartition(".")
        line = rf"(^\[{re.escape(table)}\]$(?:(?!^\[).)*?^{key} = )\S+"
        changed = 0
        for file in (to / "risk.toml", to / "strategy.toml"):
            text = file.read_text()
            text, count = re.subn(line, rf"\g<1>{number}", text, flags=re.MULTILINE | re.DOTALL)
            file.write_text(text)
            changed += count
        assert changed == 1, f"{name} stands {changed} times in the copy of ops"
    return to


# ---------------------------------------------------------------- what must hold


class Watched:
    """Every limit of `risk.toml` beside what a replay came to, minute by minute.

    `overruns` names what was beyond a limit in a minute that approved an entry under it; `drifts`
    counts the minutes in which prices alone had carried something there.
    """

    def __init__(self, remains: Remains, ops: Path, leverage: float) -> None:
        self.worst: dict[str, tuple[float, float]] = {}
        self.overruns: list[str] = []
        self.drifts: Counter[str] = Counter()
        self.nav_error_usd = 0.0
        self.lost_ts: list[float] = []
        self.cooling_ts: list[float] = []
        self.entries_ts: dict[str, list[float]] = defaultdict(list)
        self._limits = tomllib.loads((ops / "risk.toml").read_text())
        listed = tomllib.loads((ops / "universe.toml").read_text())["listing"]
        self._tiers = {row["symbol"]: row["tier"] for row in listed}
        self._leverage = leverage
        self._stop_ended_ts: float | None = None
        for moment in remains.moments():
            if moment.ts in remains.nav:
                error = abs(remains.nav[moment.ts] - moment.nav_usd)
                self.nav_error_usd = max(self.nav_error_usd, error)
            self._follow_stop(moment)
            for entry in moment.approved:
                self.entries_ts[entry.symbol].append(entry.ts)
            self._measure(moment)

    def _follow_stop(self, moment: Moment) -> None:
        book = self._limits["book"]
        if moment.day_loss_pct >= book["day_loss_limit_pct"]:
            self.lost_ts.append(moment.ts)
            return
        if self.lost_ts and (self._stop_ended_ts or 0.0) < self.lost_ts[-1]:
            self._stop_ended_ts = moment.ts
        ended_ts = self._stop_ended_ts
        if ended_ts is not None and moment.ts - ended_ts < book["cooldown_s"]:
            self.cooling_ts.append(moment.ts)

    def _measure(self, moment: Moment) -> None:
        for name, used, limit, added in self._uses(moment):
            if name not in self.worst or used > self.worst[name][0]:
                self.worst[name] = (used, moment.ts)
            if used > limit * SLACK:
                if added:
                    self.overruns.append(f"{moment.ts:.0f} {name}: {used:g} over {limit:g}")
                else:
                    self.drifts[name] += 1

    def _uses(self, moment: Moment) -> Iterator[tuple[str, float, float, list[Entry]]]:
        """Yield each limit's name, what is used of it, the limit, and the entries that add to it."""
        book, pct, added = self._limits["book"], 100 / moment.nav_usd, moment.approved
        gross_usd = moment.gross_usd
        carried_usd = min(moment.nav_usd, moment.wallet_usd)
        margin_pct = 100 * gross_usd / self._leverage / carried_usd
        longs, shorts = ([e for e in added if e.side == side] for side in ("BUY", "SELL"))
        yield "nav_drawdown_limit", moment.drawdown_pct, book["nav_drawdown_limit_pct"], added
        yield "day_loss_limit", moment.day_loss_pct, book["day_loss_limit_pct"], added
        yield "gross_cap", gross_usd * pct, book["gross_cap_pct"], added
        yield "net_cap", moment.long_usd * pct, book["net_cap_pct"], longs
        yield "net_cap", moment.short_usd * pct, book["net_cap_pct"], shorts
        yield "leverage_cap", gross_usd / moment.nav_usd, book["leverage_cap"], added
        yield "margin_insufficient", margin_pct, 100.0, added
        yield "max_concurrent", len(moment.by_leg), book["max_concurrent"], added
        for tier, caps in self._limits["tiers"].items():
            members = [symbol for symbol, its in self._tiers.items() if its == tier]
            own = [entry for entry in added if entry.symbol in members]
            yield f"tier_cap.{tier}", moment.usd(*members) * pct, caps["cap_pct"], own
        for symbol in self._tiers:
            own = [entry for entry in added if entry.symbol == symbol]
            capped = self._limits["symbols"].get(symbol, {})
            cap_pct = capped.get("cap_pct", book["symbol_cap_pct"])
            yield f"symbol_nav_cap.{symbol}", moment.usd(symbol) * pct, cap_pct, own
            window_s = book["entries_window_bars"] * MINUTE_S
            recent = sum(ts > moment.ts - window_s for ts in self.entries_ts[symbol])
            yield f"order_rate.{symbol}", recent, book["entries_per_symbol_window"], own
            blocked = [e for e in own if e.leg[1] in capped.get("blocked_sides", ())]
            yield f"side_blocked.{symbol}", len(blocked), 0, blocked
        everywhere = [ts for times in self.entries_ts.values() for ts in times]
        recent = sum(ts > moment.ts - MINUTE_S for ts in everywhere)
        yield "order_rate.minute", recent, book["entries_per_minute"], added
        for entry in added:
            usd = entry.qty * entry.price
            yield "trade_nav_cap", usd * pct, book["trade_cap_pct"], added
            yield "max_order_notional", usd, book["max_order_notional_usd"], added
            yield "above_min_notional", book["min_notional_usd"] / usd, 1, added
