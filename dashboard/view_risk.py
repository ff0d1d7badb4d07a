"""What may be lost → rows: trading state, limits, vetoes, symbols."""

from __future__ import annotations

from collections import Counter
from typing import Final

from dashboard import records, trouble
from dashboard.seen import Seen
from dashboard.shown import (
    UNITS,
    UNKNOWN,
    Bar,
    Bars,
    Chart,
    Column,
    Level,
    Shown,
    Table,
    absent,
    amount,
    bps,
    count,
    duration,
    figure,
    measured,
    price,
    quantity,
    ratio,
    share,
    spaced,
    stamp,
)
from execution.state_schema import registry
from execution.state_schema.files import LimitRow, RiskRow
from execution.state_schema.journals import Veto
from execution.state_store import Unreadable

TIGHT_FRAC: Final = 0.75


# ---------------------------------------------------------------- the trading state


def trading_state(seen: Seen, now: float) -> Shown:
    """Show what may be sent, and why."""
    health = seen.of(registry.EXECUTOR_HEALTH)
    if isinstance(health, Unreadable):
        return Shown("Trading state", UNKNOWN, "", absent(health))
    age = trouble.age(seen, registry.EXECUTOR_HEALTH, now)
    reasons = [spaced(each) for each in trouble.trading_reasons(seen, health)]
    if health.kill_latch:
        reasons.append("kill latch on")
    if health.blind_since_ts is not None:
        reasons.append(f"venue unread for {duration(now - health.blind_since_ts)}")
    why = ", ".join(reasons)
    if age.status != "fresh":
        why = f"last said, not known now{': ' if why else ''}{why}"
    elif not why:
        why = "everything allowed" if health.trading_state == "ACTIVE" else "no reason written"
    return Shown("Trading state", health.trading_state, why, age)


# ---------------------------------------------------------------- limits

# What a glance should find in the same place each time.
ALWAYS: Final = (
    "gross_cap",
    "net_cap",
    "leverage_cap",
    "margin_insufficient",
    "max_concurrent",
    "nav_drawdown_limit",
    "day_loss_limit",
)


def limits(seen: Seen, now: float) -> Bars:
    """Show what is used of each limit, and what is left; the most used first."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return Bars((), absent(snapshot), "Limits are unknown.")
    rows = [_bar(name, row) for name, row in snapshot.limits.items()]
    rows.sort(key=_by_use)
    return Bars(tuple(rows), trouble.age(seen, registry.RISK_SNAPSHOT, now), "No limit is written.")


def main_limits(seen: Seen, now: float) -> Bars:
    """Show exposure, leverage and losses against their limits, and whatever else is nearly used."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return Bars((), absent(snapshot), "Limits are unknown.")
    main = [_bar(name, snapshot.limits[name]) for name in ALWAYS if name in snapshot.limits]
    others = [_bar(name, row) for name, row in snapshot.limits.items() if name not in ALWAYS]
    tight = sorted((bar for bar in others if bar.level in {"warning", "critical"}), key=_by_use)
    age = trouble.age(seen, registry.RISK_SNAPSHOT, now)
    return Bars((*main, *tight), age, "No limit is written.")


def _by_use(bar: Bar) -> tuple[bool, float]:
    return bar.frac is not None, -(bar.frac or 0.0)


def used_frac(row: LimitRow) -> float | None:
    """Return how much of a limit is used; any use of a limit of nothing is all of it."""
    if row.used is not None and row.limit == 0:
        return 1.0 if row.used > 0 else 0.0
    return ratio(row.used, row.limit)


def _bar(name: str, row: LimitRow) -> Bar:
    frac = used_frac(row)
    # Beside `used`, a count needs no second unit: "1 left", not "1 legs left".
    say = measured if row.unit in UNITS else figure
    left = "left unknown" if row.headroom is None else f"{say(row.headroom, row.unit)} left"
    return Bar(
        name=spaced(name),
        used=f"{figure(row.used, row.unit)} of {measured(row.limit, row.unit)}",
        detail=left,
        frac=None if frac is None else min(1.0, max(0.0, frac)),
        level=_level(row, frac),
    )


