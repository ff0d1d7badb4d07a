"""What an order of either policy would have come to on the bars that followed.

Both policies' orders of a decision are worked as ghosts by the paper venue's own fill rules, so that
they are compared with each other and not with luck. What an order came to is marked at the horizon:
an entry pays its fee and a taker's to leave there, an exit is measured against leaving there as a
taker.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from execution.core import fill_rules
from execution.core.fill_rules import Conditions
from execution.core.orders import budget_price, limit_price
from execution.core.records import RouteLeg
from execution.core.seam import ZERO, Quote, Side
from execution.state_schema.journals import BarPoint, Judgement, ShadowDecision, Touch
from execution.state_schema.order_journals import Fill

BPS = Decimal(10_000)
# A mark this long after the horizon still stands for it.
LATE_BARS = 5


class Terms(Struct, frozen=True):
    """What the paper exchange charges, and how long after the decision a result is marked."""

    maker_fee_bps: Decimal
    taker_fee_bps: Decimal
    slippage_bps: Decimal
    volume_share_frac: Decimal
    horizon_s: float


class Ghost(Struct, frozen=True):
    """One policy's order on its way.

    `price`, `takes` and `until_ts` are those of the leg it is at, the first of `legs`; `takes`
    while it may still cross.
    """

    qty: Decimal
    legs: tuple[RouteLeg, ...]
    price: Decimal | None
    takes: bool
    until_ts: float
    filled_qty: Decimal = ZERO
    worth_usd: Decimal = ZERO
    fee_usd: Decimal = ZERO


class Pending(Struct, frozen=True):
    """A decision whose result is not known yet, with either policy's ghost.

    Where both want the very same order neither has one: whatever it comes to is the same for both.
    `told_ts` is until when its bars are known, `fills` the live order's own (quantity, worth in USD)
    and `trades` their ids.
    """

    decision_id: str
    symbol: str
    side: Side
    enters: bool
    decided_ts: float
    mark_price: float
    touch: Touch
    told_ts: float
    same_route: bool
    live: Ghost | None
    shadow: Ghost | None
    fills: tuple[float, float] = (0.0, 0.0)
    trades: tuple[str, ...] = ()


class Outcome(Struct, frozen=True):
    """What a decision came to under either policy, in USD; None where that one sent nothing.

    `slippage_diff_bps` is shadow minus live against the decision price, positive when worse; None
    unless the live order filled and the shadow's did.
    """

    live_usd: float | None
    shadow_usd: float | None
    slippage_diff_bps: float | None


def begin(decision: ShadowDecision) -> Pending | None:
    """Start the ghosts of a decision that at least one policy approved; None without a market."""
    touch = decision.touch
    if touch is None or decision.action not in ("entry", "exit"):
        return None
    live = _ghost(decision, decision.live, touch)
    shadow = _ghost(decision, decision.shadow, touch)
    if live is None and shadow is None:
        return None
    same_route = live is not None and shadow is not None and live.legs == shadow.legs
    if live == shadow:
        live = shadow = None
    return Pending(
        decision_id=decision.decision_id,
        symbol=decision.symbol,
        side=decision.side,
        enters=decision.action == "entry",
        decided_ts=decision.ts,
        mark_price=decision.mark_price,
        touch=touch,
        told_ts=decision.ts,
        same_route=same_route,
        live=live,
        shadow=shadow,
    )


def on_bars(
    pending: Pending, bars: Iterable[BarPoint], bar_s: int, terms: Terms
) -> Pending | Outcome | None:
    """Let closed bars meet the ghosts; the outcome at the horizon, None where it cannot be known.

    A gap in the bars while an order works, or at the horizon, leaves nothing to measure by.
    """
    horizon_ts = pending.decided_ts + terms.horizon_s
    for bar in bars:
        close_ts = bar.ts + bar_s
        if close_ts <= pending.told_ts:
            continue
        if bar.ts > pending.told_ts and _is_working(pending):
            return None
        if close_ts > horizon_ts + LATE_BARS * bar_s:
            return None
        pending = _meet(pending, bar, close_ts, terms)
        if close_ts >= horizon_ts:
            return _outcome(pending, Decimal(repr(bar.close)), terms)
    return pending


def filled(pending: Pending, fill: Fill) -> Pending:
    """Take in one fill of the live order, once."""
    if fill.trade_id in pending.trades:
        return pending
    held, worth = pending.fills
    fills = (held + fill.qty, worth + fill.qty * fill.price)
    return replace(pending, fills=fills, trades=(*pending.trades, fill.trade_id))


# ---------------------------------------------------------------- a ghost on its way


def _ghost(decision: ShadowDecision, judged: Judgement | None, touch: Touch) -> Ghost | None:
    if judged is None or not judged.approved or not judged.legs or not judged.qty > 0:
        return None
    begun = Ghost(Decimal(repr(judged.qty)), judged.legs, None, takes=True, until_ts=decision.ts)
    return _at_leg(begun, decision.side, decision.mark_price, (touch.bid, touch.ask), touch)


def _at_leg(
    ghost: Ghost, side: Side, mark_price: float, quoted: tuple[float, float], grid: Touch
) -> Ghost:
    """Put the ghost's first leg before a touch; one that it would cross beyond its budget is none."""
    leg, tick, (bid, ask) = ghost.legs[0], grid.tick_size, quoted
    price, takes = None, True
    if leg.budget_bps is not None:
        price = budget_price(side, mark_price, leg.budget_bps, tick)
        if ask > price if side == "BUY" else bid < price:
            return replace(ghost, legs=())
    elif leg.type == "LIMIT":
        price = limit_price(side, leg, Quote(ghost.until_ts, bid, ask, (bid + ask) / 2), tick)
        takes = False
    return replace(ghost, price=price, takes=takes, until_ts=ghost.until_ts + leg.rest_s)


