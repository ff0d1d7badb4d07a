from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from execution.core.mirror import documents, plan
from execution.core.mirror.differences import differences
from execution.core.mirror.documents import Document
from execution.core.mirror.plan import MARKS, Stamp
from execution.state_schema import registry

NOW = 1_800_000_000.0
US = Stamp("paper", "main", "us")
DAY = documents.day_number(NOW)
POINTS = st.dictionaries(
    st.integers(0, 86_399).map(lambda second: DAY * 86_400.0 + second),
    st.floats(1, 1e9),
    min_size=1,
    max_size=40,
)


def document(seq=5, **fields):
    return Document("state/x", seq, {"seq": seq, **fields})


def there(made, stamp=US, at=NOW, version=(1, 1)):
    """Write `made` where nothing is; return it as held afterwards."""
    decided = plan.decide([made], {made.name: None}, stamp, at, {})
    (write,) = decided.writes
    return plan.held_as(write.document, write.document.fields, version)


def decide(made, held, stamp=US, rejected=None):
    return plan.decide([made], {made.name: held}, stamp, NOW, rejected or {})


def test_every_write_carries_whose_it_is_and_what_it_replaces():
    (write,) = decide(document(a=1), None).writes
    assert write.version is None
    assert {name: write.document.fields[name] for name in MARKS} == {
        "mode": "paper",
        "account": "main",
        "writer": "us",
        "mirrored_ts": NOW,
    }
    (write,) = decide(document(6, a=2), there(document(a=1))).writes
    assert write.version == (1, 1)


def test_what_only_moves_is_unchanged():
    held = there(document(a={"as_of_ts": 1.0, "b": 2}))
    assert decide(document(9, a={"as_of_ts": 7.0, "b": 2}), held).unchanged == ("state/x",)
    assert decide(document(9, a={"as_of_ts": 7.0, "b": 3}), held).unchanged == ()


def test_an_older_seq_another_account_and_an_unmarked_document_are_held_back():
    held = there(document(seq=7, a=1))
    assert "newer: seq 7, here 5" in decide(document(a=2), held).withheld["state/x"]
    other = there(document(a=1), Stamp("paper", "second", "them"))
    assert "belongs to account second" in decide(document(9, a=2), other).withheld["state/x"]
    foreign = plan.held_as(document(), {"a": 1}, (1, 1))
    assert "belongs to account unknown" in decide(document(9, a=2), foreign).withheld["state/x"]


def test_what_was_refused_is_tried_again_when_it_is_another():
    made = document(a=1)
    digest = decide(made, None).writes[0].digest
    assert "refused" in decide(made, None, rejected={"state/x": digest}).withheld["state/x"]
    assert decide(document(a=2), None, rejected={"state/x": digest}).writes != ()


def test_a_bad_value_is_held_back_by_name():
    held_back = decide(document(a={"b": float("nan")}), None).withheld
    assert held_back == {"state/x": "a.b: nan is no number"}


def test_another_writer_is_heeded_while_it_lives():
    held = there(document(a=1), Stamp("paper", "main", "them"))
    assert "by them" in plan.other_writer(held, US, NOW + 179, 180)
    assert plan.other_writer(held, US, NOW + 181, 180) is None
    assert plan.other_writer(there(document(a=1)), US, NOW, 180) is None
    assert plan.other_writer(None, US, NOW, 180) is None


@given(POINTS, POINTS)
def test_a_series_only_grows_and_holds_each_time_once(ours, theirs):
    (mirrored,) = documents.series(DAY, theirs.items())
    (made,) = documents.series(DAY, ours.items())
    decided = decide(made, there(mirrored))
    expected = {**theirs, **ours}
    if expected == theirs:
        assert decided.unchanged == (made.name,)
        return
    (write,) = decided.writes
    fields = write.document.fields
    assert list(documents.points_of(fields)) == sorted(expected.items())
    assert (fields["n"], fields["to_ts"]) == (len(expected), max(expected))


def test_the_series_of_another_mode_is_replaced():
    (mirrored,) = documents.series(DAY, [(DAY * 86_400.0, 1.0)])
    (made,) = documents.series(DAY, [(DAY * 86_400.0 + 60, 2.0)])
    (write,) = decide(made, there(mirrored, Stamp("testnet", "main", "us"))).writes
    assert write.document.fields["nav_usd"] == [2.0]


def test_a_long_day_is_cut_into_documents_below_the_limit():
    points = [(DAY * 86_400.0 + n / 10, 1.0) for n in range(12_000)]
    made = documents.series(DAY, points)
    assert [each.fields["n"] for each in made] == [5_000, 5_000, 2_000]
    assert [each.name for each in made] == [
        "series/nav-20270115",
        "series/nav-20270115-2",
        "series/nav-20270115-3",
    ]
    assert [point for each in made for point in documents.points_of(each.fields)] == points
    assert plan.decide(made, dict.fromkeys([m.name for m in made]), US, NOW, {}).withheld == {}


def test_every_state_file_is_in_exactly_one_document():
    named = [*documents.BOOK, *documents.PAIR, *documents.HEALTH_FILES]
    assert sorted(file.path for file in named) == sorted(file.path for file in registry.STATE_FILES)
    assert len(documents.PAIR) == 2
    for file in registry.STATE_FILES:
        assert not set(MARKS) & set(file.struct.__struct_encode_fields__) or (
            file in documents.HEALTH_FILES
        ), file.name


def test_differences_name_the_values_that_differ():
    was = {"a": {"b": [1, 2], "seq": 1}, "gone": True, "empty": {}}
    now = {"a": {"b": [1, 3], "seq": 9}, "new": None, "empty": {}}
    assert [(d.path, d.was, d.now) for d in differences(was, now, frozenset({"seq"}))] == [
        ("a.b[1]", 2, 3),
        ("gone", True, "(none)"),
        ("new", "(none)", None),
    ]
