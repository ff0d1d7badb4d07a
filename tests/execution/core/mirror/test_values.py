from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.core.mirror import values

TEXT = st.text("ab_ä€", max_size=6)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False)
)
KEYS = st.text("ab_ä€", min_size=1, max_size=6).filter(
    lambda key: not (key.startswith("__") and key.endswith("__"))
)
FIELDS = st.dictionaries(KEYS, PLAIN | st.dictionaries(KEYS, PLAIN, max_size=3), max_size=4)


@given(FIELDS)
def test_what_json_holds_passes(fields):
    assert values.problem(fields) is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"a": {"b": [1.0, {"c": math.nan}]}}, "a.b[1].c: nan is no number"),
        ({"a": [math.inf]}, "a[0]: inf is no number"),
        ({"a": -math.inf}, "a: -inf is no number"),
        ({"a": {"rows": [[1]]}}, "a.rows[0]: a list within a list"),
        ({"a": 2**63}, "a: an integer beyond 64 bits"),
        ({"a": -(2**63) - 1}, "a: an integer beyond 64 bits"),
        ({"a": {"": 1}}, "a: an empty key"),
        ({"__name__": 1}, "the document: the key '__name__' is reserved"),
        ({"a": {1: 2}}, "a: the key 1 is no text"),
        ({"a": {"k" * 1501: 2}}, "a: the key 'kkkkkkkkkkkkkkkkkkkk' is too long or not UTF-8"),
        ({"a": "\ud800"}, "a: text that is not UTF-8"),
        ({"a": {"b": b"bytes"}}, "a.b: a bytes is no JSON value"),
        ({"a": "x" * 1_100_000}, "the document: 1100035 bytes, limit 1000000"),
        (
            json.loads('{"a":' * 25 + "1" + "}" * 25),
            "a" + ".a" * 20 + ": nested deeper than 20 levels",
        ),
    ],
)
def test_what_the_server_refuses_is_named_by_its_path(bad, said):
    assert values.problem(bad) == said


@given(FIELDS, st.sampled_from([math.nan, math.inf, 2**70, [[1]], b"x"]), st.integers(0, 5))
def test_one_bad_value_anywhere_is_found(fields, bad, place):
    inner = fields
    for key in list(fields)[:place]:
        if isinstance(inner, dict) and isinstance(inner.get(key), dict):
            inner = inner[key]
    inner["bad"] = bad
    assert "bad" in values.problem(fields)


def test_sizes_are_as_firestore_adds_them_up():
    # https://firebase.google.com/docs/firestore/storage-size: text is its UTF-8 and one byte more.
    assert values.size_bytes({"type": "Personal", "done": False, "priority": 1}) == (
        32 + (5 + 9) + (5 + 1) + (9 + 8)
    )
    assert values.size_bytes(["ä", 1.0, None]) == 3 + 8 + 1
