"""The series of one point a minute: NAV, and each symbol's mark with the bars since the last one."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from execution.core.payloads.run import RunInfo
from execution.core.seam import Bar, MarketSnapshot
from execution.core.types import TickReport
from execution.state_schema import registry
from execution.state_schema.journals import BarPoint, MarkPoint, NavPoint
from execution.state_schema.registry import Entry

MINUTE_S = 60
# What one point tells at most; a longer absence is a gap in the series, as for a stopped process.
BARS_KEPT = 120


class MinuteMemory(Struct, frozen=True):
    """The minute that has its points, and the bars since, by symbol; None before the first tick."""

    minute: int | None = None
    bars: Mapping[str, tuple[Bar, ...]] = {}


def records(
    report: TickReport, run: RunInfo, memory: MinuteMemory
) -> tuple[list[Entry], MinuteMemory]:
    """Return the points of this minute, none where it has them already, and the next memory.

    A minute in which NAV or a mark is not known, or is old, has no point: a gap says so.
    """
    bars = _gathered(report, memory)
    minute = int(report.now // MINUTE_S)
    if minute == memory.minute:
        return [], MinuteMemory(minute, bars)
    now, run_id, book = report.now, run.run_id, report.state.book
    entries: list[Entry] = []
    if book.known and not book.stale:
        point = NavPoint(
            ts=now,
            run_id=run_id,
            nav_usd=book.nav_usd,
            wallet_usd=book.wallet_usd,
            unrealized_usd=book.unrealized_usd,
            gross_usd=book.gross_usd,
            net_usd=book.net_usd,
            peak_usd=None if book.anchors is None else book.anchors.peak_usd,
            drawdown_pct=book.drawdown_pct,
            mode=run.mode,
        )
        entries.append((registry.NAV_SERIES, point))
    if not isinstance(report.seen, MarketSnapshot):
        return entries, MinuteMemory(minute, bars)
    told = set()
    oldest_ts = now - report.seen.lag_s - MINUTE_S
    for symbol, quote in report.seen.quotes.items():
        if quote.ts >= oldest_ts:
            told.add(symbol)
            mark = MarkPoint(
                ts=now,
                run_id=run_id,
                symbol=symbol,
                mark_price=quote.mark,
                quote_ts=quote.ts,
                bar_s=report.seen.bar_s,
                bars=tuple(map(_point, bars.get(symbol, ()))),
            )
            entries.append((registry.MARKS, mark))
    left = {symbol: kept for symbol, kept in bars.items() if symbol not in told}
    return entries, MinuteMemory(minute, left)


def _gathered(report: TickReport, memory: MinuteMemory) -> Mapping[str, tuple[Bar, ...]]:
    """Return the bars that no point has told; the first tick's are the history before it."""
    seen = report.seen
    if not isinstance(seen, MarketSnapshot) or not seen.bars or memory.minute is None:
        return memory.bars
    bars = dict(memory.bars)
    for symbol, closed in seen.bars.items():
        kept = bars.get(symbol, ())
        last_ts = kept[-1].ts if kept else -1.0
        fresh = (bar for bar in closed if bar.ts > last_ts)  # overlap is allowed
        bars[symbol] = (*kept, *fresh)[-BARS_KEPT:]
    return bars


def _point(bar: Bar) -> BarPoint:
    return BarPoint(bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume)
