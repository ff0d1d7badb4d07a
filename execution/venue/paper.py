"""The paper venue: an exchange account that lives in a file and meets the bars of a market."""

from __future__ import annotations

import logging
import math
from typing import Final

from msgspec.structs import replace

from execution.core.fill_rules import Conditions
from execution.core.position_mode import PositionMode
from execution.core.seam import (
    ZERO,
    Accepted,
    Account,
    Ambiguous,
    Bar,
    Blind,
    CashRow,
    MarketSnapshot,
    NewOrder,
    NotFound,
    Rejected,
    Trade,
    VenueHealth,
    VenueOrder,
)
from execution.errors import ConfigError, VenueUnavailable
from execution.venue import paper_account, paper_liquidation, paper_matching
from execution.venue.base import Market, MarketView
from execution.venue.paper_account import PaperAccount, PaperOrder, PaperTerms, exact
from execution.venue.paper_admission import crosses, refuse
from execution.venue.paper_liquidation import Liquidated
from execution.venue.paper_matching import Reach
from execution.venue.paper_store import Changes, PaperStore, SeriesClock

log = logging.getLogger(__name__)

# A quiet bar needs no write: orders and bars are the same after a restart, so meeting it again
# changes nothing again. Writing once in so much market time bounds how much is met twice.
QUIET_COMMIT_S: Final = 60.0

NO_MARKET = Rejected("-2010", "the paper venue has no market to trade on now")

_Event = tuple[float, int, str, Bar | tuple[float, float]]


