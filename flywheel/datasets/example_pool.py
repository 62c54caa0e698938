"""The training records that in-context examples are chosen from.

Never validation and never evaluation records. A large training set is sampled: the choice among some
thousands is as good as among a million, and what one item costs stays bounded. Every answer class keeps a
share of its own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.datasets.examples import Message, example_turns
from flywheel.datasets.similarity import Hashes, shingles
from flywheel.datasets.validated_rows import positions, take_rows
from flywheel.records.answers import NO_TOOL, answer_message
from flywheel.token_counters import message_tokens
from flywheel.tokens import TokenCounter

MOST_EXAMPLES = 5_000
"""Records in a pool."""
KEPT_OF_EACH_CLASS = 20
"""Records of an answer class that sampling never removes."""
COLUMNS = ("record_id", "request", "response", "choice", "text", "answer_class")


class ExamplePool:
    """Examples by position; turns, token counts and shingles are made when first asked for, and kept."""

    def __init__(
        self,
        validated: Path,
        assignment: pa.Table,
        seed: int,
        parse_function_arguments: bool,
        counter: TokenCounter,
        most: int = MOST_EXAMPLES,
    ) -> None:
        """
        Args:
            assignment: Sorted by record_id.
            seed: Decides the sample of a training set larger than `most`.
            counter: Tokens of the candidate.
        """
        train = assignment.filter(pc.equal(assignment["split"], "train"))
        chosen = train.take(positions(np.array(_sample(train, seed, most), dtype=np.int64)))
        self._rows = take_rows(validated, np.asarray(chosen["row"], dtype=np.int64), COLUMNS)
        self.ids: list[str] = chosen["record_id"].to_pylist()
        self.clusters: list[str] = chosen["cluster"].to_pylist()
        self.classes: list[str] = chosen["answer_class"].to_pylist()
        self.tools = [frozenset() if c == NO_TOOL else frozenset(c.split("+")) for c in self.classes]
        self.texts: list[str] = self._rows["text"].to_pylist()
        self._parse = parse_function_arguments
        self._counter = counter
        self._turns: dict[int, list[Message]] = {}
        self._tokens: dict[int, int] = {}
        self._shingles: dict[int, Hashes] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def turns(self, position: int) -> list[Message]:
        """The example as chat turns; see `flywheel.datasets.examples`."""
        if position not in self._turns:
            request: dict[str, Any] = msgspec.json.decode(self._rows["request"][position].as_py())
            response: dict[str, Any] = msgspec.json.decode(self._rows["response"][position].as_py())
            answer = answer_message(response, self._rows["choice"][position].as_py()) or {}
            self._turns[position] = example_turns(request["messages"], answer, self._parse)
        return self._turns[position]

    def tokens(self, position: int) -> int:
        """What the example adds to a prompt, in either placement."""
        if position not in self._tokens:
            self._tokens[position] = sum(message_tokens(turn, self._counter) for turn in self.turns(position))
        return self._tokens[position]

    def shingles(self, position: int) -> Hashes:
        """Shingles of the example's own text."""
        if position not in self._shingles:
            self._shingles[position] = shingles(self.texts[position])
        return self._shingles[position]


def _sample(train: pa.Table, seed: int, most: int) -> list[int]:
    """Positions of at most `most` rows, ascending: by hash, but for the first of each class."""
    if train.num_rows <= most:
        return list(range(train.num_rows))
    keys = [
        hashlib.blake2b(f"{seed}\0{i}".encode(), digest_size=8).digest()
        for i in train["record_id"].to_pylist()
    ]
    classes = train["answer_class"].to_pylist()
    seen: dict[str, int] = {}
    ranked = []
    for position in sorted(range(len(keys)), key=keys.__getitem__):
        seen[classes[position]] = rank = seen.get(classes[position], 0) + 1
        ranked.append((rank > KEPT_OF_EACH_CLASS, keys[position], position))
    return sorted(position for _, _, position in sorted(ranked)[:most])
