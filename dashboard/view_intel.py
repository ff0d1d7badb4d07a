"""The slow cadence → rows: scores, expectancy, suggestions with their reasons, what was applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dashboard import records, trouble
from dashboard.seen import Seen
from dashboard.shown import (
    UNKNOWN,
    Age,
    Bar,
    Bars,
    Chart,
    Column,
    Facts,
    Table,
    absent,
    amount,
    count,
    pct,
    share,
    spaced,
    stamp,
    usd,
)
from execution.core.records import RoutePolicy
from execution.state_schema import registry
from execution.state_schema.intel_files import (
    AllocationRow,
    ExpectancyRow,
    RouterSuggestionRow,
    ScoreRow,
)
from execution.state_schema.order_journals import PolicyChange
from execution.state_store import Unreadable

OFF: Final = "Switched off."

# ---------------------------------------------------------------- scores


def scores(seen: Seen, now: float, symbol: str = "") -> Bars:
    """Show each symbol's score, best first, with what it is made of."""
    found = seen.of(registry.SYMBOL_SCORES)
    if isinstance(found, Unreadable):
        return Bars((), absent(found), "Scores are unknown.")
    bars = tuple(_score(row) for row in found.symbols if symbol in {"", row.symbol})
    age = trouble.age(seen, registry.SYMBOL_SCORES, now)
    return Bars(bars, age, "No score yet." if found.intel_enabled else OFF)


def _score(row: ScoreRow) -> Bar:
    parts = [f"{spaced(name)} {_number(part)}" for name, part in row.components.items()]
    made_of = ", ".join(parts) or "neutral: too little is measured yet"
    return Bar(row.symbol, f"{row.score:.3f}", made_of, row.score, "note")


def _number(number: float | None) -> str:
    return UNKNOWN if number is None else f"{number:+.3f}".replace("-", "\N{MINUS SIGN}")


INPUTS_SHOWN: Final = 12
COUNTED: Final = ("trades", "orders")


def inputs(seen: Seen, now: float, symbol: str = "") -> Table:
    """List what each score was computed from, one column for each input."""
    found = seen.of(registry.SYMBOL_SCORES)
    if isinstance(found, Unreadable):
        return Table((Column("Symbol"),), (), absent(found), "Inputs are unknown.")
    kept = [row for row in found.symbols if symbol in {"", row.symbol}]
    names = list(dict.fromkeys(name for row in kept for name in row.inputs))[:INPUTS_SHOWN]
    rows = tuple(
        (row.symbol, *(_input(name, row.inputs.get(name)) for name in names)) for row in kept
    )
    titles = (spaced(name) for name in names)
    columns = (Column("Symbol"), *(Column(t[:1].upper() + t[1:], right=True) for t in titles))
    age = trouble.age(seen, registry.SYMBOL_SCORES, now)
    return Table(columns, rows, age, "No input yet." if found.intel_enabled else OFF)


def _input(name: str, value: float | None) -> str:
    return count(int(value)) if name in COUNTED and value is not None else amount(value)


# ---------------------------------------------------------------- expectancy

EXPECTANCY_COLUMNS: Final = (
    Column("Group"),
    Column("Trades", right=True),
    Column("Hit rate", right=True),
    Column("Expectancy USD", right=True),
    Column("Expectancy bps", right=True),
    Column("Per USD at risk", right=True),
    Column("Average win USD", right=True),
    Column("Average loss USD", right=True),
    Column("Deepest fall USD", right=True),
)


def expectancy(seen: Seen, now: float, symbol: str = "") -> Table:
    """List what a closed trade brought on average, by symbol and by regime."""
    found = seen.of(registry.EXPECTANCY)
    if isinstance(found, Unreadable):
        return Table(EXPECTANCY_COLUMNS, (), absent(found), "Expectancy is unknown.")
    groups = [(name, row) for name, row in found.symbols.items() if symbol in {"", name}]
    groups += [(f"{name} market", row) for name, row in found.regimes.items()]
    words = f"No trade was closed in {found.lookback_hours:g} hours." if found.enabled else OFF
    rows = tuple(_expected(name, row) for name, row in groups)
    return Table(EXPECTANCY_COLUMNS, rows, trouble.age(seen, registry.EXPECTANCY, now), words)


def _expected(name: str, row: ExpectancyRow) -> tuple[str, ...]:
    return (
        name,
        count(row.n),
        share(row.hit_rate),
        amount(row.expectancy_usd, signed=True),
        amount(row.expectancy_bps, signed=True),
        amount(row.expectancy_per_risk, signed=True),
        amount(row.avg_win_usd, signed=True),
        amount(row.avg_loss_usd, signed=True),
        amount(row.max_drawdown_usd),
    )


def by_hour(seen: Seen, now: float) -> Chart:
    """Place the expectancy of each hour of the day."""
    found = seen.of(registry.EXPECTANCY)
    if isinstance(found, Unreadable):
        return Chart({}, absent(found), "Expectancy is unknown.")
    age = trouble.age(seen, registry.EXPECTANCY, now)
    hours = sorted(
        (hour, row) for hour, row in found.hours.items() if row.expectancy_bps is not None
    )
    if not hours:
        return Chart({}, age, "No trade was closed yet." if found.enabled else OFF)
    return Chart(
        {
            "hour": tuple(hour for hour, _ in hours),
            "expectancy": tuple(row.expectancy_bps for _, row in hours),
            "trades": tuple(float(row.n) for _, row in hours),
        },
        age,
    )


# ---------------------------------------------------------------- the router

