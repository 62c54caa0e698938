"""Asking all items of an evaluation, so many at once, and keeping every answer as it comes.

Whoever can answer is a callable: this file knows no network. A worker stands for each slot and takes the next item
when it has its answer; answers go to the file and are read from there, so that memory does not grow with their
number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec

from flywheel.errors import DataError, EndpointRefused, RemoteError, TransientRemoteError
from flywheel.evaluation.item_file import ids_of
from flywheel.evaluation.prediction_file import PredictionFile
from flywheel.evaluation.predictions import Appender, places_answered_before, write_lines
from flywheel.evaluation.scoring import reference_calls, scored, uses_tools
from flywheel.progress import Progress, silent
from flywheel.results import EvalItem, Prediction

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Prediction)


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
) -> PredictionFile:
    """Ask for what is missing, score everything, and leave one line for each item in `predictions`.

    Answers that an earlier, interrupted call left in the file are kept, so the file must belong to exactly these
    items and this model. Cancelling is safe at any time. While it runs, the file holds lines in the order in which
    they came, not all of them scored; at the end it is replaced by scored lines in the order of the items.

    Args:
        items: What to ask; ids must differ. They are gone through a few times, one at a time.
        ask: Answers one item.
        predictions: The file; its folder is created.
        concurrency: Items under way at once.
        progress: Told after every item, with the number of errors.
        stage: Name of the work for `progress`.

    Returns: Scored predictions in the order of `items`, left in the file; those without an answer say why in `error`.

    Raises:
        DataError: Two items have one id.
        RemoteError: The endpoint refuses or fails every item (twice `concurrency` in a row, or all there are).
            What was answered is kept.
        OSError: The file cannot be written.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; at least one request must be allowed")
    ids = ids_of(items)
    known = set(ids)
    if len(ids) != len(known):
        raise DataError(f"{len(ids) - len(known)} evaluation items have an id that another has too.")
    places = await asyncio.to_thread(places_answered_before, predictions, known)
    work = _Work(items, ask, places, uses_tools(items), progress, stage, 2 * concurrency)
    asked = len(ids) - len(places)
    if asked:
        with Appender(predictions) as appender:
            await work.run(appender, min(concurrency, asked))
    progress(stage, len(ids), len(ids), "scoring")
    result = await asyncio.to_thread(work.put_in_order, predictions, ids)
    if work.last_failure is not None and not work.answered:
        raise type(work.last_failure)(
            f"none of the {len(ids)} items got an answer; the last failed so: {work.last_failure}"
        )
    progress(stage, len(ids), len(ids), _errors(work.errors))
    return result


class _Work:
    """The workers of one evaluation and what they share: of every answer, where its line begins, and no more."""

    def __init__(
        self,
        items: Sequence[EvalItem],
        ask: Ask,
        places: dict[str, int],
        tools: bool,
        progress: Progress,
        stage: str,
        most_failures: int,
    ) -> None:
        self._items = items
        self._queue: Iterator[EvalItem] = iter([])
        self._ask, self._places, self._tools = ask, places, tools
        self._progress, self._stage = progress, stage
        self._most_failures = most_failures
        self._failures_in_a_row = 0
        self._unscored = set(places)
        self.answered = len(places)
        self.errors = 0
        self.last_failure: RemoteError | None = None

    async def run(self, appender: Appender, workers: int) -> None:
        before = set(self._places)
        self._queue = (item for item in self._items if item.id not in before)
        self._report()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._worker(appender))
        except BaseExceptionGroup as several:
            # One failure ends all workers; whoever called wants that failure, not the bundle.
            raise several.exceptions[0] from None

    def put_in_order(self, path: Path, ids: Sequence[str]) -> PredictionFile:
        """Leave one scored line for each item, in the order of the items."""
        if not ids:
            return PredictionFile(path, ids, write_lines(path, ()))
        with path.open("rb") as file:
            lines = self._lines(file) if self._unscored else map(self._line(file), ids)
            return PredictionFile(path, ids, write_lines(path, lines))

    def _line(self, file: BinaryIO) -> Callable[[str], bytes]:
        def line(item_id: str) -> bytes:
            file.seek(self._places[item_id])
            return file.readline()

        return line

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        line_of = self._line(file)
        for item in self._items:
            line = line_of(item.id)
            if item.id in self._unscored:
                prediction = scored(item, _DECODER.decode(line), self._tools)
                self.errors += prediction.error is not None
                line = _ENCODER.encode(prediction) + b"\n"
            yield line

    async def _worker(self, appender: Appender) -> None:
        for item in self._queue:
            self._places[item.id] = appender.append(await self._outcome(item))
            self._report()
            if self._failures_in_a_row >= self._most_failures and self.last_failure is not None:
                raise type(self.last_failure)(
                    f"stopped after {self._failures_in_a_row} failures in a row; run again to ask for what is "
                    f"missing. The last one: {self.last_failure}"
                )

    async def _outcome(self, item: EvalItem) -> Prediction:
        try:
            answer = await self._ask(item)
        except RemoteError as error:
            self._note_failure(error)
            failed = Prediction(item.id, error=str(error), attempts=error.attempts)
            return scored(item, failed, self._tools)
        self._failures_in_a_row = 0
        self.answered += 1
        prediction = Prediction(
            item.id,
            answer.response,
            round(answer.latency_ms, 3),
            attempts=answer.attempts,
            ttft_ms=None if answer.ttft_ms is None else round(answer.ttft_ms, 3),
        )
        if not reference_calls(item):
            # Text metrics may take a while; they would hold up the answers and falsify their latency.
            self._unscored.add(item.id)
            return prediction
        # Comparing calls costs less than a line does, and is done while others wait for their answers.
        prediction = scored(item, prediction, self._tools)
        self.errors += prediction.error is not None
        return prediction

    def _note_failure(self, error: RemoteError) -> None:
        self.errors += 1
        self.last_failure = error
        if isinstance(error, EndpointRefused | TransientRemoteError):
            self._failures_in_a_row += 1
        # Any other refusal is about one item, such as a prompt that is too long: the next may do better.

    def _report(self) -> None:
        self._progress(self._stage, len(self._places), len(self._items), _errors(self.errors))


def _errors(count: int) -> str:
    return "" if not count else "1 error" if count == 1 else f"{count} errors"
