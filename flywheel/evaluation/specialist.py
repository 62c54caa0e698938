"""An evaluation set beside the run's own: items that somebody kept because models found them hard.

Their scores stand apart: such items are chosen for being difficult, so a mean over both would say nothing. Items that
are near to what the candidate learns from are left out, or they would be counted as understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from flywheel.curation.arrow_columns import column
from flywheel.curation.texts.fixed_text_search import PER_GROUP, fixed_text_in
from flywheel.datasets.similarity import LexicalIndex, jaccard, shingles
from flywheel.evaluation.divergent import prompt_text
from flywheel.results import EvalItem

PREFIX = "specialist/"
ITEMS_FILE, PREDICTIONS_FILE = "specialist_items.jsonl", "specialist.jsonl"
NEAR = 0.8
"""Jaccard similarity of the prompts' shingles from which an item counts as learned."""

_WORTH_COMPARING = 0.5  # cosine, below which two texts are never that near
_AT_ONCE = 256


def not_learned(
    items: Sequence[EvalItem], training: Sequence[Mapping[str, Any]], near: float = NEAR
) -> list[EvalItem]:
    """The items whose prompt is no near-copy of a training row's, a long text aside that many of those hold.

    Args:
        items: The specialist items.
        training: Rows `{"messages": [...]}` of the training and validation sets; the last message is the answer.
        near: Jaccard similarity from which two prompts are copies.
    """
    prompts = [prompt_text(item) for item in items]
    learned = [_prompt_of_row(row) for row in training]
    if not items or not learned:
        return list(items)
    own, learned_own = _without_fixed_text(prompts, learned)
    index = LexicalIndex(learned)
    kept = []
    for start in range(0, len(items), _AT_ONCE):
        part = prompts[start : start + _AT_ONCE]
        close = index.similarities(part)
        for place, prompt in enumerate(part):
            mine = shingles(own[start + place])
            rivals = (int(row) for row in (close[place] >= _WORTH_COMPARING).nonzero()[0])
            same = any(
                learned[row] == prompt or jaccard(mine, shingles(learned_own[row])) >= near for row in rivals
            )
            if not same:
                kept.append(items[start + place])
    return kept


def _without_fixed_text(prompts: Sequence[str], learned: Sequence[str]) -> tuple[list[str], list[str]]:
    """Both without the text that many training rows hold, of which a sample is looked at, always the same."""
    by_hash = sorted(
        {text.encode("utf-8", "replace") for text in learned}, key=lambda text: blake2b(text).digest()
    )
    fixed = fixed_text_in(column([text.decode() for text in by_hash[:PER_GROUP]], pa.string()))
    return fixed.own_texts(prompts), fixed.own_texts(learned)


def _prompt_of_row(row: Mapping[str, Any]) -> str:
    messages = row.get("messages")
    history = list(messages)[:-1] if isinstance(messages, list) else []
    return prompt_text(EvalItem("", {"messages": history}, {}, ""))
