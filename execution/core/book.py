"""The account and the bars as one tick sees them: the only place where NAV is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from execution.core import anchors, signals
from execution.core.policy import GlobalLimits, Policy
from execution.core.records import Recorded
from execution.core.seam import Bar, Blind, LegKey, MarketSnapshot, Quote, VenuePosition
from execution.core.types import (
    Book,
    Decided,
    EngineState,
    Frame,
    FrameKey,
    Outside,
    Position,
    Vetoed,
)

# No account holds more: a NAV beyond it is an error of unit, and as good as none.
BELIEVABLE_USD = 1e12
# A wallet this far from what the ledger booked was not told, or not read, in full.
TOLERANCE_USD = 0.01


def start(policies: Sequence[Policy], decided: Mapping[tuple[str, str], float]) -> EngineState:
    """Return the state before the first tick: one empty frame for every series a policy reads."""
    keep: dict[FrameKey, int] = {}
    for policy in policies:
        for strategy in policy.strategies:
            for symbol in strategy.symbols:
                key = (symbol, strategy.bar_s)
                keep[key] = max(signals.bars_read(policy, key), keep.get(key, 0))
    frames = {key: Frame(bar_s=key[1], keep=n) for key, n in keep.items()}
    return EngineState(frames=frames, decided=decided)


def observe(
    state: EngineState, seen: MarketSnapshot | Blind, found: Recorded, limits: GlobalLimits
) -> EngineState:
    """Fold one look at the venue and what the ledger found into the state; nothing is heard yet."""
    vetoes = {} if found.day > state.recorded.day else state.vetoes
    if isinstance(seen, Blind):
        book = _blinded(state.book, seen)
        return replace(
            state, book=book, closed=(), recorded=found, vetoes=vetoes, outside=Outside()
        )
    frames, closed = _fold_all(state.frames, seen)
    return EngineState(
        book=_mark(state.book, seen, found, limits),
        frames=frames,
        closed=closed,
        quotes=seen.quotes,
        rules=seen.rules,
        recorded=found,
        decided=state.decided,
        vetoes=vetoes,
    )


def remember(state: EngineState, live: Decided) -> EngineState:
    """Keep what was decided, so that no bar is answered twice and no veto is uncounted."""
    if not live.answered and not live.decisions:
        return state
    vetoes = dict(state.vetoes)
    for decision in live.decisions:
        if isinstance(decision.verdict, Vetoed):
            reason = decision.verdict.reason
            vetoes[reason] = vetoes.get(reason, 0) + 1
    return replace(state, decided={**state.decided, **live.answered}, vetoes=vetoes)


# ---------------------------------------------------------------- bars


def _fold_all(
    frames: Mapping[FrameKey, Frame], seen: MarketSnapshot
) -> tuple[Mapping[FrameKey, Frame], tuple[FrameKey, ...]]:
    if not seen.bars:
        return frames, ()
    bars = {
        symbol: [bar for bar in new if _is_sound(bar, seen.ts)] for symbol, new in seen.bars.items()
    }
    after = dict(frames)
    closed = []
    for key, frame in frames.items():
        new = bars.get(key[0])
        if not new:
            continue
        folded = fold(frame, new, seen.bar_s)
        after[key] = folded
        if folded.bars is not frame.bars:
            closed.append(key)
    return after, tuple(closed)


def _is_sound(bar: Bar, now: float) -> bool:
    """Tell whether a bar can be one; what cannot is left out, like a bar that never came."""
    return (
        0 <= bar.ts <= now
        and 0 < bar.low <= bar.open <= bar.high < math.inf
        and bar.low <= bar.close <= bar.high
        and 0 <= bar.volume < math.inf
    )


def fold(frame: Frame, bars: Sequence[Bar], base_s: int) -> Frame:
    """Build longer bars out of base bars of `base_s`; bars seen before change nothing.

    A bucket counts from its first base bar on, so one that history enters midway is left out. It
    closes with its last base bar, or late, with what it has, when that one is missing.
    """
    bar_s, building, last_ts = frame.bar_s, frame.building, frame.last_ts
    closed: list[Bar] = []
    for bar in bars:
        ts = bar.ts
        if last_ts is not None and ts <= last_ts:
            continue
        bucket_ts = ts - ts % bar_s
        if building is not None and building.ts != bucket_ts:
            closed.append(building)
            building = None
        if building is not None:
            building = _merge(building, bar)
        elif ts == bucket_ts or (last_ts is not None and last_ts < bucket_ts):
            building = bar if ts == bucket_ts else _at(bar, bucket_ts)
        last_ts = ts
        if building is not None and ts + base_s >= bucket_ts + bar_s:
            closed.append(building)
            building = None
    kept = frame.bars
    if closed:
        kept = (*kept, *closed)[-frame.keep :]
    return Frame(bar_s, frame.keep, kept, building, last_ts)


def _merge(building: Bar, bar: Bar) -> Bar:
    return Bar(
        building.ts,
        building.open,
        max(bar.high, building.high),
        min(bar.low, building.low),
        bar.close,
        building.volume + bar.volume,
    )


def _at(bar: Bar, ts: float) -> Bar:
    return Bar(ts, bar.open, bar.high, bar.low, bar.close, bar.volume)


# ---------------------------------------------------------------- money


def _blinded(book: Book, seen: Blind) -> Book:
    since = seen.ts if book.blind_since_ts is None else book.blind_since_ts
    # A NAV in doubt has not stood while nobody looked.
    return replace(book, stale=True, doubt=None, blind_since_ts=since, blind_reason=seen.reason)


def _mark(before: Book, seen: MarketSnapshot, found: Recorded, limits: GlobalLimits) -> Book:
    account = seen.account
    unprotected = {(p.symbol, p.position_side): p.unprotected_since_ts for p in before.positions}
    positions = tuple(
        _position(held, seen.quotes.get(held.symbol), found, unprotected, seen.ts)
        for held in account.positions
    )
    marked = [p for p in positions if p.unrealized_usd is not None and p.notional_usd is not None]
    unrealized = gross = net = 0.0
    as_of_ts = seen.ts
    for position in marked:
        unrealized += position.unrealized_usd or 0.0
        gross += abs(position.notional_usd or 0.0)
        net += position.notional_usd or 0.0
        as_of_ts = min(as_of_ts, seen.quotes[position.symbol].ts)
    wallet = float(account.wallet_usd)
    nav = wallet + unrealized
    residual_usd = found.cash.wallet_usd - account.wallet_usd
    unexplained = not abs(float(residual_usd)) <= TOLERANCE_USD
    unknown = unexplained or len(marked) < len(positions) or not abs(nav) + gross < BELIEVABLE_USD
    doubt = None if unknown else anchors.doubt(before, nav, found, limits)
    if unknown or doubt is not None:
        # A leg without a mark, a wallet that the ledger cannot explain, or a jump that may be an
        # error leaves NAV unknown: the last good numbers stand, and say so.
        return replace(
            before,
            stale=True,
            doubt=doubt,
            positions=positions,
            identity_residual_usd=residual_usd,
            blind_since_ts=None,
            blind_reason=None,
        )
    kept, cooling_from_s = anchors.follow(before, nav, found, limits, seen.ts)
    against = kept if nav > 0 else None  # what is not positive is no loss that could be measured
    return Book(
        known=True,
        stale=False,
        as_of_ts=as_of_ts,
        nav_usd=nav,
        wallet_usd=wallet,
        unrealized_usd=unrealized,
        gross_usd=gross,
        net_usd=net,
        drawdown_pct=None
        if against is None
        else anchors.loss_pct(nav - against.peak_usd, against.peak_usd),
        day_pnl_usd=None if against is None else nav - against.day_start_usd,
        identity_residual_usd=residual_usd,
        anchors=kept,
        cooling_from_s=cooling_from_s,
        positions=positions,
    )


def _position(
    held: VenuePosition,
    quote: Quote | None,
    found: Recorded,
    unprotected: Mapping[LegKey, float | None],
    now: float,
) -> Position:
    key: LegKey = (held.symbol, held.position_side)
    leg = found.legs.get(key)
    qty, entry = float(held.qty), float(held.entry_price)
    mark = None if quote is None else _mark_price(quote)
    since = None
    if key not in found.protected:
        since = unprotected.get(key)
        since = now if since is None else since
    return Position(
        symbol=held.symbol,
        position_side=held.position_side,
        qty=qty,
        entry_price=entry,
        mark_price=mark,
        unrealized_usd=None if mark is None else qty * (mark - entry),
        notional_usd=None if mark is None else qty * mark,
        leverage=None if held.leverage is None else float(held.leverage),
        opened_ts=None if leg is None else leg.opened_ts,
        position_id=None if leg is None else leg.position_id,
        strategy=None if leg is None else leg.strategy,
        exit=None if leg is None else leg.exit,
        unprotected_since_ts=since,
        stop_resting=key in found.resting,
    )


def _mark_price(quote: Quote) -> float | None:
    """Return a mark that can be one: positive, of a known time, and not far off its own touch."""
    if not (0 < quote.mark < math.inf and math.isfinite(quote.ts)):
        return None
    # A touch that is missing or no number says nothing against the mark.
    far = 0 < quote.ask * 2 < quote.mark or quote.mark < quote.bid / 2 < math.inf
    return None if far else quote.mark
