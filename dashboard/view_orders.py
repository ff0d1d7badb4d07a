"""Journals → orders by decision id, from signal to fill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from dashboard import records
from dashboard.seen import Seen
from dashboard.shown import (
    UNKNOWN,
    Age,
    Column,
    Table,
    amount,
    bps,
    price,
    quantity,
    ratio,
    share,
    spaced,
    stamp,
    usd,
    waited,
)
from execution.state_schema import registry
from execution.state_schema.journals import Record, SignalMetric, Veto
from execution.state_schema.order_journals import Fill, Intent, OrderFacts, Reject, RouteMetric

JOURNALS: Final = (
    registry.ORDERS_ATTEMPTED,
    registry.ORDERS_EXECUTED,
    registry.ORDER_METRICS,
    registry.RISK_VETOES,
    registry.SIGNAL_METRICS,
)
SHOWN: Final = 60
WHOLE_FRAC: Final = 1 - 1e-9  # sums of floats


class Order(Struct, frozen=True):
    """All that the journals of the last day say of one decision, oldest first."""

    key: str
    told: tuple[Record, ...]

    @property
    def intent(self) -> Intent | None:
        """Return what was wanted, where it is still in the journal's end."""
        return next((each for each in self.told if isinstance(each, Intent)), None)

    @property
    def symbol(self) -> str:
        """Return the symbol that every one of its records names."""
        names = (each.symbol for each in self.told if isinstance(each, NAMED))
        return next(names, UNKNOWN)


NAMED: Final = (Intent, OrderFacts, Fill, RouteMetric, Veto)
WORDS: Final = {
    "LIVE": "resting",
    "PARTIAL": "partly filled",
    "PREP": "being sent",
    "UNKNOWN": "UNKNOWN at the venue",
    "REJECTED": "refused by the venue",
    "CANCELED": "canceled",
    "EXPIRED": "expired",
    "FILLED": "filled",
    "NEVER": "never reached the venue",
    "ABANDONED": "given up",
}


def orders(seen: Seen, now: float) -> tuple[Order, ...]:
    """Gather the journals by decision id, newest first; an order of nobody's goes by its own id."""
    told: dict[str, list[Record]] = {}
    for record in _records(seen, now):
        told.setdefault(_key(record), []).append(record)
    told.pop("", None)
    found = [Order(key, tuple(sorted(each, key=_ts))) for key, each in told.items()]
    return tuple(sorted(found, key=lambda order: -order.told[0].ts))


def _records(seen: Seen, now: float) -> Iterator[Record]:
    yield from records.of_the_day(seen, registry.ORDERS_ATTEMPTED, now)
    yield from records.of_the_day(seen, registry.RISK_VETOES, now)
    yield from records.of_the_day(seen, registry.ORDERS_EXECUTED, now)
    for metric in records.of_the_day(seen, registry.ORDER_METRICS, now):
        if isinstance(metric, RouteMetric):
            yield metric


def _key(record: Record) -> str:
    if isinstance(record, Intent | Veto | RouteMetric):
        return record.decision_id
    if isinstance(record, OrderFacts | Fill):
        return record.decision_id or record.client_id
    return ""


def _ts(record: Record) -> float:
    return record.ts


# ---------------------------------------------------------------- the list

COLUMNS: Final = (
    Column("Decided UTC"),
    Column("Symbol"),
    Column("Side"),
    Column("Action"),
    Column("Came to"),
    Column("Wanted", right=True),
    Column("Filled", right=True),
    Column("Average price", right=True),
    Column("Maker", right=True),
    Column("Cost bps", right=True),
    Column("Time to fill", right=True),
    Column("Attempts", right=True),
    Column("Strategy"),
    Column("Decision", order=True),
)


def table(seen: Seen, now: float, symbol: str = "") -> Table:
    """List the newest decisions with what became of them."""
    kept = [order for order in orders(seen, now) if symbol in {"", order.symbol}]
    return Table(
        COLUMNS,
        tuple(map(_row, kept[:SHOWN])),
        age(seen, now),
        records.empty(seen, registry.ORDERS_ATTEMPTED, "No order was wanted in 24 hours."),
    )


def age(seen: Seen, now: float) -> Age:
    """Judge what is told of orders by the journal that each of them begins in."""
    return records.age(seen, registry.ORDERS_ATTEMPTED, now)


def _row(order: Order) -> tuple[str, ...]:
    intent, fills = order.intent, [each for each in order.told if isinstance(each, Fill)]
    route = next((each for each in order.told if isinstance(each, RouteMetric)), None)
    facts = [each for each in order.told if isinstance(each, OrderFacts)]
    first = next(each for each in order.told if isinstance(each, NAMED))
    wanted = intent.qty if intent else route.qty if route else facts[0].qty if facts else None
    action = intent.action if intent else route.action if route else "not in the journal's end"
    filled = sum(each.qty for each in fills)
    maker = sum(each.qty for each in fills if each.maker)
    paid = sum(each.qty * each.price for each in fills)
    took_s = fills[0].trade_ts - order.told[0].ts if fills else None
    return (
        stamp(order.told[0].ts),
        order.symbol,
        first.position_side,
        action,
        came_to(order),
        quantity(wanted),
        quantity(filled),
        price(ratio(paid, filled)) if fills else "",
        share(ratio(maker, filled)) if fills else "",
        "" if route is None or route.cost_bps is None else amount(route.cost_bps, signed=True),
        "" if took_s is None else waited(took_s),
        str(max((each.attempt for each in facts), default=0)),
        intent.strategy if intent else route.strategy if route else UNKNOWN,
        order.key,
    )


