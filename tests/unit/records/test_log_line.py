from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.records.log_line import LogLine, ReadLine, Unreadable, WireLine, read_line, typed_line

FIELDS = WireLine.__struct_fields__


def line(fields: dict[str, Any]) -> LogLine:
    read = read_line(json.dumps(fields).encode())
    assert isinstance(read, ReadLine)
    return typed_line(read)


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
DOCUMENTS = VALUES | st.dictionaries(st.text(), VALUES, max_size=2) | st.lists(VALUES, max_size=2)


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(), DOCUMENTS))
def test_nothing_of_a_line_is_lost(fields: dict[str, Any]) -> None:
    """Each value is in its field or in `extra`, whatever its type."""
    read = line(fields)
    extra = json.loads(read.extra or b"{}")
    for name, value in fields.items():
        if name in extra:
            assert extra[name] == value
        elif value is None:
            assert getattr(read, name, None) is None
        elif name in ("request", "response"):
            payload = value if isinstance(value, dict) else json.loads(value)
            assert json.loads(getattr(read, name)) == payload
        elif name == "latency_ms":
            assert getattr(read, name) == float(value)  # the column is float64, exact to 2**53 milliseconds
        elif name != "timestamp":
            assert getattr(read, name) in (value, str(value))


def test_the_documented_optional_fields_are_read() -> None:
    read = line(
        {"description": "d", "latency_ms": 12, "tokens_in": 3, "tokens_out": 0, "conversation_id": "c"}
    )
    assert (read.description, read.latency_ms, read.tokens_in, read.tokens_out) == ("d", 12.0, 3, 0)
    assert (read.conversation_id, read.extra) == ("c", None)


def test_payloads_keep_the_bytes_that_were_logged() -> None:
    raw = b'{"request": {"b":1.0,  "a": "\\u00e9"}, "response": {}, "other": 1}'
    read = read_line(raw)
    assert isinstance(read, ReadLine)
    assert typed_line(read).request == b'{"b":1.0,  "a": "\\u00e9"}'


@pytest.mark.parametrize("blank", ["", None])
def test_a_blank_id_is_none(blank: str | None) -> None:
    assert line({"workload_id": blank}).workload_id is None


def test_a_lone_surrogate_and_other_bad_json_are_refused_with_a_sentence() -> None:
    for text in (b'{"id": "\\ud800 x"}', b"{", b"", b"null", b'{"id": NaN}'):
        read = read_line(text)
        assert isinstance(read, Unreadable)
        assert read.reason == "not_json"
        assert read.detail


def test_the_time_to_the_first_token_is_kept_beside_what_a_record_has() -> None:
    read = read_line(b'{"workload_id": "w", "time_to_first_token_ms": 12.5, "status_code": 200}')
    assert isinstance(read, ReadLine)
    line = typed_line(read)
    assert line.extra is not None
    assert json.loads(line.extra) == {"time_to_first_token_ms": 12.5, "status_code": 200}
    wrong = read_line(b'{"workload_id": "w", "time_to_first_token_ms": "soon"}')
    assert isinstance(wrong, ReadLine)
    assert typed_line(wrong).extra == b'{"time_to_first_token_ms":"soon"}'
