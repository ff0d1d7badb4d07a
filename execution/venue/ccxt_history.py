"""What happened on the account: single orders, trades and cash, from the exchange's own records."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from msgspec import Struct

from execution.clock import Clock
from execution.core.seam import CashRow, NotFound, Trade, VenueOrder
from execution.errors import VenueUnavailable
from execution.venue import ccxt_snapshot
from execution.venue.ccxt_errors import Refusal
from execution.venue.ccxt_market import BAR_S, KLINES
from execution.venue.ccxt_replies import Income, Kline, OrderInfo, UserTrade
from execution.venue.ccxt_session import Endpoint, Session
from execution.venue.ccxt_wire import Params

ORDER: Final = Endpoint("fapiPrivateGetOrder", 1, signed=True)
ALL_ORDERS: Final = Endpoint("fapiPrivateGetAllOrders", 5, signed=True)
USER_TRADES: Final = Endpoint("fapiPrivateGetUserTrades", 5, signed=True)
INCOME: Final = Endpoint("fapiPrivateGetIncome", 30, signed=True)

PAGE: Final = 1_000
MOST_PAGES: Final = 50
WINDOW_MS: Final = 7 * 86_400_000
# Older trades are not asked for by time, and older income is not kept by the exchange.
OLDEST_S: Final = 90 * 86_400.0
# The same question about the same account is asked again, as records can be told late: first after so
# long, and then at intervals that double, up to the second number.
TRADES_AGAIN_S: Final = (2.0, 60.0)
CASH_AGAIN_S: Final = (10.0, 120.0)
# Income is read again from this much before what was read; it can be told this late.
LATE_S: Final = 300.0
# Orders of trades that are looked up one by one in one round; from so many on, a list comes first.
MOST_LOOKUPS: Final = 30
FEW: Final = 5
# A lookup can lag behind the trade that it is about; only one that is older may be nobody's.
ORDER_LATE_S: Final = 60.0
IDS_KEPT: Final = 2 * MOST_PAGES * PAGE


class _Asked(Struct, frozen=True):
    """A question about one state of the account: how far back, first asked when, and last."""

    version: int
    since_ts: float
    first_s: float
    last_s: float

    def again(self, now_s: float, version: int, since_ts: float) -> _Asked:
        """Return the same question as it is asked now."""
        same = self.version == version
        return _Asked(version, since_ts, self.first_s if same else now_s, now_s)

    def holds(
        self, now_s: float, version: int, since_ts: float, wait_s: tuple[float, float]
    ) -> bool:
        """Tell whether its answer still is the answer."""
        least_s, most_s = wait_s
        pause_s = min(max(self.last_s - self.first_s, least_s), most_s)
        known = self.version == version and self.since_ts <= since_ts
        return known and now_s - self.last_s < pause_s


class History:
    """The account's records; every read may raise VenueUnavailable."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._client_ids: dict[int, str] = {}
        self._fee_prices: dict[tuple[str, int], Decimal] = {}
        self._heard: dict[str, tuple[_Asked, tuple[Trade, ...]]] = {}
        self._cash: dict[str, CashRow] = {}
        self._cash_span: tuple[float, float] | None = None
        self._cash_asked: _Asked | None = None

    # ------------------------------------------------------------ one order

    def know(self, order_id: int, client_id: str) -> None:
        """Remember whose an order is: trades name its number only."""
        self._client_ids[order_id] = client_id
        while len(self._client_ids) > IDS_KEPT:
            self._client_ids.pop(next(iter(self._client_ids)))

    def find(self, symbol: str, client_id: str) -> VenueOrder | NotFound:
        """Look up one order."""
        params = {"symbol": symbol, "origClientOrderId": client_id}
        answer = self._session.ask(ORDER, OrderInfo, params, urgency="needed")
        if isinstance(answer, Refusal):
            if answer.meaning == "unknown_order":
                return NotFound()
            raise VenueUnavailable(f"{ORDER.name}: {answer.code} {answer.reason}")
        if answer.client_order_id != client_id:
            raise VenueUnavailable(f"{ORDER.name}: asked for {client_id}, told another order")
        self.know(answer.order_id, client_id)
        return ccxt_snapshot.order(answer)

    # ------------------------------------------------------------ trades

    def trades(
        self, symbol: str, since_ts: float, until_ts: float, version: int
    ) -> tuple[Trade, ...]:
        """List the trades of a symbol up to `until_ts`, when the account was read, oldest first.

        What traded later belongs to the next look: the account does not hold it yet. The same
        account (`version`) is asked about again only after a while.
        """
        heard, now_s = self._heard.get(symbol), self._clock.monotonic()
        if heard is None or not heard[0].holds(now_s, version, since_ts, TRADES_AGAIN_S):
            rows = self._read_trades(symbol, since_ts)
            self._resolve(symbol, rows)
            before = _Asked(version, since_ts, now_s, now_s) if heard is None else heard[0]
            asked = before.again(now_s, version, since_ts)
            heard = self._heard[symbol] = (asked, tuple(self._trade(row) for row in rows))
        return tuple(trade for trade in heard[1] if since_ts <= trade.ts <= until_ts)

    def _read_trades(self, symbol: str, since_ts: float) -> list[UserTrade]:
        now = self._session.now()
        rows: list[UserTrade] = []
        if now - since_ts > OLDEST_S:
            return self._follow(symbol, 0, rows)
        start_ms, now_ms = int(since_ts * 1000), int(now * 1000)
        while True:
            last = now_ms - start_ms < WINDOW_MS
            params: dict[str, str | int] = {"symbol": symbol, "startTime": start_ms, "limit": PAGE}
            if not last:
                params["endTime"] = start_ms + WINDOW_MS - 1
            rows = self._page(params)
            if rows and not (last and len(rows) < PAGE):
                return self._follow(symbol, rows[-1].id + 1, rows)
            if last:
                return rows
            start_ms += WINDOW_MS

    def _follow(self, symbol: str, from_id: int, rows: list[UserTrade]) -> list[UserTrade]:
        """Read on by id until a page is not full."""
        for _ in range(MOST_PAGES):
            page = self._page({"symbol": symbol, "fromId": from_id, "limit": PAGE})
            rows = [*rows, *page]
            if len(page) < PAGE:
                return rows
            from_id = page[-1].id + 1
        raise VenueUnavailable(f"{symbol} has more than {MOST_PAGES} pages of trades")

    def _page(self, params: dict[str, str | int]) -> list[UserTrade]:
        page = self._session.read(USER_TRADES, list[UserTrade], params, urgency="needed")
        return sorted(page, key=lambda row: row.id)

    def _trade(self, row: UserTrade) -> Trade:
        price = self._fee_price(row.commission_asset, row.time)
        client_id = self._client_ids.get(row.order_id)
        if client_id is None:
            raise VenueUnavailable(f"whose order {row.order_id} was is not known any more")
        return ccxt_snapshot.trade(row, client_id, price)

    # ------------------------------------------------------------ whose order it was

    def _resolve(self, symbol: str, rows: Iterable[UserTrade]) -> None:
        """Find the client ids of the orders that traded; one that is gone is nobody's."""
        unknown = self._unknown(rows)
        late_ms = (self._session.now() - ORDER_LATE_S) * 1000
        fresh = {row.order_id for row in rows if row.time > late_ms}
        if len(unknown) > FEW:
            params: Params = {"symbol": symbol, "orderId": unknown[0], "limit": PAGE}
            listed = self._session.ask(ALL_ORDERS, tuple[OrderInfo, ...], params, urgency="needed")
            # Too old for a list: they are asked for one by one.
            for order in () if isinstance(listed, Refusal) else listed:
                self.know(order.order_id, order.client_order_id)
            unknown = self._unknown(rows)
        for order_id in unknown[:MOST_LOOKUPS]:
            answer = self._session.ask(
                ORDER, OrderInfo, {"symbol": symbol, "orderId": order_id}, urgency="needed"
            )
            if isinstance(answer, OrderInfo):
                self.know(order_id, answer.client_order_id)
            elif answer.meaning == "unknown_order" and order_id not in fresh:
                self.know(order_id, f"venue:{order_id}")
            else:
                raise VenueUnavailable(f"{ORDER.name}: {answer.code} {answer.reason}")
        if len(unknown) > MOST_LOOKUPS:
            raise VenueUnavailable(f"{symbol}: whose its trades are is still being looked up")

    def _unknown(self, rows: Iterable[UserTrade]) -> list[int]:
        return sorted({row.order_id for row in rows} - self._client_ids.keys())

    # ------------------------------------------------------------ what a fee was worth

    def _fee_price(self, asset: str, time_ms: int) -> Decimal:
        """Return the price of a fee's coin in the minute that it was paid in."""
        if asset == ccxt_snapshot.USDT:
            return Decimal(1)
        minute = time_ms // (BAR_S * 1000)
        known = self._fee_prices.get((asset, minute))
        if known is not None:
            return known
        params: Params = {
            "symbol": f"{asset}{ccxt_snapshot.USDT}",
            "interval": "1m",
            "startTime": minute * BAR_S * 1000,
            "limit": 1,
        }
        klines = self._session.read(KLINES, tuple[Kline, ...], params, urgency="needed")
        if not klines or not (klines[0].open.is_finite() and klines[0].open > 0):
            raise VenueUnavailable(f"the price of {asset} at {time_ms} is not told")
        if len(self._fee_prices) >= IDS_KEPT:
            self._fee_prices.clear()
        self._fee_prices[asset, minute] = klines[0].open
        return klines[0].open

    # ------------------------------------------------------------ cash

    def cash(self, since_ts: float, version: int) -> tuple[CashRow, ...]:
        """List the wallet's movements that are no trades, oldest first.

        What was read in this process is not read again, but for what may have been told late.
        """
        now_s, asked = self._clock.monotonic(), self._cash_asked
        if asked is None or not asked.holds(now_s, version, since_ts, CASH_AGAIN_S):
            self._read_cash(since_ts)
            self._cash = {name: row for name, row in self._cash.items() if row.ts >= since_ts}
            before = _Asked(version, since_ts, now_s, now_s) if asked is None else asked
            self._cash_asked = before.again(now_s, version, since_ts)
        told = (row for row in self._cash.values() if row.ts >= since_ts)
        return tuple(sorted(told, key=lambda row: row.ts))

    def _read_cash(self, since_ts: float) -> None:
        now = self._session.now()
        since_ts = max(since_ts, now - OLDEST_S)
        from_ts = since_ts
        if self._cash_span is not None and since_ts >= self._cash_span[0]:
            from_ts = max(since_ts, self._cash_span[1] - LATE_S)
        start_ms = int(from_ts * 1000)
        for _ in range(MOST_PAGES):
            params: Params = {"startTime": start_ms, "limit": PAGE}
            page = self._session.read(INCOME, list[Income], params, urgency="needed")
            for row in filter(None, map(ccxt_snapshot.cash, page)):
                self._cash[row.cash_id] = row
            if len(page) < PAGE:
                self._cash_span = (since_ts, now)
                return
            newest_ms = max(row.time for row in page)
            start_ms = newest_ms if newest_ms > start_ms else start_ms + 1
        raise VenueUnavailable(f"the account has more than {MOST_PAGES} pages of income")
