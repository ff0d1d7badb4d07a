"""What the exchange refuses of an order before its matching sees it, in the exchange's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from execution.core.seam import NewOrder
from tests.exchange.account import Exchange
from tests.exchange.gate import Refusal, missing
from tests.exchange.replies import DOWN, UP

NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]+")
STOPS = {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}


def symbol_of(exchange: Exchange, params: Mapping[str, str], *, past: bool = False) -> str:
    """Return the symbol that a request must name; of the past, also one that is listed no more."""
    symbol = params.get("symbol")
    if not symbol:
        raise missing("symbol")
    status = exchange.floor.status.get(symbol)
    if status is None or (status == "GONE" and not past):
        raise Refusal(400, -1121, "Invalid symbol.")
    return symbol


def new_order(exchange: Exchange, params: Mapping[str, str]) -> NewOrder:
    """Read an order out of a request, or raise Refusal."""
    symbol = symbol_of(exchange, params)
    kind, side = params.get("type", ""), params.get("side", "")
    if not side:
        raise missing("side")
    if side not in ("BUY", "SELL"):
        raise Refusal(400, -1117, "Invalid side.")
    if kind in STOPS:
        raise Refusal(
            400, -4120, "Order type not supported for this endpoint. Please use the Algo Order API."
        )
    if kind not in ("LIMIT", "MARKET"):
        raise Refusal(400, -1116, "Invalid orderType.")
    if exchange.floor.status[symbol] != "TRADING":
        raise Refusal(
            400, -4108, "This contract is pending settlement or closed, and cannot be traded."
        )
    tif = params.get("timeInForce", "")
    if kind == "LIMIT" and not tif:
        raise missing("timeInForce")
    if kind == "MARKET" and tif:
        raise Refusal(400, -1106, "Parameter 'timeinforce' sent when not required.")
    if kind == "LIMIT" and tif not in ("GTC", "GTX"):
        raise Refusal(400, -1115, "Invalid timeInForce.")
    price = _number(params, "price") if kind == "LIMIT" else None
    _check_price(exchange, symbol, side, price)
    qty = _number(params, "quantity")
    if qty == 0:
        raise Refusal(400, -4003, "Quantity less than or equal to zero.")
    return NewOrder(
        client_id=_client_id(params),
        symbol=symbol,
        side="BUY" if side == "BUY" else "SELL",
        position_side=_position_side(exchange, params),  # type: ignore[arg-type]  # one of three
        type="LIMIT" if kind == "LIMIT" else "MARKET",
        qty=qty,
        price=price,
        stop_price=None,
        reduce_only=params.get("reduceOnly") == "true",
        close_position=False,
        post_only=tif == "GTX",
        signed_ts=0.0,
    )


def _number(params: Mapping[str, str], name: str) -> Decimal:
    text = params.get(name, "")
    if not text:
        raise missing(name)
    if NUMBER.fullmatch(text) is None:
        raise Refusal(
            400,
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is"
            " '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        )
    return Decimal(text)


def _client_id(params: Mapping[str, str]) -> str:
    client_id = params.get("newClientOrderId", "")
    if not client_id or CLIENT_ID.fullmatch(client_id) is None:
        raise Refusal(400, -1100, "Illegal characters found in parameter 'newClientOrderId'.")
    if len(client_id) > 36:
        raise Refusal(400, -4015, "Client order id length should be less than 36 chars")
    return client_id


def _position_side(exchange: Exchange, params: Mapping[str, str]) -> str:
    side = params.get("positionSide", "BOTH")
    if side not in ("BOTH", "LONG", "SHORT"):
        raise Refusal(400, -1116, "Invalid positionSide.")
    if (side == "BOTH") == (exchange.mode == "hedge"):
        raise Refusal(400, -4061, "Order's position side does not match user's setting.")
    if exchange.mode == "hedge" and "reduceOnly" in params:
        raise Refusal(400, -1106, "Parameter 'reduceonly' sent when not required.")
    if params.get("reduceOnly", "false") not in ("true", "false"):
        raise missing("reduceOnly")
    return side


def _check_price(exchange: Exchange, symbol: str, side: str, price: Decimal | None) -> None:
    """Refuse a price that is too far on the wrong side of the mark."""
    exchange.look()
    mark = Decimal(repr(exchange.floor.quotes[symbol].mark))
    if price is None:
        return
    if side == "BUY" and price > mark * UP:
        raise Refusal(400, -4016, f"Limit price can't be higher than {mark * UP}.")
    if side == "SELL" and price < mark * DOWN:
        raise Refusal(400, -4024, f"Limit price can't be lower than {mark * DOWN}.")
