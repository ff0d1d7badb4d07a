"""What goes wrong in one seed: how often each fault strikes, and when whole calls stay unanswered."""

from __future__ import annotations

import random

from msgspec import Struct

CALLS = ("observe", "submit", "cancel", "find_order", "trades", "cash")
ORDER_LAG_S = 10.0
TRADE_LAG_S = 50.0
# How likely each fault is on one call, before a seed makes it rarer or more frequent.
FAULTS = {
    "blind": 0.02,
    "submit_lost": 0.06,
    "submit_reply_lost": 0.09,
    "submit_late": 0.06,
    "submit_rejected": 0.04,
    "submit_said_twice": 0.02,
    "cancel_lost": 0.06,
    "cancel_reply_lost": 0.08,
    "cancel_late": 0.05,
    "cancel_not_found": 0.05,
    "find_blind": 0.06,
    "trades_blind": 0.06,
    "trades_repeated": 0.20,
    "trades_shuffled": 0.20,
    "cash_blind": 0.06,
    "torn_look": 0.15,
    "positions_empty": 0.004,
    "balance_missing": 0.004,
    "slow": 0.05,
}


class Spell(Struct, frozen=True):
    """A span of time in which these calls get no answer, or one of the states of the world holds."""

    from_ts: float
    until_ts: float
    hits: frozenset[str]


class Weather:
    """The faults of one seed between two moments; outside them the sun shines."""

    def __init__(self, seed: int, from_ts: float, until_ts: float) -> None:
        self.rng = random.Random(f"{seed} weather")
        rng = self.rng
        self._until_ts = until_ts
        self._rates = {name: rate * rng.choice((0, 0.5, 1, 1, 2)) for name, rate in FAULTS.items()}
        self.order_lag_s = rng.choice((0.0, ORDER_LAG_S))
        self.trade_lag_s = rng.choice((0.0, 5.0, TRADE_LAG_S))
        self._spells = [self._draw(kind, from_ts, until_ts) for kind in self._kinds()]

    def _kinds(self) -> list[tuple[frozenset[str], float, float]]:
        """Draw what kinds of spell there are, with how long each may last."""
        rng = self.rng
        everything = frozenset(CALLS)
        possible = [
            (everything, 5.0, 40.0),
            (everything, 5.0, 20.0),
            (frozenset({"submit", "cancel"}), 5.0, 30.0),
            (frozenset({"trades"}), 15.0, 70.0),
            (frozenset({"cash"}), 15.0, 70.0),
            (frozenset({"find_order"}), 15.0, 70.0),
            (frozenset({"quotes"}), 8.0, 40.0),
            (frozenset({"kill"}), 5.0, 40.0),
            (frozenset({"disk_low"}), 5.0, 40.0),
            (frozenset({"disk_full", "disk_low"}), 3.0, 20.0),
        ]
        return [each for each in possible if rng.random() < 0.3]

    def _draw(
        self, kind: tuple[frozenset[str], float, float], from_ts: float, until_ts: float
    ) -> Spell:
        hits, shortest_s, longest_s = kind
        start = self.rng.uniform(from_ts, until_ts)
        return Spell(start, start + self.rng.uniform(shortest_s, longest_s), hits)

    def is_calm(self, now: float) -> bool:
        """Tell whether the time of faults is over."""
        return now >= self._until_ts

    def strikes(self, fault: str, now: float) -> bool:
        """Draw whether a fault strikes now."""
        drawn = self.rng.random()
        return not self.is_calm(now) and drawn < self._rates[fault]

    def holds(self, name: str, now: float) -> bool:
        """Tell whether a spell with this name is on."""
        return not self.is_calm(now) and any(
            name in spell.hits and spell.from_ts <= now < spell.until_ts for spell in self._spells
        )
