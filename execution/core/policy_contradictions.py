"""What the policy's toml files say against each other, where each one alone is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from execution.core.policy import (
    Listing,
    RiskLimits,
    Router,
    Strategy,
    StrategyFile,
    SymbolLimits,
    Universe,
)


def contradictions(
    strategy_file: StrategyFile, limits: RiskLimits, universe: Universe, router: Router
) -> Iterator[str]:
    """Name what the files say against each other, with file and key; nothing where they agree."""
    strategies = strategy_file.strategy
    listed = {listing.symbol: listing for listing in universe.listing}
    for name in _repeated(listing.symbol for listing in universe.listing):
        yield f"universe.toml: listing: symbol {name} is listed twice"
    for name in _repeated(strategy.name for strategy in strategies):
        yield f"strategy.toml: strategy: name {name} is used twice"
    for listing in universe.listing:
        if listing.tier not in limits.tiers:
            yield (
                f"risk.toml: tiers.{listing.tier}.cap_pct is missing: universe.toml lists "
                f"{listing.symbol} in that tier"
            )
    for strategy in strategies:
        yield from _strategy_contradictions(strategy, listed)
    yield from _cap_contradictions(limits, listed)
    base_pct, trade_pct = strategy_file.sizing.base_trade_pct, limits.book.trade_cap_pct
    if base_pct > trade_pct:
        yield (
            f"strategy.toml: sizing.base_trade_pct {base_pct:g} is above risk.toml "
            f"book.trade_cap_pct {trade_pct:g}"
        )
    budget_bps, collar_bps = router.taker_budget_bps, limits.book.price_collar_bps
    if budget_bps > collar_bps:
        yield (
            f"router.toml: taker_budget_bps {budget_bps:g} is above risk.toml "
            f"book.price_collar_bps {collar_bps:g}"
        )


def _strategy_contradictions(strategy: Strategy, listed: Mapping[str, Listing]) -> Iterator[str]:
    where = f"strategy.toml: strategy {strategy.name}: symbols"
    for symbol in _repeated(strategy.symbols):
        yield f"{where}: {symbol} is named twice"
    for symbol in dict.fromkeys(strategy.symbols):
        if symbol not in listed:
            yield f"{where}: {symbol} is not listed in universe.toml"
        elif "sim" in strategy.markets and listed[symbol].sim is None:
            yield f"{where}: {symbol} runs on sim, but its listing in universe.toml has no sim"


# Of each pair the first is never above the second: it would never be what counts.
_ORDERED = (
    ("trade_cap_pct", "symbol_cap_pct"),
    ("symbol_cap_pct", "gross_cap_pct"),
    ("net_cap_pct", "gross_cap_pct"),
    ("day_loss_limit_pct", "nav_drawdown_limit_pct"),
    ("min_notional_usd", "max_order_notional_usd"),
    ("entries_per_second", "entries_per_minute"),
)


def _cap_contradictions(limits: RiskLimits, listed: Mapping[str, Listing]) -> Iterator[str]:
    book, gross_pct = limits.book, limits.book.gross_cap_pct
    for low, high in _ORDERED:
        lower, upper = getattr(book, low), getattr(book, high)
        if lower > upper:
            yield f"risk.toml: book.{low} {lower:g} is above book.{high} {upper:g}"
    if gross_pct > 100 * book.leverage_cap:
        yield (
            f"risk.toml: book.gross_cap_pct {gross_pct:g} is above what book.leverage_cap "
            f"{book.leverage_cap:g} allows, {100 * book.leverage_cap:g}"
        )
    for tier, cap in limits.tiers.items():
        if cap.cap_pct > gross_pct:
            yield (
                f"risk.toml: tiers.{tier}.cap_pct {cap.cap_pct:g} is above "
                f"book.gross_cap_pct {gross_pct:g}"
            )
    for symbol, own in limits.symbols.items():
        yield from _symbol_contradictions(symbol, own, limits, listed.get(symbol))


def _symbol_contradictions(
    symbol: str, own: SymbolLimits, limits: RiskLimits, listing: Listing | None
) -> Iterator[str]:
    if listing is None:
        yield f"risk.toml: symbols.{symbol} is not listed in universe.toml"
    if own.cap_pct is None:
        return
    wider = {"book.symbol_cap_pct": limits.book.symbol_cap_pct}
    tier = None if listing is None else limits.tiers.get(listing.tier)
    if listing is not None and tier is not None:
        wider[f"tiers.{listing.tier}.cap_pct"] = tier.cap_pct
    for key, cap_pct in wider.items():
        if own.cap_pct > cap_pct:
            yield (
                f"risk.toml: symbols.{symbol}.cap_pct {own.cap_pct:g} is above {key} {cap_pct:g}, "
                f"and a symbol's own cap may only be tighter"
            )


def _repeated(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name, count in Counter(names).items() if count > 1)
