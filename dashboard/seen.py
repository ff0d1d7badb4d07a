"""What the log folder holds at one moment, as values: the input of everything drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from msgspec import Struct

from execution.core.promotion import Promotion
from execution.guards import Mode
from execution.state_schema.envelope import Envelope
from execution.state_schema.journals import Record
from execution.state_schema.mirror_files import Mirror
from execution.state_schema.registry import Journal, StateFile
from execution.state_store import Unreadable

P = TypeVar("P", bound=Envelope)
R = TypeVar("R", bound=Record)


class Seen(Struct, frozen=True):
    """Every state file and the newest records of the journals that a page asked for, by name.

    `logs` are the last lines of the processes' own logs, by the name of the file.
    """

    files: Mapping[str, Envelope | Unreadable]
    journals: Mapping[str, tuple[Record, ...] | Unreadable] = {}
    logs: Mapping[str, tuple[str, ...] | Unreadable] = {}
    mirror: Mirror | Unreadable | None = None

    def of(self, file: StateFile[P]) -> P | Unreadable:
        """Return the payload of `file`, or why there is none."""
        found = self.files.get(file.name)
        if isinstance(found, file.struct):
            return found
        if isinstance(found, Unreadable):
            return found
        return Unreadable(file.path, "missing", "no such file")

    def records(self, journal: Journal[R]) -> tuple[R, ...]:
        """Return the newest records of `journal`, oldest first; none where it cannot be read."""
        found = self.journals.get(journal.name, ())
        return () if isinstance(found, Unreadable) else cast("tuple[R, ...]", found)

    def unread(self, journal: Journal[R]) -> Unreadable | None:
        """Return why `journal` cannot be read, None where it can."""
        found = self.journals.get(journal.name, ())
        return found if isinstance(found, Unreadable) else None


class Viewer(Struct, frozen=True):
    """The page's own process: what it was configured as, and since when it runs."""

    mode: Mode
    engine_version: str
    started_ts: float
    refresh_s: float
    promotion: Promotion