class PaperVenue:
    """A paper account on any market, in hedge or in one-way mode.

    Whatever it answers is durable in `store` before; memory follows the file, never the reverse.
    """

    name = "paper"
    rests_stops = True

    def __init__(
        self,
        market: Market,
        store: PaperStore,
        terms: PaperTerms,
        position_mode: PositionMode = "hedge",
    ) -> None:
        if store.saved is not None:
            _refuse_change(store.saved[0], position_mode)
        self._market = market
        self._store = store
        self._terms = terms
        self._mode = position_mode
        self._is_open = False
        self._view: MarketView | None = None
        self._shown: Account | None = None
        self._quiet_since_ts = -math.inf
        self._account: PaperAccount | None = None
        self._clock: SeriesClock | None = None
        self._reach: dict[str, Reach] = {}
        if store.saved is not None:
            self._hold(*store.saved)

    # ------------------------------------------------------------ seeing

    def observe(self, now: float) -> MarketSnapshot | Blind:
        self._view = None
        try:
            account, clock = self._open(now)
            view = self._market.read(now)
            if isinstance(view, Blind):
                return view
            account = self._settle(view, account, clock)
        except VenueUnavailable as error:
            # The market went on and the file did not: place it again where the file stands.
            self._is_open = False
            return Blind(now, str(error))
        self._view = view
        if self._shown is None:
            # Its time is the market's: whatever it holds happened until then, nothing after.
            reached_ts = clock.matched_ts if self._clock is None else self._clock.matched_ts
            self._shown = paper_account.show(account, self._terms.leverage, reached_ts)
        return MarketSnapshot(
            view.ts, view.bar_s, view.lag_s, view.quotes, view.bars, view.rules, self._shown
        )

    def _open(self, now: float) -> tuple[PaperAccount, SeriesClock]:
        """Return account and clock; the first time also place the market on the clock."""
        account, clock = self._account, self._clock
        if self._is_open and account is not None and clock is not None:
            return account, clock
        series = self._market.series
        if account is not None and clock is not None and clock.series == series:
            self._market.open(now, clock.origin_ts, clock.matched_ts)
        else:
            origin_ts = self._market.open(now, None, None)
            cash: tuple[CashRow, ...] = ()
            if account is None or clock is None:
                account, deposit = paper_account.begin(self._terms.start_usd, origin_ts)
                cash = (deposit,)
            else:
                log.warning("paper account moved from series=%s to series=%s", clock.series, series)
            clock = SeriesClock(series, origin_ts, origin_ts)
            self._commit(Changes(account, clock, cash=cash))
        self._is_open = True
        return account, clock

    # ------------------------------------------------------------ meeting bars

    def _settle(self, view: MarketView, account: PaperAccount, clock: SeriesClock) -> PaperAccount:
        """Let what happened meet the account, and commit it before anybody hears of it."""
        if view.closed_ts <= clock.matched_ts:
            return account
        reached = SeriesClock(clock.series, clock.origin_ts, view.closed_ts)
        events: list[_Event] = []
        if self._reach:
            events += self._touching(view, clock.matched_ts)
        if view.funding and (account.legs or events):
            events += _funding(view, clock.matched_ts)
        changes = self._meet(view, Changes(account, reached), sorted(events, key=_in_time))
        if changes.orders or changes.cash:
            self._commit(changes)
        else:
            self._clock = reached
            self._keep_quiet_clock(account, reached)
        return changes.account

    def _touching(self, view: MarketView, matched_ts: float) -> list[_Event]:
        """Find the new bars that an order can notice; orders only leave while they are met."""
        bar_s = view.bar_s
        # A leg that opens in one of several bars can be liquidated in the next of them.
        whole = any(len(bars) > 1 for bars in view.bars.values())
        return [
            (bar.ts + bar_s, 0, symbol, bar)
            for symbol, (low, high) in self._reach.items()
            for bar in view.bars.get(symbol, ())
            if (whole or bar.low <= low or bar.high >= high) and bar.ts + bar_s > matched_ts
        ]

    def _meet(self, view: MarketView, before: Changes, events: list[_Event]) -> Changes:
        account, terms = before.account, self._terms
        orders: dict[str, PaperOrder] = {}
        trades: list[Trade] = []
        cash: list[CashRow] = []
        for close_ts, _, symbol, event in events:
            if isinstance(event, Bar):
                bar = paper_matching.conditions(
                    event, view.bar_s, view.rules[symbol], view.half_spread_bps[symbol], terms
                )
                matched = paper_matching.match(account, symbol, bar, terms)
                account = matched.account
                orders.update({order.seen.venue_order_id: order for order in matched.orders})
                trades += matched.trades
                ended = self._liquidate(view, account, symbol, bar)
                if ended is not None:
                    account = ended.account
                    orders.update({order.seen.venue_order_id: order for order in ended.orders})
                    trades += ended.trades
                    cash += ended.cash
            else:
                mark, (ts, rate) = _mark(view, symbol, close_ts), event
                account, rows = paper_account.pay_funding(
                    account, symbol, exact(mark), exact(rate), ts
                )
                cash += rows
        return Changes(account, before.clock, tuple(orders.values()), tuple(trades), tuple(cash))

    def _liquidate(
        self, view: MarketView, account: PaperAccount, symbol: str, bar: Conditions
    ) -> Liquidated | None:
        if not account.legs:
            return None
        others = {leg.symbol for leg in account.legs.values() if leg.symbol in view.quotes}
        marks = {other: exact(_mark(view, other, bar.close_ts)) for other in others}
        return paper_liquidation.liquidate(account, symbol, bar, marks, self._terms)

    def _keep_quiet_clock(self, account: PaperAccount, clock: SeriesClock) -> None:
        due = clock.matched_ts - self._quiet_since_ts >= QUIET_COMMIT_S
        if due and self._store.durable:
            self._store.commit(Changes(account, clock))
            self._quiet_since_ts = clock.matched_ts

    # ------------------------------------------------------------ keeping

    def _commit(self, changes: Changes) -> None:
        self._store.commit(changes)
        self._hold(changes.account, changes.clock)

    def _hold(self, account: PaperAccount, clock: SeriesClock) -> None:
        self._account, self._clock = account, clock
        self._quiet_since_ts = clock.matched_ts
        self._reach = _either(
            paper_matching.reaches(account.orders.values()),
            paper_liquidation.reaches(account, self._terms),
        )
        self._shown = None

    # ------------------------------------------------------------ orders

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        view, account, clock = self._view, self._account, self._clock
        if view is None or account is None or clock is None:
            return NO_MARKET
        rules = view.rules.get(order.symbol)
        refused = refuse(order, account, rules, view.quotes, self._terms, self._mode)
        if refused is not None:
            return refused
        number = account.last_id + 1
        accepted = PaperOrder(
            seen=VenueOrder(
                client_id=order.client_id,
                venue_order_id=str(number),
                symbol=order.symbol,
                side=order.side,
                position_side=order.position_side,
                type=order.type,
                qty=order.qty,
                price=order.price,
                stop_price=order.stop_price,
                reduce_only=order.reduce_only,
                close_position=order.close_position,
                filled_qty=ZERO,
                state="LIVE",
                ts=order.signed_ts,
            ),
            takes=crosses(order, view.quotes[order.symbol]),
        )
        after = paper_account.with_order(replace(account, last_id=number), accepted)
        try:
            self._commit(Changes(after, clock, orders=(accepted,)))
        except VenueUnavailable as error:
            return Ambiguous(str(error))
        return Accepted(accepted.seen.venue_order_id)

    def cancel(self, symbol: str, client_id: str) -> Accepted | NotFound | Ambiguous:
        account, clock = self._account, self._clock
        if account is None or clock is None:
            return NotFound()
        for order in account.orders.values():
            if (order.seen.symbol, order.seen.client_id) == (symbol, client_id):
                break
        else:
            return NotFound()
        canceled = PaperOrder(replace(order.seen, state="CANCELED"), takes=False)
        after = paper_account.with_order(account, canceled)
        try:
            self._commit(Changes(after, clock, orders=(canceled,)))
        except VenueUnavailable as error:
            return Ambiguous(str(error))
        return Accepted(canceled.seen.venue_order_id)

    # ------------------------------------------------------------ looking up

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:
        try:
            return self._store.find_order(symbol, client_id)
        except VenueUnavailable as error:
            return self._blind(error)

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        try:
            return self._store.trades(symbol, since_ts)
        except VenueUnavailable as error:
            return self._blind(error)

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:
        try:
            return self._store.cash(since_ts)
        except VenueUnavailable as error:
            return self._blind(error)

    def _blind(self, error: VenueUnavailable) -> Blind:
        return Blind(0.0 if self._clock is None else self._clock.matched_ts, str(error))

    def health(self) -> VenueHealth:
        return self._market.health()

    def close(self) -> None:
        self._store.close()


