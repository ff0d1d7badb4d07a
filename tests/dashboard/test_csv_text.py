from __future__ import annotations

import csv
import io

import pytest
import sample_journals
import sample_state as sample
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from dashboard import csv_text

NOW = 1_800_000_000.0


class Cell(Struct):
    text: str
    number: float | None = None


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_numbers_stay_numbers_and_unknown_is_empty():
    (row,) = rows(csv_text.write([Cell("a", -1.5)]))
    assert row == {"text": "a", "number": "-1.5"}
    (row,) = rows(csv_text.write([Cell("a")]))
    assert row["number"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "|", "%", "\uff1d", " =", "a;=", "a; @"])
def test_what_may_be_a_formula_is_text(start):
    (row,) = rows(csv_text.write([Cell(f"{start}cmd")]))
    assert row["text"] == f"{start[:-1]}'{start[-1]}cmd"


@pytest.mark.parametrize(
    "hidden", ["\t", "\r", "\n", "\0", "\x1b", "\u00a0", "\u200b", "\u202e", "\ufeff"]
)
def test_what_nobody_sees_is_written_as_an_escape(hidden):
    (row,) = rows(csv_text.write([Cell(f"{hidden}=cmd")]))
    assert row["text"].startswith("\\")
    assert row["text"].isprintable()
    assert row["text"].endswith("=cmd")


@given(st.text(st.characters() | st.sampled_from(f"{csv_text.ACTIVE}; \t\n\"',")))
def test_no_text_begins_a_formula_or_another_cell(text):
    (row,) = rows(csv_text.write([Cell(text)]))
    assert row["text"].isprintable()
    for part in row["text"].split(";"):
        assert not part.lstrip(" ").startswith(tuple(csv_text.ACTIVE))
    assert list(row) == ["text", "number"]


def test_records_of_several_shapes_share_their_columns():
    events = sample_journals.journals(NOW)["orders_executed"]
    found = rows(csv_text.write(events))
    assert [row["event"] for row in found] == ["ack", "fill", "ack", "reject", "close"]
    assert found[3]["code"] == "'-2019"
    assert found[4]["client_id"] == ""
    assert float(found[1]["price"]) == 93_995.0


def test_nested_values_have_dotted_names_and_lists_are_one_cell():
    (row, *_) = rows(csv_text.write(sample.rows(NOW)))
    assert (row["exit.stop_price"], row["positionSide"]) == ("97400.0", "LONG")
    (veto, *_) = rows(csv_text.write([sample_journals.veto(NOW, reasons=("a", "b"))]))
    assert veto["reasons"] == "a; b"
    assert csv_text.write([]) == "\r\n"
