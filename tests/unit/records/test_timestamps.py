from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import DataError
from flywheel.records.timestamps import EARLIEST, LATEST, to_iso, to_seconds

MOMENT = 1_750_000_000  # 2025-06-15T15:06:40Z


@pytest.mark.parametrize(
    "written",
    [
        MOMENT,
        float(MOMENT),
        MOMENT * 10**3,
        MOMENT * 10**6,
        MOMENT * 10**9,
        str(MOMENT),
        f" {MOMENT * 1000} ",
        "1.75e9",
        "2025-06-15T15:06:40Z",
        "2025-06-15T15:06:40",
        "2025-06-15 15:06:40",
        "2025-06-15T17:06:40+02:00",
        "2025-06-15T15:06:40.000000000Z",
        "20250615T150640Z",
        datetime(2025, 6, 15, 15, 6, 40),
        datetime(2025, 6, 15, 17, 6, 40, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_every_form_of_a_time_is_the_same_moment(written: Any) -> None:
    assert to_seconds(written) == MOMENT


def test_a_date_alone_is_its_midnight_and_not_a_number_of_seconds() -> None:
    assert to_seconds("20250615") == to_seconds("2025-06-15") == datetime(2025, 6, 15, tzinfo=UTC).timestamp()


def test_fractions_are_kept() -> None:
    assert to_seconds(MOMENT * 1000 + 250) == to_seconds("2025-06-15T15:06:40.250Z") == MOMENT + 0.25


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (0, "1970"),
        (12_345, "1970"),
        (-1, "1969"),
        ("1970-01-01T00:00:00Z", "1970"),
        (MOMENT // 1000, "1970"),  # milliseconds divided once too often
        (32_503_680_000, "3000"),
        ("3000-01-01T00:00:00Z", "3000"),
        (32_503_680_000_000, "3000"),
        (1e300, "not a time"),
        (float("inf"), "not a time"),
        (float("nan"), "not a time"),
        (10**400, "not a time"),
        ("", "not a time"),
        ("yesterday", "not a time"),
        ("2025-13-45", "not a time"),
        (True, "not a time"),
        (None, "not a time"),
        ([1], "not a time"),
    ],
)
def test_what_cannot_be_the_time_of_a_call_is_an_error_that_says_why(wrong: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        to_seconds(wrong)


@given(st.floats(EARLIEST, LATEST, exclude_max=True))
def test_seconds_and_milliseconds_of_a_moment_agree(seconds: float) -> None:
    assert to_seconds(seconds) == seconds
    assert to_seconds(seconds * 1000) == pytest.approx(seconds, abs=1e-3)


@given(st.integers(int(EARLIEST) * 1000, int(LATEST) * 1000 - 1))
def test_a_moment_written_as_iso_reads_back_to_the_millisecond(milliseconds: int) -> None:
    assert to_seconds(to_iso(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)