def _refuse_change(account: PaperAccount, mode: PositionMode) -> None:
    """Refuse another mode than the one in which something is held or rests, as the exchange does."""
    resting = (order.seen for order in account.orders.values())
    for symbol, side in (*account.legs, *((o.symbol, o.position_side) for o in resting)):
        if (side == "BOTH") != (mode == "one_way"):
            raise ConfigError(
                f"services.toml: account.position_mode {mode!r}: the paper account holds"
                f" {symbol} {side}: set the other mode, `hedge flatten`, stop,"
                " and change it then"
            )


def _either(one: dict[str, Reach], other: dict[str, Reach]) -> dict[str, Reach]:
    """Return the reaches within which nothing of either happens."""
    nothing = (-math.inf, math.inf)
    found = {}
    for symbol in one.keys() | other.keys():
        (low, high), (least, most) = one.get(symbol, nothing), other.get(symbol, nothing)
        found[symbol] = (max(low, least), min(high, most))
    return found


def _in_time(event: _Event) -> tuple[float, int, str]:
    return event[:3]


def _funding(view: MarketView, matched_ts: float) -> list[_Event]:
    # Paid on the leg as it is after the bar in which it falls due, at that bar's close.
    return [
        (math.ceil(due[0] / view.bar_s) * view.bar_s, 1, symbol, due)
        for symbol, dues in view.funding.items()
        for due in dues
        if due[0] > matched_ts
    ]


def _mark(view: MarketView, symbol: str, close_ts: float) -> float:
    closes = [bar.close for bar in view.bars.get(symbol, ()) if bar.ts < close_ts]
    return closes[-1] if closes else view.quotes[symbol].mark
