"""The training records that in-context examples are chosen from.

Never validation and never evaluation records. A large training set is sampled: the choice among some
thousands is as good as among a million, and what one item costs stays bounded. Every answer class keeps a
share of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.curation.texts.fixed_text import NO_FIXED_TEXT, FixedText
from flywheel.curation.validated_table import numbers, row_numbers
from flywheel.datasets.examples import Message, example_turns, with_own_ids
from flywheel.datasets.similarity import Hashes, shingles
from flywheel.records.answers import NO_TOOL, answer_message

MOST_EXAMPLES = 3_000
"""Records in a pool."""
KEPT_OF_EACH_CLASS = 20
"""Records of an answer class that sampling never removes."""
COLUMNS = ("request", "response", "choice", "text")


class ExamplePool:
    """Examples by position; token counts and shingles are made when first asked for, and kept."""

    def __init__(
        self,
        chosen: pa.Table,
        logged: pa.Table,
        parse_function_arguments: bool,
        count: Callable[[Message], int],
        fixed: FixedText = NO_FIXED_TEXT,
    ) -> None:
        """
        Args:
            chosen: Rows of the assignment, as `choose` gives them.
            logged: The same rows of the validated table, with `COLUMNS`.
            count: Tokens of one message for the candidate.
            fixed: Text that shingles are not taken of.
        """
        self._rows = logged
        self.clusters: list[str] = chosen["cluster"].to_pylist()
        self.classes: list[str] = chosen["answer_class"].to_pylist()
        self.tools = list(map(tools_of, self.classes))
        self.texts: list[str] = logged["text"].to_pylist()
        self._own_texts = fixed.own_texts(self.texts)
        self._parse = parse_function_arguments
        self._count = count
        self._tokens: dict[int, int] = {}
        self._shingles: dict[int, Hashes] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def turns(self, position: int) -> list[Message]:
        """The example as chat turns, under the ids of example 0; see `flywheel.datasets.examples`."""
        request: dict[str, Any] = msgspec.json.decode(self._rows["request"][position].as_py())
        response: dict[str, Any] = msgspec.json.decode(self._rows["response"][position].as_py())
        answer = answer_message(response, self._rows["choice"][position].as_py()) or {}
        return with_own_ids(example_turns(request["messages"], answer, self._parse), 0)

    def tokens(self, position: int) -> int:
        """What the example adds to a prompt as turns."""
        if position not in self._tokens:
            self._tokens[position] = sum(map(self._count, self.turns(position)))
        return self._tokens[position]

    def shingles(self, position: int) -> Hashes:
        """Shingles of the example's own text."""
        if position not in self._shingles:
            self._shingles[position] = shingles(self._own_texts[position])
        return self._shingles[position]


def tools_of(answer_class: str) -> frozenset[str]:
    """The tools that answers of this class call."""
    return frozenset() if answer_class == NO_TOOL else frozenset(answer_class.split("+"))


def choose(assignment: pa.Table, seed: int, most: int = MOST_EXAMPLES) -> pa.Table:
    """The training rows of an assignment, at most `most` of them, in the order of the assignment.

    A larger training set is sampled by a hash of each record and the seed, after the first of each answer
    class.
    """
    train = assignment.filter(pc.equal(assignment["split"], "train"))
    if train.num_rows <= most:
        return train
    start = crc32(str(seed).encode())
    drawn = np.array([crc32(i.encode(), start) for i in train["record_id"].to_pylist()], dtype=np.uint64)
    drawn = (drawn * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)  # ids in sequence have sums in sequence
    classes = numbers(pc.rank(train["answer_class"].combine_chunks(), tiebreaker="dense")).astype(np.int64)
    order = np.lexsort((drawn, classes))
    starts = np.searchsorted(classes[order], classes[order])
    beyond = np.empty(len(order), bool)
    beyond[order] = np.arange(len(order)) - starts >= KEPT_OF_EACH_CLASS
    return train.take(row_numbers(np.sort(np.lexsort((drawn, beyond))[:most])))
