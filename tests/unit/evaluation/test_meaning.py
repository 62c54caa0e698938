from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from flywheel.datasets.embedding import TextKind, unit_rows
from flywheel.datasets.similarity import Floats
from flywheel.evaluation.meaning import closeness_of, texts_of
from flywheel.progress import Progress, silent
from flywheel.results import Prediction
from tests.unit.evaluation.cases import calls, item, text


class Letters:
    """Vectors of how often each letter stands in a text."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
        self.seen += texts
        counts = [[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts]
        return unit_rows(np.array(counts, np.float32))


def test_plain_answers_are_scored_by_the_cosine_of_their_vectors() -> None:
    items = {name: item(text("abba"), name) for name in ("same", "other", "call", "none", "empty", "digits")}
    items["tool"] = item(calls(("f", {})), "tool")
    answers = {
        "same": text("baba"),
        "other": text("xyz"),
        "call": calls(("f", {})),
        "none": None,
        "empty": text("  "),
        "digits": text("123"),
        "tool": text("abba"),
    }
    predictions = [Prediction(name, answer, scores={"x": 1.0}) for name, answer in answers.items()]
    embedder = Letters()
    found = closeness_of(texts_of(items, predictions), predictions, embedder, silent)
    scores = {p.id: p.scores.get("embedding_similarity", "absent") for p in found}
    assert scores.pop("same") == pytest.approx(1.0, abs=1e-6)
    assert scores == {
        "other": 0.0,
        "call": 0.0,
        "none": None,
        "empty": 0.0,
        "digits": None,  # without a vector nothing is known
        "tool": "absent",
    }
    assert sorted(embedder.seen) == sorted({"abba", "baba", "xyz", "123"})
    assert all(p.scores["x"] == 1.0 for p in found)


def test_nothing_is_asked_of_the_embedder_where_there_is_no_text() -> None:
    items = {"a": item(calls(("f", {})), "a")}
    predictions = [Prediction("a", text("x"))]
    embedder = Letters()
    assert closeness_of(texts_of(items, predictions), predictions, embedder, silent) == predictions
    assert embedder.seen == []
