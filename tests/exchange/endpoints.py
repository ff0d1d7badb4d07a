"""What each endpoint does with the account: request in, reply out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from execution.core.position_mode import PositionMode
from execution.core.seam import Rejected, VenueOrder
from tests.exchange import replies
from tests.exchange.account import OPEN, Exchange
from tests.exchange.admission import new_order, symbol_of
from tests.exchange.faults import Faults
from tests.exchange.gate import Refusal, missing
from tests.exchange.setup import MAX_LEVERAGE

WEEK_MS = 7 * 86_400_000
Params = Mapping[str, str]
DONE = {"code": 200, "msg": "success"}


class Endpoints:
    """The futures REST interface of one exchange."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._faults = faults
        self._routes: dict[tuple[str, str], Callable[[Params], Any]] = {
            ("GET", "/fapi/v1/ping"): lambda _: {},
            ("GET", "/fapi/v1/time"): lambda _: {"serverTime": exchange.time_ms()},
            ("GET", "/fapi/v1/exchangeInfo"): lambda _: replies.exchange_info(exchange),
            ("GET", "/fapi/v1/klines"): self._klines,
            ("GET", "/fapi/v1/premiumIndex"): lambda p: self._each(p, replies.premium),
            ("GET", "/fapi/v1/ticker/bookTicker"): lambda p: self._each(p, replies.book_ticker),
            ("GET", "/fapi/v1/fundingRate"): self._funding_rates,
            ("GET", "/fapi/v1/fundingInfo"): lambda _: [],
            ("GET", "/fapi/v2/account"): lambda _: replies.account(exchange, exchange.look()),
            ("GET", "/fapi/v3/account"): lambda _: replies.account(exchange, exchange.look()),
            ("GET", "/fapi/v2/balance"): lambda _: replies.balance(exchange, exchange.look()),
            ("GET", "/fapi/v3/balance"): lambda _: replies.balance(exchange, exchange.look()),
            ("GET", "/fapi/v2/positionRisk"): self._positions,
            ("GET", "/fapi/v3/positionRisk"): self._positions,
            ("GET", "/fapi/v1/accountConfig"): lambda _: replies.account_config(exchange),
            ("GET", "/fapi/v1/symbolConfig"): self._symbol_config,
            ("GET", "/fapi/v1/leverageBracket"): self._brackets,
            ("GET", "/fapi/v1/commissionRate"): self._commission,
            ("GET", "/fapi/v1/openOrders"): self._open_orders,
            ("GET", "/fapi/v1/allOrders"): self._all_orders,
            ("GET", "/fapi/v1/userTrades"): self._trades,
            ("GET", "/fapi/v1/income"): self._income,
            ("POST", "/fapi/v1/order"): self._submit,
            ("GET", "/fapi/v1/order"): self._find,
            ("DELETE", "/fapi/v1/order"): self._cancel,
            ("GET", "/fapi/v1/positionSide/dual"): lambda _: {
                "dualSidePosition": exchange.mode == "hedge"
            },
            ("POST", "/fapi/v1/positionSide/dual"): self._set_dual,
            ("GET", "/fapi/v1/multiAssetsMargin"): lambda _: {
                "multiAssetsMargin": exchange.multi_assets
            },
            ("POST", "/fapi/v1/multiAssetsMargin"): self._set_multi_assets,
            ("POST", "/fapi/v1/leverage"): self._set_leverage,
            ("POST", "/fapi/v1/marginType"): self._set_margin_type,
        }

    def answer(self, method: str, path: str, params: Params) -> Any:
        """Carry out one request that has passed the gate."""
        route = self._routes.get((method, path))
        if route is None:
            raise Refusal(404, -5000, f"Path {path}, Method {method} is invalid")
        return route(params)

    # ------------------------------------------------------------ the market

    def _each(self, params: Params, shape: Callable[[Exchange, str], Any]) -> Any:
        self._exchange.look()
        if "symbol" in params:
            return shape(self._exchange, symbol_of(self._exchange, params))
        return [shape(self._exchange, symbol) for symbol in self._exchange.floor.quotes]

    def _klines(self, params: Params) -> Any:
        symbol = symbol_of(self._exchange, params)
        if params.get("interval") != "1m":
            raise Refusal(400, -1120, "Invalid interval.")
        self._exchange.look()
        limit = min(1500, _whole(params, "limit") or 500)
        return replies.klines(self._exchange, symbol, _whole(params, "startTime"), limit)

    def _funding_rates(self, params: Params) -> Any:
        self._exchange.look()
        start_ms, limit = _whole(params, "startTime") or 0, _whole(params, "limit") or 100
        rows = [
            replies.funding(symbol, ts, rate)
            for symbol, ts, rate in self._exchange.floor.funded
            if params.get("symbol") in (None, symbol) and replies.ms(ts) >= start_ms
        ]
        return rows[:limit] if start_ms else rows[-limit:]

    # ------------------------------------------------------------ the account

    def _positions(self, params: Params) -> Any:
        return replies.positions(self._exchange, self._exchange.look(), params.get("symbol"))

    def _symbol_config(self, params: Params) -> Any:
        exchange = self._exchange
        symbols = [symbol_of(exchange, params)] if "symbol" in params else list(exchange.symbols)
        return [replies.symbol_config(exchange, symbol) for symbol in symbols]

    def _brackets(self, params: Params) -> Any:
        if "symbol" in params:
            return [replies.brackets(symbol_of(self._exchange, params))]
        return [replies.brackets(symbol) for symbol in self._exchange.symbols]

    def _commission(self, params: Params) -> Any:
        return replies.commission(self._exchange, symbol_of(self._exchange, params))

    def _is_busy(self, symbol: str | None = None) -> tuple[bool, bool]:
        """Tell whether there are open orders, and positions."""
        account = self._exchange.look().account
        return (
            any(symbol in (None, order.symbol) for order in account.open_orders),
            any(symbol in (None, leg.symbol) for leg in account.positions),
        )

    def _set_dual(self, params: Params) -> Any:
        wanted = params.get("dualSidePosition")
        if wanted not in ("true", "false"):
            raise missing("dualSidePosition")
        mode: PositionMode = "hedge" if wanted == "true" else "one_way"
        if mode == self._exchange.mode:
            raise Refusal(400, -4059, "No need to change position side.")
        has_orders, has_positions = self._is_busy()
        if has_orders:
            raise Refusal(
                400, -4067, "Position side cannot be changed if there exists open orders."
            )
        if has_positions:
            raise Refusal(400, -4068, "Position side cannot be changed if there exists position.")
        self._exchange.switch(mode)
        return DONE

    def _set_multi_assets(self, params: Params) -> Any:
        wanted = params.get("multiAssetsMargin") == "true"
        if wanted == self._exchange.multi_assets:
            raise Refusal(400, -4171, "No need to change Multi-Assets mode.")
        self._exchange.multi_assets = wanted
        return DONE

    def _set_leverage(self, params: Params) -> Any:
        symbol = symbol_of(self._exchange, params)
        leverage = _whole(params, "leverage")
        if leverage is None:
            raise missing("leverage")
        if not 1 <= leverage <= MAX_LEVERAGE:
            raise Refusal(400, -4028, f"Leverage {leverage} is not valid")
        self._exchange.symbols[symbol].leverage = leverage
        return replies.set_leverage(self._exchange, symbol)

    def _set_margin_type(self, params: Params) -> Any:
        symbol = symbol_of(self._exchange, params)
        wanted = params.get("marginType", "")
        if wanted not in ("CROSSED", "ISOLATED"):
            raise missing("marginType")
        own = self._exchange.symbols[symbol]
        if own.margin_type == wanted:
            raise Refusal(400, -4046, "No need to change margin type.")
        has_orders, has_positions = self._is_busy(symbol)
        if has_orders:
            raise Refusal(400, -4047, "Margin type cannot be changed if there exists open orders.")
        if has_positions:
            raise Refusal(400, -4048, "Margin type cannot be changed if there exists position.")
        own.margin_type = wanted
        return DONE

    # ------------------------------------------------------------ orders

    def _submit(self, params: Params) -> Any:
        exchange = self._exchange
        wanted = new_order(exchange, params)
        answer = exchange.submit(wanted, "GTX" if wanted.post_only else "GTC")
        if isinstance(answer, Rejected):
            raise Refusal(400, int(answer.code), answer.reason)
        shown = answer
        if params.get("newOrderRespType") == "RESULT":
            shown = exchange.order(venue_order_id=answer.venue_order_id) or answer
            return replies.order(exchange, shown)
        # An acknowledgement says that it was taken, and nothing of what came of it.
        told = replies.order(exchange, shown)
        return {**told, "status": "NEW", "executedQty": "0", "avgPrice": "0.00", "cumQuote": "0"}

    def _is_hidden(self, order: VenueOrder) -> bool:
        age_s = self._exchange.now_ms / 1000 - order.ts
        return self._faults.hides("orders_late", order.venue_order_id, age_s)

    def _named(self, params: Params) -> VenueOrder | None:
        symbol = symbol_of(self._exchange, params, past=True)
        if "orderId" in params:
            found = self._exchange.order(venue_order_id=params["orderId"])
        elif params.get("origClientOrderId"):
            found = self._exchange.order(symbol=symbol, client_id=params["origClientOrderId"])
        else:
            raise Refusal(
                400,
                -1102,
                "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
            )
        if found is None or found.symbol != symbol or self._is_hidden(found):
            return None
        return found

    def _find(self, params: Params) -> Any:
        self._exchange.look()
        found = self._named(params)
        if found is None:
            raise Refusal(400, -2013, "Order does not exist.")
        return replies.order(self._exchange, found)

    def _cancel(self, params: Params) -> Any:
        self._exchange.look()
        found = self._named(params)
        if found is None or found.state not in OPEN:
            raise Refusal(400, -2011, "Unknown order sent.")
        return replies.order(self._exchange, self._exchange.cancel(found))

    def _open_orders(self, params: Params) -> Any:
        symbol = symbol_of(self._exchange, params) if "symbol" in params else None
        return [
            replies.order(self._exchange, order)
            for order in self._exchange.look().account.open_orders
            if symbol in (None, order.symbol) and not self._is_hidden(order)
        ]

    def _all_orders(self, params: Params) -> Any:
        symbol = symbol_of(self._exchange, params, past=True)
        self._exchange.look()
        start_ms, limit = _whole(params, "startTime") or 0, _whole(params, "limit") or 500
        from_id = _whole(params, "orderId") or 0
        listed = [
            replies.order(self._exchange, order)
            for order in self._exchange.orders(symbol)
            if not self._is_hidden(order)
            and replies.ms(order.ts) >= start_ms
            and int(order.venue_order_id) >= from_id
        ]
        return listed[:limit] if start_ms or from_id else listed[-limit:]

    # ------------------------------------------------------------ what is booked

    def _trades(self, params: Params) -> Any:
        symbol = symbol_of(self._exchange, params, past=True)
        self._exchange.look()
        from_id = _whole(params, "fromId")
        if from_id is not None and {"startTime", "endTime"} & params.keys():
            raise Refusal(400, -1128, "Combination of optional parameters invalid.")
        start_ms, end_ms = self._window(params)
        now_s = self._exchange.now_ms / 1000
        told = [
            done
            for done in self._exchange.trades(symbol)
            if not self._faults.hides("trades_late", done.trade_id, now_s - done.ts)
            and (
                start_ms <= replies.ms(done.ts) <= end_ms
                if from_id is None
                else int(done.trade_id) >= from_id
            )
        ]
        limit = min(1000, _whole(params, "limit") or 500)
        newest = from_id is None and "startTime" not in params
        return [replies.trade(done) for done in (told[-limit:] if newest else told[:limit])]

    def _income(self, params: Params) -> Any:
        self._exchange.look()
        now_ms = self._exchange.now_ms
        start_ms = _whole(params, "startTime") or now_ms - WEEK_MS
        end_ms = _whole(params, "endTime") or now_ms
        kind = params.get("incomeType")
        told = [
            row
            for row in replies.income(self._exchange)
            if start_ms <= row["time"] <= end_ms and kind in (None, row["incomeType"])
        ]
        limit, page = min(1000, _whole(params, "limit") or 100), _whole(params, "page") or 1
        return told[limit * (page - 1) : limit * page]

    def _window(self, params: Params) -> tuple[int, int]:
        """Return from when until when to list: at most a week, the last one if nothing is said."""
        start_ms, end_ms = _whole(params, "startTime"), _whole(params, "endTime")
        if start_ms is None:
            end_ms = self._exchange.now_ms if end_ms is None else end_ms
            return end_ms - WEEK_MS, end_ms
        end_ms = start_ms + WEEK_MS if end_ms is None else end_ms
        if end_ms - start_ms > WEEK_MS:
            raise Refusal(400, -4165, "Invalid time interval, maximum is 7 days.")
        return start_ms, end_ms


def _whole(params: Params, name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise Refusal(400, -1100, f"Illegal characters found in parameter '{name}'.")
    return int(text)
