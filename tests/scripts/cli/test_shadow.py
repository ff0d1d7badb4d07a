"""`hedge shadow` over the folder that a replay left: report, promote and roll back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from execution import settings
from execution.clock import ManualClock
from execution.errors import ConfigError
from execution.jsonl_log import tail
from execution.state_schema import registry
from scripts.cli import hedge
from tests.support import shadowed
from tests.support.replays import cut
from tests.support.shadowed import FLAGS, MARKET, SYMBOLS

FROM_TS = 1_746_403_200.0  # 2025-05-05
DAY_S = 86_400.0
# A looser limit beside another offset: it differs in every way that a gate asks about.
CANDIDATE = """# Why: room for more legs.
[risk.book]
max_concurrent = 8
[router]
offset_bps = 0.7
"""
LENIENT = {
    "min_agreement_pct": 0.0,
    "min_results": 2,
    "min_difference_usd": -1_000_000.0,
    "max_new_breaches": 100_000,
}

pytestmark = pytest.mark.skipif(
    not MARKET.is_dir(), reason="the reference folder is not beside this checkout"
)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("r")
    market = cut(MARKET, folder / "market", SYMBOLS, FROM_TS, FROM_TS + 3 * DAY_S)
    shadowed.replay(folder, market, CANDIDATE)
    return folder


class Desk:
    """An operator with a replayed candidate, a minute after its last comparison."""

    def __init__(self, folder: Path, replayed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.ops = folder / "out", folder / "ops"
        for name in ("state", "run"):
            shutil.copytree(replayed / "out" / name, self.out / name)
        shutil.copytree(replayed / "ops", self.ops)
        monkeypatch.setenv("HEDGE_OPS_DIR", str(self.ops))
        monkeypatch.setenv("HEDGE_LOG_DIR", str(self.out))
        monkeypatch.setenv("MARKET", f"replay:{replayed / 'market'}")
        for flag in FLAGS:
            monkeypatch.setenv(flag, "1")
        self.summary = json.loads((self.out / registry.COMPARE_SUMMARY.path).read_text())
        self.clock = ManualClock(self.summary["generated_ts"] + 60)
        self.demand(**LENIENT)

    def demand(self, **keys: float) -> None:
        path = self.ops / "services.toml"
        text = path.read_text()
        for key, value in keys.items():
            text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
            assert count == 1
        path.write_text(text)

    def type(self, *words: str, answer: str | None = None) -> Result:
        return CliRunner().invoke(hedge, ["shadow", *words], obj=self.clock, input=answer)

    def promote(self, *words: str, answer: str | None = None) -> Result:
        return self.type("promote", "--reason", "it did well", *words, answer=answer)

    def report(self) -> dict[str, Any]:
        done = self.type("report", "--json")
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.ops.glob("*.toml")}

    def audit(self) -> list[tuple[str, str | None]]:
        batch = tail(self.out / registry.AUDIT.path, 9, registry.AUDIT.decoder.decode)
        return [(act.act, act.outcome) for act in batch.records]

    def is_refused(self, *said: str) -> None:
        """Check that a promotion is refused with these words, and changes nothing."""
        before = self.files()
        done = self.promote("--yes")
        assert done.exit_code == 1, done.output
        for words in said:
            assert words in " ".join(done.output.split())
        assert "refused: nothing was changed" in done.output
        assert self.files() == before
        assert not (self.ops / "backups").exists()
        assert self.audit()[-1] == ("shadow promote", "refused")


@pytest.fixture
def desk(tmp_path: Path, replayed: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, replayed, monkeypatch)


def test_the_report_says_what_was_measured(desk: Desk):
    found = desk.report()
    assert found["summary"] == desk.summary
    assert found["age_s"] == 60.0
    assert [(each["place"], each["was"], each["becomes"]) for each in found["changes"]] == [
        (["book", "max_concurrent"], 4, 8),
        (["offset_bps"], 0.5, 0.7),
    ]
    assert found["problems"] == []
    assert {gate["name"]: gate["passed"] for gate in found["gates"]} == dict.fromkeys(
        ("pairs", "agreement", "results", "difference", "new breaches"), True
    )
    difference = desk.summary["counterfactual"]["difference_usd"]
    assert found["mean"]["n"] == difference["n"]
    assert found["mean"]["low_usd"] < difference["mean"] < found["mean"]["high_usd"]
    assert desk.report() == found
    shown = desk.type("report").output
    for words in ("max_concurrent", "verdicts agree", "LAYERUSDT", "reversion", "live:max_conc"):
        assert words in shown
    assert f"compared 1 min ago, {desk.summary['sample_size']} pairs" in shown


@pytest.mark.parametrize(
    ("key", "value", "gate"),
    [
        ("min_pairs", 100_000, "pairs"),
        ("min_agreement_pct", 100.0, "agreement"),
        ("min_results", 2_000, "results"),
        ("min_difference_usd", 1_000.0, "difference"),
        ("max_new_breaches", 0, "new breaches"),
    ],
)
def test_each_gate_that_fails_refuses(desk: Desk, key: str, value: float, gate: str):
    desk.demand(**{key: value})
    passed = {each["name"]: each["passed"] for each in desk.report()["gates"]}
    assert [name for name, good in passed.items() if not good] == [gate]
    desk.is_refused("FAILED")


def test_a_warm_up_refuses(tmp_path: Path, replayed: Path, monkeypatch: pytest.MonkeyPatch):
    short = tmp_path / "short"
    short.mkdir()
    cut(replayed / "market", short / "market", SYMBOLS, FROM_TS, FROM_TS + DAY_S)
    shadowed.replay(short, short / "market", CANDIDATE)
    desk = Desk(tmp_path, short, monkeypatch)
    assert 0 < desk.summary["sample_size"] < 200
    desk.is_refused(f"against it: warm-up: {desk.summary['sample_size']} of 200 pairs")


@pytest.mark.parametrize(
    ("file", "line", "other"),
    [
        ("shadow.toml", "offset_bps = 0.7", "offset_bps = 0.8"),
        ("risk.toml", "day_loss_limit_pct = 5.0", "day_loss_limit_pct = 4.5"),
    ],
)
def test_other_policies_than_were_compared_are_refused(
    desk: Desk, file: str, line: str, other: str
):
    text = (desk.ops / file).read_text()
    assert text.count(line) == 1
    (desk.ops / file).write_text(text.replace(line, other))
    desk.is_refused("what was compared are not the policies that the files state now")


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        ("# nothing\n", "changes nothing: write a candidate"),
        ("[router]\nofset_bps = 0.7\n", "ofset_bps: is unknown"),
    ],
)
def test_a_candidate_that_is_none_is_refused(desk: Desk, candidate: str, said: str):
    (desk.ops / "shadow.toml").write_text(candidate)
    desk.is_refused(said)


def test_an_old_comparison_is_refused(desk: Desk):
    desk.clock.advance(7_200)
    desk.is_refused("the comparison is 121 min old")


def test_without_a_comparison_there_is_a_word_and_no_traceback(desk: Desk):
    (desk.out / registry.COMPARE_SUMMARY.path).unlink()
    done = desk.promote("--yes")
    assert isinstance(done.exception, ConfigError)
    assert "compare_summary.json" in str(done.exception)


def test_who_says_no_changes_nothing(desk: Desk):
    before = desk.files()
    done = desk.promote(answer="n\n")
    assert (done.exit_code, desk.files()) == (1, before)
    assert not (desk.ops / "backups").exists()


def test_a_candidate_that_passes_is_promoted_and_rolled_back(desk: Desk):
    before, former = desk.files(), settings.load()
    done = desk.promote(answer="y\n")
    assert done.exit_code == 0, done.output
    assert "supervisorctl restart hedge:hedge-executor" in done.output
    after = settings.load()
    assert after.fingerprint == former.shadow_fingerprint != former.fingerprint
    assert after.policy == former.shadow_policy == after.shadow_policy
    files = desk.files()
    assert {name for name in files if files[name] != before[name]} == {
        "risk.toml",
        "router.toml",
        "shadow.toml",
    }
    for name in ("risk.toml", "router.toml"):
        changed = [
            (was, now)
            for was, now in zip(before[name].splitlines(), files[name].splitlines(), strict=True)
            if was != now
        ]
        assert len(changed) == 1  # every comment is where it was
    assert files["shadow.toml"].strip() == "# Why: room for more legs."
    again = desk.promote("--yes")
    assert (again.exit_code, desk.files()) == (1, files)
    assert "write a candidate" in again.output

    rolled = desk.type("rollback", "--reason", "it did badly")
    assert rolled.exit_code == 0, rolled.output
    assert desk.files() == before
    assert settings.load() == former
    acts = desk.audit()
    assert [act for act, _ in acts] == ["shadow promote", "shadow promote", "shadow rollback"]
    assert acts[0][1] is not None
    assert re.fullmatch(r"done, before it: \d{8}T\d{6}Z-[0-9a-f]{12}", acts[0][1])
    assert acts[2][1] is not None
    assert acts[2][1].endswith("-rolled-back")


def test_edits_since_a_promotion_are_lost_by_force_only(desk: Desk):
    before = desk.files()
    assert desk.promote("--yes").exit_code == 0
    path = desk.ops / "risk.toml"
    path.write_text(path.read_text().replace("max_concurrent = 8", "max_concurrent = 7"))
    refused = desk.type("rollback", "--reason", "it did badly")
    assert isinstance(refused.exception, ConfigError)
    assert "was edited since the promotion" in str(refused.exception)
    assert desk.type("rollback", "--force", "--reason", "it did badly").exit_code == 0
    assert desk.files() == before


@pytest.mark.parametrize("verb", ["promote", "rollback"])
def test_nothing_is_done_without_a_reason(desk: Desk, verb: str):
    assert desk.type(verb, "--reason", " ").exit_code == 2
