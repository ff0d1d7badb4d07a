"""Recorded files: read exactly, and refused by file and line where a cell is wrong."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.errors import ConfigError
from execution.venue.recording import PIECE_BYTES, Recording

HEADER = "ts_ms,open,high,low,close,volume"
FUNDING_HEADER = "ts_ms,funding_rate"
FIRST_S = 1_700_006_400
SYMBOL = "BTCUSDT"
GOOD = "100.1,100.4,99.5,100.2,12.5"


def bar_line(minute: int, cells: str = GOOD) -> str:
    return f"{(FIRST_S + 60 * minute) * 1000},{cells}"


def write(
    folder: Path,
    lines: list[str],
    symbol: str = SYMBOL,
    funding: tuple[str, ...] = (),
    *,
    packed: bool = True,
) -> Path:
    """Write one symbol's two files and return that of the bars."""
    bars, rates = f"{symbol}-1m.csv", f"{symbol}-8h-funding_rate.csv"
    texts = {bars: [HEADER, *lines], rates: [FUNDING_HEADER, *funding]}
    for name, rows in texts.items():
        text = "".join(f"{row}\n" for row in rows).encode()
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text))
        else:
            (folder / name).write_bytes(text)
    return folder / (f"{bars}.gz" if packed else bars)


@pytest.mark.parametrize("packed", [True, False])
def test_rows_come_back_as_they_stand(tmp_path: Path, packed: bool) -> None:
    rate = f"{FIRST_S * 1000 + 5},-6.12e-06"
    write(tmp_path, [bar_line(0), bar_line(2, "3,3,3,3,0")], funding=(rate,), packed=packed)
    recording = Recording(tmp_path, [SYMBOL])
    assert list(recording.bars(SYMBOL, 0.0)) == [
        (FIRST_S * 1000, 100.1, 100.4, 99.5, 100.2, 12.5),
        ((FIRST_S + 120) * 1000, 3.0, 3.0, 3.0, 3.0, 0.0),
    ]
    assert (recording.first_s, recording.last_s) == (FIRST_S, FIRST_S + 120)
    assert recording.funding == {SYMBOL: ((FIRST_S + 0.005, -6.12e-06),)}


def test_the_window_is_what_all_symbols_cover(tmp_path: Path) -> None:
    write(tmp_path, [bar_line(minute) for minute in range(10)])
    write(tmp_path, [bar_line(minute) for minute in range(3, 15)], "ETHUSDT")
    recording = Recording(tmp_path, [SYMBOL, "ETHUSDT"])
    assert (recording.first_s, recording.last_s) == (FIRST_S + 180, FIRST_S + 540)


def test_files_without_a_common_minute_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [bar_line(0)])
    write(tmp_path, [bar_line(1)], "ETHUSDT")
    with pytest.raises(ConfigError, match="BTCUSDT, ETHUSDT have no minute in common"):
        Recording(tmp_path, [SYMBOL, "ETHUSDT"])


def test_a_missing_or_doubled_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"BTCUSDT-1m\.csv\.gz.*0 found"):
        Recording(tmp_path, [SYMBOL])
    write(tmp_path, [bar_line(0)])
    with pytest.raises(ConfigError, match=r"ETHUSDT-1m\.csv\.gz.*0 found"):
        Recording(tmp_path, [SYMBOL, "ETHUSDT"])
    write(tmp_path, [bar_line(0)], packed=False)
    with pytest.raises(ConfigError, match=r"BTCUSDT-1m\.csv\.gz.*2 found"):
        Recording(tmp_path, [SYMBOL])
    (tmp_path / "BTCUSDT-1m.csv").unlink()
    for rates in tmp_path.glob("BTCUSDT-8h*"):
        rates.unlink()
    with pytest.raises(ConfigError, match=r"BTCUSDT-\*-funding_rate\.csv\.gz.*0 found"):
        Recording(tmp_path, [SYMBOL])
    with pytest.raises(ConfigError, match="no symbol is named"):
        Recording(tmp_path, [])


