"""What the executor answers to the inbox, in `run/inbox_results.jsonl`."""

from __future__ import annotations

from execution.core.types import InboxOutcome
from execution.state_schema.journals import Record


class InboxResult(Record, frozen=True, kw_only=True, tag="result"):
    """What became of the intent `id`, said once.

    `accepted`: risk let it through, follow `decision_id` in the order journals; `vetoed`: risk
    refused, `reason` is its headline; `refused`: it never became an order.
    """

    id: str
    outcome: InboxOutcome
    decision_id: str | None
    reason: str
