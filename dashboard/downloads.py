"""CSV files for a reader to keep, made of the log folder as it is when one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from dashboard import csv_text
from dashboard.seen import Seen


class Download(Struct, frozen=True):
    """One file: its name without `.csv`, and what it holds of what was seen."""

    name: str
    rows: Callable[[Seen], Iterable[Struct]]


def maker(download: Download, look: Callable[[], Seen]) -> Callable[[], str]:
    """Return what makes the file's text when it is called."""
    return lambda: csv_text.write(download.rows(look()))
