"""What may be sent now: derived each tick from what is known, stored nowhere."""

from __future__ import annotations

import math
from collections.abc import Mapping

from execution.core import anchors
from execution.core.policy import Policy
from execution.core.seam import Blind, MarketSnapshot
from execution.core.types import Book, EngineState, TradingState

ACTIVE = TradingState("ACTIVE")


def derive(
    seen: MarketSnapshot | Blind, state: EngineState, policy: Policy, now: float
) -> TradingState:
    """Return the book's state; any reason to halt comes before any reason to reduce."""
    halts = tuple(_halts(seen, state))
    if halts:
        return TradingState("HALTED", halts)
    reduces = tuple(_reduces(state, policy, now))
    return TradingState("REDUCING", reduces) if reduces else ACTIVE


def by_symbol(state: EngineState, book_state: TradingState) -> Mapping[str, TradingState]:
    """Return the state of each symbol that is tighter than the book's."""
    recorded = state.recorded
    found = {}
    if book_state.name == "ACTIVE":
        found = {symbol: TradingState("REDUCING", ("trades_unread",)) for symbol in recorded.unread}
    for symbol, reason in recorded.halts.items():
        found[symbol] = TradingState("HALTED", (reason, *book_state.reasons))
    return found


def _halts(seen: MarketSnapshot | Blind, state: EngineState) -> list[str]:
    reasons = []
    kill = state.recorded.kill
    if kill is not None and kill.on:
        reasons.append("kill_switch")
    if state.recorded.disarmed:
        reasons.append("disarmed")
    if isinstance(seen, Blind):
        reasons.append("blind")
    if state.recorded.unaccounted:
        legs = ", ".join(" ".join(key) for key in sorted(state.recorded.unaccounted))
        reasons.append(f"ledger_unknown {legs}")
    # A NAV that was never read, or is not positive, says nothing about what is left to lose.
    if not (state.book.known and 0 < state.book.nav_usd < math.inf):
        reasons.append("nav_unavailable")
    return reasons


def _reduces(state: EngineState, policy: Policy, now: float) -> list[str]:
    book, limits = state.book, policy.limits.book
    reasons = []
    if book.drawdown_pct is not None and book.drawdown_pct >= limits.nav_drawdown_limit_pct:
        reasons.append("nav_drawdown_limit")
    if day_loss_pct(book) >= limits.day_loss_limit_pct:
        reasons.append("day_loss_limit")
    if state.recorded.low_disk:
        reasons.append("low_disk")
    grace_s = policy.router.stop_retry_s
    if any(
        position.unprotected_since_ts is not None and now - position.unprotected_since_ts > grace_s
        for position in book.positions
    ):
        reasons.append("missing_stop")
    return reasons


def day_loss_pct(book: Book) -> float:
    """Return the loss since the day began in percent of the NAV it began with; 0 while unknown."""
    if book.day_pnl_usd is None or book.anchors is None:
        return 0.0
    return anchors.loss_pct(book.day_pnl_usd, book.anchors.day_start_usd)
