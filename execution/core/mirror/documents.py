"""Which documents the mirror has, and what is in each; names are paths under `hedge/{env}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from execution.state_schema import registry
from execution.state_schema.envelope import Envelope
from execution.state_schema.files import Nav, NavSeries, Synced
from execution.state_schema.registry import EXECUTOR, STATE_FILES, StateFile

HEALTH: Final = "telemetry/health"
PEAK: Final = "risk/peak_state"
DAY_S: Final = 86_400
POINTS: Final = 5_000  # in one document: a quarter of what the index of a document can hold

# Who runs is in one document, with the beat; the rest of what the executor alone writes is the book.
HEALTH_FILES: Final[tuple[StateFile[Any], ...]] = (
    registry.EXECUTOR_HEALTH,
    registry.SYNC_HEALTH,
    registry.PROCESS_SYNC_STATE,
    registry.PROCESS_SHADOW_HEARTBEAT,
    registry.PROCESS_COMPARE,
)
BOOK: Final[tuple[StateFile[Any], ...]] = tuple(
    file for file in STATE_FILES if file.owners == EXECUTOR and file not in HEALTH_FILES
)
PAIR: Final[tuple[StateFile[Any], ...]] = tuple(file for file in STATE_FILES if file.shared)

PEAK_FIELDS: Final = (
    "peak_usd",
    "drawdown_pct",
    "day_start_usd",
    "day_pnl_usd",
    "nav_usd",
    "as_of_ts",
    "known",
    "stale",
    "updated_ts",
    "engine_version",
)

# Keys that move while nothing changes.
MOVING: Final = frozenset({"seq", "written_ts", "as_of_ts"})


class Document(Struct, frozen=True):
    """One document to be, in JSON values.

    At any depth, the keys in `moving` do not count as a change. `known` is False where its numbers
    are not. A `beat` is written along with any other, a `series` is added to what is there.
    """

    name: str
    seq: int
    fields: dict[str, Any]
    moving: frozenset[str] = MOVING
    known: bool = True
    kind: Literal["state", "beat", "series"] = "state"


def name_of(file: StateFile[Any]) -> str:
    """Name the document of a state file."""
    return f"state/{file.path.rpartition('/')[2].removesuffix('.json')}"


def state(file: StateFile[Any], payload: Envelope) -> Document:
    """Make the document of a whole state file."""
    return Document(
        name=name_of(file),
        seq=payload.seq,
        fields=_plain(payload),
        moving=MOVING | {file.time_field},
        known=_is_known(payload),
    )


def peak_state(nav: Nav, series: NavSeries | None) -> Document:
    """Make the document of drawdown and day: the executor's, which limits go by, and the series'."""
    fields = {name: getattr(nav, name) for name in PEAK_FIELDS}
    return Document(
        name=PEAK,
        seq=nav.seq,
        fields={**fields, "seq": nav.seq, "series": None if series is None else _plain(series)},
        moving=MOVING | {"updated_ts"},
        known=_is_known(nav),
    )


def health(files: Mapping[str, Envelope], withheld: Mapping[str, str]) -> Document:
    """Make the document that carries the beat: who runs, and which documents are held back and why.

    Its seq is the executor's, so that the machine whose executor is behind does not speak for it.
    """
    executor = files.get(registry.EXECUTOR_HEALTH.name)
    seq = 0 if executor is None else executor.seq
    fields = {name: _plain(payload) for name, payload in files.items()}
    return Document(
        name=HEALTH,
        seq=seq,
        fields={**fields, "withheld": dict(withheld), "seq": seq},
        kind="beat",
    )


# ---------------------------------------------------------------- the series


def day_number(ts: float) -> int:
    """Return the UTC day of a time, counted from the epoch."""
    return int(ts // DAY_S)


def series_name(day: int, chunk: int = 0) -> str:
    """Name the document of a day's points; chunks after the first are numbered from 2."""
    label = datetime.fromtimestamp(day * DAY_S, UTC).strftime("%Y%m%d")
    return f"series/nav-{label}" + (f"-{chunk + 1}" if chunk else "")


def series(day: int, points: Iterable[tuple[float, float]]) -> tuple[Document, ...]:
    """Make the documents of one day's points (time, NAV); of two with one time the later stands."""
    ranked = sorted(dict(points).items())
    return tuple(
        _chunk(series_name(day, place // POINTS), ranked[place : place + POINTS])
        for place in range(0, len(ranked), POINTS)
    )


def joined(there: Mapping[str, Any], document: Document) -> Document:
    """Add the points that only the mirror has: the journal here may begin later than it does."""
    points = {**dict(points_of(there)), **dict(points_of(document.fields))}
    return _chunk(document.name, sorted(points.items()))


def points_of(fields: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Return the points of one document of the series."""
    times, navs = fields.get("ts"), fields.get("nav_usd")
    if isinstance(times, list) and isinstance(navs, list):
        yield from zip(times, navs, strict=False)


def _chunk(name: str, points: Sequence[tuple[float, float]]) -> Document:
    """Make one document; its seq is its newest point, so that an older journal stays behind."""
    times = [ts for ts, _ in points]
    seq = int(times[-1] * 1000)
    fields = {
        "n": len(times),
        "from_ts": times[0],
        "to_ts": times[-1],
        "ts": times,
        "nav_usd": [nav_usd for _, nav_usd in points],
        "seq": seq,
    }
    return Document(name, seq, fields, moving=frozenset({"seq"}), kind="series")


def _plain(payload: Struct) -> dict[str, Any]:
    """Return a payload in the values and under the keys of its file."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(payload))
    return plain


def _is_known(payload: Envelope) -> bool:
    """Tell whether the numbers of a payload are numbers; the NAV of an outage was once written as 0."""
    if not getattr(payload, "known", True):
        return False
    return not isinstance(payload, Nav | Synced) or payload.nav != 0
