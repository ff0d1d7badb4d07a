"""The shadow's shared pair, as the executor keeps it."""

from __future__ import annotations

from pathlib import Path

from execution import toml_files
from execution.clock import ManualClock
from execution.core.payloads.run import RunInfo
from execution.pipeline_pair import PipelinePair
from execution.service_loop import Faults
from execution.services import Services
from execution.state_store import StateStore

ROOT = Path(__file__).resolve().parents[2]
STEP_BYTES = 1 << 20


def pair(
    store: StateStore, log_dir: Path, run: RunInfo, step_bytes: int = STEP_BYTES
) -> PipelinePair:
    services = toml_files.read_toml(ROOT / "ops" / "services.toml", Services)
    faults = Faults(ManualClock(run.started_ts))
    return PipelinePair(store, log_dir, services, run.engine_version, run.flags, faults, step_bytes)


def publish_pair(store: StateStore, log_dir: Path, run: RunInfo, now: float) -> None:
    """Count all that there is, as the executor does over its ticks."""
    writer = pair(store, log_dir, run)
    while not writer.refresh_head(run.run_id, now)[1]:
        pass
    while not writer.refresh_compare(run.deciding, now)[1]:
        pass
