"""The shared pair: the shadow's head and the comparison, counted on from the journals by either writer.

Executor and services build them with the same pure functions, one step of the journals at a time,
under the lock of the pair. A journal that cannot be read is counted as a fault, and the files stay fresh.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from execution.core import compare
from execution.core.compare import Deciding, Journals, Reader
from execution.core.counterfactual import Terms
from execution.core.payloads import compare_summary, shadow_head
from execution.jsonl_files import find_end
from execution.jsonl_log import Batch, read_from
from execution.service_loop import Faults
from execution.services import Services
from execution.state_schema import registry
from execution.state_schema.envelope import V6Flags
from execution.state_schema.files import CompareSummary, JournalPosition, ShadowHead
from execution.state_schema.registry import Journal
from execution.state_store import StateStore


class PipelinePair:
    """The two files, as one writer of the given version and flags keeps them."""

    def __init__(
        self,
        store: StateStore,
        log_dir: Path,
        services: Services,
        engine_version: str,
        flags: V6Flags,
        faults: Faults,
        step_bytes: int,
    ) -> None:
        self._store = store
        self._log_dir = log_dir
        self._engine_version = engine_version
        self._flags = flags
        self._faults = faults
        self._step_bytes = step_bytes
        paper = services.paper
        self._terms = Terms(
            maker_fee_bps=paper.maker_fee_bps,
            taker_fee_bps=paper.taker_fee_bps,
            slippage_bps=paper.slippage_bps,
            volume_share_frac=paper.volume_share_frac,
            horizon_s=services.compare.horizon_s,
        )

    def refresh_head(self, run_id: str, now: float) -> tuple[ShadowHead, bool]:
        """Count one step of the journal into the head; return also whether that was all of it."""
        with self._store.locked():
            before = self._store.read(registry.SHADOW_HEAD)
            counted = None if before is None else before.journal
            journal = self._reader(registry.SHADOW)
            batch = journal.read(counted)
            head = shadow_head.refresh(
                before,
                batch.records,
                batch.position,
                self._engine_version,
                self._flags,
                run_id,
                now,
            )
            written = self._store.write(registry.SHADOW_HEAD, head)
        return written, journal.is_at_end(batch.position)

    def refresh_compare(self, deciding: Deciding, now: float) -> tuple[CompareSummary, bool]:
        """Count one step of the journals into the summary; return also whether that was all."""
        journals = Journals(
            decisions=self._reader(registry.SHADOW),
            fills=self._reader(registry.ORDERS_EXECUTED),
            marks=self._reader(registry.MARKS),
        )
        with self._store.locked():
            before = self._store.read(compare.CHECKPOINT)
            point, read_all = compare.advance(before, journals, deciding, self._terms, now)
            summary = compare_summary.build(
                point, self._terms.horizon_s, self._engine_version, self._flags, now
            )
            self._store.write(compare.CHECKPOINT, point)
            return self._store.write(registry.COMPARE_SUMMARY, summary), read_all

    def _reader(self, journal: Journal[Any]) -> Reader:
        path = self._log_dir / journal.path

        def read(at: JournalPosition | None) -> Batch[Any]:
            try:
                return read_from(path, at, journal.decoder.decode, self._step_bytes)
            except OSError as error:
                self._faults.report("shadow_journal", "unreadable", f"{journal.path}: {error}")
                return Batch(position=at)

        def end() -> JournalPosition | None:
            with contextlib.suppress(OSError):
                return find_end(path)
            return None

        return Reader(read, end)
