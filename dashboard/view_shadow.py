"""Live against shadow → tiles, bars and rows, for who asks whether the candidate may go live."""

from __future__ import annotations

from typing import Final

from dashboard import records, trouble
from dashboard.seen import Seen, Viewer
from dashboard.shown import (
    UNKNOWN,
    Age,
    Bar,
    Bars,
    Chart,
    Column,
    Facts,
    Shown,
    Table,
    absent,
    amount,
    bps,
    count,
    duration,
    pct,
    ratio,
    spaced,
    stamp,
    usd,
)
from execution.core import promotion
from execution.core.promotion import Gate
from execution.state_schema import registry
from execution.state_schema.files import (
    AgreementRow,
    CompareSummary,
    Counterfactual,
    ResultRow,
    Stats,
)
from execution.state_schema.journals import Judgement, ShadowDecision
from execution.state_store import Unreadable

SHOWN: Final = 60


def _age(seen: Seen, now: float) -> Age:
    return trouble.age(seen, registry.COMPARE_SUMMARY, now)


def tiles(seen: Seen, now: float) -> tuple[Shown, ...]:
    """Show how far live and shadow agree."""
    labels = (
        "Decisions compared",
        "Agreement",
        "Veto mismatch",
        "Size difference",
        "Slippage difference",
    )
    found = seen.of(registry.COMPARE_SUMMARY)
    if isinstance(found, Unreadable):
        return tuple(Shown(label, UNKNOWN, "", absent(found)) for label in labels)
    values = (
        (count(found.sample_size), "paired by decision id"),
        (pct(found.agreement_pct), "of the pairs"),
        (pct(found.veto_mismatch_pct), "one approved, the other refused"),
        (amount(found.size_diff_stats.mean, signed=True), _spread(found.size_diff_stats)),
        (bps(found.slippage_diff_bps.mean, signed=True), _spread(found.slippage_diff_bps)),
    )
    age = _age(seen, now)
    return tuple(Shown(label, *value, age) for label, value in zip(labels, values, strict=True))


def _spread(stats: Stats) -> str:
    if stats.n == 0:
        return "nothing measured yet"
    return f"mean of {count(stats.n)}; p50 {amount(stats.p50)}, p95 {amount(stats.p95)}"


# ---------------------------------------------------------------- may it go live?


def warm_up(seen: Seen, now: float) -> Bars:
    """Show how many of the decisions that a verdict needs there are."""
    found = seen.of(registry.COMPARE_SUMMARY)
    if isinstance(found, Unreadable):
        return Bars((), absent(found), "The comparison is unknown.")
    frac = ratio(found.sample_size, found.min_sample_size)
    bar = Bar(
        name="warming up" if found.is_warmup else "warm",
        used=f"{count(found.sample_size)} of {count(found.min_sample_size)} decisions",
        detail="over" if not found.is_warmup else "running",
        frac=None if frac is None else min(1.0, frac),
        level="note" if found.is_warmup else "ok",
    )
    return Bars((bar,), _age(seen, now), "")


GATE_COLUMNS: Final = (Column("Gate"), Column("Verdict"), Column("Found"), Column("Wanted"))
VERDICTS: Final = {True: "met", False: "NOT MET", None: "not measured"}


def gates(seen: Seen, viewer: Viewer, now: float) -> Table:
    """Judge each gate of a promotion by what was measured.

    How sure the difference is takes every single result, which only `hedge shadow report` reads.
    """
    found = seen.of(registry.COMPARE_SUMMARY)
    if isinstance(found, Unreadable):
        return Table(GATE_COLUMNS, (), absent(found), "The comparison is unknown.")
    rows = (
        ("candidate", *_candidate(found), "another policy than live"),
        ("warm-up", *_warm(found), "over"),
        *(
            (gate.name, *_judged_gate(gate, found.counterfactual), gate.wanted)
            for gate in promotion.gates(found, viewer.promotion, None)
        ),
    )
    return Table(GATE_COLUMNS, rows, _age(seen, now), "")


def _judged_gate(gate: Gate, results: Counterfactual) -> tuple[str, str]:
    mean_usd = results.difference_usd.mean
    if gate.name == "difference" and mean_usd is not None:
        return "ask hedge shadow report", f"mean {usd(mean_usd, signed=True)}"
    return VERDICTS[gate.passed], gate.found


def _candidate(found: CompareSummary) -> tuple[str, str]:
    if not found.shadow_enabled or found.shadow_policy is None:
        return VERDICTS[False], "off: nothing new is compared"
    if found.shadow_policy == found.live_policy:
        return VERDICTS[False], f"{found.shadow_policy}, as live"
    return VERDICTS[True], f"{found.shadow_policy} beside {found.live_policy}"


def _warm(found: CompareSummary) -> tuple[str, str]:
    text = found.warmup_reason or "running" if found.is_warmup else "over"
    return VERDICTS[not found.is_warmup], text


def head(seen: Seen, now: float) -> Facts:
    """Say what the shadow decided so far."""
    found = seen.of(registry.SHADOW_HEAD)
    if isinstance(found, Unreadable):
        return Facts((("Shadow", UNKNOWN),), absent(found))
    last = found.last_decision
    newest = (
        f"{last.symbol} {last.position_side} {last.action}, {duration(now - last.ts)} ago"
        if isinstance(last, ShadowDecision)
        else f"none: {last.reason}"
    )
    beat = found.heartbeat_ts
    rows = (
        ("Shadow", "on" if found.enabled else "off"),
        ("Decisions", count(found.total)),
        ("Allowed", count(found.allowed)),
        ("Vetoed", count(found.vetoed)),
        ("Newest", newest),
        ("Heartbeat", UNKNOWN if beat is None else f"{duration(now - beat)} ago"),
    )
    return Facts(rows, trouble.age(seen, registry.SHADOW_HEAD, now))


