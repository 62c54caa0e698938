"""Asking a judge: any OpenAI-compatible model, or a function of the user's own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Protocol

from blocks.endpoints.chat_client import ChatClient
from blocks.endpoints.endpoint_client import count_of
from blocks.ports import Endpoint
from blocks.scoring.judge_cache import CachedVerdict, JudgeCache
from flywheel.candidates import content_hash
from flywheel.config import EvaluationConfig, JudgeConfig
from flywheel.errors import EndpointRefused, RemoteError, RemoteRejected, ScoringError, TransientRemoteError
from flywheel.evaluation.scoring import candidate_message
from flywheel.judging.metrics import JudgeMetric
from flywheel.judging.parsing import Verdict, read_verdict, schema_of
from flywheel.judging.questions import JudgeVerdict, Question
from flywheel.judging.token_use import TokenUse
from flywheel.progress import Progress
from flywheel.records.messages import content_text

Messages = list[dict[str, str]]


class Judge(Protocol):
    """Something that answers a judge's prompt. Use it as an async context manager.

    `identity` names whatever a verdict depends on beside the messages, `used` what was asked so far under each metric.
    """

    identity: dict[str, Any]
    used: dict[str, TokenUse]

    async def __aenter__(self) -> Judge: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def structured(self) -> bool:
        """Whether the next verdict is asked for by a schema."""

    async def answer(self, ask: Callable[[bool], Messages], metric: JudgeMetric) -> str:
        """What the judge says; `ask` makes the messages, told whether the answer has to be of the metric's schema.

        Raises: RemoteError.
        """


class ModelJudge:
    """A model at an endpoint. What it refuses of a request, it is not asked for again.

    A schema gives way to text; newer models want no temperature.
    """

    def __init__(
        self, endpoint: Endpoint, config: JudgeConfig, key: str | None = None, first_pause: float = 0.5
    ) -> None:
        self.identity = {
            "base_url": endpoint.base_url,
            "model": endpoint.model,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
        }
        self.used: dict[str, TokenUse] = {}
        self._model = endpoint.model
        self._config = config
        self._structured = config.output != "text"
        self._temperature = config.temperature
        self._client = ChatClient(
            endpoint,
            EvaluationConfig(
                concurrency=config.concurrency,
                requests_per_minute=config.requests_per_minute,
                tokens_per_minute=config.tokens_per_minute,
                timeout_seconds=config.timeout_seconds,
                max_attempts=config.max_attempts,
            ),
            first_pause=first_pause,
            key=key,
        )

    async def __aenter__(self) -> ModelJudge:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    @property
    def structured(self) -> bool:
        """Whether the next verdict is asked for by a schema."""
        return self._structured

    async def answer(self, ask: Callable[[bool], Messages], metric: JudgeMetric) -> str:
        """See `Judge.answer`."""
        structured = self._structured
        try:
            return await self._ask(ask(structured), metric, structured)
        except EndpointRefused:
            raise
        except RemoteRejected:
            if not structured or self._config.output == "structured":
                raise
        text = await self._ask(ask(False), metric, False)
        self._structured = False  # it was the schema that it refused
        return text

    async def _ask(self, messages: Messages, metric: JudgeMetric, structured: bool) -> str:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "max_tokens": self._config.max_tokens,
        }
        if self._temperature is not None:
            body["temperature"] = self._temperature
        if structured:
            body["response_format"] = schema_of(metric.low, metric.high)
        try:
            answer = await self._client.complete(body)
        except RemoteRejected as refusal:
            if "temperature" in body and "temperature" in str(refusal):
                self._temperature = None
                return await self._ask(messages, metric, structured)
            raise
        asked, said = (
            count_of(answer.response, name) or 0 for name in ("prompt_tokens", "completion_tokens")
        )
        self.used[metric.name] = self.used.get(metric.name, TokenUse()) + TokenUse(asked, said)
        try:
            message = candidate_message(answer.response)
        except ScoringError as error:
            raise TransientRemoteError(f"the judge's answer is none: {error}") from error
        return content_text(message.get("content"))


class FunctionJudge:
    """A function `judge(messages) -> str`, plain or async; a plain one runs in a thread."""

    structured = False

    def __init__(self, function: Callable[[Messages], str | Awaitable[str]], config: JudgeConfig) -> None:
        self.identity = {"function": config.function, "code": _source_of(function)}
        self.used: dict[str, TokenUse] = {}  # what a function asks is its own affair
        self._function = function
        self._timeout = config.timeout_seconds

    async def __aenter__(self) -> FunctionJudge:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def answer(self, ask: Callable[[bool], Messages], metric: JudgeMetric) -> str:
        """See `Judge.answer`."""
        messages = ask(False)
        try:
            async with asyncio.timeout(self._timeout):
                if inspect.iscoroutinefunction(self._function):
                    said = await self._function(messages)
                else:
                    said = await asyncio.to_thread(self._function, messages)
        except Exception as error:  # whatever the user's code raises, it is this verdict's outcome
            raise RemoteRejected(f"the judge function failed: {type(error).__name__}: {error}") from error
        if not isinstance(said, str):
            raise RemoteRejected(f"the judge function returned {type(said).__name__}; it has to return text")
        return said


def _source_of(function: Callable[..., Any]) -> str:
    try:
        return content_hash(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


async def rate(
    questions: Sequence[Question],
    judge: Judge,
    cache: JudgeCache,
    config: JudgeConfig,
    progress: Progress,
    stage: str = "judge",
) -> list[JudgeVerdict]:
    """A verdict for each question, in their order. A judge's failure is that verdict's outcome.

    Raises: RemoteError where the judge refuses or fails every time (twice `concurrency` in a row, or all there are).
        Verdicts that were given are in the cache.
    """
    found: dict[int, JudgeVerdict] = {}
    queue: Iterator[tuple[int, Question]] = iter(enumerate(questions))
    failures = 0
    last: RemoteError | None = None

    async def work() -> None:
        nonlocal failures, last
        for position, question in queue:
            try:
                found[position] = await _verdict(question, judge, cache, config)
                failures = 0
            except RemoteError as error:
                last = error
                failures += 1
                found[position] = question.verdict("no_verdict", reason=str(error))
            progress(stage, len(found), len(questions))
            if failures >= 2 * config.concurrency and last is not None:
                raise type(last)(f"the judge failed {failures} times in a row; the last time: {last}")

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(config.concurrency, len(questions))):
                group.create_task(work())
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    if last is not None and all(verdict.outcome == "no_verdict" for verdict in found.values()):
        raise type(last)(f"the judge gave none of {len(questions)} verdicts; the last failure: {last}")
    return [found[position] for position in range(len(questions))]


async def _verdict(question: Question, judge: Judge, cache: JudgeCache, config: JudgeConfig) -> JudgeVerdict:
    try:
        verdict = await _asked(question, judge, cache, config, swapped=False)
    except ScoringError as error:
        return question.verdict("parse_failure", reason=str(error))
    swapped: int | None = None
    if question.probe:
        try:
            swapped = (await _asked(question, judge, cache, config, swapped=True)).rating
        except (ScoringError, RemoteError):
            swapped = None  # the probe is not the verdict
    return question.verdict(
        "rated",
        rating=verdict.rating,
        score=question.metric.score(verdict.rating),
        reason=verdict.reason,
        swapped_rating=swapped,
    )


async def _asked(
    question: Question, judge: Judge, cache: JudgeCache, config: JudgeConfig, *, swapped: bool
) -> Verdict:
    """One verdict, from the cache if it was ever given. Raises: ScoringError (unreadable), RemoteError."""
    metric = question.metric

    def messages(structured: bool) -> Messages:
        return question.messages(structured=structured, swapped=swapped, most=config.most_characters)

    # The text form names the question whichever form is asked for: both ask for the same verdict.
    key = content_hash(judge.identity, messages(False), [metric.low, metric.high])
    if (known := cache.find(key)) is not None:
        return Verdict(known.rating, known.reason)
    said = await judge.answer(messages, metric)
    verdict = read_verdict(said, metric.low, metric.high)
    cache.keep(key, CachedVerdict(verdict.rating, verdict.reason))
    return verdict
