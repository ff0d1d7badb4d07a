"""`hedge shadow`: how the candidate does, and its way into the live policy and back."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct
from rich.table import Table

from execution import overlay
from execution import settings as settings_door
from execution.clock import Clock, SystemClock
from execution.core import compare, promotion
from execution.core.promotion import Gate, Interval
from execution.errors import ConfigError
from execution.overlay import Change
from execution.settings import Settings
from execution.state_schema import registry
from execution.state_schema.files import CompareSummary
from execution.state_store import StateStore, Unreadable
from scripts.cli import asking, ops_edits
from scripts.cli.asking import EXIT_REFUSED, Place, json_option, reason_option
from scripts.cli.terminal import Terminal, say

SEED = 7  # the same results give the same interval
RESTART = "supervisorctl restart hedge:hedge-executor"


class Report(Struct, frozen=True):
    """The candidate: what it changes, what was measured of it, and what it may do.

    `problems` are why nothing that was measured can be held for it; `mean` is null where too little
    was measured.
    """

    changes: tuple[Change, ...]
    summary: CompareSummary
    age_s: float
    mean: Interval | None
    gates: tuple[Gate, ...]
    problems: tuple[str, ...]

    @property
    def may_be_promoted(self) -> bool:
        """Tell whether nothing speaks against it."""
        return not self.problems and all(gate.passed for gate in self.gates)


@click.group()
def shadow() -> None:
    """Look at the candidate policy, and put it in the live one's place."""


@shadow.command("report")
@json_option
@click.pass_obj
def report(clock: Clock | None, *, as_json: bool) -> None:
    """Show what the candidate changes, how it differs, and which gates it passes."""
    found = _look(settings_door.load(), clock or SystemClock())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        _print(found)


@shadow.command("promote")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_option
@click.pass_obj
def promote(clock: Clock | None, reason: str, *, yes: bool) -> None:
    """Move the candidate's keys into the live toml files, if every gate is passed.

    Exits 1 when a gate or a problem refuses it. It takes effect at the next start of the executor.
    """
    clock = clock or SystemClock()
    settings = settings_door.load()
    found = _look(settings, clock)
    _print_changes(found)
    _print_gates(found)
    if not found.may_be_promoted:
        _audit(settings, clock, "shadow promote", reason, "refused")
        click.echo("refused: nothing was changed")
        raise SystemExit(EXIT_REFUSED)
    if not yes:
        click.confirm(f"write these into {settings.ops_dir}?", abort=True)
    backup = ops_edits.promote(
        settings.ops_dir,
        found.changes,
        settings.fingerprint,
        str(settings.shadow_fingerprint),
        _fingerprint,
        clock.now(),
    )
    _audit(settings, clock, "shadow promote", reason, f"done, before it: {backup.name}")
    say(f"done; what was there before is in {backup}")
    say(f"it takes effect with: {RESTART}")


@shadow.command("rollback")
@click.option("--force", is_flag=True, help="Also over edits that were made since.")
@reason_option
@click.pass_obj
def rollback(clock: Clock | None, reason: str, *, force: bool) -> None:
    """Put back what the newest promotion replaced, the candidate included."""
    clock = clock or SystemClock()
    settings = settings_door.load()
    backup, manifest = ops_edits.roll_back(settings.ops_dir, force=force)
    _audit(settings, clock, "shadow rollback", reason, f"done, from {backup.name}")
    say(f"done: {', '.join(manifest.left)} are as they were before the promotion")
    say(f"its backup is {backup} now")
    say(f"it takes effect with: {RESTART}")


# ---------------------------------------------------------------- looking


def _look(settings: Settings, clock: Clock) -> Report:
    store = StateStore(settings.log_dir, clock)
    summary = _read(store, registry.COMPARE_SUMMARY)
    point = _read(store, compare.CHECKPOINT)
    terms = settings.services.promotion
    draw = partial(_draw, random.Random(SEED))  # noqa: S311 - statistics
    mean = promotion.interval(point.newest_usd, terms.confidence_pct, draw)
    changes: tuple[Change, ...] = ()
    if settings.shadow_problem is None:
        tables = settings_door.policy_tables(settings.ops_dir)
        laid = overlay.changes(tables, settings_door.read_overlay(settings.ops_dir))
        changes = tuple(change for change in laid if change.was != change.becomes)
    age_s = clock.now() - summary.generated_ts
    return Report(
        changes=changes,
        summary=summary,
        age_s=age_s,
        mean=mean,
        gates=promotion.gates(summary, terms, mean),
        problems=tuple(_problems(settings, summary, changes, age_s)),
    )


