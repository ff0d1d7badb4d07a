"""What the log folder holds at one moment, as values: the input of everything drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from execution.guards import Mode
from execution.state_schema.envelope import Envelope
from execution.state_schema.journals import Alert, NavPoint
from execution.state_schema.mirror_files import Mirror
from execution.state_schema.registry import StateFile
from execution.state_store import Unreadable

P = TypeVar("P", bound=Envelope)


class Seen(Struct, frozen=True):
    """Every state file by its registry name, and the newest records of two journals.

    `unread` are journals that exist and could not be read.
    """

    files: Mapping[str, Envelope | Unreadable]
    nav_points: tuple[NavPoint, ...] = ()
    alerts: tuple[Alert, ...] = ()
    unread: tuple[Unreadable, ...] = ()
    mirror: Mirror | Unreadable | None = None

    def of(self, file: StateFile[P]) -> P | Unreadable:
        """Return the payload of `file`, or why there is none."""
        found = self.files.get(file.name)
        if isinstance(found, file.struct):
            return found
        if isinstance(found, Unreadable):
            return found
        return Unreadable(file.path, "missing", "no such file")


class Viewer(Struct, frozen=True):
    """The page's own process: what it was configured as, and since when it runs."""

    mode: Mode
    engine_version: str
    started_ts: float
    refresh_s: float
