"""Whether a model is asked with the tokens that it was trained on.

A chat template that renders tools, arguments or white space differently in training and in serving costs a fine-tuned
model much of what it has learnt, and shows nowhere else than in its scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

MOST_TOKENS_SHOWN = 20
TOKENS_BEFORE = 8


class PromptRendering(msgspec.Struct, frozen=True):
    """One row's prompt in token ids, as it is trained on and as it is served; `texts` has the text of each id."""

    training: list[int]
    serving: list[int]
    texts: dict[int, str] = {}


class ParityDifference(msgspec.Struct, frozen=True):
    """Where two renderings of one row part: the text before, and the tokens that stand there instead of each other."""

    row: int
    position: int
    before: str
    training: list[str]
    serving: list[str]


class ParityReport(msgspec.Struct, frozen=True):
    """How many rows were compared, and those that differ."""

    rows: int
    differences: list[ParityDifference] = []

    @property
    def equal(self) -> bool:
        return not self.differences


def compare_renderings(renderings: Sequence[PromptRendering]) -> ParityReport:
    """The differences of all rows; of each, the stretch from the first token that differs to the last."""
    found = [_difference(row, rendering) for row, rendering in enumerate(renderings)]
    return ParityReport(len(renderings), [difference for difference in found if difference is not None])


def _difference(row: int, rendering: PromptRendering) -> ParityDifference | None:
    training, serving = rendering.training, rendering.serving
    if training == serving:
        return None
    shorter = min(len(training), len(serving))
    start = next((i for i in range(shorter) if training[i] != serving[i]), shorter)
    end = next((i for i in range(shorter - start) if training[-1 - i] != serving[-1 - i]), shorter - start)

    def texts(ids: Sequence[int]) -> list[str]:
        return [rendering.texts.get(number, f"<{number}>") for number in ids[:MOST_TOKENS_SHOWN]]

    return ParityDifference(
        row=row,
        position=start,
        before="".join(texts(training[max(0, start - TOKENS_BEFORE) : start])),
        training=texts(training[start : len(training) - end]),
        serving=texts(serving[start : len(serving) - end]),
    )
