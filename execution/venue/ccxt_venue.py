"""Binance USD-M futures as a venue: one look each round, and orders that are sent once."""

from __future__ import annotations

from execution.core.seam import (
    Accepted,
    Ambiguous,
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
from execution.venue import ccxt_snapshot
from execution.venue.ccxt_account import Holdings
from execution.venue.ccxt_errors import Doubt, Refusal
from execution.venue.ccxt_history import History
from execution.venue.ccxt_market import BAR_S, Prices
from execution.venue.ccxt_replies import OrderAck
from execution.venue.ccxt_session import Endpoint, Session
from execution.venue.ccxt_setup import Setup

NEW_ORDER = Endpoint("fapiPrivatePostOrder", 0, signed=True)
CANCEL = Endpoint("fapiPrivateDeleteOrder", 1, signed=True)
NO_STOPS = Rejected("-4120", "stops do not rest at this venue: the plan is the stop")
# The account was read at a moment that is known to about this: what traded by then is in it.
READ_WITHIN_S = 0.05


class CcxtVenue:
    """An account at the exchange. Whatever the network does is a value here."""

    name = "binance"
    rests_stops = False

    def __init__(
        self,
        session: Session,
        prices: Prices,
        setup: Setup,
        holdings: Holdings,
        history: History,
        *,
        hedge: bool,
        history_bars: int,
    ) -> None:
        self._session = session
        self._prices = prices
        self._setup = setup
        self._holdings = holdings
        self._history = history
        self._hedge = hedge
        self._history_bars = history_bars
        self._is_begun = False

    def prepare(self) -> None:
        """Compare and set what must be right before the first order. Raises ConfigError."""
        self._session.begin()
        self._setup.begin()

    # ------------------------------------------------------------ seeing

    def observe(self, now: float) -> MarketSnapshot | Blind:
        self._session.begin()
        try:
            self._prices.read_rules()
            self._setup.check()
            account = self._holdings.read(self._setup.leverage)
            self._prices.show(position.symbol for position in account.positions)
            self._prices.read_quotes()
        except (VenueUnavailable, ConfigError) as error:
            return Blind(now, str(error))
        if not self._is_begun:
            self._is_begun = True
            self._prices.start_bars(self._session.now() - self._history_bars * BAR_S)
        return MarketSnapshot(
            ts=now,
            bar_s=BAR_S,
            lag_s=0.0,
            quotes=self._prices.quotes,
            bars=self._prices.read_bars(),
            rules=self._prices.rules,
            account=account,
        )

    # ------------------------------------------------------------ orders

    def submit(self, order: NewOrder) -> Accepted | Rejected | Ambiguous:
        if order.type == "STOP_MARKET":
            return NO_STOPS
        params = ccxt_snapshot.order_params(order, hedge=self._hedge)
        self._holdings.touch(order.symbol)
        answer = self._session.send(NEW_ORDER, OrderAck, params, signed_ts=order.signed_ts)
        if isinstance(answer, Doubt):
            return Ambiguous(answer.reason)
        if isinstance(answer, Refusal):
            if answer.meaning == "filters":
                self._prices.doubt_rules()
            return Rejected(answer.code, answer.reason)
        if answer.client_order_id != order.client_id:
            return Ambiguous(f"told of another order than {order.client_id}")
        self._history.know(answer.order_id, order.client_id)
        return Accepted(str(answer.order_id))

    def cancel(self, symbol: str, client_id: str) -> Accepted | NotFound | Ambiguous:
        params = {"symbol": symbol, "origClientOrderId": client_id}
        self._holdings.touch(symbol)
        answer = self._session.send(CANCEL, OrderAck, params)
        if isinstance(answer, Refusal):
            if answer.meaning == "unknown_order":
                return NotFound()
            return Ambiguous(f"{answer.code} {answer.reason}")
        if isinstance(answer, Doubt):
            return Ambiguous(answer.reason)
        return Accepted(str(answer.order_id))

    # ------------------------------------------------------------ looking up

    def find_order(self, symbol: str, client_id: str) -> VenueOrder | NotFound | Blind:
        try:
            return self._history.find(symbol, client_id)
        except VenueUnavailable as error:
            return Blind(self._holdings.read_ts, str(error))

    def trades(self, symbol: str, since_ts: float) -> tuple[Trade, ...] | Blind:
        until_ts = self._holdings.read_ts + READ_WITHIN_S
        try:
            return self._history.trades(symbol, since_ts, until_ts, self._holdings.version)
        except VenueUnavailable as error:
            return Blind(self._holdings.read_ts, str(error))

    def cash(self, since_ts: float) -> tuple[CashRow, ...] | Blind:
        try:
            return self._history.cash(since_ts, self._holdings.version)
        except VenueUnavailable as error:
            return Blind(self._holdings.read_ts, str(error))

    def health(self) -> VenueHealth:
        return self._session.health()

    def close(self) -> None:
        self._session.close()