def _level(row: LimitRow, frac: float | None) -> Level:
    if frac is None:
        return "note"
    if row.limit > 0 and frac >= 1:
        return "critical"
    return "warning" if frac >= TIGHT_FRAC else "ok"


LIMIT_COLUMNS: Final = (
    Column("Limit"),
    Column("Used %", right=True),
    Column("Used", right=True),
    Column("Limit at", right=True),
    Column("Left", right=True),
    Column("Unit"),
    Column("Worst today", right=True),
    Column("Worst %", right=True),
    Column("Worst at UTC"),
)


def limit_table(seen: Seen, now: float, symbol: str = "") -> Table:
    """List every limit with the most that was used of it today, counted as if all orders filled.

    `symbol` leaves those of the book, its tiers and that symbol.
    """
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return Table(LIMIT_COLUMNS, (), absent(snapshot), "Limits are unknown.")
    others = {row.symbol for row in snapshot.symbols} - {symbol} if symbol else set()
    kept = {n: row for n, row in snapshot.limits.items() if n.partition(".")[2] not in others}
    ordered = sorted(kept.items(), key=lambda each: -(used_frac(each[1]) or 0.0))
    rows = tuple(_limit_row(name, row) for name, row in ordered)
    age = trouble.age(seen, registry.RISK_SNAPSHOT, now)
    return Table(LIMIT_COLUMNS, rows, age, "No limit is written.")


def _limit_row(name: str, row: LimitRow) -> tuple[str, ...]:
    frac, worst = used_frac(row), ratio(row.worst, row.limit)
    return (
        spaced(name),
        UNKNOWN if frac is None else amount(100 * frac),
        figure(row.used, row.unit),
        figure(row.limit, row.unit),
        figure(row.headroom, row.unit),
        "%" if row.unit == "pct" else row.unit,
        figure(row.worst, row.unit) if row.worst is not None else "not kept",
        "" if worst is None else amount(100 * worst),
        "" if row.worst_ts is None else stamp(row.worst_ts),
    )


def worst_since(seen: Seen) -> str:
    """Say from when on the worst of a limit is known."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable) or snapshot.worst_since_ts is None:
        return "Since when the worst is known is unknown."
    return f"Worst: the most that was used since {stamp(snapshot.worst_since_ts)} UTC."


# ---------------------------------------------------------------- symbols

SYMBOL_COLUMNS: Final = (
    Column("Symbol"),
    Column("State"),
    Column("Reasons"),
    Column("Loss today %", right=True),
    Column("ATR", right=True),
    Column("Regime"),
    Column("Size factor", right=True),
    Column("Maker first"),
    Column("Taker bias", right=True),
    Column("Offset", right=True),
    Column("Flags"),
)


def symbols(seen: Seen, now: float, symbol: str = "") -> Table:
    """List each symbol as risk sees it."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return Table(SYMBOL_COLUMNS, (), absent(snapshot), "Symbols are unknown.")
    rows = tuple(_symbol(row) for row in snapshot.symbols if symbol in {"", row.symbol})
    age = trouble.age(seen, registry.RISK_SNAPSHOT, now)
    return Table(SYMBOL_COLUMNS, rows, age, "No such symbol.")


def _symbol(row: RiskRow) -> tuple[str, ...]:
    return (
        row.symbol,
        row.trading_state,
        ", ".join(map(spaced, row.trading_state_reasons)),
        amount(row.risk.dd_today_pct),
        price(row.vol.atr_now),
        row.vol.atr_regime,
        amount(row.sizing.final_size_factor),
        "yes" if row.router.maker_first else "no",
        amount(row.router.taker_bias),
        bps(row.router.offset_bps),
        ", ".join(map(spaced, row.risk.risk_flags)),
    )