ROUTER_COLUMNS: Final = (
    Column("Symbol"),
    Column("Regime"),
    Column("Quality"),
    Column("Now"),
    Column("Proposed"),
    Column("Applied"),
    Column("Rationale"),
    Column("Measured"),
)


def router(seen: Seen, now: float, symbol: str = "") -> Table:
    """List what autotune would change, why, and what became of it."""
    found = seen.of(registry.ROUTER_SUGGESTIONS)
    if isinstance(found, Unreadable):
        return Table(ROUTER_COLUMNS, (), absent(found), "Suggestions are unknown.")
    rows = tuple(_suggested(row) for row in found.symbols if symbol in {"", row.symbol})
    words = (found.note or "Nothing to change.") if found.enabled else OFF
    return Table(ROUTER_COLUMNS, rows, trouble.age(seen, registry.ROUTER_SUGGESTIONS, now), words)


def _suggested(row: RouterSuggestionRow) -> tuple[str, ...]:
    applied = row.applied_policy
    return (
        row.symbol,
        row.regime,
        row.quality,
        policy(row.current_policy),
        policy(row.proposed_policy),
        f"no: {row.apply_reason or 'apply is off'}" if applied is None else policy(applied),
        "; ".join(row.rationale),
        ", ".join(f"{spaced(name)} {amount(value)}" for name, value in row.metrics.items()),
    )


def policy(found: RoutePolicy) -> str:
    """Return a symbol's routing in one line."""
    first = "maker" if found.maker_first else "cross"
    return f"{first}, bias {found.taker_bias:.2f}, {found.offset_bps:g} bps"


def in_force(seen: Seen, now: float) -> Facts:
    """Say by which tuned policies the live router works, and which one is configured."""
    found = seen.of(registry.ROUTER_SUGGESTIONS)
    if isinstance(found, Unreadable):
        return Facts((("Tuned", UNKNOWN),), absent(found))
    applies = found.v6_flags.ROUTER_AUTOTUNE_V6_APPLY_ENABLED
    configured = UNKNOWN if found.configured is None else policy(found.configured)
    rows = [
        ("Suggestions", "on" if found.enabled else "off"),
        ("Apply", "on" if applies else "off: nothing is taken over"),
        ("Configured", configured),
        *((name, policy(tuned)) for name, tuned in _sorted(found.in_force)),
    ]
    if not found.in_force:
        rows.append(("Tuned", "no symbol"))
    return Facts(tuple(rows), trouble.age(seen, registry.ROUTER_SUGGESTIONS, now))


def _sorted(policies: Mapping[str, RoutePolicy]) -> list[tuple[str, RoutePolicy]]:
    return sorted(policies.items())


CHANGE_COLUMNS: Final = (
    Column("Time UTC"),
    Column("Symbol"),
    Column("Before"),
    Column("After"),
    Column("Risk mode"),
    Column("Rationale"),
)


def changes(seen: Seen, now: float) -> Table:
    """List the steps that the live router took over in the last 24 hours, newest first."""
    metrics = records.of_the_day(seen, registry.ORDER_METRICS, now)
    steps = [each for each in reversed(metrics) if isinstance(each, PolicyChange)]
    return Table(
        CHANGE_COLUMNS,
        tuple(
            (
                stamp(each.ts),
                each.symbol,
                policy(each.before),
                policy(each.after),
                each.risk_mode,
                "; ".join(each.rationale),
            )
            for each in steps
        ),
        records.age(seen, registry.ORDER_METRICS, now),
        records.empty(seen, registry.ORDER_METRICS, "Nothing was applied in 24 hours."),
    )


# ---------------------------------------------------------------- the allocator

ALLOCATION_COLUMNS: Final = (
    Column("Symbol"),
    Column("Score", right=True),
    Column("Weight", right=True),
    Column("Symbol cap %", right=True),
    Column("Suggested %", right=True),
    Column("Trade cap %", right=True),
    Column("Suggested trade %", right=True),
    Column("Rationale"),
)


def allocation(seen: Seen, now: float, symbol: str = "") -> Table:
    """List each symbol's share, as it is and as suggested."""
    found = seen.of(registry.ALLOCATION_SUGGESTIONS)
    if isinstance(found, Unreadable):
        return Table(ALLOCATION_COLUMNS, (), absent(found), "The allocation is unknown.")
    rows = tuple(_share(row) for row in found.symbols if symbol in {"", row.symbol})
    words = (found.note or "No suggestion.") if found.enabled else OFF
    age = trouble.age(seen, registry.ALLOCATION_SUGGESTIONS, now)
    return Table(ALLOCATION_COLUMNS, rows, age, words)


def _share(row: AllocationRow) -> tuple[str, ...]:
    return (
        row.symbol,
        f"{row.score:.3f}",
        share(row.suggested_weight),
        amount(row.caps.symbol_cap_pct),
        amount(row.suggested_caps.symbol_cap_pct),
        amount(row.caps.trade_cap_pct),
        amount(row.suggested_caps.trade_cap_pct),
        "; ".join(row.rationale),
    )


def allocator(seen: Seen, now: float) -> Facts:
    """Say in which mode the allocator sees the book."""
    found = seen.of(registry.ALLOCATION_SUGGESTIONS)
    if isinstance(found, Unreadable):
        return Facts((("Risk mode", UNKNOWN),), absent(found))
    age: Age = trouble.age(seen, registry.ALLOCATION_SUGGESTIONS, now)
    return Facts(
        (
            ("Allocator", "on" if found.enabled else "off"),
            ("Risk mode", found.book.risk_mode),
            ("Equity", usd(found.book.current_equity_usd)),
            ("Drawdown", pct(found.book.current_drawdown_pct)),
        ),
        age,
    )