def came_to(order: Order) -> str:
    """Say in words how far an order got: first by its trades, then by what was last said of it."""
    filled = sum(each.qty for each in order.told if isinstance(each, Fill))
    facts = [each for each in order.told if isinstance(each, OrderFacts)]
    wanted = order.intent.qty if order.intent else max((each.qty for each in facts), default=filled)
    if 0 < filled >= wanted * WHOLE_FRAC:
        return "filled"
    if any(isinstance(each, RouteMetric) for each in order.told):
        return "partly filled" if filled else "not filled"
    if facts:
        last = facts[-1]
        code = f" ({last.code})" if isinstance(last, Reject) and last.code else ""
        return f"{WORDS.get(last.state, last.state)}{code}"
    veto = next((each for each in order.told if isinstance(each, Veto)), None)
    return "decided" if veto is None else f"vetoed: {spaced(veto.reason)}"


# ---------------------------------------------------------------- one order

STORY_COLUMNS: Final = (
    Column("Time UTC"),
    Column("Since", right=True),
    Column("What"),
    Column("Details"),
)


def story(seen: Seen, now: float, asked: str) -> Table | None:
    """Tell one decision from signal to fill, by its decision id or by an order's own; None if unheard of."""
    order = next((each for each in orders(seen, now) if _is(each, asked)), None)
    if order is None:
        return None
    signal = _signal(order.intent, seen.records(registry.SIGNAL_METRICS))
    told: Sequence[Record] = order.told if signal is None else (signal, *order.told)
    start = told[0].ts
    rows = tuple((stamp(each.ts), f"+{each.ts - start:.1f} s", *_told(each)) for each in told)
    return Table(STORY_COLUMNS, rows, age(seen, now), "")


def _is(order: Order, asked: str) -> bool:
    own = (each.client_id for each in order.told if isinstance(each, OrderFacts | Fill))
    return asked == order.key or asked in own


def _signal(intent: Intent | None, signals: tuple[SignalMetric, ...]) -> SignalMetric | None:
    if intent is None or intent.bar_open_ts is None:
        return None
    wanted = (intent.strategy, intent.symbol, intent.bar_open_ts, intent.position_side)
    for each in reversed(signals):
        if (each.strategy, each.symbol, each.bar_open_ts, each.position_side) == wanted:
            return each
    return None


def _told(record: Record) -> tuple[str, str]:
    match record:
        case SignalMetric():
            return "signal", f"{record.action}, {record.reason}, strength {record.strength:.2f}"
        case Intent():
            return "intent", _wanted(record)
        case Veto():
            return "veto", ", ".join(map(spaced, record.reasons)) or spaced(record.reason)
        case RouteMetric():
            return "route over", _route(record)
        case OrderFacts():
            return WORDS.get(record.state, record.state), _order(record)
    return "fill", _fill(record) if isinstance(record, Fill) else ""


def _fill(fill: Fill) -> str:
    role = "maker" if fill.maker else "taker"
    what = f"{quantity(fill.qty)} at {price(fill.price)} as {role}"
    return f"{what}, fee {usd(fill.fee_usd)}"


def _wanted(intent: Intent) -> str:
    what = f"{intent.action} {intent.side} {quantity(intent.qty)} at a mark of {price(intent.mark_price)}"
    return f"{what}, {usd(intent.notional_usd)}: {intent.reason}"


def _order(facts: OrderFacts) -> str:
    parts = (
        f"attempt {facts.attempt}: {facts.type} {facts.side} {quantity(facts.qty)}",
        "" if facts.price is None else f"at {price(facts.price)}",
        "" if facts.stop_price is None else f"stop {price(facts.stop_price)}",
        f"{quantity(facts.filled_qty)} filled" if facts.filled_qty else "",
        spaced(facts.reason),
        f"code {facts.code or UNKNOWN}" if isinstance(facts, Reject) else "",
        facts.client_id,
    )
    return ", ".join(filter(None, parts))


def _route(route: RouteMetric) -> str:
    parts = (
        f"{quantity(route.filled_qty)} of {quantity(route.qty)}",
        f"maker {quantity(route.maker_qty)}, taker {quantity(route.taker_qty)}",
        f"slippage {bps(route.slippage_bps, signed=True)}, fees {bps(route.fee_bps)}",
        f"cost {bps(route.cost_bps, signed=True)}",
        f"{route.attempts} attempts",
    )
    return ", ".join(parts)
