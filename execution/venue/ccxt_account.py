"""The account as the exchange shows it: wallet and positions each round, dear questions more slowly.

Open orders of all symbols are the dearest question. They are asked every so often, and at once when
what they bind changed; between, the symbols that have orders, or had one sent, are asked by name.
That is safe: whatever fills shows in wallet and positions, which are read each round, and an order
that nobody has heard of yet can only be somebody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from execution.clock import Clock
from execution.core.seam import Account, LegKey, VenueOrder
from execution.errors import VenueUnavailable
from execution.venue import ccxt_snapshot
from execution.venue.ccxt_limits import Pace
from execution.venue.ccxt_replies import AccountInfo, AccountPosition, OrderInfo, PositionRisk
from execution.venue.ccxt_session import Endpoint, Session

log = logging.getLogger(__name__)

ACCOUNT: Final = Endpoint("fapiPrivateV3GetAccount", 5, signed=True)
POSITION_RISK: Final = Endpoint("fapiPrivateV3GetPositionRisk", 5, signed=True)
OPEN_ORDERS: Final = Endpoint("fapiPrivateGetOpenOrders", 1, signed=True)
ALL_SYMBOLS_WEIGHT: Final = 40
# What each may use of the exchange's limit: about once a second; every 20 s, or 10 s after a change.
ACCOUNT_SHARE: Final = 0.15
ALL_ORDERS_SHARE: Final = 0.05
ALL_ORDERS_SOON_SHARE: Final = 0.1
# Symbols asked by name in one round.
MOST_NAMED: Final = 6


class Holdings:
    """Wallet, positions and open orders; reads raise VenueUnavailable."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self.account: Account | None = None
        self.read_ts = 0.0
        # Counts what changed in what was read, so that answers to the same state can be kept.
        self.version = 0
        self._session = session
        self._pace = Pace(session.limits, clock, ACCOUNT_SHARE)
        self._all_pace = Pace(session.limits, clock, ALL_ORDERS_SHARE)
        self._soon_pace = Pace(session.limits, clock, ALL_ORDERS_SOON_SHARE)
        self._info: AccountInfo | None = None
        self._is_changed = True
        self._entries_of: tuple[AccountPosition, ...] = ()
        self._entries: dict[LegKey, Decimal] = {}
        self._orders: dict[str, tuple[VenueOrder, ...]] = {}
        # Symbols to be asked by name, the one that waits longest first.
        self._named: dict[str, None] = {}

    def touch(self, symbol: str) -> None:
        """Have the open orders of `symbol` read in the next round: one was sent or canceled."""
        self._named[symbol] = None
        self._pace.hurry()

    def read(self, leverage: dict[str, int]) -> Account:
        """Return the account; the same object where it was not due to be read.

        Orders are read before positions: an order that fills between the two is then a fill that
        is known while its order still looks open, and not an order that is lost.
        """
        if self.account is not None and not self._pace.is_due():
            return self.account
        orders_before = self._orders
        self._read_orders()
        info = self._session.read(ACCOUNT, AccountInfo)
        self.read_ts = self._session.now()
        self._pace.done(ACCOUNT.weight)
        moved = self._mind_changes(info)
        self._read_entries(info)
        if moved or orders_before != self._orders:
            self.version += 1
        before = self.account
        self.account = ccxt_snapshot.account(
            info, self._entries, leverage, self._open_orders(), self.read_ts
        )
        _warn_of_others(before, self.account)
        return self.account

    def _mind_changes(self, info: AccountInfo) -> bool:
        """Note what there is to ask about next; tell whether a balance or a position moved."""
        before, self._info = self._info, info
        if before is None:
            return True
        self._is_changed = self._is_changed or info != before
        moved = set(before.positions) ^ set(info.positions)
        self._named.update(dict.fromkeys(sorted(position.symbol for position in moved)))
        return bool(moved) or before.assets != info.assets

    # ------------------------------------------------------------ open orders

    def _read_orders(self) -> None:
        if self._all_pace.is_due() or (self._is_changed and self._soon_pace.is_due()):
            found = self._ask_orders({}, ALL_SYMBOLS_WEIGHT)
            self._all_pace.done(ALL_SYMBOLS_WEIGHT)
            self._soon_pace.done(ALL_SYMBOLS_WEIGHT)
            self._orders = found
            self._is_changed = False
            self._named.clear()
            return
        for symbol in (*self._orders, *self._named):
            self._named.setdefault(symbol)
        for symbol in tuple(self._named)[:MOST_NAMED]:
            found = self._ask_orders({"symbol": symbol}, OPEN_ORDERS.weight)
            self._named.pop(symbol)
            rest = {name: kept for name, kept in self._orders.items() if name != symbol}
            self._orders = {**rest, **found}

    def _ask_orders(self, params: dict[str, str], weight: int) -> dict[str, tuple[VenueOrder, ...]]:
        told = self._session.read(OPEN_ORDERS, tuple[OrderInfo, ...], params, weight=weight)
        found: dict[str, tuple[VenueOrder, ...]] = {}
        once = {each.order_id: each for each in told}
        for each in map(ccxt_snapshot.order, once.values()):
            found[each.symbol] = (*found.get(each.symbol, ()), each)
        return found

    def _open_orders(self) -> tuple[VenueOrder, ...]:
        return tuple(each for orders in self._orders.values() for each in orders)

    # ------------------------------------------------------------ entry prices

    def _read_entries(self, info: AccountInfo) -> None:
        """Read the entry prices again where a position moved."""
        held = tuple(position for position in info.positions if position.position_amt != 0)
        if held == self._entries_of:
            return
        if held:
            rows = self._session.read(POSITION_RISK, tuple[PositionRisk, ...])
            entries = {(row.symbol, row.position_side): row.entry_price for row in rows}
            missing = [leg for leg in _keys(held) if leg not in entries]
            if missing:
                raise VenueUnavailable(f"no entry price of {missing[0][0]} {missing[0][1]} is told")
            self._entries = entries
        self._entries_of = held


def _warn_of_others(before: Account | None, now: Account) -> None:
    """Say once of each coin beside USDT that it is in no NAV."""
    known = {} if before is None else before.other_assets
    if new := sorted(now.other_assets.keys() - known.keys()):
        log.warning("the account also holds %s: only USDT is in NAV", ", ".join(new))


def _keys(held: Iterable[AccountPosition]) -> Iterable[LegKey]:
    return ((position.symbol, position.position_side) for position in held)