# ---------------------------------------------------------------- vetoes

REASONS_DRAWN: Final = 7
STEPS_S: Final = (60, 300, 900, 3_600)
STEPS_DRAWN: Final = 60
VETOES_SHOWN: Final = 50


def vetoes_today(seen: Seen, now: float) -> Bars:
    """Show today's refusals by their headline, as shares of all of them."""
    snapshot = seen.of(registry.RISK_SNAPSHOT)
    if isinstance(snapshot, Unreadable):
        return Bars((), absent(snapshot), "Vetoes are unknown.")
    total = sum(snapshot.vetoes.values())
    ordered = sorted(snapshot.vetoes.items(), key=lambda each: (-each[1], each[0]))
    bars = (
        Bar(spaced(reason), count(n), share(ratio(n, total)), ratio(n, total), "note")
        for reason, n in ordered
    )
    return Bars(tuple(bars), trouble.age(seen, registry.RISK_SNAPSHOT, now), "No veto today.")


def vetoes_over_time(seen: Seen, now: float, symbol: str = "") -> Chart:
    """Count vetoes by reason in steps of time that suit how long ago the first was."""
    found = _vetoes(seen, now, symbol)
    age = records.age(seen, registry.RISK_VETOES, now)
    if not found:
        words = records.empty(seen, registry.RISK_VETOES, "No veto in 24 hours.")
        return Chart({}, age, words)
    span_s = now - found[0].ts
    step_s = next((step for step in STEPS_S if span_s <= step * STEPS_DRAWN), STEPS_S[-1])
    common = Counter(each.reason for each in found).most_common(REASONS_DRAWN)
    named = {reason: spaced(reason) for reason, _ in common}
    counts = Counter(
        (each.ts // step_s * step_s, named.get(each.reason, "other")) for each in found
    )
    rows = sorted(counts.items())
    return Chart(
        {
            "from": tuple(ts for (ts, _), _ in rows),
            "to": tuple(ts + step_s for (ts, _), _ in rows),
            "reason": tuple(reason for (_, reason), _ in rows),
            "vetoes": tuple(float(n) for _, n in rows),
        },
        age,
    )


VETO_COLUMNS: Final = (
    Column("Time UTC"),
    Column("Symbol"),
    Column("Side"),
    Column("Action"),
    Column("Reasons"),
    Column("Observed", right=True),
    Column("Limit", right=True),
    Column("Unit"),
    Column("Quantity", right=True),
    Column("Strategy"),
    Column("Decision", order=True),
)


def vetoes(seen: Seen, now: float, symbol: str = "") -> Table:
    """List the newest vetoes with what was observed, newest first."""
    newest = tuple(reversed(_vetoes(seen, now, symbol)))[:VETOES_SHOWN]
    return Table(
        VETO_COLUMNS,
        tuple(map(_veto, newest)),
        records.age(seen, registry.RISK_VETOES, now),
        records.empty(seen, registry.RISK_VETOES, "No veto in 24 hours."),
    )


def _vetoes(seen: Seen, now: float, symbol: str) -> tuple[Veto, ...]:
    found = records.of_the_day(seen, registry.RISK_VETOES, now)
    return tuple(each for each in found if symbol in {"", each.symbol})


def _veto(veto: Veto) -> tuple[str, ...]:
    return (
        stamp(veto.ts),
        veto.symbol,
        veto.position_side,
        veto.action,
        ", ".join(map(spaced, dict.fromkeys((veto.reason, *veto.reasons)))),
        _bound(veto.observed, veto.unit),
        _bound(veto.limit, veto.unit),
        "%" if veto.unit == "pct" else veto.unit,
        quantity(veto.qty),
        veto.strategy,
        veto.decision_id,
    )


def _bound(value: float | str | None, unit: str) -> str:
    return value if isinstance(value, str) else "" if value is None else figure(value, unit)
