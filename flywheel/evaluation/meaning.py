"""How close two answers in words are by their vectors, where somebody makes vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from flywheel.datasets.embedding import Embedder
from flywheel.errors import ScoringError
from flywheel.evaluation.scoring import candidate_message, reference_calls, reference_text
from flywheel.evaluation.tool_calls import calls_of
from flywheel.progress import Progress
from flywheel.records.messages import content_text
from flywheel.results import EvalItem, Prediction

EMBEDDING_SIMILARITY = "embedding_similarity"


class Pairs(NamedTuple):
    """`texts` maps an item to reference and answer; `wrong` are answers that are no text; `applies` all plain items."""

    texts: dict[str, tuple[str, str]]
    wrong: set[str]
    applies: set[str]


def texts_of(items: Mapping[str, EvalItem], predictions: Sequence[Prediction]) -> Pairs:
    """What there is to compare: plain references and the answers to them."""
    pairs = Pairs({}, set(), set())
    for prediction in predictions:
        item = items[prediction.id]
        if reference_calls(item):
            continue
        pairs.applies.add(item.id)
        try:
            message = candidate_message(prediction.response)
        except ScoringError:
            continue
        answer = content_text(message.get("content"))
        if calls_of(message) or not answer.strip():
            pairs.wrong.add(item.id)
        else:
            pairs.texts[item.id] = (reference_text(item), answer)
    return pairs


def closeness_of(
    pairs: Pairs, predictions: Sequence[Prediction], embedder: Embedder, progress: Progress
) -> list[Prediction]:
    """`predictions` with the cosine of both vectors, at least 0; None where either has none.

    Each different text is embedded once. An answer that calls a tool, or says nothing, scores 0.
    Raises: RemoteError where no text could be embedded.
    """
    texts = sorted({text for pair in pairs.texts.values() for text in pair})
    places = {text: position for position, text in enumerate(texts)}
    vectors = embedder.embed(texts, "passage", progress) if texts else np.zeros((0, 1), np.float32)
    found: list[Prediction] = []
    for prediction in predictions:
        if prediction.id in pairs.applies:
            score: float | None = 0.0 if prediction.id in pairs.wrong else None
            if (pair := pairs.texts.get(prediction.id)) is not None:
                cosine = float(vectors[places[pair[0]]] @ vectors[places[pair[1]]])
                score = min(1.0, max(0.0, cosine)) if math.isfinite(cosine) else None
            scores = {**prediction.scores, EMBEDDING_SIMILARITY: score}
            prediction = msgspec.structs.replace(prediction, scores=scores)
        found.append(prediction)
    return found