def _is_working(pending: Pending) -> bool:
    return any(ghost is not None and ghost.legs for ghost in (pending.live, pending.shadow))


def _meet(pending: Pending, bar: BarPoint, close_ts: float, terms: Terms) -> Pending:
    if not _is_working(pending):
        return replace(pending, told_ts=close_ts)
    touch = pending.touch
    met = Conditions(
        close_ts=close_ts,
        open=Decimal(repr(bar.open)),
        high=Decimal(repr(bar.high)),
        low=Decimal(repr(bar.low)),
        volume_qty=Decimal(repr(bar.volume)) * terms.volume_share_frac,
        cross_frac=Decimal(repr(_half_spread(touch))) + terms.slippage_bps / BPS,
        tick_size=touch.tick_size,
        step_size=touch.step_size,
    )
    return replace(
        pending,
        told_ts=close_ts,
        live=_work(pending.live, pending, met, bar.close, terms),
        shadow=_work(pending.shadow, pending, met, bar.close, terms),
    )


def _work(
    ghost: Ghost | None, pending: Pending, bar: Conditions, close: float, terms: Terms
) -> Ghost | None:
    """Fill what the bar fills; past its deadline the order goes on with its next leg."""
    if ghost is None or not ghost.legs:
        return ghost
    qty = ghost.qty - ghost.filled_qty
    price, maker = _price(ghost, pending.side, bar)
    ghost = replace(ghost, takes=False)  # what did not cross on its first bar rests from then on
    if price is not None:
        if maker:
            qty = min(qty, bar.volume_qty // bar.step_size * bar.step_size)
        ghost = _fill(ghost, qty, price, terms.maker_fee_bps if maker else terms.taker_fee_bps)
    if ghost.filled_qty == ghost.qty:
        return replace(ghost, legs=())
    if bar.close_ts < ghost.until_ts:
        return ghost
    waiting = replace(ghost, legs=ghost.legs[1:], until_ts=bar.close_ts)
    if not waiting.legs:
        return waiting
    touch = pending.touch
    half = _half_spread(touch)
    quoted = (close * (1 - half), close * (1 + half))
    return _at_leg(waiting, pending.side, pending.mark_price, quoted, touch)


def _price(ghost: Ghost, side: Side, bar: Conditions) -> tuple[Decimal | None, bool]:
    """Return at what price the bar fills the order, None when it does not, and whether as maker."""
    if ghost.price is None:
        return fill_rules.crossed(side, bar.open, bar), False
    return fill_rules.limited(side, ghost.price, bar, takes=ghost.takes)


def _half_spread(touch: Touch) -> float:
    return (touch.ask - touch.bid) / (touch.ask + touch.bid)


def _fill(ghost: Ghost, qty: Decimal, price: Decimal, fee_bps: Decimal) -> Ghost:
    worth = qty * price
    return replace(
        ghost,
        filled_qty=ghost.filled_qty + qty,
        worth_usd=ghost.worth_usd + worth,
        fee_usd=ghost.fee_usd + worth * fee_bps / BPS,
    )


# ---------------------------------------------------------------- what it came to


def _outcome(pending: Pending, mark: Decimal, terms: Terms) -> Outcome:
    live, shadow = pending.live, pending.shadow
    return Outcome(
        live_usd=None if live is None else _result_usd(pending, live, mark, terms),
        shadow_usd=None if shadow is None else _result_usd(pending, shadow, mark, terms),
        slippage_diff_bps=_slippage_diff_bps(pending),
    )


def _result_usd(pending: Pending, ghost: Ghost, mark: Decimal, terms: Terms) -> float:
    gained = mark * ghost.filled_qty - ghost.worth_usd
    if pending.side == "SELL":
        gained = -gained
    leaving = mark * ghost.filled_qty * terms.taker_fee_bps / BPS
    return float(gained - ghost.fee_usd + (-leaving if pending.enters else leaving))


def _slippage_diff_bps(pending: Pending) -> float | None:
    (qty, worth), ghost = pending.fills, pending.shadow
    if not qty > 0:
        return None
    if pending.same_route:
        return 0.0
    if ghost is None or not ghost.filled_qty > 0:
        return None
    sign = 1e4 if pending.side == "BUY" else -1e4
    theirs = float(ghost.worth_usd / ghost.filled_qty)
    return sign * (theirs - worth / qty) / pending.mark_price
