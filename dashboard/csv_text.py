"""Records and rows as CSV that a spreadsheet reads as text and numbers, never as formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from execution.log_lines import escape

# What makes a spreadsheet compute or call out; the wide ones do where wide letters are common.
ACTIVE: Final = "=+-@|%\uff1d\uff0b\uff0d\uff20"
# Where a cell begins: for some spreadsheets also behind a semicolon.
STARTS: Final = re.compile(rf"(?:^|;) *(?=[{re.escape(ACTIVE)}])")


def write(values: Iterable[msgspec.Struct]) -> str:
    """Return one line for each value, numbers as they are; nested ones by dotted names.

    The columns are those of all values together. Before what a spreadsheet may take for a formula
    stands an apostrophe; characters that nobody sees are written as escapes.
    """
    rows = [dict(_flat("", msgspec.to_builtins(value))) for value in values]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return out.getvalue()


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:  # noqa: ANN401 - whatever msgspec gives
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}" if name else str(key), part)
    elif isinstance(value, list | tuple):
        yield name, "; ".join(str(part) for part in value)
    else:
        yield name, value


def _cell(value: object) -> object:
    """Return what is safe to write: only text can be a formula, or hide what it is."""
    if isinstance(value, str):
        return STARTS.sub(r"\g<0>'", escape(value))
    return "" if value is None else value
