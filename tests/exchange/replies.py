"""The exchange's own shapes: decimals as text, times in whole milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from execution.core.policy import Listing
from execution.core.seam import ZERO, Bar, CashRow, MarketSnapshot, Trade, VenueOrder
from execution.venue.paper_account import only_reduces
from tests.exchange.account import Exchange
from tests.exchange.setup import MAX_LEVERAGE, MINUTE_S

Json = dict[str, Any]

STATUS = {"LIVE": "NEW", "PARTIAL": "PARTIALLY_FILLED", "EXPIRED": "EXPIRED"}
FUNDING_S = 28_800
PERPETUAL_UNTIL_MS = 4_133_404_800_000
UP, DOWN = Decimal("1.05"), Decimal("0.95")  # how far a limit price may be from the mark
# Of the notional above each floor, what must be there: one table for every symbol.
BRACKETS = ((125, 0, 50_000, "0.004"), (50, 50_000, 600_000, "0.01"), (10, 600_000, 3e8, "0.05"))


def text(value: Decimal | float, places: int = 8) -> str:
    """Write a number as the exchange does: plain, with its zeros."""
    return f"{Decimal(str(value)):.{places}f}"


def places(grid: Decimal) -> int:
    """Count the decimals of a grid; zeros at its end are written and do not count."""
    return max(0, -int(grid.normalize().as_tuple().exponent))


def ms(ts: float) -> int:
    """Turn seconds into whole milliseconds."""
    return round(ts * 1000)


# ---------------------------------------------------------------- the market


def exchange_info(exchange: Exchange) -> Json:
    floor = exchange.floor
    return {
        "timezone": "UTC",
        "serverTime": exchange.time_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, exchange.setup.weight_limit),
            _limit("ORDERS", "MINUTE", 1, 1200),
            _limit("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [
            _symbol(listing, floor.status[symbol])
            for symbol, listing in floor.listings.items()
            if floor.status[symbol] != "GONE"
        ],
    }


def _limit(kind: str, interval: str, number: int, limit: int) -> Json:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": number,
        "limit": limit,
    }


def _symbol(listing: Listing, status: str) -> Json:
    tick, step = str(listing.tick_size), str(listing.step_size)
    lot = {"stepSize": step, "maxQty": str(listing.max_qty), "minQty": str(listing.min_qty)}
    return {
        "symbol": listing.symbol,
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_UNTIL_MS,
        "onboardDate": 1_569_398_400_000,
        "status": status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listing.symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        # Finer than the grids, as they are for most symbols: who snaps to these gets -4014.
        "pricePrecision": places(listing.tick_size) + 1,
        "quantityPrecision": places(listing.step_size),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "10000000",
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": str(listing.min_notional_usd)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": text(UP, 4),
                "multiplierDown": text(DOWN, 4),
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def klines(exchange: Exchange, symbol: str, start_ms: int | None, limit: int) -> list[list[object]]:
    """List candles of a minute; the last one is the minute that is not over."""
    candles = exchange.floor.candles[symbol]
    if start_ms is None:
        return [_kline(bar) for bar in candles[-limit:]]
    return [_kline(bar) for bar in candles if ms(bar.ts) >= start_ms][:limit]


def _kline(bar: Bar) -> list[object]:
    opened = ms(bar.ts)
    closed = opened + MINUTE_S * 1000 - 1
    prices = [repr(price) for price in (bar.open, bar.high, bar.low, bar.close)]
    worth = repr(bar.volume * bar.close)
    return [opened, *prices, repr(bar.volume), closed, worth, 100, "0", "0", "0"]


def book_ticker(exchange: Exchange, symbol: str) -> Json:
    quote = exchange.floor.quotes[symbol]
    return {
        "symbol": symbol,
        "bidPrice": repr(quote.bid),
        "bidQty": "10.000",
        "askPrice": repr(quote.ask),
        "askQty": "10.000",
        "time": ms(quote.ts),
        "lastUpdateId": ms(quote.ts),
    }


def premium(exchange: Exchange, symbol: str) -> Json:
    quote = exchange.floor.quotes[symbol]
    next_s = (quote.ts // FUNDING_S + 1) * FUNDING_S
    return {
        "symbol": symbol,
        "markPrice": text(quote.mark),
        "indexPrice": text(quote.mark),
        "estimatedSettlePrice": text(quote.mark),
        "lastFundingRate": "0.00010000",
        "interestRate": "0.00010000",
        "nextFundingTime": ms(next_s),
        "time": ms(quote.ts),
    }


def funding(symbol: str, ts: float, rate: float) -> Json:
    return {
        "symbol": symbol,
        "fundingTime": ms(ts),
        "fundingRate": text(rate),
        "markPrice": "",
    }


# ---------------------------------------------------------------- the account


def account(exchange: Exchange, seen: MarketSnapshot) -> Json:
    """Write /fapi/v3/account; positions are only those that are open."""
    wallet = seen.account.wallet_usd
    legs = [position_risk(exchange, seen, each) for each in _legs(seen)]
    gain = sum((Decimal(leg["unRealizedProfit"]) for leg in legs), ZERO)
    initial = sum((Decimal(leg["initialMargin"]) for leg in legs), ZERO)
    margin = {
        "initialMargin": text(initial),
        "maintMargin": text(sum((Decimal(leg["maintMargin"]) for leg in legs), ZERO)),
        "positionInitialMargin": text(initial),
        "openOrderInitialMargin": text(_asked_margin(exchange, seen)),
        "crossWalletBalance": text(wallet),
        "crossUnPnl": text(gain),
        "availableBalance": text(max(ZERO, wallet + gain - initial)),
        "maxWithdrawAmount": text(max(ZERO, wallet + gain - initial)),
    }
    asset = {
        "asset": "USDT",
        "walletBalance": text(wallet),
        "unrealizedProfit": text(gain),
        "marginBalance": text(wallet + gain),
        **margin,
        "updateTime": ms(seen.account.ts),
    }
    totals = {f"total{key[0].upper()}{key[1:]}": value for key, value in margin.items()}
    kept = ("availableBalance", "maxWithdrawAmount")
    for key in kept:
        del totals[f"total{key[0].upper()}{key[1:]}"]
    return {
        **totals,
        "totalWalletBalance": text(wallet),
        "totalUnrealizedProfit": text(gain),
        "totalMarginBalance": text(wallet + gain),
        **{key: margin[key] for key in kept},
        "assets": [asset],
        "positions": [{key: leg[key] for key in _OF_ACCOUNT} for leg in _renamed(legs)],
    }


def _asked_margin(exchange: Exchange, seen: MarketSnapshot) -> Decimal:
    """Add up what open orders would bind that may open something."""
    opening = (order for order in seen.account.open_orders if not only_reduces(order))
    return sum(
        (
            (order.qty - order.filled_qty)
            * (order.price or ZERO)
            / exchange.symbols[order.symbol].leverage
            for order in opening
        ),
        ZERO,
    )


_OF_ACCOUNT = (
    "symbol", "positionSide", "positionAmt", "unrealizedProfit", "isolatedMargin", "notional",
    "isolatedWallet", "initialMargin", "maintMargin", "updateTime",
)  # fmt: skip


def _renamed(legs: Iterable[Json]) -> Iterable[Json]:
    for leg in legs:
        yield {**leg, "unrealizedProfit": leg["unRealizedProfit"]}


def _legs(seen: MarketSnapshot) -> list[Any]:
    return sorted(seen.account.positions, key=lambda leg: (leg.symbol, leg.position_side))


def positions(exchange: Exchange, seen: MarketSnapshot, symbol: str | None) -> list[Json]:
    """Write /fapi/v3/positionRisk; a symbol without a position has no row."""
    return [
        position_risk(exchange, seen, leg) for leg in _legs(seen) if symbol in (None, leg.symbol)
    ]


def position_risk(exchange: Exchange, seen: MarketSnapshot, leg: Any) -> Json:
    mark = Decimal(repr(seen.quotes[leg.symbol].mark))
    notional = leg.qty * mark
    own = exchange.symbols[leg.symbol]
    initial = abs(notional) / own.leverage
    return {
        "symbol": leg.symbol,
        "positionSide": leg.position_side,
        "positionAmt": str(leg.qty),
        "entryPrice": str(leg.entry_price),
        "breakEvenPrice": str(leg.entry_price),
        "markPrice": text(mark),
        "unRealizedProfit": text(leg.qty * (mark - leg.entry_price)),
        "liquidationPrice": "0",
        "isolatedMargin": "0.00000000",
        "notional": text(notional),
        "marginAsset": "USDT",
        "isolatedWallet": "0",
        "initialMargin": text(initial),
        "maintMargin": text(abs(notional) * Decimal(BRACKETS[0][3])),
        "positionInitialMargin": text(initial),
        "openOrderInitialMargin": "0",
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
        "leverage": str(own.leverage),
        "marginType": own.margin_type.lower().replace("crossed", "cross"),
        "updateTime": ms(seen.account.ts),
    }


def balance(exchange: Exchange, seen: MarketSnapshot) -> list[Json]:
    (asset,) = account(exchange, seen)["assets"]
    wanted = ("asset", "crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount")
    row = {key: asset[key] for key in wanted}
    return [
        {
            "accountAlias": "SgsR",
            "balance": asset["walletBalance"],
            **row,
            "marginAvailable": True,
            "updateTime": asset["updateTime"],
        }
    ]


def account_config(exchange: Exchange) -> Json:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": exchange.mode == "hedge",
        "updateTime": 0,
        "multiAssetsMargin": exchange.multi_assets,
        "tradeGroupId": -1,
    }


def symbol_config(exchange: Exchange, symbol: str) -> Json:
    own = exchange.symbols[symbol]
    return {
        "symbol": symbol,
        "marginType": own.margin_type,
        "isAutoAddMargin": False,
        "leverage": own.leverage,
        "maxNotionalValue": str(_most_usd(own.leverage)),
    }


def set_leverage(exchange: Exchange, symbol: str) -> Json:
    own = exchange.symbols[symbol]
    return {
        "leverage": own.leverage,
        "maxNotionalValue": str(_most_usd(own.leverage)),
        "symbol": symbol,
    }


def _most_usd(leverage: int) -> int:
    return max(int(cap) for most, _, cap, _ in BRACKETS if most >= min(leverage, MAX_LEVERAGE))


def brackets(symbol: str) -> Json:
    rows, cum = [], Decimal(0)
    for number, (leverage, floor, cap, ratio) in enumerate(BRACKETS, start=1):
        if number > 1:
            cum += floor * (Decimal(ratio) - Decimal(BRACKETS[number - 2][3]))
        rows.append(
            {
                "bracket": number,
                "initialLeverage": leverage,
                "notionalCap": int(cap),
                "notionalFloor": floor,
                "maintMarginRatio": float(ratio),
                "cum": float(cum),
            }
        )
    return {"symbol": symbol, "brackets": rows}


def commission(exchange: Exchange, symbol: str) -> Json:
    terms = exchange.setup.terms()
    return {
        "symbol": symbol,
        "makerCommissionRate": text(terms.maker_fee_bps / 10_000, 6),
        "takerCommissionRate": text(terms.taker_fee_bps / 10_000, 6),
    }


# ---------------------------------------------------------------- orders and trades


def order(exchange: Exchange, seen: VenueOrder) -> Json:
    trades = exchange.trades_of(seen)
    quote = sum((trade.price * trade.qty for trade in trades), ZERO)
    filled = seen.filled_qty
    updated = exchange.ended.get(
        seen.venue_order_id, max((trade.ts for trade in trades), default=seen.ts)
    )
    return {
        "orderId": int(seen.venue_order_id),
        "symbol": seen.symbol,
        "status": STATUS.get(seen.state, seen.state),
        "clientOrderId": seen.client_id,
        "price": "0.00" if seen.price is None else str(seen.price),
        "avgPrice": text(quote / filled, 5) if filled else "0.00",
        "origQty": str(seen.qty),
        "executedQty": str(filled),
        "cumQuote": text(quote, 5),
        "timeInForce": exchange.tifs.get(seen.venue_order_id, "GTC"),
        "type": seen.type,
        "reduceOnly": only_reduces(seen),
        "closePosition": seen.close_position,
        "side": seen.side,
        "positionSide": seen.position_side,
        "stopPrice": "0.00",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": seen.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "time": ms(seen.ts),
        "updateTime": ms(updated),
    }


def trade(done: Trade) -> Json:
    return {
        "symbol": done.symbol,
        "id": int(done.trade_id),
        "orderId": int(done.venue_order_id),
        "side": done.side,
        "price": str(done.price),
        "qty": str(done.qty),
        "realizedPnl": text(done.realized_usd),
        "quoteQty": text(done.price * done.qty),
        "commission": text(done.fee),
        "commissionAsset": done.fee_asset,
        "time": ms(done.ts),
        "positionSide": done.position_side,
        "maker": done.maker,
        "buyer": done.side == "BUY",
    }


_INCOME = {"start": "TRANSFER", "transfer": "TRANSFER", "funding": "FUNDING_FEE"}


def income(exchange: Exchange) -> list[Json]:
    """List every movement of the wallet, oldest first, those of trades among them."""
    rows = [
        _income(_INCOME[row.kind], row.amount, row.symbol or "", row.ts, 10_000_000 + number)
        for number, row in enumerate(exchange.cash())
    ]
    for done in exchange.trades():
        told = (done.symbol, done.ts, 20_000_000 + int(done.trade_id), done.trade_id)
        if done.realized_usd:
            rows.append(_income("REALIZED_PNL", done.realized_usd, *told))
        rows.append(_income("COMMISSION", -done.fee, *told))
    return sorted(rows, key=lambda row: (row["time"], row["tranId"]))


def _income(
    kind: str, amount: Decimal, symbol: str, ts: float, number: int, trade_id: str = ""
) -> Json:
    return {
        "symbol": symbol,
        "incomeType": kind,
        "income": text(amount),
        "asset": "USDT",
        "info": trade_id or kind,
        "time": ms(ts),
        "tranId": number,
        "tradeId": trade_id,
    }


def cash_row(row: CashRow) -> Json:
    return {"cash_id": row.cash_id, "kind": row.kind, "amount": str(row.amount), "ts": row.ts}
