"""Runs and candidates that are not there, whatever command names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_unknown_runs_and_candidates_are_named_with_what_there_is(home: Path, flywheel: Any) -> None:
    for words, says in (
        (("divergent", "nope"), "nearest"),
        (("divergent", "first", "--candidate", "big"), "it has small"),
        (("decide", "first", "big", "--approve", "--by", "Ada"), "it has small"),
        (("loadtest", "first", "big", "--endpoint", "http://127.0.0.1:9/v1", "--rate", "1"), "it has small"),
    ):
        code, _, err = flywheel(*words)
        assert code == 3, words
        assert says in err
