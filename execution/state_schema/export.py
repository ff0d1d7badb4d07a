"""The whole contract as JSON Schema, in the outer form that readers outside this project know."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.json import schema, schema_components

from execution.state_schema.registry import JOURNALS, STATE_FILES, StateFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "Shape of the files under the log folder, by path relative to it"
REFERENCE = "#/$defs/{name}"


def document() -> dict[str, Any]:
    """Return `files` and `journals` by path; each schema stands alone, with its own `$defs`."""
    files = {}
    for file in STATE_FILES:
        files[file.path] = state_schema(file)
        if file.twin is not None:
            files[file.twin] = state_schema(file)
    journals = {journal.path: record_schema(journal.decoder.type) for journal in JOURNALS}
    return {"$schema": DIALECT, "title": TITLE, "files": files, "journals": journals}


def state_schema(file: StateFile[Any]) -> dict[str, Any]:
    """Return the schema of one state file; every key is written, so every key is required."""
    whole = schema(file.struct)
    defs = whole["$defs"]
    for each in defs.values():
        _require_all(each)
    top: dict[str, Any] = defs.pop(whole["$ref"].rpartition("/")[2])
    top["properties"]["schema_version"] = {"const": file.version}
    return {**top, "$defs": defs}


def record_schema(shape: type[Struct]) -> dict[str, Any]:
    """Return the schema of one line of a journal."""
    (line,), defs = schema_components((shape,), ref_template=REFERENCE)
    for each in defs.values():
        _require_all(each)
    return {**line, "$defs": defs}


def _require_all(shape: dict[str, Any]) -> None:
    properties: dict[str, Any] = shape.get("properties", {})
    for each in properties.values():
        each.pop("default", None)
    if properties:
        shape["required"] = sorted(properties)
