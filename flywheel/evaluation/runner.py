"""Asking all items of an evaluation, so many at once, and keeping every answer as it comes.

Whoever can answer is a callable: this file knows no network. A worker stands for each slot and takes the next item
when it has its answer, so that memory does not grow with the number of items.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from flywheel.errors import DataError, EndpointRefused, RemoteError, TransientRemoteError
from flywheel.evaluation.predictions import Appender, answered_before, write_predictions
from flywheel.evaluation.scoring import reference_calls, scored, uses_tools
from flywheel.progress import Progress, silent
from flywheel.results import EvalItem, Prediction


class Answer(msgspec.Struct, frozen=True):
    """A chat completion, how long it took from sending to the last byte, and how many requests it needed.

    `ttft_ms` is the time to its first token, where answers are streamed.
    """

    response: dict[str, Any]
    latency_ms: float
    attempts: int = 1
    ttft_ms: float | None = None


class Ask(Protocol):
    """Gets one item answered. A `RemoteError` is this item's outcome; anything else ends the evaluation."""

    async def __call__(self, item: EvalItem, /) -> Answer: ...


async def run_evaluation(
    items: Sequence[EvalItem],
    ask: Ask,
    predictions: Path,
    concurrency: int,
    progress: Progress = silent,
    stage: str = "evaluation",
) -> list[Prediction]:
    """Ask for what is missing, score everything, and leave one line for each item in `predictions`.

    Answers that an earlier, interrupted call left in the file are kept, so the file must belong to exactly these
    items and this model. Cancelling is safe at any time. While it runs, the file holds lines in the order in which
    they came, not all of them scored; at the end it is replaced by scored lines in the order of the items.

    Args:
        items: What to ask; ids must differ.
        ask: Answers one item.
        predictions: The file; its folder is created.
        concurrency: Items under way at once.
        progress: Told after every item, with the number of errors.
        stage: Name of the work for `progress`.

    Returns: Scored predictions in the order of `items`; those without an answer say why in `error`.

    Raises:
        DataError: Two items have one id.
        RemoteError: The endpoint refuses or fails every item (twice `concurrency` in a row, or all there are).
            What was answered is kept.
        OSError: The file cannot be written.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; at least one request must be allowed")
    ids = {item.id for item in items}
    if len(ids) != len(items):
        raise DataError(f"{len(items) - len(ids)} evaluation items have an id that another has too.")
    done = await asyncio.to_thread(answered_before, predictions, ids)
    pending = [item for item in items if item.id not in done]
    tools = uses_tools(items)
    work = _Work(pending, ask, done, tools, progress, stage, 2 * concurrency)
    if pending:
        with Appender(predictions) as appender:
            await work.run(appender, min(concurrency, len(pending)))
    progress(stage, len(items), len(items), "scoring")
    result = await asyncio.to_thread(
        lambda: [
            done[item.id] if item.id in work.scored else scored(item, done[item.id], tools) for item in items
        ]
    )
    await asyncio.to_thread(write_predictions, predictions, result)
    if pending and work.last_failure is not None and all(p.response is None for p in result):
        raise type(work.last_failure)(
            f"none of the {len(items)} items got an answer; the last failed so: {work.last_failure}"
        )
    progress(stage, len(items), len(items), _errors(sum(p.error is not None for p in result)))
    return result


class _Work:
    """The workers of one evaluation and what they share."""

    def __init__(
        self,
        pending: Sequence[EvalItem],
        ask: Ask,
        done: dict[str, Prediction],
        tools: bool,
        progress: Progress,
        stage: str,
        most_failures: int,
    ) -> None:
        self._queue: Iterator[EvalItem] = iter(pending)
        self._total = len(done) + len(pending)
        self._ask, self._done, self._tools = ask, done, tools
        self._progress, self._stage = progress, stage
        self._most_failures = most_failures
        self._failures_in_a_row = 0
        self._errors = 0
        self.last_failure: RemoteError | None = None
        self.scored: set[str] = set()

    async def run(self, appender: Appender, workers: int) -> None:
        self._report()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._worker(appender))
        except BaseExceptionGroup as several:
            # One failure ends all workers; whoever called wants that failure, not the bundle.
            raise several.exceptions[0] from None

    async def _worker(self, appender: Appender) -> None:
        for item in self._queue:
            try:
                answer = await self._ask(item)
            except RemoteError as error:
                prediction = Prediction(item.id, error=str(error), attempts=error.attempts)
                self._note_failure(error)
            else:
                self._failures_in_a_row = 0
                prediction = Prediction(
                    item.id,
                    answer.response,
                    round(answer.latency_ms, 3),
                    attempts=answer.attempts,
                    ttft_ms=None if answer.ttft_ms is None else round(answer.ttft_ms, 3),
                )
                if reference_calls(item):
                    # Comparing calls costs less than a line does, and is done while others wait for their answers.
                    # Text metrics may take a while; they would hold up the answers and falsify their latency.
                    prediction = scored(item, prediction, self._tools)
                    self.scored.add(item.id)
            self._done[item.id] = prediction
            appender.append(prediction)
            self._report()
            if self._failures_in_a_row >= self._most_failures and self.last_failure is not None:
                raise type(self.last_failure)(
                    f"stopped after {self._failures_in_a_row} failures in a row; run again to ask for what is "
                    f"missing. The last one: {self.last_failure}"
                )

    def _note_failure(self, error: RemoteError) -> None:
        self._errors += 1
        self.last_failure = error
        if isinstance(error, EndpointRefused | TransientRemoteError):
            self._failures_in_a_row += 1
        # Any other refusal is about one item, such as a prompt that is too long: the next may do better.

    def _report(self) -> None:
        self._progress(self._stage, len(self._done), self._total, _errors(self._errors))


def _errors(count: int) -> str:
    return "" if not count else "1 error" if count == 1 else f"{count} errors"
