"""The project's one broad `except`: a failure becomes a value that names its stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Failed(Struct, frozen=True):
    """A stage that raised, with the error it raised."""

    stage: str
    error: Exception


def guarded(stage: str, call: Callable[[], T]) -> T | Failed:
    """Run `call` and return its value, or `Failed(stage, error)`."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the one place; callers decide what it means
        return Failed(stage, error)
