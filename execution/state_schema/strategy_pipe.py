"""What the executor and the child process of a user's strategy say to each other, line by line."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from execution.core.seam import Bar

Said = Annotated[str, Meta(max_length=300)]


class Question(Struct, frozen=True, kw_only=True):
    """One closed bar, the last of `bars`, which are oldest first."""

    number: int
    symbol: str
    bar_s: int
    bars: tuple[Bar, ...]


class Want(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a module wants on the bar: `size_frac` is the share of the suite's own size."""

    action: Literal["entry", "exit"]
    side: Literal["LONG", "SHORT"]
    strength: float = 0.0
    size_frac: Annotated[float, Meta(gt=0, le=1)] = 1.0
    reason: Said = ""


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to question `number`; number 0 is said unasked, when the module is loaded.

    `error` is what the module raised instead.
    """

    number: int
    wants: Annotated[tuple[Want, ...], Meta(max_length=4)] = ()
    error: str | None = None
