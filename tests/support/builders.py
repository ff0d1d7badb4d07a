"""Values of a tick with sensible defaults: a test names only what it is about.

The default book is flat, known and fresh, worth 10,000 USD, on two liquid symbols marked at 100,
under limits that a 1,000 USD entry does not touch.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from execution.core.records import (
    Anchors,
    CashTotals,
    ExitPlan,
    LegRecord,
    OrderRecord,
    Recorded,
    Route,
    RouteLeg,
)
from execution.core.risk import exposure
from execution.core.risk.checks import Context
from execution.core.seam import (
    Account,
    Bar,
    MarketSnapshot,
    NewOrder,
    Quote,
    SymbolRules,
    Trade,
    VenueOrder,
    VenuePosition,
)
from execution.core.types import (
    Approved,
    Book,
    Decided,
    Decision,
    EngineState,
    Frame,
    OrderIntent,
    Position,
    RoutePlan,
    Signal,
    TradingState,
)
from tests.support import policies

BASE_S, SYMBOLS = policies.BASE_S, policies.SYMBOLS
# A multiple of every bar length in use.
NOW = 1_700_006_400.0
ACTIVE = TradingState("ACTIVE")
PLAN = ExitPlan(stop_price=90.0, take_profit_price=120.0, deadline_ts=NOW + 3600)
SHORT_PLAN = ExitPlan(stop_price=110.0, take_profit_price=80.0, deadline_ts=NOW + 3600)
MAKER = RouteLeg(type="LIMIT", post_only=True, offset_bps=0.0, rest_s=120.0)
TAKER = RouteLeg(type="MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)
STOP = RouteLeg(type="STOP_MARKET", post_only=False, offset_bps=0.0, rest_s=0.0)


# ---------------------------------------------------------------- what the venue says


def rules(**fields: Any) -> SymbolRules:
    known = {
        "tick_size": Decimal("0.1"),
        "step_size": Decimal("0.001"),
        "min_qty": Decimal("0.001"),
        "max_qty": Decimal(1000),
        "min_notional_usd": Decimal(5),
    }
    return SymbolRules(**{**known, **fields})


def quote(mark: float = 100.0, *, ts: float = NOW, half: float = 0.1, **fields: Any) -> Quote:
    return Quote(**{"ts": ts, "bid": mark - half, "ask": mark + half, "mark": mark, **fields})


def bar(ts: float, close: float = 100.0, *, spread: float = 1.0, **fields: Any) -> Bar:
    known = {
        "ts": ts,
        "open": close,
        "high": close + spread,
        "low": close - spread,
        "close": close,
        "volume": 10.0,
    }
    return Bar(**{**known, **fields})


def bars(closes: list[float], *, bar_s: int = BASE_S, end: float = NOW) -> tuple[Bar, ...]:
    """Return bars of these closes, the last of which closed at `end`."""
    start = end - bar_s * len(closes)
    return tuple(bar(start + i * bar_s, close) for i, close in enumerate(closes))


def account(**fields: Any) -> Account:
    known = {
        "ts": NOW,
        "wallet_usd": Decimal(10_000),
        "positions": (),
        "open_orders": (),
        "other_assets": {},
    }
    return Account(**{**known, **fields})


def snapshot(**fields: Any) -> MarketSnapshot:
    known = {
        "ts": NOW,
        "bar_s": BASE_S,
        "lag_s": 0.0,
        "quotes": {symbol: quote() for symbol in SYMBOLS},
        "bars": {},
        "rules": {symbol: rules() for symbol in SYMBOLS},
        "account": account(),
    }
    return MarketSnapshot(**{**known, **fields})


def venue_position(symbol: str = "BTCUSDT", side: str = "LONG", qty: str = "1") -> VenuePosition:
    return VenuePosition(symbol, side, Decimal(qty), Decimal(100), Decimal(5))


def venue_order(client_id: str = "hgp-d1-1", **fields: Any) -> VenueOrder:
    known = {
        "venue_order_id": "v1",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "type": "LIMIT",
        "qty": Decimal(1),
        "price": Decimal(100),
        "stop_price": None,
        "reduce_only": False,
        "close_position": False,
        "filled_qty": Decimal(0),
        "state": "LIVE",
        "ts": NOW,
    }
    return VenueOrder(client_id=client_id, **{**known, **fields})


def trade(trade_id: str = "t1", qty: str = "1", **fields: Any) -> Trade:
    known = {
        "symbol": "BTCUSDT",
        "client_id": "hgp-d1-1",
        "venue_order_id": "v1",
        "side": "BUY",
        "position_side": "LONG",
        "price": Decimal(100),
        "fee": Decimal("0.02"),
        "fee_asset": "USDT",
        "fee_usd": Decimal("0.02"),
        "realized_usd": Decimal(0),
        "maker": True,
        "ts": NOW,
    }
    return Trade(trade_id=trade_id, qty=Decimal(qty), **{**known, **fields})


# ---------------------------------------------------------------- what we remember


def position(symbol: str = "BTCUSDT", side: str = "LONG", qty: float = 1.0, **fields: Any):
    mark = fields.get("mark_price", 100.0)
    known = {
        "entry_price": 100.0,
        "mark_price": mark,
        "unrealized_usd": 0.0,
        "notional_usd": None if mark is None else qty * mark,
        "leverage": 5.0,
        "opened_ts": NOW - 600,
        "position_id": f"p-{symbol}-{side}",
        "strategy": "fade",
        "exit": PLAN if qty > 0 else SHORT_PLAN,
        "unprotected_since_ts": None,
    }
    return Position(symbol=symbol, position_side=side, qty=qty, **{**known, **fields})


def book(nav_usd: float = 10_000.0, **fields: Any) -> Book:
    known = {
        "known": True,
        "stale": False,
        "as_of_ts": NOW,
        "wallet_usd": nav_usd,
        "unrealized_usd": 0.0,
        "gross_usd": 0.0,
        "net_usd": 0.0,
        "drawdown_pct": 0.0,
        "day_pnl_usd": 0.0,
        "anchors": Anchors(peak_usd=nav_usd, day_start_usd=nav_usd, day="2023-11-15"),
    }
    return Book(nav_usd=nav_usd, **{**known, **fields})


def leg(symbol: str = "BTCUSDT", side: str = "LONG", qty: str = "1", **fields: Any) -> LegRecord:
    known = {
        "position_id": f"p-{symbol}-{side}",
        "strategy": "fade",
        "opened_ts": NOW - 600,
        "exit": PLAN,
    }
    return LegRecord(symbol=symbol, position_side=side, qty=Decimal(qty), **{**known, **fields})


def recorded(**fields: Any) -> Recorded:
    cash = CashTotals(start_usd=Decimal(10_000))
    known = {"day": "2023-11-15", "steady_s": NOW, "reconciled_ts": NOW, "cash": cash}
    return Recorded(**{**known, **fields})


def state(**fields: Any) -> EngineState:
    known = {
        "book": book(),
        "quotes": {symbol: quote() for symbol in SYMBOLS},
        "rules": {symbol: rules() for symbol in SYMBOLS},
        "recorded": recorded(),
    }
    return EngineState(**{**known, **fields})


def frame(closes: list[float], *, bar_s: int = BASE_S, end: float = NOW) -> Frame:
    made = bars(closes, bar_s=bar_s, end=end)
    return Frame(bar_s=bar_s, keep=100, bars=made, last_ts=made[-1].ts if made else None)


def closed_state(closes: Mapping[str, list[float]], **fields: Any) -> EngineState:
    """Return the state of a tick in which a base bar of each of these symbols closed."""
    frames = {(symbol, BASE_S): frame(values) for symbol, values in closes.items()}
    return state(**{"frames": frames, "closed": tuple(frames), **fields})


# Closes whose last is far below, or far above, the rest: a z-score strategy enters.
DIP = [100.0, 101.0] * 6 + [97.0]
SPIKE = [100.0, 99.0] * 6 + [103.0]
QUIET = [100.0, 101.0] * 6 + [100.5]


# ---------------------------------------------------------------- what we decide


def signal(**fields: Any) -> Signal:
    known = {
        "strategy": "fade",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "action": "entry",
        "bar_open_ts": NOW - BASE_S,
        "strength": -2.5,
        "reason": "z=-2.50",
        "atr": 2.0,
    }
    return Signal(**{**known, **fields})


def intent(qty: str = "10", decision_id: str = "d1", **fields: Any) -> OrderIntent:
    known = {
        "strategy": "fade",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "mark_price": 100.0,
        "bar_open_ts": NOW - BASE_S,
        "reduce_only": False,
        "urgent": False,
        "reason": "z=-2.50",
        "exit": PLAN if fields.get("position_side", "LONG") == "LONG" else SHORT_PLAN,
    }
    return OrderIntent(decision_id=decision_id, qty=Decimal(qty), **{**known, **fields})


def leaving(qty: str = "1", decision_id: str = "x1", **fields: Any) -> OrderIntent:
    """Return the reduce-only intent that ends the default long position."""
    known = {
        "side": "SELL",
        "action": "exit",
        "bar_open_ts": None,
        "reduce_only": True,
        "urgent": True,
        "reason": "deadline",
        "position_id": "p-BTCUSDT-LONG",
    }
    return intent(qty, decision_id, **{**known, **fields})


def context(wanted: OrderIntent | None = None, **fields: Any) -> Context:
    """Return what the checks of one intent read, as the pipeline would put it together."""
    wanted = intent() if wanted is None else wanted
    at = fields.pop("state", None) or state()
    under = fields.pop("policy", None) or policies.policy()
    known = {
        "now": NOW,
        "bar_s": BASE_S,
        "lag_s": 0.0,
        "qty": wanted.qty,
        "trading": ACTIVE,
        "exposure": exposure.of(at, under.universe),
        "quote": at.quotes.get(wanted.symbol),
        "rules": at.rules.get(wanted.symbol),
        "listing": next((x for x in under.universe.listing if x.symbol == wanted.symbol), None),
    }
    return Context(intent=wanted, state=at, policy=under, **{**known, **fields})


def plan(wanted: OrderIntent | None = None, *legs: RouteLeg, **fields: Any) -> RoutePlan:
    wanted = intent() if wanted is None else wanted
    return RoutePlan(Approved(wanted, wanted.qty), legs or (MAKER, TAKER), **fields)


def decided(*plans: RoutePlan, trading: TradingState = ACTIVE, **fields: Any) -> Decided:
    """Return a decision that approved these plans."""
    decisions = tuple(Decision(each.approved.intent, each.approved, each) for each in plans)
    return Decided(trading, decisions=decisions, **fields)


# ---------------------------------------------------------------- orders and routes


def new_order(client_id: str = "hgp-d1-1", **fields: Any) -> NewOrder:
    known = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "type": "LIMIT",
        "qty": Decimal(1),
        "price": Decimal("99.9"),
        "stop_price": None,
        "reduce_only": False,
        "close_position": False,
        "post_only": True,
        "signed_ts": NOW,
    }
    return NewOrder(client_id=client_id, **{**known, **fields})


def order_record(client_id: str = "hgp-d1-1", **fields: Any) -> OrderRecord:
    known = {
        "decision_id": "d1",
        "attempt": 1,
        "symbol": "BTCUSDT",
        "side": "BUY",
        "position_side": "LONG",
        "type": "LIMIT",
        "qty": Decimal(1),
        "price": Decimal("99.9"),
        "stop_price": None,
        "reduce_only": False,
        "close_position": False,
        "post_only": True,
        "state": "LIVE",
        "filled_qty": Decimal(0),
        "signed_ts": NOW,
        "deadline_ts": NOW + 120,
    }
    return OrderRecord(client_id=client_id, **{**known, **fields})


def route(decision_id: str = "d1", **fields: Any) -> Route:
    known = {
        "strategy": "fade",
        "symbol": "BTCUSDT",
        "position_side": "LONG",
        "side": "BUY",
        "action": "entry",
        "qty": Decimal(1),
        "filled_qty": Decimal(0),
        "mark_price": 100.0,
        "reduce_only": False,
        "position_id": None,
        "stop_price": None,
        "legs": (MAKER, TAKER),
        "retry_s": None,
        "attempts": 0,
        "order": None,
    }
    return Route(decision_id=decision_id, **{**known, **fields})


def worked(state: str, **fields: Any) -> Route:
    """Return a route whose first attempt is in `state`."""
    return replace(route(**fields), attempts=1, order=order_record(state=state))
