"""What the whole executor tells of risk: its snapshot across a restart, and its alerts to a program."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from execution import boot, settings
from execution.alert_command import AlertCommand
from execution.clock import SystemClock
from execution.jsonl_log import tail
from execution.state_schema import registry
from execution.state_schema.files import RiskSnapshot
from tests.support.engines import Rehearsed

PATIENCE_S = 20.0


def snapshot(rehearsed: Rehearsed) -> RiskSnapshot:
    found = rehearsed.store.read(registry.RISK_SNAPSHOT)
    assert found is not None
    return found


def told(rehearsed: Rehearsed, journal) -> list:
    return [*tail(rehearsed.log_dir / journal.path, 10_000, journal.decoder.decode).records]


def lost_pct(found: RiskSnapshot) -> dict[str, float | None]:
    return {row.symbol: row.risk.dd_today_pct for row in found.symbols}


def trade_and_look(rehearsed: Rehearsed) -> RiskSnapshot:
    rehearsed.trade()
    rehearsed.ticks(2)  # risk_s has passed since: the snapshot is of now
    return snapshot(rehearsed)


def test_each_veto_has_its_line_and_its_count_also_after_a_restart(tmp_path, monkeypatch) -> None:
    rehearsed = Rehearsed(monkeypatch, tmp_path, risk_s=0.1, max_concurrent=1)
    for _ in range(100):
        rehearsed.ticks(1)
        if sum(rehearsed.report.state.vetoes.values()) > 5:
            break
    rehearsed.ticks(1)
    before = snapshot(rehearsed)
    vetoes = told(rehearsed, registry.RISK_VETOES)
    assert sum(before.vetoes.values()) == len(vetoes) > 0
    for veto in vetoes:
        assert veto.reason == veto.reasons[0]
        assert veto.unit
        assert veto.observed is not None
        assert veto.limit is not None
    streak = rehearsed.engine.telling.alerts.streak
    rehearsed.restart()
    assert rehearsed.engine.telling.alerts.streak == streak
    rehearsed.ticks(1)
    after = snapshot(rehearsed)
    assert sum(after.vetoes.values()) == len(told(rehearsed, registry.RISK_VETOES))
    assert all(after.vetoes[reason] >= count for reason, count in before.vetoes.items())


def test_what_the_symbols_lost_is_known_again_after_a_restart(tmp_path, monkeypatch) -> None:
    rehearsed = Rehearsed(monkeypatch, tmp_path, risk_s=0.1)
    before = trade_and_look(rehearsed)
    assert max(filter(None, lost_pct(before).values())) > 0
    rehearsed.restart()
    rehearsed.ticks(1)
    after, book = snapshot(rehearsed), rehearsed.report.state.book
    # Funding does not come on this market: what the symbols lost and won is the book's own day.
    day = rehearsed.engine.telling.run.day
    held_usd = sum(position.unrealized_usd or 0.0 for position in book.positions)
    pnl_usd = sum(day.traded_usd.values()) + held_usd
    assert pnl_usd == pytest.approx(book.day_pnl_usd, abs=0.01)
    assert None not in lost_pct(after).values()
    since_ts = after.worst_since_ts
    assert since_ts is not None
    assert before.worst_since_ts is not None
    assert since_ts > before.worst_since_ts  # the new process knows only its own part of the day


def test_the_snapshot_shows_the_worst_of_the_day_beside_what_is_used(tmp_path, monkeypatch) -> None:
    rehearsed = Rehearsed(monkeypatch, tmp_path, risk_s=0.1)
    found = trade_and_look(rehearsed)
    gross = found.limits["gross_cap"]
    assert gross.worst is not None
    assert gross.used is not None
    assert gross.worst >= gross.used > 0
    assert found.source == "fallback"  # the flag is off
    worst = [row.worst for name, row in found.limits.items() if name.startswith("symbol_nav_cap.")]
    assert None not in worst
    assert max(worst) <= gross.worst


# ---------------------------------------------------------------- alerts


class Paged(Rehearsed):
    """An executor whose alerts go to a program that writes them down, or to one that fails."""

    def __init__(self, monkeypatch, folder: Path, script: str) -> None:
        self.out = folder / "paged"
        program = folder / "pager.py"
        program.write_text(script)
        words = json.dumps([sys.executable, "-I", str(program), str(self.out)])
        super().__init__(monkeypatch, folder, alert_command=words, pause_s=0.0)
        self.engine.pager = AlertCommand(self.engine.settings.services.alerts, self.clock)

    def until(self, done) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s
            self.tick(0.01)
            time.sleep(0.01)

    def halt(self) -> None:
        (self.log_dir / "run" / "kill.json").write_text("unreadable")
        self.tick()


def test_an_alert_is_in_the_journal_and_with_the_program(tmp_path, monkeypatch) -> None:
    write = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"
    paged = Paged(monkeypatch, tmp_path, write)
    paged.ticks(1)
    paged.halt()
    paged.until(lambda: paged.out.exists() and paged.out.read_text().endswith("\n"))
    journal = told(paged, registry.ALERTS)
    assert (journal[0].kind, journal[0].severity, journal[0].subject) == (
        *("trading_state", "critical", "HALTED"),
    )
    first = registry.ALERTS.decoder.decode(paged.out.read_text().splitlines()[0])
    assert first == journal[0]
    paged.engine.close()


def test_a_program_that_fails_is_counted_in_the_health_and_trading_goes_on(
    tmp_path, monkeypatch
) -> None:
    paged = Paged(monkeypatch, tmp_path, "import sys; sys.exit(9)")
    paged.ticks(1)
    paged.halt()

    def counted() -> int:
        health = paged.store.read(registry.EXECUTOR_HEALTH)
        return 0 if health is None else health.errors.get("alert_command", 0)

    paged.until(lambda: counted() == 1)
    paged.ticks(3)
    paged.engine.close()


def test_a_supervised_executor_has_the_program_and_a_bare_call_has_none(
    tmp_path, monkeypatch
) -> None:
    Rehearsed(monkeypatch, tmp_path, alert_command='["/bin/true"]').engine.close()
    loaded = settings.load()
    for operated, words in ((True, ("/bin/true",)), (False, ())):
        engine = boot.build(loaded, SystemClock(), operated=operated)
        assert engine.pager._terms.alert_command == words
        engine.close()