def _problems(
    settings: Settings, summary: CompareSummary, changes: tuple[Change, ...], age_s: float
) -> list[str]:
    problems = []
    if settings.shadow_problem is not None:
        problems.append(settings.shadow_problem)
    elif not changes:
        problems.append(f"{settings.ops_dir / overlay.FILE} changes nothing: write a candidate")
    elif (summary.live_policy, summary.shadow_policy) != (
        settings.fingerprint,
        settings.shadow_fingerprint,
    ):
        problems.append(
            "what was compared are not the policies that the files state now: start the executor"
            f" with them ({RESTART}), with PIPELINE_V6_SHADOW_ENABLED=1"
        )
    if summary.is_warmup:
        problems.append(f"warm-up: {summary.warmup_reason}")
    if abs(age_s) > registry.COMPARE_SUMMARY.max_age_s:
        problems.append(f"the comparison is {age_s / 60:.0f} min old: is the suite running?")
    return problems


def _read(store: StateStore, file: registry.StateFile[Any]) -> Any:  # noqa: ANN401 - as the file says
    found = store.inspect(file)
    if isinstance(found, Unreadable):
        raise ConfigError(f"{found}: start the suite, or name its folder in HEDGE_LOG_DIR")
    return found


def _draw(source: random.Random, sample: list[float], count: int) -> list[float]:
    return source.choices(sample, k=count)


def _fingerprint(ops_dir: Path) -> str:
    return settings_door.load(over={"HEDGE_OPS_DIR": str(ops_dir)}).fingerprint


def _audit(settings: Settings, clock: Clock, act: str, reason: str, outcome: str) -> None:
    place = Place(settings.log_dir, asking.UNROTATED)
    asking.audit(place, clock, act, reason, None, outcome)


# ---------------------------------------------------------------- showing


def _print(found: Report) -> None:
    _print_changes(found)
    summary = found.summary
    console = Terminal()
    console.print(f"compared {found.age_s / 60:.0f} min ago, {summary.sample_size} pairs")
    table = _table("measure", "n", "value")
    for name, row in {
        "verdicts agree": (summary.sample_size, _pct(summary.agreement_pct)),
        "same route": (summary.routes.n, _pct(summary.routes.agreement_pct)),
        "size, shadow over live": _stats(summary.size_diff_stats, "{:+.3%}"),
        "slippage, shadow minus live": _stats(summary.slippage_diff_bps, "{:+.2f} bps"),
        "result, shadow minus live": _stats(
            summary.counterfactual.difference_usd, "{:+.4f} USD a decision"
        ),
        "only the shadow traded": _result(summary.counterfactual.shadow_only),
        "only live traded": _result(summary.counterfactual.live_only),
        "results not known yet": (summary.counterfactual.pending, ""),
        "results not measurable": (summary.counterfactual.unmeasured, ""),
        "only the shadow wanted": (summary.shadow_alone, ""),
        "only live wanted": (summary.live_alone, ""),
    }.items():
        table.add_row(name, str(row[0]), row[1])
    console.print(table)
    _print_agreement("symbol", summary.by_symbol)
    _print_agreement("strategy", summary.by_strategy)
    if summary.by_reason:
        reasons = _table("disagreement", "pairs")
        for name, n in sorted(summary.by_reason.items(), key=lambda item: -item[1]):
            reasons.add_row(name, str(n))
        console.print(reasons)
    _print_gates(found)


def _print_agreement(name: str, rows: dict[str, Any]) -> None:
    if rows:
        table = _table(name, "pairs", "verdicts agree")
        for key, row in sorted(rows.items()):
            table.add_row(key, str(row.n), _pct(row.agreement_pct))
        Terminal().print(table)


def _print_changes(found: Report) -> None:
    table = _table("file", "key", "live", "candidate")
    for change in found.changes:
        was = "(not set)" if change.was is None else str(change.was)
        table.add_row(change.file, ".".join(change.place), was, str(change.becomes))
    Terminal().print(table if found.changes else "the candidate changes nothing")


def _print_gates(found: Report) -> None:
    table = _table("gate", "wanted", "found", "")
    words = {True: "passed", False: "FAILED", None: "not measured"}
    for gate in found.gates:
        table.add_row(gate.name, gate.wanted, gate.found, words[gate.passed])
    console = Terminal()
    console.print(table)
    for problem in found.problems:
        console.print(f"against it: {problem}")


def _stats(stats: Any, form: str) -> tuple[int, str]:  # noqa: ANN401 - Stats or any like it
    return stats.n, "not measured" if stats.mean is None else form.format(stats.mean)


def _result(row: Any) -> tuple[int, str]:  # noqa: ANN401 - likewise
    return row.n, "not measured" if row.total_usd is None else f"{row.total_usd:+.2f} USD in all"


def _pct(pct: float | None) -> str:
    return "not measured" if pct is None else f"{pct:.1f} %"


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column)
    return table
