"""Asking a model over the OpenAI chat protocol: the hot path of evaluation."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

import msgspec

from blocks.endpoints.chat_answers import read_answer
from blocks.endpoints.chat_stream import StreamedCompletion
from blocks.endpoints.endpoint_client import EndpointClient, count_of
from blocks.endpoints.endpoint_limits import Bounds
from blocks.ports import Endpoint
from flywheel.config import EvaluationConfig
from flywheel.errors import EndpointRefused, RemoteRejected
from flywheel.evaluation.runner import Answer

BOUND, NEWER_BOUND = "max_tokens", "max_completion_tokens"
"""Names of the bound on the answer's tokens: some models take the one alone, some servers know no other."""

BYTES_PER_TOKEN = 4
"""Of a request's JSON, about; only a bound on tokens a minute needs it, and is corrected by what the answer states."""


LOGPROBS = "logprobs"
"""What a model may refuse to tell; its answer is worth having without."""


class ChatClient:
    """Asks one endpoint. Use it as an async context manager; one client serves any number of tasks.

    Args:
        endpoint: Where and which model; its key is read from the environment when the client is entered.
        config: Time-out of one attempt, number of attempts, bounds, and whether answers are streamed.
        first_pause: Seconds before the second attempt; see `EndpointClient`.
        key: The API key, where it does not stand in the environment.
        relentless: Ask on whatever the endpoint answers; see `Bounds`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: EvaluationConfig,
        first_pause: float = 0.5,
        key: str | None = None,
        *,
        relentless: bool = False,
    ) -> None:
        self._client = EndpointClient(
            endpoint,
            "/chat/completions",
            timeout_seconds=config.timeout_seconds,
            max_attempts=config.max_attempts,
            bounds=Bounds(
                config.concurrency,
                config.requests_per_minute,
                config.tokens_per_minute,
                config.circuit_seconds,
                relentless,
            ),
            first_pause=first_pause,
            key=key,
        )
        self._stream = config.stream
        self._renames_bound = False
        self._without_logprobs = False
        self._counts_tokens = config.tokens_per_minute is not None
        self._encoder = msgspec.json.Encoder()

    async def __aenter__(self) -> ChatClient:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def complete(self, body: dict[str, Any]) -> Answer:
        """The chat completion for a request body, which is sent as it is, but for what asks for a stream.

        A model that refuses `max_tokens` and asks for `max_completion_tokens` gets the same bound under that name, one
        that refuses `logprobs` is asked without. What a model wants is remembered.

        Raises: as `EndpointClient.post`.
        """
        ask = self._streamed if self._stream else self._whole
        while True:
            sent = self._as_wanted(body)
            try:
                return await ask(sent)
            except EndpointRefused:
                raise
            except RemoteRejected as refusal:
                if BOUND in sent and NEWER_BOUND in str(refusal):
                    self._renames_bound = True
                elif LOGPROBS in sent and LOGPROBS in str(refusal):
                    self._without_logprobs = True
                else:
                    raise

    def _as_wanted(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body in the terms that this endpoint is known to take."""
        sent = _renamed(body) if self._renames_bound else body
        if self._without_logprobs:
            sent = {field: value for field, value in sent.items() if field != LOGPROBS}
        return sent

    async def _whole(self, body: dict[str, Any]) -> Answer:
        data = self._encoder.encode(body)
        answered = await self._client.post(data, read_answer, tokens=self._cost(data, body), used=_used)
        return Answer(answered.value, answered.latency_ms, answered.attempts)

    async def _streamed(self, body: dict[str, Any]) -> Answer:
        data = self._encoder.encode({**body, "stream": True, "stream_options": {"include_usage": True}})
        answer = StreamedCompletion()
        begun = 0.0

        def begin() -> Any:
            nonlocal answer, begun
            answer, begun = StreamedCompletion(), time.perf_counter()
            return answer.feed

        def read(status: int, _: bytes, url: str) -> dict[str, Any]:
            return read_answer(status, answer.body(), url)

        answered = await self._client.post(
            data, read, tokens=self._cost(data, body), used=_used, on_body=begin
        )
        first = None if answer.first_token is None else (answer.first_token - begun) * 1000
        return Answer(answered.value, answered.latency_ms, answered.attempts, ttft_ms=first)

    def _cost(self, data: bytes, body: dict[str, Any]) -> int:
        if not self._counts_tokens:
            return 0
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        return len(data) // BYTES_PER_TOKEN + (most if isinstance(most, int) else 0)


def _renamed(body: dict[str, Any]) -> dict[str, Any]:
    return {NEWER_BOUND if field == BOUND else field: value for field, value in body.items()}


def _used(completion: dict[str, Any]) -> int | None:
    return count_of(completion, "total_tokens")