# ---------------------------------------------------------------- where they differ

PART_COLUMNS: Final = (
    Column("Of"),
    Column("Name"),
    Column("Pairs", right=True),
    Column("Agreement %", right=True),
)


def parts(seen: Seen, now: float) -> Table:
    """List the agreement by symbol, by strategy and of the routes."""
    found = seen.of(registry.COMPARE_SUMMARY)
    if isinstance(found, Unreadable):
        return Table(PART_COLUMNS, (), absent(found), "The comparison is unknown.")
    groups: list[tuple[str, str, AgreementRow]] = [
        *(("symbol", name, row) for name, row in found.by_symbol.items()),
        *(("strategy", name, row) for name, row in found.by_strategy.items()),
        ("routes", "all", found.routes),
    ]
    rows = tuple((of, name, count(row.n), amount(row.agreement_pct)) for of, name, row in groups)
    return Table(PART_COLUMNS, rows, _age(seen, now), "")


REASON_COLUMNS: Final = (Column("Differing because of"), Column("Decisions", right=True))


def reasons(seen: Seen, now: float) -> Table:
    """Count the differences by the reason that one policy gave and the other did not."""
    found = seen.of(registry.COMPARE_SUMMARY)
    if isinstance(found, Unreadable):
        return Table(REASON_COLUMNS, (), absent(found), "The comparison is unknown.")
    alone = (
        ("wanted by live alone", found.live_alone),
        ("wanted by shadow alone", found.shadow_alone),
    )
    ordered = sorted(found.by_reason.items(), key=lambda each: (-each[1], each[0]))
    rows = [(spaced(reason), count(n)) for reason, n in ordered]
    rows += [(name, count(n)) for name, n in alone if n]
    return Table(REASON_COLUMNS, tuple(rows), _age(seen, now), "They did not differ yet.")


RESULT_COLUMNS: Final = (
    Column("Orders of"),
    Column("Decisions", right=True),
    Column("Total USD", right=True),
    Column("Mean USD", right=True),
)


def counterfactual(seen: Seen, now: float) -> Table:
    """List what the orders of one policy alone came to, net of fees."""
    found = seen.of(registry.COMPARE_SUMMARY)
    if isinstance(found, Unreadable):
        return Table(RESULT_COLUMNS, (), absent(found), "The comparison is unknown.")
    results = found.counterfactual
    difference = results.difference_usd
    rows = (
        _result("live alone", results.live_only),
        _result("shadow alone", results.shadow_only),
        (
            "shadow minus live",
            count(difference.n),
            amount(
                None if difference.mean is None else difference.mean * difference.n, signed=True
            ),
            amount(difference.mean, signed=True),
        ),
        (f"not known before {duration(results.horizon_s)}", count(results.pending), "", ""),
        ("not measurable", count(results.unmeasured), "", ""),
    )
    return Table(RESULT_COLUMNS, rows, _age(seen, now), "")


def _result(name: str, row: ResultRow) -> tuple[str, ...]:
    return (
        name,
        count(row.n),
        amount(row.total_usd, signed=True),
        amount(row.mean_usd, signed=True),
    )


# ---------------------------------------------------------------- the journals

DECISION_COLUMNS: Final = (
    Column("Time UTC"),
    Column("Symbol"),
    Column("Side"),
    Column("Action"),
    Column("They"),
    Column("Live"),
    Column("Shadow"),
    Column("Strategy"),
    Column("Decision", order=True),
)


def decisions(seen: Seen, now: float, symbol: str = "") -> Table:
    """List the newest decisions under both policies, newest first."""
    found = records.of_the_day(seen, registry.SHADOW, now)
    kept = [
        each
        for each in reversed(found)
        if isinstance(each, ShadowDecision) and symbol in {"", each.symbol}
    ]
    return Table(
        DECISION_COLUMNS,
        tuple(map(_decision, kept[:SHOWN])),
        records.age(seen, registry.SHADOW, now),
        records.empty(seen, registry.SHADOW, "The shadow decided nothing in 24 hours."),
    )


def _decision(record: ShadowDecision) -> tuple[str, ...]:
    return (
        stamp(record.ts),
        record.symbol,
        record.position_side,
        record.action,
        _they(record),
        _judged(record.live),
        _judged(record.shadow),
        record.strategy,
        record.decision_id,
    )


def _they(record: ShadowDecision) -> str:
    live, shadow = record.live, record.shadow
    if live is None or shadow is None:
        return "differ"
    if live.approved != shadow.approved:
        return "differ"
    return "agree" if live.qty == shadow.qty else "differ in size"


def _judged(judgement: Judgement | None) -> str:
    if judgement is None:
        return "nothing wanted"
    if not judgement.approved:
        return f"vetoed: {spaced(judgement.reason or UNKNOWN)}"
    clamped = "" if judgement.clamped_by is None else f", clamped by {spaced(judgement.clamped_by)}"
    return f"{usd(judgement.notional_usd)}{clamped}"


def over_time(seen: Seen, now: float) -> Chart:
    """Place the agreement of each cycle of the comparison."""
    points = records.of_the_day(seen, registry.COMPARE, now)
    known = [each for each in points if each.agreement_pct is not None]
    age = records.age(seen, registry.COMPARE, now)
    if not known:
        words = "Nothing was compared in 24 hours."
        return Chart({}, age, records.empty(seen, registry.COMPARE, words))
    return Chart(
        {
            "time": tuple(each.ts for each in known),
            "agreement": tuple(each.agreement_pct for each in known),
            "decisions": tuple(float(each.sample_size) for each in known),
        },
        age,
    )
