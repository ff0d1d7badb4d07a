"""What would change: a document to be against the one that is there, value by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from execution.core.mirror.plan import UNHASHED


class Difference(Struct, frozen=True):
    """One value, by its path; `was` or `now` is `ABSENT` where there is none."""

    path: str
    was: Any
    now: Any


ABSENT = "(none)"


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], moving: frozenset[str]
) -> tuple[Difference, ...]:
    """List the values that differ, but for those that move without news."""
    was, now = (dict(_leaves(fields, "", moving | UNHASHED)) for fields in (there, here))
    return tuple(
        Difference(path, was.get(path, ABSENT), now.get(path, ABSENT))
        for path in sorted({*was, *now})
        if was.get(path, ABSENT) != now.get(path, ABSENT)
    )


def _leaves(value: object, path: str, moving: frozenset[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if key not in moving:
                yield from _leaves(inner, f"{path}.{key}".lstrip("."), moving)
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]", moving)
    else:
        yield path, value
