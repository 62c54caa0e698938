"""The chat client against a real server on a loopback port."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from blocks.endpoints import endpoint_client
from blocks.endpoints.chat_answers import read_answer, retry_after
from blocks.endpoints.chat_client import ChatClient
from blocks.ports import Endpoint
from flywheel.config import EvaluationConfig
from flywheel.errors import (
    ConfigError,
    EndpointRefused,
    RemoteError,
    RemoteRejected,
    TransientRemoteError,
)
from tests.fakes.chat_server import (
    ChatServer,
    after,
    break_off,
    completion,
    drop,
    failure,
    hang,
    html,
    together,
)

BODY = {"model": "candidate", "messages": [{"role": "user", "content": "hi"}]}
QUICK = EvaluationConfig(max_attempts=3, timeout_seconds=60)


def client(server: ChatServer, config: EvaluationConfig = QUICK) -> ChatClient:
    return ChatClient(server.endpoint, config, first_pause=0.01)


async def test_an_answer_comes_with_its_latency_and_the_body_goes_out_as_it_is() -> None:
    async with (
        ChatServer(lambda body, n: after(0.05, completion("hello"))) as server,
        client(server) as asking,
    ):
        answer = await asking.complete(BODY)
    assert answer.response["choices"][0]["message"]["content"] == "hello"
    assert 50 <= answer.latency_ms < 30_000
    assert answer.attempts == 1
    assert server.bodies == [BODY]
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_knows_the_bound_on_tokens_by_its_newer_name_gets_it_under_that(
    stream: bool,
) -> None:
    def newer(body: dict[str, Any], number: int) -> Any:
        if "max_tokens" in body:
            return failure(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return completion("hello")

    bounded = {**BODY, "max_tokens": 7}
    async with (
        ChatServer(newer) as server,
        client(server, QUICK.model_copy(update={"stream": stream})) as asking,
    ):
        for _ in range(2):
            await asking.complete(bounded)
    assert [body.get("max_completion_tokens") for body in server.bodies] == [None, 7, 7]
    assert bounded["max_tokens"] == 7


async def test_a_model_that_refuses_log_probabilities_is_asked_without_and_under_its_own_bound() -> None:
    def older(body: dict[str, Any], number: int) -> Any:
        if "logprobs" in body:
            return failure(400, "logprobs are not supported with reasoning models")
        if "max_tokens" in body:
            return failure(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return completion("hello")

    async with ChatServer(older) as server, client(server) as asking:
        for _ in range(2):
            await asking.complete({**BODY, "logprobs": True, "max_tokens": 7})
    assert [("logprobs" in b, "max_tokens" in b) for b in server.bodies] == [
        (True, True),
        (False, True),
        (False, False),
        (False, False),
    ]


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: failure(429),
        lambda: failure(408),
        lambda: failure(500),
        lambda: failure(503),
        lambda: html(502),
        lambda: html(200),  # some proxies call their error page a success
        lambda: web.Response(text=""),
        lambda: web.Response(body=b'{"choices": [\xff'),
        lambda: {"choices": []},
        lambda: {"object": "chat.completion"},
        lambda: {"error": {"code": 429, "message": "slow down"}},
        lambda: drop,
        lambda: break_off,
    ],
)
async def test_what_may_pass_is_tried_again(trouble: Any) -> None:
    async with (
        ChatServer(lambda body, n: trouble() if n < 2 else completion()) as server,
        client(server) as asking,
    ):
        answer = await asking.complete(BODY)
    assert answer.attempts == 3
    assert server.bodies == [BODY] * 3


async def test_what_does_not_pass_is_a_transient_error_that_says_what_was_seen() -> None:
    async with ChatServer(lambda body, n: html(200)) as server, client(server) as asking:
        with pytest.raises(
            TransientRemoteError, match="no chat completion: <html><body>Bad gateway"
        ) as caught:
            await asking.complete(BODY)
    assert caught.value.attempts == 3
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RemoteRejected),
        (422, RemoteRejected),
        (401, EndpointRefused),
        (403, EndpointRefused),
        (404, EndpointRefused),
        (307, EndpointRefused),
    ],
)
async def test_a_refusal_is_not_tried_again(status: int, kind: type[RemoteError]) -> None:
    async with (
        ChatServer(lambda body, n: failure(status, "no such thing")) as server,
        client(server) as asking,
    ):
        with pytest.raises(RemoteError, match="no such thing") as caught:
            await asking.complete(BODY)
    assert type(caught.value) is kind
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: failure(400, "too long", code="context_length_exceeded"),
        lambda: failure(
            400, "This model's maximum context length is 2048 tokens. However, you requested 9000."
        ),
        lambda: failure(422, "the prompt exceeds the context window"),
        lambda: failure(413, "Payload Too Large"),
    ],
)
async def test_a_prompt_that_is_too_long_is_named_as_such(refusal: Any) -> None:
    async with ChatServer(lambda body, n: refusal()) as server, client(server) as asking:
        with pytest.raises(RemoteRejected, match="does not fit into the model's context") as caught:
            await asking.complete(BODY)
    assert not isinstance(caught.value, EndpointRefused)


async def test_the_pause_that_the_endpoint_asks_for_is_kept() -> None:
    respond = lambda body, n: failure(429, **{"Retry-After": "0.3"}) if n == 0 else completion()  # noqa: E731
    async with ChatServer(respond) as server, client(server) as asking:
        started = asyncio.get_running_loop().time()
        await asking.complete(BODY)
        assert asyncio.get_running_loop().time() - started >= 0.3


def test_a_pause_has_a_bound_whatever_the_endpoint_asks_for() -> None:
    asking = ChatClient(Endpoint("http://127.0.0.1:1/v1", "m"), QUICK)
    assert asking._client._pause(1, 86_400.0) == endpoint_client.LONGEST_PAUSE
    assert asking._client._pause(20, None) == endpoint_client.LONGEST_PAUSE
    assert 0.25 <= asking._client._pause(1, None) <= 0.5


def test_retry_after_may_be_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("2.5") == 2.5
    assert retry_after("Thu, 01 Jan 2026 00:00:07 GMT", now) == 7
    for nothing in (None, "", "soon", "-3", "nan", "inf", "Thu, 01 Jan 2015 00:00:07 GMT"):
        assert retry_after(nothing, now) is None


async def test_an_endpoint_that_hangs_is_left_after_the_time_out() -> None:
    config = EvaluationConfig(timeout_seconds=0.1, max_attempts=2)
    async with ChatServer(lambda body, n: hang) as server, client(server, config) as asking:
        with pytest.raises(TransientRemoteError, match="no answer within") as caught:
            await asking.complete(BODY)
    assert caught.value.attempts == 2


async def test_an_endpoint_that_is_not_there_is_a_transient_error() -> None:
    async with ChatClient(Endpoint("http://127.0.0.1:1/v1", "m"), QUICK, first_pause=0.01) as asking:
        with pytest.raises(TransientRemoteError, match="cannot be reached"):
            await asking.complete(BODY)


async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "LARGEST_ANSWER", 10_000)
    long = completion("x" * 20_000)
    async with ChatServer(lambda body, n: long) as server, client(server) as asking:
        with pytest.raises(RemoteRejected, match="more than 10,000 bytes"):
            await asking.complete(BODY)


async def test_the_key_comes_from_the_environment_and_shows_in_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_TEST_KEY", "sk-very-secret")
    respond = lambda body, n: failure(401, "Incorrect API key provided: sk-very-secret")  # noqa: E731
    async with ChatServer(respond) as server:
        endpoint = Endpoint(server.base_url, "m", "A_TEST_KEY")
        async with ChatClient(endpoint, QUICK) as asking:
            with pytest.raises(EndpointRefused) as caught:
                await asking.complete(BODY)
    assert server.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize("key", [None, "", "  ", "two\nlines"])
async def test_a_key_that_is_not_set_is_a_settings_error(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A_TEST_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("A_TEST_KEY", key)
    with pytest.raises(ConfigError, match="A_TEST_KEY"):
        async with ChatClient(Endpoint("http://127.0.0.1:1", "m", "A_TEST_KEY"), QUICK):
            pass


def test_an_address_without_a_scheme_is_a_settings_error() -> None:
    with pytest.raises(ConfigError, match="http:// or https://"):
        ChatClient(Endpoint("localhost:8000/v1", "m"), QUICK)


def test_errors_are_read_in_the_shapes_that_servers_use() -> None:
    for body in (
        b'{"error": {"message": "why"}}',
        b'{"error": "why"}',
        b'{"message": "why"}',
        b'{"detail": "why"}',
    ):
        with pytest.raises(RemoteRejected, match="answered 400: why"):
            read_answer(400, body, "http://x")


async def test_more_than_a_hundred_requests_are_under_way_at_once() -> None:
    """The default connection limit of the HTTP library would hold back everything above 100."""
    config = EvaluationConfig(concurrency=200)
    answer = together(150, completion())
    async with (
        ChatServer(lambda body, n: answer) as server,
        client(server, config) as asking,
    ):
        await asyncio.gather(*(asking.complete(BODY) for _ in range(150)))
        assert server.most_under_way == 150


async def test_a_packed_answer_is_read_and_its_unpacked_size_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(content: str) -> web.Response:
        response = web.json_response(completion(content))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    monkeypatch.setattr(endpoint_client, "LARGEST_ANSWER", 100_000)
    answers = [packed("hello"), packed("x" * 200_000)]
    async with ChatServer(lambda body, n: answers[n]) as server, client(server) as asking:
        answer = await asking.complete(BODY)
        assert answer.response["choices"][0]["message"]["content"] == "hello"
        with pytest.raises(RemoteRejected, match="more than 100,000 bytes"):
            await asking.complete(BODY)
