"""What closed trades brought on average: by symbol, by hour of day and by regime.

A trade counts at its close, net of its fees; funding is not a trade's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from execution.core.payloads.run import ExpectancyFigures
from execution.state_schema.intel_files import ExpectancyRow
from execution.state_schema.order_journals import Close

HOUR_S = 3600
DAY_S = 86_400
UNKNOWN = "unknown"


def measure(closes: Iterable[Close], window_hours: float, now: float) -> ExpectancyFigures:
    """Summarize the trades that closed within the window that ends at `now`."""
    since_ts = now - window_hours * HOUR_S
    window = [trade for trade in closes if since_ts <= trade.closed_ts <= now]
    window.sort(key=lambda trade: trade.closed_ts)
    return ExpectancyFigures(
        lookback_hours=window_hours,
        sample_count=len(window),
        symbols=_by(window, lambda trade: trade.symbol),
        hours=_by(window, lambda trade: f"{int(trade.closed_ts % DAY_S // HOUR_S):02d}"),
        regimes=_by(window, lambda trade: trade.regime or UNKNOWN),
    )


def summarize(trades: Sequence[Close]) -> ExpectancyRow:
    """Put trades, in the order of their closes, into numbers; what nothing measured is None."""
    nets = [trade.realized_usd - trade.fees_usd for trade in trades]
    sized = [(net, t.entry_usd) for net, t in zip(nets, trades, strict=True) if t.entry_usd]
    risked = [net / t.risk_usd for net, t in zip(nets, trades, strict=True) if t.risk_usd]
    wins, losses = [net for net in nets if net > 0], [net for net in nets if net < 0]
    entry_usd = sum(usd for _, usd in sized)
    return ExpectancyRow(
        n=len(nets),
        hit_rate=len(wins) / len(nets) if nets else None,
        avg_win_usd=_mean(wins),
        avg_loss_usd=_mean(losses),
        expectancy_usd=_mean(nets),
        expectancy_bps=1e4 * sum(net for net, _ in sized) / entry_usd if entry_usd > 0 else None,
        expectancy_per_risk=_mean(risked),
        max_drawdown_usd=_drawdown_usd(nets) if nets else None,
    )


def _by(trades: Iterable[Close], key: Callable[[Close], str]) -> dict[str, ExpectancyRow]:
    groups: dict[str, list[Close]] = {}
    for trade in trades:
        groups.setdefault(key(trade), []).append(trade)
    return {name: summarize(groups[name]) for name in sorted(groups)}


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def _drawdown_usd(nets: Sequence[float]) -> float:
    """Return the deepest fall of the running sum from its highest point, 0 at the start included."""
    sums = list(accumulate(nets, initial=0.0))
    return max(peak - now for peak, now in zip(accumulate(sums, max), sums, strict=True))