WRONG = {
    "text": "abc,100.4,99.5,100.2,12.5",
    "not a number": "NaN,100.4,99.5,100.2,12.5",
    "infinite": "100.1,Infinity,99.5,100.2,12.5",
    "too large for a number": "100.1,1e999,99.5,100.2,12.5",
    "negative price": "100.1,100.4,-99.5,100.2,12.5",
    "price of zero": "100.1,100.4,0,100.2,12.5",
    "negative volume": "100.1,100.4,99.5,100.2,-1",
    "empty cell": "100.1,,99.5,100.2,12.5",
    "a cell too few": "100.1,100.4,99.5,100.2",
    "a cell too many": "100.1,100.4,99.5,100.2,12.5,7",
    "high below low": "100.1,99.0,100.5,100.2,12.5",
    "open above high": "101.0,100.4,99.5,100.2,12.5",
    "close below low": "100.1,100.4,99.5,99.4,12.5",
    "quoted": '"100.1",100.4,99.5,100.2,12.5',
    "truth": "true,100.4,99.5,100.2,12.5",
    "null": "100.1,null,99.5,100.2,12.5",
    "semicolons": "100.1;100.4;99.5;100.2;12.5",
    "a row within a cell": f"{GOOD}],[{(FIRST_S + 61) * 1000},{GOOD}",
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("at", [0, 3, 4000])
def test_a_wrong_cell_is_named_with_file_and_line(tmp_path: Path, case: str, at: int) -> None:
    lines = [bar_line(minute) for minute in range(4001)]
    lines[at] = bar_line(at, WRONG[case])
    path = write(tmp_path, lines)
    with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: line {at + 2}\b"):
        Recording(tmp_path, [SYMBOL])


@pytest.mark.parametrize(
    "ts_ms",
    [
        str((FIRST_S + 60) * 1000),
        str(FIRST_S * 1000),
        str((FIRST_S + 121) * 1000),
        "-60000",
        "0",
        "1.5",
        "x",
        "",
    ],
)
def test_a_time_that_is_no_later_minute_is_refused(tmp_path: Path, ts_ms: str) -> None:
    path = write(tmp_path, [bar_line(0), bar_line(1), f"{ts_ms},{GOOD}"])
    with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: line 4\b"):
        Recording(tmp_path, [SYMBOL])


@pytest.mark.parametrize(
    "rows",
    [
        ("1700006400000,NaN",),
        ("1700006400000,1.5",),
        ("1700006400000",),
        ("1700006400000,0.1,3",),
        ("1700006400000,0.1", "1700006400000,0.1"),
        ("1700006400000,0.1", "1700006399999,0.1"),
        ("", "1700006400000,0.1"),
    ],
)
def test_wrong_funding_is_named_with_file_and_line(tmp_path: Path, rows: tuple[str, ...]) -> None:
    write(tmp_path, [bar_line(0)], funding=rows)
    with pytest.raises(ConfigError, match=r"BTCUSDT-8h-funding_rate\.csv\.gz: line [23]\b"):
        Recording(tmp_path, [SYMBOL])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1"),
        (b"time,open,high,low,close,volume\n", "line 1"),
        (HEADER.encode() + b"\n", "holds no bar"),
        (HEADER.encode() + b"\n\xff\xfe\x00\n", "line 2"),
        (HEADER.encode() + b"\n\n" + bar_line(0).encode(), "line 2"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = write(tmp_path, [bar_line(0)])
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ConfigError, match=rf"BTCUSDT-1m\.csv\.gz: {reason}"):
        Recording(tmp_path, [SYMBOL])


def test_a_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, [bar_line(minute) for minute in range(3000)])
    whole = path.read_bytes()
    half = len(whole) // 2
    for content in (b"no archive", whole[:half], whole[:half] + b"\x55" * 40 + whole[half + 40 :]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"BTCUSDT-1m\.csv\.gz: (cannot be read|line)"):
            Recording(tmp_path, [SYMBOL])


def test_windows_line_ends_and_a_last_line_without_one_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, [bar_line(0)])
    text = f"{HEADER}\r\n{bar_line(0)}\r\n{bar_line(1)}"
    path.write_bytes(gzip.compress(text.encode()))
    assert len(list(Recording(tmp_path, [SYMBOL]).bars(SYMBOL, 0.0))) == 2


@given(st.integers(0, 6000), st.integers(0, 5999))
@settings(max_examples=25)
def test_reading_may_begin_at_any_minute(
    tmp_path_factory: pytest.TempPathFactory, start: int, gap: int
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    minutes = [minute for minute in range(6000) if minute != gap]
    lines = [bar_line(minute) for minute in minutes]
    assert sum(map(len, lines)) > 3 * PIECE_BYTES
    write(folder, lines, packed=False)
    rows = Recording(folder, [SYMBOL]).bars(SYMBOL, FIRST_S + 60 * start)
    assert [row[0] // 60_000 - FIRST_S // 60 for row in rows] == [m for m in minutes if m >= start]
