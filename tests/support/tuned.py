"""An executor with a history of routes in its journal, made and read by its own code."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from msgspec.structs import replace

from execution import boot, settings
from execution.boot import Engine
from execution.clock import ManualClock
from execution.core.payloads import intel
from execution.core.payloads.run import IntelReport
from execution.core.policy import Policy
from execution.core.records import RoutePolicy
from execution.environment import ROOT
from execution.executor_live import _pub_tick
from execution.jsonl_log import tail
from execution.state_schema import registry
from execution.state_schema.intel_files import (
    AllocationGlobal,
    AllocationSuggestions,
    RiskMode,
    RouterSuggestions,
)
from execution.state_schema.order_journals import PolicyChange, RouteMetric
from execution.v6_flags import FLAG_NAMES
from tests.support.intel import routed

NOW = 1_800_014_400.0
SYMBOL = "BTCUSDT"
ALLOWED = {"apply": {"symbols": [SYMBOL]}}


def write_ops(folder: Path, **files: Mapping[str, Any]) -> Path:
    """Copy `ops/` with keys changed: file → key, or file → section → key."""
    ops = folder / "ops"
    if not ops.exists():
        shutil.copytree(ROOT / "ops", ops)
    for name, keys in files.items():
        path = ops / f"{name}.toml"
        document = tomlkit.parse(path.read_text())
        for key, value in keys.items():
            if isinstance(value, Mapping):
                document[key].update(value)  # type: ignore[union-attr]  # a table
            else:
                document[key] = value
        path.write_text(tomlkit.dumps(document))
    return ops


class Tuned:
    """One executor on a manual clock; `publish` is what its loop does after a tick."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        *,
        off: tuple[str, ...] = (),
        intel_toml: Mapping[str, Any] = ALLOWED,
        offset_bps: float = 4.0,
        **router: Any,
    ) -> None:
        for name in FLAG_NAMES:
            monkeypatch.setenv(name, "0" if name in off else "1")
        router = {"offset_bps": offset_bps, **router}
        ops = write_ops(folder, intel=intel_toml, router=router)
        monkeypatch.setenv("HEDGE_OPS_DIR", str(ops))
        monkeypatch.setenv("HEDGE_LOG_DIR", str(folder / "logs"))
        self.clock = ManualClock(NOW)
        self._begin()

    def _begin(self) -> None:
        loaded = settings.load()
        settings.prepare_log_dir(loaded)
        self.log_dir = loaded.log_dir
        self.engine: Engine = boot.build(loaded, self.clock)
        self.store = self.engine.store

    def restart(self, after_s: float = 0.0) -> None:
        """End, and begin again so much later."""
        self.engine.close()
        self.clock.advance(after_s)
        self._begin()

    @property
    def policy(self) -> Policy:
        return self.engine.live_policy

    def route_policy(self, symbol: str = SYMBOL) -> RoutePolicy:
        return self.policy.route_policy(symbol)

    def attempts(self, count: int, filled: float = 0.0, **fields: Any) -> None:
        """Journal so many finished routes under the policy that the symbol has now."""
        symbol = fields.get("symbol", SYMBOL)
        policy = self.policy.route_policy(symbol)
        told = {"policy": policy, "policy_configured": self.policy.router.default, **fields}
        now = self.clock.now()
        metrics = (routed(now - 600 + n / 100, filled, **told) for n in range(count))
        lost = self.engine.journals.append((registry.ORDER_METRICS, each) for each in metrics)
        assert lost == ()

    def allocator_says(self, mode: RiskMode, age_s: float = 0.0, *, enabled: bool = True) -> None:
        """Write the allocator's file as the executor would have, so long ago."""
        run = self.engine.telling.run
        told = intel.allocation_suggestions(IntelReport(), run)
        book = AllocationGlobal(current_equity_usd=1e5, current_drawdown_pct=0.0, risk_mode=mode)
        payload: AllocationSuggestions = replace(
            told, generated_ts=self.clock.now() - age_s, enabled=enabled, book=book
        )
        self.store.write(registry.ALLOCATION_SUGGESTIONS, payload)

    def publish(self) -> RouterSuggestions:
        """Look and publish, as a loop that decides nothing; return the suggestions on disk."""
        self.engine.report = None
        published = _pub_tick(self.engine)
        self.engine.faults.note(published.failures)
        found = self.store.read(registry.ROUTER_SUGGESTIONS)
        assert found is not None
        return found

    def suggest_again(self) -> RouterSuggestions:
        """Let the pause between suggestions pass, and publish."""
        self.clock.advance(self.engine.settings.intel.autotune.every_s)
        return self.publish()

    def journal(self) -> list[PolicyChange]:
        """Return the changes that `order_metrics.jsonl` tells of."""
        journal = registry.ORDER_METRICS
        read = tail(self.log_dir / journal.path, 10_000, journal.decoder.decode)
        assert read.broken == 0
        return [record for record in read.records if isinstance(record, PolicyChange)]

    def routes(self) -> list[RouteMetric]:
        """Return the finished routes that `order_metrics.jsonl` tells of."""
        journal = registry.ORDER_METRICS
        read = tail(self.log_dir / journal.path, 10_000, journal.decoder.decode)
        return [record for record in read.records if isinstance(record, RouteMetric)]
