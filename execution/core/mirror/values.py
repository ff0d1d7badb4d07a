"""What Firestore takes: found out here, by the path of the value, before anything is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

DOCUMENT_BYTES: Final = 1_000_000  # the server's limit is 1 MiB, with the document's name
KEY_BYTES: Final = 1_500
DEPTH: Final = 20
INTEGER_BITS: Final = 63
RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
NUMBER_BYTES: Final = 8
MAP_BYTES: Final = 32  # what a document costs besides its fields

Fields = Mapping[str, Any]


def problem(fields: Fields) -> str | None:
    """Return the first thing that the server would refuse, as `path: why`; None if there is none."""
    found = next(_problems(fields, "", 0), None)
    if found is not None:
        return found
    size = size_bytes(fields)
    if size > DOCUMENT_BYTES:
        return f"the document: {size} bytes, limit {DOCUMENT_BYTES}"
    return None


def size_bytes(value: object) -> int:
    """Return what a value counts against the limit of a document, as Firestore adds it up."""
    match value:
        case None | bool():
            return 1
        case int() | float():
            return NUMBER_BYTES
        case str():
            return _text_bytes(value) + 1
        case Mapping():
            return MAP_BYTES + sum(
                _text_bytes(key) + 1 + size_bytes(inner) for key, inner in value.items()
            )
        case list():
            return sum(map(size_bytes, value))
        case _:
            return 0


def _problems(value: object, path: str, depth: int, *, in_list: bool = False) -> Iterator[str]:
    """Name what is wrong in `value`; `path` reads as `symbols[3].vol.atr_now`."""
    if depth > DEPTH:
        yield f"{path}: nested deeper than {DEPTH} levels"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _key_problems(key, path)
            yield from _problems(inner, f"{path}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, list) and in_list:
        yield f"{path}: a list within a list"
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _problems(inner, f"{path}[{place}]", depth + 1, in_list=True)
    elif (wrong := _scalar_problem(value)) is not None:
        yield f"{path}: {wrong}"


def _scalar_problem(value: object) -> str | None:
    match value:
        case None | bool():
            return None
        case int():
            fits = -(2**INTEGER_BITS) <= value < 2**INTEGER_BITS
            return None if fits else "an integer beyond 64 bits"
        case float():
            return None if math.isfinite(value) else f"{value} is no number"
        case str():
            return None if _is_text(value) else "text that is not UTF-8"
        case _:
            return f"a {type(value).__name__} is no JSON value"


def _key_problems(key: object, path: str) -> Iterator[str]:
    where = path or "the document"
    if not isinstance(key, str):
        yield f"{where}: the key {key!r} is no text"
    elif not key:
        yield f"{where}: an empty key"
    elif RESERVED.fullmatch(key):
        yield f"{where}: the key {key!r} is reserved"
    elif not _is_text(key) or _text_bytes(key) > KEY_BYTES:
        yield f"{where}: the key {key[:20]!r} is too long or not UTF-8"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_bytes(text: object) -> int:
    return len(str(text).encode("utf-8", "replace"))
