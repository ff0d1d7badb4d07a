"""The whole executor with a candidate in its shadow: what it writes, and what it never touches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from execution.boot import Engine
from execution.clock import ManualClock
from execution.core import compare
from execution.core.seam import NewOrder
from execution.jsonl_log import tail
from execution.shadow_runner import ShadowRunner
from execution.state_schema import registry
from execution.state_schema.journals import ShadowDecision, ShadowHeartbeat
from tests.support.engines import NOW, Rehearsed

ANOTHER = "[strategy.brisk-fade]\nentry_z = 1.5\n[router]\noffset_bps = 3.0\n"


class Sluggish(ManualClock):
    """A clock on which everything that is measured takes 80 ms."""

    def monotonic(self) -> float:
        self.advance(0.08)
        return super().monotonic()


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_V6_SHADOW_ENABLED", "1")


def rehearse(
    monkeypatch: pytest.MonkeyPatch, folder: Path, candidate: str | None, **changes: Any
) -> Rehearsed:
    """Start an executor with this candidate; None leaves the file out."""
    folder.mkdir(exist_ok=True)
    found = Rehearsed(monkeypatch, folder, **changes)
    path = folder / "ops" / "shadow.toml"
    if candidate is None:
        path.unlink()
    else:
        path.write_text(candidate)
    found.restart()
    return found


def lines(of: Rehearsed, journal: registry.Journal[Any]) -> list[Any]:
    return [*tail(of.log_dir / journal.path, 10_000, journal.decoder.decode).records]


def failing(engine: Engine) -> ShadowRunner:
    broken = replace(engine.live_policy, limits=None)  # type: ignore[arg-type]
    return ShadowRunner(broken, engine.clock, 50.0, 60.0)


def slow(engine: Engine) -> ShadowRunner:
    return ShadowRunner(engine.live_policy, Sluggish(NOW), 50.0, 2.0)


def none(engine: Engine) -> ShadowRunner:
    return ShadowRunner(None, engine.clock, 50.0, 60.0)


def orders(of: Rehearsed, shadow: Any = None) -> list[NewOrder]:
    """Trade for twenty seconds; return what was sent."""
    if shadow is not None:
        of.engine.shadow = shadow(of.engine)
    for _ in range(40):
        assert set(of.tick()) <= {"shadow"}
    return of.heard.sent


def test_orders_are_the_same_with_any_shadow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    plain = orders(rehearse(monkeypatch, tmp_path / "a", ""), none)
    assert len(plain) > 20
    assert orders(rehearse(monkeypatch, tmp_path / "b", ANOTHER)) == plain
    longer = "[strategy.brisk-fade]\nbar_s = 5\nwindow_bars = 90\n"
    assert orders(rehearse(monkeypatch, tmp_path / "c", longer)) == plain
    broken = rehearse(monkeypatch, tmp_path / "d", "")
    assert orders(broken, failing) == plain
    assert broken.engine.faults.errors["shadow"] == 40
    # What failed did not want nothing: there is no line to say so.
    assert {type(each) for each in lines(broken, registry.SHADOW)} == {ShadowHeartbeat}
    late = rehearse(monkeypatch, tmp_path / "e", "")
    assert orders(late, slow) == plain
    assert late.engine.faults.errors["shadow"] > 1
    health = late.store.read(registry.EXECUTOR_HEALTH)
    assert health is not None
    assert health.shadow_ms.p50 == pytest.approx(80.0)
    assert {alert.subject for alert in lines(late, registry.ALERTS)} >= {"shadow"}


def test_both_policies_are_in_the_probe_and_each_decision_in_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    rehearsal = rehearse(monkeypatch, tmp_path, ANOTHER)
    rehearsal.ticks(40)
    settings = rehearsal.engine.settings
    probe = rehearsal.store.read(registry.RUNTIME_PROBE)
    assert probe is not None
    assert probe.live_policy == settings.fingerprint
    assert probe.shadow_policy == settings.shadow_fingerprint != settings.fingerprint
    found = lines(rehearsal, registry.SHADOW)
    ids = [each.decision_id for each in found if isinstance(each, ShadowDecision)]
    assert len(ids) == len(set(ids)) > 20
    point = rehearsal.store.read(compare.CHECKPOINT)
    assert point is not None
    assert {each.engine for each in found} == {point.deciding.name}
    attempted = {each.decision_id for each in lines(rehearsal, registry.ORDERS_ATTEMPTED)}
    assert attempted == {each.decision_id for each in found if each.live is not None}
    head = rehearsal.store.read(registry.SHADOW_HEAD)
    assert head is not None
    theirs = [each for each in found if each.shadow is not None]
    assert (head.total, head.last_decision) == (len(theirs), theirs[-1])


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        ("[router]\nofset_bps = 3.0\n", "ofset_bps: is unknown"),
        ("[risk", "cannot be read as toml"),
        (None, "shadow.toml: is missing"),
    ],
)
def test_a_candidate_that_cannot_be_read_is_an_alert_and_live_trades_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, candidate: str | None, said: str
):
    rehearsal = rehearse(monkeypatch, tmp_path, candidate)
    rehearsal.ticks(20)
    assert len(rehearsal.heard.entries) > 0
    told = [alert for alert in lines(rehearsal, registry.ALERTS) if alert.kind == "shadow_policy"]
    assert [(alert.severity, alert.subject) for alert in told] == [("warning", "shadow")]
    assert said in told[0].text
    assert lines(rehearsal, registry.SHADOW) == []
    probe = rehearsal.store.read(registry.RUNTIME_PROBE)
    assert probe is not None
    assert probe.shadow_policy is None


def test_without_the_flag_a_wrong_candidate_is_nobodys_business(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PIPELINE_V6_SHADOW_ENABLED", "0")
    rehearsal = rehearse(monkeypatch, tmp_path, None)
    rehearsal.ticks(10)
    assert lines(rehearsal, registry.SHADOW) == []
    kinds = {alert.kind for alert in lines(rehearsal, registry.ALERTS)}
    assert "shadow_policy" not in kinds


def test_when_nothing_is_decided_for_long_a_heartbeat_says_so_and_is_no_decision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    rehearsal = rehearse(monkeypatch, tmp_path, ANOTHER, shadow_head_s=30.0)
    strategies = tmp_path / "ops" / "strategy.toml"
    strategies.write_text(strategies.read_text().replace("entry_z = 0.5", "entry_z = 500.0"))
    strategies.write_text(strategies.read_text().replace("min_atr_bps = 0.0", "min_atr_bps = 1e6"))
    (tmp_path / "ops" / "shadow.toml").write_text("")
    rehearsal.restart()
    for _ in range(70):
        rehearsal.tick(1.0)
    found = lines(rehearsal, registry.SHADOW)
    assert [type(each) for each in found] == [ShadowHeartbeat] * 3
    assert [round(each.ts - found[0].ts) for each in found] == [0, 30, 60]
    head, summary = (
        rehearsal.store.read(registry.SHADOW_HEAD),
        rehearsal.store.read(registry.COMPARE_SUMMARY),
    )
    assert head is not None
    assert summary is not None
    assert (head.total, head.last_decision_age_s, summary.sample_size) == (0, None, 0)
    assert head.heartbeat_ts == found[-1].ts
