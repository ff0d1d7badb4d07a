"""Recorded bars and funding in a folder of csv files, read strictly and a piece at a time.

A file that has a wrong cell anywhere is refused before its first bar is used.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Final, TypeVar, cast

import msgspec
from msgspec import Meta

from execution.errors import ConfigError

MINUTE_MS: Final = 60_000
BAR_COLUMNS: Final = b"ts_ms,open,high,low,close,volume"
FUNDING_COLUMNS: Final = b"ts_ms,funding_rate"
# About this many bytes of text are in memory at a time, for each symbol.
PIECE_BYTES: Final = 1 << 16
LINE_BYTES: Final = 1 << 10  # a row has some 80

_Ms = Annotated[int, Meta(gt=0)]
_Price = Annotated[float, Meta(gt=0)]
_Volume = Annotated[float, Meta(ge=0)]
_Rate = Annotated[float, Meta(gt=-1, lt=1)]
BarRow = tuple[_Ms, _Price, _Price, _Price, _Price, _Volume]
FundingRow = tuple[_Ms, _Rate]

Row = TypeVar("Row", BarRow, FundingRow)

# Cells are numbers as JSON writes them, so a row is an array of JSON: no NaN, no text, no seventh cell.
_BARS: Final = msgspec.json.Decoder(list[BarRow])
_FUNDING: Final = msgspec.json.Decoder(list[FundingRow])


class Recording:
    """The one-minute bars and the funding of some symbols in one folder.

    `first_s` and `last_s` are the open times of the first and last minute that every symbol
    covers. Raises ConfigError naming the file, and the line where there is one.
    """

    def __init__(self, folder: Path, symbols: Iterable[str]) -> None:
        self.symbols = tuple(symbols)
        self._bars = {
            symbol: _only(folder, f"{symbol}-1m.csv", f"{symbol}-1m.csv.gz")
            for symbol in self.symbols
        }
        funding = {
            symbol: _only(folder, f"{symbol}-*-funding_rate.csv", f"{symbol}-*-funding_rate.csv.gz")
            for symbol in self.symbols
        }
        if not self.symbols:
            raise ConfigError(
                f"{folder}: no symbol is named to replay: name them, as in BTCUSDT,ETHUSDT"
            )
        covered = [_survey(path) for path in self._bars.values()]
        self.first_s = max(first for first, _ in covered) // 1000
        self.last_s = min(last for _, last in covered) // 1000
        if self.first_s > self.last_s:
            raise ConfigError(f"{folder}: {', '.join(self.symbols)} have no minute in common")
        self.funding = {
            symbol: tuple((ms / 1000, rate) for ms, rate in chain.from_iterable(_rates(path)))
            for symbol, path in funding.items()
        }

    def bars(self, symbol: str, from_s: float) -> Iterator[BarRow]:
        """Yield the rows that open at or after `from_s`, oldest first."""
        from_ms = round(from_s * 1000)
        for rows in _bars(self._bars[symbol]):
            if rows[-1][0] < from_ms:
                continue
            if rows[0][0] >= from_ms:
                yield from rows
            else:
                yield from (row for row in rows if row[0] >= from_ms)


def _only(folder: Path, plain: str, packed: str) -> Path:
    found = sorted([*folder.glob(plain), *folder.glob(packed)])
    if len(found) != 1:
        raise ConfigError(
            f"{folder / packed}: exactly one such file is needed (or {plain}), {len(found)} found"
        )
    return found[0]


def _survey(path: Path) -> tuple[int, int]:
    """Read a whole file of bars for its mistakes and its first and last time."""
    first = last = None
    for rows in _bars(path):
        first = rows[0][0] if first is None else first
        last = rows[-1][0]
    if first is None or last is None:
        raise ConfigError(f"{path}: holds no bar")
    return first, last


def _bars(path: Path) -> Iterator[list[BarRow]]:
    last_ms = 0
    for line, rows in _pieces(path, BAR_COLUMNS, _BARS):
        for place, (ms, start, high, low, end, _) in enumerate(rows, line):
            if not (low <= start <= high and low <= end <= high):
                raise ConfigError(f"{path}: line {place}: open or close is outside low..high")
            if ms <= last_ms or ms % MINUTE_MS:
                raise ConfigError(f"{path}: line {place}: ts_ms {ms} is no later whole minute")
            last_ms = ms
        yield rows


def _rates(path: Path) -> Iterator[list[FundingRow]]:
    last_ms = 0
    for line, rows in _pieces(path, FUNDING_COLUMNS, _FUNDING):
        for place, (ms, _) in enumerate(rows, line):
            if ms <= last_ms:
                raise ConfigError(f"{path}: line {place}: ts_ms {ms} is not later than before")
            last_ms = ms
        yield rows


# ---------------------------------------------------------------- bytes


def _pieces(
    path: Path, columns: bytes, decoder: msgspec.json.Decoder[list[Row]]
) -> Iterator[tuple[int, list[Row]]]:
    """Yield the rows of a file a piece at a time, each with the line number of its first."""
    try:
        with _open(path) as file:
            header = file.readline(LINE_BYTES).rstrip()
            if header != columns:
                raise ConfigError(f"{path}: line 1: must be {columns.decode()}, not {header!r}")
            line = 2
            while piece := file.read(PIECE_BYTES):
                lines = (piece + file.readline(LINE_BYTES)).splitlines(keepends=True)
                yield line, _decode(path, line, lines, decoder)
                line += len(lines)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise OSError("not a regular file")
    # GzipFile reads bytes, and its stub calls it something of its own.
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _decode(
    path: Path, line: int, lines: list[bytes], decoder: msgspec.json.Decoder[list[Row]]
) -> list[Row]:
    try:
        rows = decoder.decode(b"[[" + b"],[".join(lines) + b"]]")
    except msgspec.DecodeError:
        rows = []
    # A bracket in a cell could make two rows of one line; then, too, the lines are asked one by one.
    if len(rows) == len(lines):
        return rows
    for place, text in enumerate(lines, line):
        wrong = _wrong(text, decoder)
        if wrong is not None:
            raise ConfigError(f"{path}: line {place}: {wrong}: {text[:LINE_BYTES].strip()!r}")
    raise ConfigError(f"{path}: lines {line} to {line + len(lines) - 1}: cannot be read")


def _wrong(text: bytes, decoder: msgspec.json.Decoder[list[Row]]) -> str | None:
    try:
        rows = decoder.decode(b"[[" + text + b"]]")
    except msgspec.DecodeError as error:
        return str(error).replace("$[0]", "cell ")
    return None if len(rows) == 1 else "holds a bracket"
