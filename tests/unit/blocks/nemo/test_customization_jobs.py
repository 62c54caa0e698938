from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blocks.nemo.customization_jobs import read_status, read_time

POINT = {"step": 1, "timestamp": "x", "value": 0.5}
VALUES = st.sampled_from(
    [
        None,
        True,
        -1,
        7,
        2.5,
        float("inf"),
        float("nan"),
        "",
        "running",
        [],
        {},
        [None],
        ["x"],
        [{}],
        [{"message": None}],
    ]
    + [
        {"metrics": value}
        for value in (None, {}, {"train_loss": [POINT]}, {"train_loss": [None]}, {"val_loss": 3})
    ]
)
FIELDS = [
    "status",
    "percentage_done",
    "epochs_completed",
    "steps_completed",
    "steps_per_epoch",
    "elapsed_time",
]
FIELDS += ["train_loss", "val_loss", "metrics", "status_logs", "updated_at"]


@settings(max_examples=60)
@example({"steps_completed": float("inf"), "percentage_done": float("nan")})
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_a_status_of_any_shape_is_read(document: dict[str, Any]) -> None:
    status = read_status(document)
    assert isinstance(status.status, str)
    assert isinstance(status.described(2), str)
    hash(status.signature)


def test_not_enough_resources_is_a_queue_only_as_the_last_word() -> None:
    logs = [{"message": "created"}, {"message": "NotEnoughResources"}]
    assert read_status({"status": "running", "status_logs": logs}).is_queued
    moved = [*logs, {"message": "EntityHandler_0_Running"}]
    assert not read_status({"status": "running", "status_logs": moved}).is_queued
    assert not read_status({"status": "failed", "status_logs": logs}).waits_for_gpus


def test_the_newest_detail_is_the_reason() -> None:
    logs = [
        {"message": "a", "detail": "old"},
        {"message": "b", "detail": "new"},
        {"message": "c", "detail": None},
    ]
    assert read_status({"status": "failed", "status_logs": logs}).reason == "new"


@pytest.mark.parametrize(
    "text", ["2025-06-20T04:20:22.061480", "2025-06-20T04:20:22.061480Z", "2025-06-20T06:20:22.061480+02:00"]
)
def test_naive_times_are_utc(text: str) -> None:
    assert read_time(text) == datetime(2025, 6, 20, 4, 20, 22, 61480, UTC)
