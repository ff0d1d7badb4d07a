"""The search for planted keys finds them, wherever in a file they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exchange.planted import CHUNK_BYTES, KEY, SECRET, is_planted, planted


@pytest.mark.parametrize("before", [0, CHUNK_BYTES - 10, CHUNK_BYTES, CHUNK_BYTES + 10])
@pytest.mark.parametrize("key", [KEY, SECRET])
def test_a_key_is_found_wherever_it_stands(tmp_path: Path, key: str, before: int) -> None:
    (tmp_path / "innocent").write_text(f"{key[:-1]} {key[1:]}")
    assert planted(tmp_path) == []
    guilty = tmp_path / "guilty"
    guilty.write_text("x" * before + key + "y")
    found = planted(tmp_path)
    guilty.unlink()  # it would be found again when all tests are over
    assert found == [str(guilty)]


def test_a_text_is_searched_for_both() -> None:
    assert is_planted(f"signed with {SECRET}")
    assert is_planted(f"sent with {KEY}")
    assert not is_planted(KEY[:-1] + SECRET[:-1])
