"""A search that gives as many neighbours as it is asked for finds what comparing each with each finds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import DataSplitConfig, IclConfig
from flywheel.datasets.embedding import closeness, unit_rows
from flywheel.datasets.icl import EVAL_FILE, build_icl
from flywheel.datasets.neighbours import FIRST_ASKED, Hit, Ranked, Searched, VectorIndex
from flywheel.datasets.similarity import Floats
from flywheel.errors import RemoteRejected
from flywheel.progress import silent
from flywheel.token_counters import UpperBoundCounter
from tests.unit.datasets.tables import Call, write_tables


class BruteForce:
    """A working vector search, in memory. `asked` holds how many neighbours were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.open = 0

    @contextmanager
    def index(self, vectors: Floats, classes: Sequence[str]) -> Iterator[VectorIndex]:
        search = self

        class Index:
            def nearest(self, query: Floats, classes_wanted: Collection[str], most: int) -> list[Hit]:
                search.asked.append(most)
                to_all = closeness(query[None], vectors)[0]
                found = [
                    (position, float(value))
                    for position, value in enumerate(to_all)
                    if classes[position] in classes_wanted and not np.isnan(value)
                ]
                return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:most]

        self.open += 1
        try:
            yield Index()
        finally:
            self.open -= 1


@given(st.integers(0, 400), st.integers(0, 2**32 - 1), st.sets(st.sampled_from("abc")))
def test_a_search_gives_the_order_of_comparing_each_with_each(
    size: int, seed: int, without: set[str]
) -> None:
    random = np.random.default_rng(seed)
    vectors = unit_rows(random.integers(-2, 3, (size, 3)).astype(np.float32))  # few directions: many are tied
    classes = [str(name) for name in random.choice(list("abc"), size)]
    query = unit_rows(random.normal(size=(1, 3)).astype(np.float32))[0]
    ranked = Ranked(closeness(query[None], vectors)[0], classes)
    with BruteForce().index(vectors, classes) as index:
        searched = Searched(lambda wanted, most: index.nearest(query, wanted, most), set(classes))
        assert list(searched.closest(without)) == list(ranked.closest(without))
        for position in searched.closest():
            assert searched.closeness(position) == pytest.approx(ranked.closeness(position), abs=1e-6)


def test_more_neighbours_are_asked_for_only_when_they_are_wanted() -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(1_000, 8)).astype(np.float32))
    search = BruteForce()
    with search.index(vectors, ["a"] * 1_000) as index:
        closest = Searched(lambda wanted, most: index.nearest(vectors[0], wanted, most), {"a"}).closest()
        assert next(closest) == 0
        assert search.asked == [FIRST_ASKED]
        assert len(list(islice(closest, FIRST_ASKED))) == FIRST_ASKED
    assert search.asked == [FIRST_ASKED, 4 * FIRST_ASKED]


class ByLetters:
    """Vectors of the letters of a text; one that says "mute" has none."""

    def embed(self, texts: Sequence[str], kind: str, progress: Any) -> Floats:
        counts = [[text.lower().count(letter) for letter in "abcdefghijklmnoprstuvw"] for text in texts]
        vectors = unit_rows(np.array(counts, np.float32))
        vectors[[("mute" in text) for text in texts]] = np.nan
        return vectors


TOOLS = ("track_order", "refund", "cancel_order", "")
CALLS = [
    *(Call(f"t{n}", f"{'track' * (n % 5)} thing {n * 37}", TOOLS[n % 7 % 4], "train") for n in range(300)),
    Call("mute-example", "mute", "refund", "train"),
    *(
        Call(f"e{n}", f"where is thing {n} of order {n * 11}", "track_order", "evaluation", cluster=f"c{n}")
        for n in range(8)
    ),
    Call("silent", "mute question", "refund", "evaluation"),
]


def icl(folder: Path, search: Any, embedder: Any) -> bytes:
    validated, assignment = write_tables(folder, CALLS)
    config = IclConfig(max_examples=5, relevance_ratio=0.5, max_similarity=0.7)
    counter, context = UpperBoundCounter(), 32_768
    out = folder / "icl"
    build_icl(
        validated, assignment, out, config, DataSplitConfig(), counter, context, silent, embedder, search
    )
    return (out / EVAL_FILE).read_bytes()


def test_examples_found_by_a_search_are_those_of_the_exact_comparison(tmp_path: Path) -> None:
    search = BruteForce()
    exact = icl(tmp_path / "exact", None, ByLetters())
    assert icl(tmp_path / "searched", search, ByLetters()) == exact
    assert search.open == 0
    assert exact.count(b"\n") == 8  # the item without a vector is not run


def test_a_search_that_breaks_off_is_closed_and_no_dataset_comes_of_it(tmp_path: Path) -> None:
    class Failing(BruteForce):
        @contextmanager
        def index(self, vectors: Floats, classes: Sequence[str]) -> Iterator[VectorIndex]:
            with super().index(vectors, classes) as index:

                class Once:
                    def nearest(self, query: Floats, wanted: Collection[str], most: int) -> list[Hit]:
                        if len(search.asked) > 4:
                            raise RemoteRejected("no more")
                        return index.nearest(query, wanted, most)

                yield Once()

    search = Failing()
    with pytest.raises(RemoteRejected, match="no more"):
        icl(tmp_path, search, ByLetters())
    assert search.open == 0
