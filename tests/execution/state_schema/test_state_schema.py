from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from execution import v6_flags
from execution.state_schema import export
from execution.state_schema.envelope import Envelope, V6Flags
from execution.state_schema.files import Nav, PositionRow
from execution.state_schema.journals import MarkPoint, ShadowHeartbeat
from execution.state_schema.order_journals import Ack, Fill
from execution.state_schema.registry import (
    JOURNALS,
    MARKS,
    NAV,
    ORDERS_EXECUTED,
    SHADOW,
    STATE_FILES,
    SYNCED,
)

MINIMUM = Path(__file__).resolve().parents[3].parent / "shared/contract/state.schema.json"
ENVELOPE = {"schema_version", "seq", "engine_version", "v6_flags", "written_ts"}


def minimum() -> dict[str, Any]:
    if not MINIMUM.exists():
        pytest.skip("the reference folder `shared` is not beside this checkout")
    found: dict[str, Any] = json.loads(MINIMUM.read_text(encoding="utf-8"))["files"]
    return found


def test_every_file_of_the_contract_is_registered_once():
    paths = [path for file in STATE_FILES for path in (file.path, file.twin) if path]
    assert len(paths) == len(set(paths)) == 18
    assert set(paths) == set(minimum())


def test_every_required_key_of_the_minimum_is_required_here():
    ours = export.document()["files"]
    for path, least in minimum().items():
        assert set(least["required"]) <= set(ours[path]["required"]), path


def test_nested_keys_of_the_minimum_are_required_here():
    for path, least in minimum().items():
        ours = export.document()["files"][path]
        for key, shape in least.get("properties", {}).items():
            row = shape.get("items", shape)
            if "required" in row:
                mine = _resolve(ours["properties"][key], ours["$defs"])
                mine = _resolve(mine.get("items", mine), ours["$defs"])
                assert set(row["required"]) <= set(mine["required"]), (path, key)


def _resolve(shape: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in shape:
        return defs[shape["$ref"].rpartition("/")[2]]
    return shape


def test_every_state_file_has_the_envelope_and_its_time_field():
    for file in STATE_FILES:
        encoded = {field.encode_name for field in msgspec.structs.fields(file.struct)}
        assert encoded >= ENVELOPE, file.path
        assert file.time_field in encoded, file.path
        assert file.max_age_s > 0


def test_only_the_pair_is_shared():
    assert [file.name for file in STATE_FILES if file.shared] == ["shadow_head", "compare_summary"]


def test_flags_are_the_six_in_their_order():
    assert V6Flags.__struct_fields__ == v6_flags.FLAG_NAMES


def test_exported_schemas_are_valid_and_stand_alone():
    document = export.document()
    for schema in [*document["files"].values(), *document["journals"].values()]:
        jsonschema.Draft202012Validator.check_schema(schema)
        text = json.dumps(schema)
        for reference in set(msgspec.json.decode(text)["$defs"]):
            assert f"#/$defs/{reference}" in text


def test_export_names_every_journal():
    assert set(export.document()["journals"]) == {journal.path for journal in JOURNALS}
    assert len(JOURNALS) == 14


def test_every_record_has_ts_event_and_run_id():
    for schema in export.document()["journals"].values():
        shapes = [_resolve(each, schema["$defs"]) for each in schema.get("anyOf", [schema])]
        for shape in shapes:
            assert {"ts", "event", "run_id"} <= set(shape["required"])


def test_events_decode_to_their_own_shape():
    line = msgspec.json.encode(
        ShadowHeartbeat(ts=1_780_000_000.0, run_id="r", reason="no shadow decision yet")
    )
    assert json.loads(line)["event"] == "heartbeat"
    assert isinstance(SHADOW.decoder.decode(line), ShadowHeartbeat)


def test_a_journal_refuses_an_event_of_another():
    line = msgspec.json.encode(
        MarkPoint(ts=1_780_000_000.0, run_id="r", symbol="BTCUSDT", mark_price=1.0, quote_ts=1.0)
    )
    assert MARKS.decoder.decode(line).mark_price == 1.0
    with pytest.raises(msgspec.ValidationError, match="mark"):
        ORDERS_EXECUTED.decoder.decode(line)


def test_a_record_of_a_later_version_is_still_read():
    line = b'{"event":"mark","ts":1780000000,"run_id":"r","symbol":"B","mark_price":2,"quote_ts":1,"x":[]}'
    assert MARKS.decoder.decode(line).mark_price == 2.0


def test_a_state_file_with_an_unknown_key_is_refused():
    with pytest.raises(msgspec.ValidationError, match="navv"):
        msgspec.json.decode(b'{"navv": 1}', type=Nav)


def test_contract_spelling_of_a_row():
    names = {field.encode_name for field in msgspec.structs.fields(PositionRow)}
    assert {"positionSide", "entryPrice", "markPrice", "unrealized"} <= names


def test_order_events_keep_their_names():
    assert Ack.__struct_config__.tag == "ack"
    assert Fill.__struct_config__.tag_field == "event"


def test_the_twin_is_under_state():
    assert (SYNCED.path, SYNCED.twin) == ("synced_state.json", "state/synced_state.json")


def test_nothing_is_changed_in_place():
    assert all(issubclass(file.struct, Envelope) for file in STATE_FILES)
    assert all(file.struct.__struct_config__.frozen for file in STATE_FILES)
    with pytest.raises(AttributeError):
        NAV.name = "other"  # type: ignore[misc]
