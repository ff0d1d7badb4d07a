"""Every state file and journal: where it lies, who writes it, how old it may get."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct
from msgspec.json import Decoder

from execution.state_schema import (
    cycle_journals,
    files,
    inbox_results,
    intel_files,
    journals,
    operator_files,
    order_journals,
)
from execution.state_schema.envelope import Envelope

P = TypeVar("P", bound=Envelope)
R = TypeVar("R", bound=journals.Record)

Process = Literal[
    "executor", "sync_state", "pipeline_shadow_heartbeat", "pipeline_compare", "dashboard", "cli"
]

EXECUTOR: tuple[Process, ...] = ("executor",)
LOOP_MAX_AGE_S = 15.0
RISK_MAX_AGE_S = 180.0
INTEL_MAX_AGE_S = 1_800.0
SYNC_MAX_AGE_S = 180.0


class StateFile(Struct, Generic[P], frozen=True, kw_only=True):
    """One state file; paths are relative to the log folder.

    `time_field` names the attribute that says when the content was computed, and `max_age_s` how
    old that may be. `twin` is a second path that holds the same bytes.
    """

    name: str
    path: str
    struct: type[P]
    time_field: str
    max_age_s: float
    owners: tuple[Process, ...] = EXECUTOR
    twin: str | None = None
    version: int = 1

    @property
    def shared(self) -> bool:
        """Tell whether two processes write this file."""
        return len(self.owners) > 1

    def computed_ts(self, payload: P) -> float:
        """Return when the content of `payload` was computed."""
        ts: float = getattr(payload, self.time_field)
        return ts


class Journal(Struct, Generic[R], frozen=True, kw_only=True):
    """One JSONL journal; `decoder` takes a line to its typed record."""

    name: str
    path: str
    decoder: Decoder[R]
    owners: tuple[Process, ...] = EXECUTOR


Entry = tuple[Journal[Any], journals.Record]


# ---------------------------------------------------------------- state files

NAV = StateFile(
    name="nav",
    path="state/nav.json",
    struct=files.Nav,
    time_field="updated_ts",
    max_age_s=LOOP_MAX_AGE_S,
)
POSITIONS = StateFile(
    name="positions",
    path="state/positions.json",
    struct=files.Positions,
    time_field="updated",
    max_age_s=LOOP_MAX_AGE_S,
)
SYNCED = StateFile(
    name="synced_state",
    path="synced_state.json",
    struct=files.Synced,
    time_field="updated_at",
    max_age_s=LOOP_MAX_AGE_S,
    twin="state/synced_state.json",
)
RISK_SNAPSHOT = StateFile(
    name="risk_snapshot",
    path="state/risk_snapshot.json",
    struct=files.RiskSnapshot,
    time_field="updated_ts",
    max_age_s=RISK_MAX_AGE_S,
)
ROUTER_HEALTH = StateFile(
    name="router_health",
    path="state/router_health.json",
    struct=intel_files.RouterHealth,
    time_field="updated_ts",
    max_age_s=INTEL_MAX_AGE_S,
)
SYMBOL_SCORES = StateFile(
    name="symbol_scores",
    path="state/symbol_scores_v6.json",
    struct=intel_files.SymbolScores,
    time_field="updated_ts",
    max_age_s=INTEL_MAX_AGE_S,
)
EXPECTANCY = StateFile(
    name="expectancy",
    path="state/expectancy_v6.json",
    struct=intel_files.Expectancy,
    time_field="updated_ts",
    max_age_s=INTEL_MAX_AGE_S,
)
ROUTER_SUGGESTIONS = StateFile(
    name="router_suggestions",
    path="state/router_policy_suggestions_v6.json",
    struct=intel_files.RouterSuggestions,
    time_field="generated_ts",
    max_age_s=2_700.0,
)
ALLOCATION_SUGGESTIONS = StateFile(
    name="allocation_suggestions",
    path="state/risk_allocation_suggestions_v6.json",
    struct=intel_files.AllocationSuggestions,
    time_field="generated_ts",
    max_age_s=5_400.0,
)
RUNTIME_PROBE = StateFile(
    name="runtime_probe",
    path="state/v6_runtime_probe.json",
    struct=files.RuntimeProbe,
    time_field="ts",
    max_age_s=900.0,
)
SHADOW_HEAD = StateFile(
    name="shadow_head",
    path="state/pipeline_v6_shadow_head.json",
    struct=files.ShadowHead,
    time_field="generated_ts",
    max_age_s=1_800.0,
    owners=("executor", "pipeline_shadow_heartbeat"),
)
COMPARE_SUMMARY = StateFile(
    name="compare_summary",
    path="state/pipeline_v6_compare_summary.json",
    struct=files.CompareSummary,
    time_field="generated_ts",
    max_age_s=2_700.0,
    owners=("executor", "pipeline_compare"),
)
EXECUTOR_HEALTH = StateFile(
    name="executor_health",
    path="state/executor_health.json",
    struct=files.ExecutorHealth,
    time_field="updated_ts",
    max_age_s=LOOP_MAX_AGE_S,
)
SYNC_HEALTH = StateFile(
    name="sync_health",
    path="state/sync_health.json",
    struct=files.SyncHealth,
    time_field="updated_ts",
    max_age_s=SYNC_MAX_AGE_S,
    owners=("sync_state",),
)
PROCESS_SYNC_STATE = StateFile(
    name="process_sync_state",
    path="state/process_sync_state.json",
    struct=files.ProcessHealth,
    time_field="updated_ts",
    max_age_s=SYNC_MAX_AGE_S,
    owners=("sync_state",),
)
PROCESS_SHADOW_HEARTBEAT = StateFile(
    name="process_pipeline_shadow_heartbeat",
    path="state/process_pipeline_shadow_heartbeat.json",
    struct=files.ProcessHealth,
    time_field="updated_ts",
    max_age_s=SYNC_MAX_AGE_S,
    owners=("pipeline_shadow_heartbeat",),
)
PROCESS_COMPARE = StateFile(
    name="process_pipeline_compare",
    path="state/process_pipeline_compare.json",
    struct=files.ProcessHealth,
    time_field="updated_ts",
    max_age_s=SYNC_MAX_AGE_S,
    owners=("pipeline_compare",),
)

STATE_FILES = (
    NAV,
    POSITIONS,
    SYNCED,
    RISK_SNAPSHOT,
    ROUTER_HEALTH,
    SYMBOL_SCORES,
    EXPECTANCY,
    ROUTER_SUGGESTIONS,
    ALLOCATION_SUGGESTIONS,
    RUNTIME_PROBE,
    SHADOW_HEAD,
    COMPARE_SUMMARY,
    EXECUTOR_HEALTH,
    SYNC_HEALTH,
    PROCESS_SYNC_STATE,
    PROCESS_SHADOW_HEARTBEAT,
    PROCESS_COMPARE,
)


# ---------------------------------------------------------------- journals

ORDERS_ATTEMPTED = Journal(
    name="orders_attempted",
    path="execution/orders_attempted.jsonl",
    decoder=Decoder(order_journals.Intent),
)
ORDERS_EXECUTED: Journal[order_journals.OrderEvent] = Journal(
    name="orders_executed",
    path="execution/orders_executed.jsonl",
    decoder=Decoder(order_journals.OrderEvent),
)
ORDER_METRICS: Journal[order_journals.OrderMetric] = Journal(
    name="order_metrics",
    path="execution/order_metrics.jsonl",
    decoder=Decoder(order_journals.OrderMetric),
)
RISK_VETOES = Journal(
    name="risk_vetoes",
    path="execution/risk_vetoes.jsonl",
    decoder=Decoder(journals.Veto),
)
SIGNAL_METRICS = Journal(
    name="signal_metrics",
    path="execution/signal_metrics.jsonl",
    decoder=Decoder(journals.SignalMetric),
)
NAV_SERIES = Journal(
    name="nav",
    path="execution/nav.jsonl",
    decoder=Decoder(journals.NavPoint),
)
MARKS = Journal(
    name="marks",
    path="execution/marks.jsonl",
    decoder=Decoder(journals.MarkPoint),
)
FLAGS: Journal[journals.FlagsStart | journals.FlagChange] = Journal(
    name="flags",
    path="execution/flags.jsonl",
    decoder=Decoder(journals.FlagsStart | journals.FlagChange),
    owners=("executor", "sync_state", "pipeline_shadow_heartbeat", "pipeline_compare"),
)
ALERTS = Journal(
    name="alerts",
    path="execution/alerts.jsonl",
    decoder=Decoder(journals.Alert),
    owners=("executor", "sync_state", "pipeline_shadow_heartbeat", "pipeline_compare"),
)
AUDIT = Journal(
    name="audit",
    path="execution/audit.jsonl",
    decoder=Decoder(journals.OperatorAct),
    owners=("executor", "cli"),
)
SYNC_HEARTBEATS = Journal(
    name="sync_heartbeats",
    path="execution/sync_heartbeats.jsonl",
    decoder=Decoder(cycle_journals.SyncHeartbeat),
    owners=("sync_state",),
)
ROUTER_HEALTH_SERIES = Journal(
    name="router_health",
    path="router_health.jsonl",
    decoder=Decoder(cycle_journals.RouterHealthPoint),
)
SHADOW: Journal[journals.ShadowDecision | journals.ShadowHeartbeat] = Journal(
    name="pipeline_v6_shadow",
    path="pipeline_v6_shadow.jsonl",
    decoder=Decoder(journals.ShadowDecision | journals.ShadowHeartbeat),
    owners=("executor", "pipeline_shadow_heartbeat"),
)
COMPARE = Journal(
    name="pipeline_v6_compare",
    path="pipeline_v6_compare.jsonl",
    decoder=Decoder(cycle_journals.ComparePoint),
    owners=("executor", "pipeline_compare"),
)

JOURNALS = (
    ORDERS_ATTEMPTED,
    ORDERS_EXECUTED,
    ORDER_METRICS,
    RISK_VETOES,
    SIGNAL_METRICS,
    NAV_SERIES,
    MARKS,
    FLAGS,
    ALERTS,
    AUDIT,
    SYNC_HEARTBEATS,
    ROUTER_HEALTH_SERIES,
    SHADOW,
    COMPARE,
)


# ---------------------------------------------------------------- between operators and executor

# Not telemetry: what is asked and answered under `run/`.
COMMANDS: Journal[operator_files.Command] = Journal(
    name="commands",
    path="run/commands.jsonl",
    decoder=Decoder(operator_files.Command),
    owners=("cli",),
)
COMMAND_RESULTS = Journal(
    name="command_results",
    path="run/command_results.jsonl",
    decoder=Decoder(operator_files.CommandResult),
)

# ---------------------------------------------------------------- between users' models and executor

INBOX_PATH = "run/inbox.jsonl"
INBOX_RESULTS = Journal(
    name="inbox_results",
    path="run/inbox_results.jsonl",
    decoder=Decoder(inbox_results.InboxResult),
)
