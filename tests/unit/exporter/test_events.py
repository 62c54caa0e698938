"""Reading server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_exporter.events import events

BODY = ': hello\r\n\r\ndata: {"a": "ü→"}\n\nevent: x\ndata:1\ndata:  2\n\n\n\rdata: [DONE]\n\n'.encode()


def data_of(*parts: bytes) -> list[bytes]:
    return [event.data for event in events(list(enumerate(parts)))]


def test_comments_and_other_fields_are_passed_over_and_lines_of_one_event_joined() -> None:
    assert data_of(BODY) == ['{"a": "ü→"}'.encode(), b"1\n 2", b"[DONE]"]


@given(st.sets(st.integers(0, len(BODY)), max_size=len(BODY)))
def test_where_the_body_was_cut_into_parts_makes_no_difference(cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    parts = [BODY[start:end] for start, end in pairwise(edges)]
    assert data_of(*parts) == data_of(BODY)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_may_end_in_each_of_the_three_ways(end: bytes) -> None:
    assert data_of(b"data: 1" + end + end + b"data: 2" + end + end) == [b"1", b"2"]


def test_an_event_arrives_with_the_part_that_holds_its_end() -> None:
    parts = [(0.1, b"data: 1"), (0.2, b"\n\ndata: 2\n"), (0.3, b"\n")]
    assert [(event.data, event.arrived) for event in events(parts)] == [(b"1", 0.2), (b"2", 0.3)]


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert data_of(b"data: 1\n\ndata: 2") == [b"1", b"2"]


def test_nothing_holds_no_events() -> None:
    assert data_of() == []
    assert data_of(b"", b"\n\n") == []
