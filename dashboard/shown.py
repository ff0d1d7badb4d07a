"""A value in words: with its unit, its sign and its age, and `unknown` where it is not known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal

from msgspec import Struct

from execution.state_store import Unreadable

Status = Literal["fresh", "stale", "unknown"]
Level = Literal["ok", "note", "warning", "critical"]

UNKNOWN: Final = "unknown"
MINUS: Final = "\N{MINUS SIGN}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
UNITS: Final = {"usd": "USD", "pct": "%", "x": TIMES, "s": "s"}
# Clocks of two processes on one machine agree; a mirror's may not.
AHEAD_S: Final = 5.0
YEAR_3000_TS: Final = 32_503_680_000.0
HUGE: Final = 1e15
CENTS: Final = 2
WHOLE_USD: Final = 1_000  # from here on, the cents of a limit say nothing
PRICE_DECIMALS: Final = ((1_000, 2), (1, 4), (0.01, 6))
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


class Age(Struct, frozen=True):
    """How old a value is, and whether it may be taken for the present."""

    status: Status
    text: str
    seconds: float | None = None


class Shown(Struct, frozen=True):
    """One value as it is drawn: grey when its age is not fresh."""

    label: str
    value: str
    detail: str
    age: Age


class Bar(Struct, frozen=True):
    """One share as a bar: `frac` is 0..1, or None where it is unknown."""

    name: str
    used: str
    detail: str
    frac: float | None
    level: Level


class Bars(Struct, frozen=True):
    """Shares side by side; `empty` is said in their place where there are none."""

    rows: tuple[Bar, ...]
    age: Age
    empty: str


class Facts(Struct, frozen=True):
    """Names and their values."""

    rows: tuple[tuple[str, str], ...]
    age: Age


class Chart(Struct, frozen=True):
    """Equally long columns of one chart; `note` says why nothing is drawn."""

    columns: Mapping[str, tuple[float | str | None, ...]]
    age: Age
    note: str | None = None


class Column(Struct, frozen=True):
    """One column of a table; numbers stand to the right, orders' ids lead to their story."""

    title: str
    right: bool = False
    order: bool = False


class Table(Struct, frozen=True):
    """Rows of text; `empty` is said in their place where there are none."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    age: Age
    empty: str


# ---------------------------------------------------------------- ages


def age_of(ts: float | None, max_age_s: float, now: float, *, held: bool = False) -> Age:
    """Judge a time of computation; `held` is the writer's own word that the value is old."""
    if ts is None:
        return Age("stale", "stale, age unknown")
    seconds = now - ts
    if seconds < -AHEAD_S:
        return Age("stale", f"clock {duration(-seconds)} ahead", seconds)
    if held or seconds > max_age_s:
        return Age("stale", f"stale {duration(seconds)}", seconds)
    return Age("fresh", f"{duration(seconds)} ago", seconds)


def absent(why: Unreadable) -> Age:
    """Say that there is no value at all."""
    return Age("unknown", "file missing" if why.kind == "missing" else f"file {spaced(why.kind)}")


def duration(seconds: float) -> str:
    """Return whole units of the largest that fits."""
    seconds = max(0.0, seconds)
    if seconds < MINUTE_S:
        return f"{int(seconds)} s"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} m"
    if seconds < 2 * DAY_S:
        return f"{int(seconds // HOUR_S)} h"
    return f"{int(seconds // DAY_S)} d" if seconds < 10_000 * DAY_S else "over 9999 d"


def clock_time(ts: float | None, zone: tzinfo = UTC) -> str:
    """Return the time of day in `zone`, with the zone's name."""
    return _formatted(ts, zone, "%H:%M:%S %Z")


def date_time(ts: float | None, zone: tzinfo = UTC) -> str:
    """Return date and time to the second in `zone`, with the zone's name."""
    return _formatted(ts, zone, "%Y-%m-%d %H:%M:%S %Z")


def stamp(ts: float | None) -> str:
    """Return month, day and time to the second in UTC, for a column that names the zone."""
    return _formatted(ts, UTC, "%m-%d %H:%M:%S")


def _formatted(ts: float | None, zone: tzinfo, pattern: str) -> str:
    if ts is None or not 0 < ts < YEAR_3000_TS:
        return UNKNOWN
    return datetime.fromtimestamp(ts, zone).strftime(pattern)


# ---------------------------------------------------------------- numbers


def usd(number: float | None, *, signed: bool = False) -> str:
    """Return an amount to the cent."""
    return UNKNOWN if number is None else f"{_number(number, CENTS, signed=signed)} USD"


def pct(number: float | None, *, signed: bool = False) -> str:
    """Return a percentage that is given as 0..100."""
    return UNKNOWN if number is None else f"{_number(number, CENTS, signed=signed)} %"


def amount(number: float | None, *, signed: bool = False) -> str:
    """Return an amount to the cent without its unit, for a column that names it."""
    return UNKNOWN if number is None else _number(number, CENTS, signed=signed)


def price(number: float | None) -> str:
    """Return a price with the decimals that its size calls for."""
    if number is None:
        return UNKNOWN
    decimals = next((digits for least, digits in PRICE_DECIMALS if abs(number) >= least), 8)
    return _number(number, decimals)


def quantity(number: float | None) -> str:
    """Return a quantity with the decimals that it has, at most eight."""
    if number is None:
        return UNKNOWN
    text = _number(number, 8)
    return text if "e" in text else text.rstrip("0").rstrip(".")


def multiple(number: float | None, of: str) -> str:
    """Return a ratio as so many times `of`."""
    return UNKNOWN if number is None else f"{_number(number, CENTS)} {TIMES} {of}"


def measured(number: float | None, unit: str) -> str:
    """Return a number with the unit that its file names."""
    return UNKNOWN if number is None else f"{figure(number, unit)} {UNITS.get(unit, unit)}"


def figure(number: float | None, unit: str) -> str:
    """Return the number alone, with the decimals that suit its unit."""
    if number is None:
        return UNKNOWN
    if unit == "usd":
        return _number(number, 0 if abs(number) >= WHOLE_USD else CENTS)
    if unit == "s":
        return _number(number, 1)
    return _number(number, CENTS) if unit in {"pct", "x"} else quantity(number)


def bps(number: float | None, *, signed: bool = False) -> str:
    """Return hundredths of a percent."""
    return UNKNOWN if number is None else f"{_number(number, CENTS, signed=signed)} bps"


def share(frac: float | None) -> str:
    """Return a share that is given as 0..1 in percent."""
    return UNKNOWN if frac is None else f"{_number(100 * frac, 1)} %"


def waited(seconds: float | None) -> str:
    """Return a short time in seconds with one decimal, a longer one in whole units."""
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.1f} s" if 0 <= seconds < MINUTE_S else duration(seconds)


def count(number: int) -> str:
    """Return a count with its thousands apart."""
    return f"{number:,}"


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return `part` of `whole`, None where one is unknown or there is nothing to share."""
    return None if part is None or whole is None or whole <= 0 else part / whole


def spaced(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ").replace(".", " ")


def _number(number: float, decimals: int, *, signed: bool = False) -> str:
    size = abs(number)
    rounded = f"{size:,.{decimals}f}" if size < HUGE else f"{size:.3e}"
    if float(rounded.replace(",", "")) == 0.0:
        # What rounds to nothing has no sign, and what is not nothing says so.
        return rounded if size == 0.0 or decimals <= CENTS else f"{number:.3g}".replace("-", MINUS)
    return f"{MINUS if number < 0 else '+' if signed else ''}{rounded}"
