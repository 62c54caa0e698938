"""Training rows in tokens, and how those of one step are laid out for computing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from blocks.local_platform.models.chat_format import ChatFormat, Example
from blocks.local_platform.models.messages import UnusableChat
from blocks.local_platform.models.token_prefixes import SHORTEST_WORTHWHILE, families, shared_prefix
from flywheel.errors import DatasetError

MOST_PACKED_TOKENS = 2048
"""Tokens of one forward and backward pass: what is kept of them for the gradients takes memory."""


class Rows(NamedTuple):
    """Usable rows, and how many were left out by reason."""

    examples: list[Example]
    skipped: dict[str, int]


class Packed(NamedTuple):
    """Rows of one pass: the shared prefix once, then what each has of its own.

    `targets[i]` is the token that must follow position `predictors[i]` of `tokens`.
    """

    tokens: list[int]
    prefix: int
    lengths: list[int]
    predictors: list[int]
    targets: list[int]


def read_rows(path: Path, chat_format: ChatFormat, longest: int) -> Rows:
    """Rows of a JSONL file of `{"messages", "tools"}`. A missing file has no rows.

    Rows longer than `longest` tokens and rows that the model's template cannot show are left out and counted.

    Raises: DatasetError where a line is not such a row.
    """
    examples: list[Example] = []
    skipped: dict[str, int] = {}
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=dict)
        except msgspec.DecodeError as error:
            raise DatasetError(
                f"{path.name}, line {number}: not a training row ({error}). Build it again."
            ) from error
        try:
            example = chat_format.example(row.get("messages"), row.get("tools"))
        except UnusableChat as error:
            skipped[str(error)] = skipped.get(str(error), 0) + 1
            continue
        if len(example.prompt) + len(example.answer) > longest:
            reason = f"longer than max_seq_length ({longest} tokens)"
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        examples.append(example)
    return Rows(examples, skipped)


def pack(examples: list[Example]) -> Packed:
    """All rows behind what their prompts share.

    The last token of a prompt is never shared: it predicts the first token of its own answer.
    """
    prefix = shared_prefix([example.prompt for example in examples])
    if len(examples) < 2 or prefix < SHORTEST_WORTHWHILE:
        prefix = 0
    packed = Packed([*examples[0].prompt[:prefix]], prefix, [], [], [])
    for prompt, answer in examples:
        own = [*prompt[prefix:], *answer[:-1]]  # nothing follows the last token
        first = len(packed.tokens) + len(prompt) - prefix - 1
        packed.predictors.extend(range(first, first + len(answer)))
        packed.targets.extend(answer)
        packed.tokens.extend(own)
        packed.lengths.append(len(own))
    return packed


def passes(examples: list[Example], most_tokens: int = MOST_PACKED_TOKENS) -> list[Packed]:
    """The rows of one optimiser step in as few passes as fit; rows that begin alike stay together."""
    result = []
    for family in families([example.prompt for example in examples]):
        prefix = shared_prefix([examples[position].prompt for position in family])
        portion: list[Example] = []
        tokens = prefix
        for position in family:
            prompt, answer = examples[position]
            own = len(prompt) - prefix + len(answer)
            if portion and tokens + own > most_tokens:
                result.append(pack(portion))
                portion, tokens = [], prefix
            portion.append(examples[position])
            tokens += own
        result.append(pack(portion))
    return result
