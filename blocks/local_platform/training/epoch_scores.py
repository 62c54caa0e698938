"""How well a model in training answers validation items, scored as evaluations are, to compare its epochs.

Nothing of the evaluation side is near: a training is handed its own rows and those held out for validation alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.messages import UnusableChat
from blocks.local_platform.models.model_files import context_length
from blocks.local_platform.serving.chat_requests import completion
from blocks.local_platform.serving.engine import Engine
from blocks.local_platform.serving.generation import Generation
from blocks.local_platform.training.job_files import VALIDATION_FILE, JobSpec
from flywheel.config import MetricsConfig, TrainingConfig
from flywheel.evaluation.aggregate import aggregate, score_predictions
from flywheel.results import EpochScore, EvalItem, Prediction

NAME = "in training"
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_STOP = 60.0
TOKENS_MORE = 32
"""An answer may be twice as long as the reference and so many tokens: one that rambles on must not cost minutes."""


def scores_for(spec: JobSpec, training: TrainingConfig, chat_format: ChatFormat) -> EpochScores:
    """What compares the epochs of a job."""
    return EpochScores(
        Path(spec.train) / VALIDATION_FILE,
        chat_format,
        context=context_length(Path(spec.folder)),
        longest=training.max_seq_length,
        most=training.score_items,
        seed=training.seed,
        metrics=MetricsConfig.model_validate(spec.metrics),
    )


class _Question(NamedTuple):
    """A validation row as an item, its prompt in tokens, and the longest answer to it in tokens."""

    item: EvalItem
    prompt: list[int]
    longest: int


class EpochScores:
    """Asks a model in training the same validation items after each epoch.

    Args:
        rows: validation.jsonl; a missing file has no items.
        context: Most tokens of prompt and answer together.
        longest: Most tokens of a row, as in the training.
        most: How many items are asked; which ones, `seed` decides.
        metrics: Which metric counts, where it is a built-in one, and how arguments compare.
    """

    def __init__(
        self,
        rows: Path,
        chat_format: ChatFormat,
        *,
        context: int,
        longest: int,
        most: int,
        seed: int,
        metrics: MetricsConfig,
    ) -> None:
        self._format = chat_format
        self._context = context
        self._metrics = metrics
        lines = rows.read_bytes().splitlines() if rows.is_file() else []
        questions: list[_Question] = []
        for place in np.random.default_rng([seed, len(lines)]).permutation(len(lines)):
            if len(questions) < most and lines[place].strip():
                questions += self._question(int(place), lines[place], longest)
        self._questions = questions

    def __len__(self) -> int:
        """How many items are asked after each epoch."""
        return len(self._questions)

    def ask(
        self, model: Any, epoch: int, val_loss: float | None, goes_on: Callable[[int], bool]
    ) -> EpochScore | None:
        """The score of the model as it is now; None where `goes_on` put an end to it.

        Args:
            model: In evaluation mode, with packed attention. It is not changed.
            goes_on: Told every now and then how many items are answered; says whether to go on.
        """
        generations = [
            Generation(NAME, question.prompt, question.longest, stop=[]) for question in self._questions
        ]
        if not self._answered(model, generations, goes_on):
            return None
        predictions = {
            question.item.id: self._prediction(question.item, generation)
            for question, generation in zip(self._questions, generations, strict=True)
        }
        items = [question.item for question in self._questions]
        scored = score_predictions(items, predictions, self._metrics.arguments)
        result = aggregate(
            items, scored, eval_type="customized-eval", model=NAME, primary=self._metrics.primary
        )
        metric = result.primary or ""
        return EpochScore(epoch, metric, result.scores[metric], val_loss)

    def _answered(self, model: Any, generations: list[Generation], goes_on: Callable[[int], bool]) -> bool:
        """Whether all came to their end. An engine of its own each time: what prefixes came to is of old weights."""
        ended = threading.Semaphore(0)
        engine = Engine(self._format, self._context)
        engine.add_model(NAME, model)
        engine.start()
        try:
            for generation in generations:
                generation.on_end = lambda _: ended.release()
                engine.submit(generation)
            answered = 0
            while answered < len(generations):
                answered += ended.acquire(timeout=SECONDS_BETWEEN_LOOKS)
                if not goes_on(answered):
                    return False
            return True
        finally:
            for generation in generations:
                generation.abandoned.set()
            engine.close(SECONDS_TO_STOP)

    def _question(self, place: int, line: bytes, longest: int) -> list[_Question]:
        """The row as a question; none where the model cannot be shown it, which the training counts."""
        row = msgspec.json.decode(line, type=dict)
        messages, tools = row["messages"], row.get("tools") or []
        try:
            prompt, answer = self._format.example(messages, tools)
        except UnusableChat:
            return []
        room = self._context - len(prompt)
        if len(prompt) + len(answer) > longest or room < 1:
            return []
        item = EvalItem(
            id=str(place),
            request={"messages": messages[:-1], "tools": tools},
            response={"choices": [{"index": 0, "message": messages[-1]}]},
            cluster=str(place),
        )
        return [_Question(item, prompt, min(2 * len(answer) + TOKENS_MORE, room))]

    def _prediction(self, item: EvalItem, generation: Generation) -> Prediction:
        if generation.error is not None:
            return Prediction(item.id, error=f"{type(generation.error).__name__}: {generation.error}")
        return Prediction(item.id, completion(generation, item.request, self._format))
