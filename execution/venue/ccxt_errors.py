"""What an answer of the exchange means: done, refused for good, or in doubt. A table by code.

A refusal proves that nothing was done; a doubt proves nothing. What is no reply of the expected
shape is in doubt, whatever its status says.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct

from execution.venue.ccxt_wire import Reply, Unanswered

T = TypeVar("T")

Meaning = Literal["refused", "doubt", "banned", "clock", "unknown_order", "filters", "keys", "set"]

# Everything else is "refused": the request was understood, and not carried out.
MEANINGS: Final[dict[int, Meaning]] = {
    -1000: "doubt",
    -1001: "doubt",
    -1006: "doubt",
    -1007: "doubt",
    -1003: "banned",
    -1021: "clock",
    -5028: "clock",
    -2011: "unknown_order",
    -2013: "unknown_order",
    -1111: "filters",
    -1121: "filters",
    -4003: "filters",
    -4004: "filters",
    -4005: "filters",
    -4013: "filters",
    -4014: "filters",
    -4016: "filters",
    -4023: "filters",
    -4024: "filters",
    -4131: "filters",
    -4140: "filters",
    -4164: "filters",
    -1022: "keys",
    -2014: "keys",
    -2015: "keys",
    -4046: "set",
    -4059: "set",
}
TOO_MANY: Final = (418, 429)
# Of a text, so much is kept: it is the exchange's, and may be anything.
TEXT_CHARS: Final = 200
# A ban without a time, by its status; the longest that the exchange knows is three days.
BAN_S: Final = {429: 60.0, 418: 300.0}
LONGEST_BAN_S: Final = 3 * 86_400.0


class Refusal(Struct, frozen=True):
    """The exchange's no: nothing was done. `until_ts` is set where it wants to be left alone."""

    code: str
    reason: str
    meaning: Meaning
    until_ts: float | None = None


class Doubt(Struct, frozen=True):
    """No answer that can be believed."""

    reason: str


class _Error(Struct, frozen=True):
    code: int
    msg: str = ""


_error = msgspec.json.Decoder(_Error)


def judge(
    answer: Reply | Unanswered, decoder: msgspec.json.Decoder[T], now: float
) -> T | Refusal | Doubt:
    """Return the reply in its shape, or what else it is; `now` is the exchange's time."""
    if isinstance(answer, Unanswered):
        return Doubt(answer.reason)
    not_done = _refused(answer, now)
    if not_done is not None:
        return not_done
    try:
        return decoder.decode(answer.text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        return Doubt(f"HTTP {answer.status} with a reply of another shape: {problem}")


def _refused(answer: Reply, now: float) -> Refusal | Doubt | None:
    error = _read_error(answer.text)
    if answer.status in TOO_MANY or (error is not None and meaning(error.code) == "banned"):
        code = str(answer.status) if error is None else str(error.code)
        return Refusal(code, _said(error), "banned", _until_ts(answer, now))
    if answer.status >= 500 or (error is None and answer.status >= 300):  # noqa: PLR2004  HTTP's classes
        return Doubt(f"HTTP {answer.status} {'' if error is None else error.code}".strip())
    if error is None:
        return None
    if meaning(error.code) == "doubt":
        return Doubt(f"{error.code} {_said(error)}")
    return Refusal(str(error.code), _said(error), meaning(error.code))


def meaning(code: int) -> Meaning:
    """Return what a code calls for."""
    return MEANINGS.get(code, "refused")


def _read_error(text: str) -> _Error | None:
    """Return the error that a reply is, if it is one; a code that is not negative is none."""
    if '"code"' not in text:
        return None
    try:
        error = _error.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return error if error.code < 0 else None


def _said(error: _Error | None) -> str:
    return "" if error is None else " ".join(error.msg.split())[:TEXT_CHARS]


def _until_ts(answer: Reply, now: float) -> float:
    """Return when the exchange may be asked again: as the text says, as the header says, or later."""
    told = [int(ms) / 1000 for ms in re.findall(r"until\D{0,3}(\d{13})(?!\d)", answer.text)]
    after = answer.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,7}", after):
        told.append(now + int(after))
    until_ts = max(told, default=now + BAN_S.get(answer.status, BAN_S[429]))
    return min(until_ts, now + LONGEST_BAN_S)
