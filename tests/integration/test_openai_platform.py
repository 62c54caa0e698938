"""The platform for OpenAI-compatible services against a provider on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from blocks.connections import open_platform
from blocks.openai_platform.block import OpenAICompatible
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.fine_tuning_jobs import Patience
from blocks.openai_platform.platform import OpenAIPlatform
from blocks.openai_platform.training_file import ProviderRules
from blocks.ports import FineTuneRequest
from flywheel.config import CandidateConfig, ConnectionsConfig, LoraConfig, TrainingConfig
from flywheel.errors import (
    ConfigError,
    EndpointRefused,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
    TooFewRecordsError,
    TransientRemoteError,
)
from flywheel.progress import silent
from tests.fakes.openai_provider import OpenAIProvider

TOOLS = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]
QUICK = Patience(queued=20, stalled=20, cancelled=2, poll=0.01)
NAME = "fw-run-a-small-0123456789ab"
CANDIDATE = CandidateConfig(name="small", model="small-a")


@pytest.fixture
def provider() -> Iterator[OpenAIProvider]:
    with OpenAIProvider(key="sk-secret") as server:
        yield server


def platform(provider: OpenAIProvider, key: str | None = "sk-secret", **more: Any) -> OpenAIPlatform:
    settings = {"patience": QUICK, "startup_seconds": 5, "timeout_seconds": 5, "first_pause": 0.01, **more}
    return OpenAIPlatform(Connection(provider.url, key, **settings))


def row(n: int, **more: Any) -> dict[str, Any]:
    function = {"name": "track", "arguments": {"id": n}}
    call = {"id": "call_1", "type": "function", "function": function}
    answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    return {"messages": [{"role": "user", "content": f"where is {n}?"}, answer], "tools": TOOLS, **more}


def request(folder: Path, rows: list[Any] | None = None, name: str = NAME) -> FineTuneRequest:
    rows = [row(n) for n in range(12)] if rows is None else rows
    folder.mkdir(exist_ok=True)
    for file, part in (("training.jsonl", rows), ("validation.jsonl", rows[:10])):
        (folder / file).write_text("".join(json.dumps(entry) + "\n" for entry in part))
    return FineTuneRequest(name, "small-a", folder, TrainingConfig(epochs=3, seed=7), LoraConfig())


async def test_a_fine_tune_goes_from_rows_to_a_model_that_answers(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int | None, str]] = []
    tuning = platform(provider)
    done = await tuning.fine_tune(request(tmp_path / "t"), lambda *state: seen.append(state))
    assert (done.status, done.train_rows, done.skipped_rows, done.tokens) == ("completed", 12, 0, 4_321)
    assert (done.train_loss, done.val_loss) == (0.5, 0.6)
    assert any(state[1:] == (50, 100, "loss 1.250, validation 1.350") for state in seen)
    job = provider.jobs[done.job]
    assert job["metadata"] == {"flywheel": NAME}
    assert job["hyperparameters"] == {"n_epochs": 3, "batch_size": 8}
    assert job["seed"] == 7
    assert str(done.model).startswith(f"ft:small-a:org:{NAME}")
    provider.faults.unknown_to_chat = 2  # as it is at providers for a while
    endpoint = await tuning.serve_customization("d", done)
    assert endpoint.model == done.model
    await tuning.shut_down("d")


async def test_rows_are_uploaded_in_the_apis_own_form_and_do_not_stay_there(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    plain = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}
    await platform(provider).fine_tune(
        request(tmp_path / "t", [row(n) for n in range(10)] + [plain | {"tools": []}]), silent
    )
    lines = [json.loads(line) for line in provider.contents["file-1"].splitlines()]
    assert lines[3]["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"id":3}'
    assert lines[3]["tools"] == TOOLS
    assert lines[-1] == plain
    assert provider.files == {}


async def test_the_same_name_trains_once(provider: OpenAIProvider, tmp_path: Path) -> None:
    first = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    second = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    other = await platform(provider).fine_tune(request(tmp_path / "t", name=f"{NAME}-b"), silent)
    assert first.job == second.job != other.job
    assert len(provider.jobs) == 2


@pytest.mark.parametrize("drops_metadata", [False, True])
async def test_a_lost_answer_to_the_creation_never_trains_twice(
    provider: OpenAIProvider, tmp_path: Path, drops_metadata: bool
) -> None:
    provider.faults.lost_creates = 1
    provider.faults.drops_metadata = drops_metadata
    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert list(provider.jobs) == [done.job]


async def test_a_job_that_an_interrupted_run_left_behind_is_adopted_with_many_others_there(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.stuck_at_step = 50
    tuning = platform(provider)
    work = asyncio.create_task(tuning._jobs.watch(NAME, await _created(tuning, tmp_path), silent))
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    for number in range(5):  # newer ones, on the pages before
        await _created(tuning, tmp_path, f"other-{number}")
    provider.faults.stuck_at_step = None
    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert done.job == "ftjob-1"
    assert len(provider.jobs) == 6


async def _created(tuning: OpenAIPlatform, folder: Path, name: str = NAME) -> dict[str, Any]:
    asked = request(folder / "t", name=name)
    target = folder / "files"
    target.mkdir(exist_ok=True)
    return await tuning._create(asked, *tuning._files(asked, target))


async def test_a_job_that_fails_at_its_end_says_why(provider: OpenAIProvider, tmp_path: Path) -> None:
    provider.faults.fail_at_step = 99
    with pytest.raises(RemoteJobFailed, match="GPU fell off the bus"):
        await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert provider.files == {}
    provider.faults.fail_at_step = None  # asked for again, it is trained again: a failed job is no result
    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert done.job == "ftjob-2"


async def test_bad_looks_at_a_job_are_waited_out(provider: OpenAIProvider, tmp_path: Path) -> None:
    provider.faults.bad_polls = 3
    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert done.status == "completed"


@pytest.mark.parametrize(
    ("fault", "words"),
    [({"stays_queued": True}, "still queued"), ({"stuck_at_step": 50}, "no progress .* at step 50 of 100")],
)
async def test_queue_and_standstill_have_bounds_of_their_own_and_the_job_is_stopped(
    provider: OpenAIProvider, tmp_path: Path, fault: dict[str, Any], words: str
) -> None:
    for name, value in fault.items():
        setattr(provider.faults, name, value)
    tuning = platform(provider, patience=QUICK._replace(queued=0.2, stalled=0.2))
    with pytest.raises(RemoteJobTimedOut, match=words):
        await tuning.fine_tune(request(tmp_path / "t"), silent)
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"


async def test_cancelling_stops_the_job_and_removes_its_files(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.stuck_at_step = 50
    reached = asyncio.Event()

    def progress(stage: str, done: int, total: int | None, detail: str = "") -> None:
        if done == 50:
            reached.set()

    work = asyncio.create_task(platform(provider).fine_tune(request(tmp_path / "t"), progress))
    await asyncio.wait_for(reached.wait(), 5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"
    assert provider.files == {}


async def test_a_job_cancelled_at_the_provider_ends_the_wait(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.stuck_at_step = 50
    tuning = platform(provider)

    async def by_somebody_else() -> None:
        while not provider.jobs:
            await asyncio.sleep(0.01)
        await tuning.cancel_fine_tune(NAME)

    with pytest.raises(RemoteJobCancelled, match="cancelled at the provider"):
        await asyncio.gather(tuning.fine_tune(request(tmp_path / "t"), silent), by_somebody_else())


async def test_rows_that_break_a_rule_are_left_out_and_counted(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    long = row(1, messages=[{"role": "user", "content": "word " * 3000}, *row(1)["messages"][1:]])
    bad_name = row(2, tools=[{"type": "function", "function": {"name": "no spaces"}}])
    many = row(3, tools=[{"type": "function", "function": {"name": f"t{n}"}} for n in range(129)])
    empty = row(4, messages=[{"role": "user", "content": "?"}, {"role": "assistant", "content": ""}])
    rows = [row(n) for n in range(10)] + [long, bad_name, many, empty]
    told: list[str] = []
    done = await platform(provider).fine_tune(
        request(tmp_path / "t", rows), lambda *state: told.append(state[3])
    )
    assert (done.train_rows, done.skipped_rows) == (10, 4)
    assert "1 rows left out: longer than 2,048 tokens" in told[0]


async def test_too_few_rows_are_refused_before_anything_is_uploaded(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    with pytest.raises(TooFewRecordsError, match=r"10 rows or more, and 3 are usable"):
        await platform(provider).fine_tune(request(tmp_path / "t", [row(n) for n in range(3)]), silent)
    small = platform(provider, rules=ProviderRules(most_bytes=1_500))
    with pytest.raises(TooFewRecordsError, match="largest file"):
        await small.fine_tune(request(tmp_path / "t", [row(n) for n in range(20)]), silent)
    assert provider.contents == {}


async def test_a_file_that_the_provider_refuses_is_an_error_with_its_words(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.refuses_files = True
    with pytest.raises(RemoteRejected, match="Invalid file format"):
        await platform(provider).fine_tune(request(tmp_path / "t"), silent)


async def test_a_wrong_key_is_refused_at_once_and_stands_in_no_error(provider: OpenAIProvider) -> None:
    with pytest.raises(EndpointRefused, match="API key") as caught:
        await platform(provider, key="sk-wrong").deploy("d", CANDIDATE, silent)
    assert "sk-wrong" not in str(caught.value)


async def test_a_wrong_model_name_is_refused_with_the_names_that_are_there(provider: OpenAIProvider) -> None:
    with pytest.raises(EndpointRefused, match="has no model 'smal-a'; it has small-a, small-b"):
        await platform(provider).deploy("d", CandidateConfig(model="smal-a"), silent)


async def test_readiness_is_a_real_completion_within_a_bound(provider: OpenAIProvider) -> None:
    endpoint = await platform(provider).deploy("d", CANDIDATE, silent)
    assert (endpoint.base_url, endpoint.model) == (provider.url, "small-a")
    nobody = OpenAIPlatform(
        Connection("http://127.0.0.1:1/v1", startup_seconds=0.2, timeout_seconds=1, first_pause=0.01)
    )
    with pytest.raises(TransientRemoteError, match="has not answered within 0 s"):
        await nobody.deploy("d", CANDIDATE, silent)


async def test_a_service_that_takes_calls_and_never_answers_costs_bounded_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/v1"
        tuning = OpenAIPlatform(
            Connection(url, startup_seconds=0.2, timeout_seconds=0.05, first_pause=0.01, patience=QUICK)
        )
        async with asyncio.timeout(20):
            with pytest.raises(TransientRemoteError):
                await tuning.deploy("d", CANDIDATE, silent)
            with pytest.raises(TransientRemoteError, match="no answer within"):
                await tuning.fine_tune(request(tmp_path / "t"), silent)


async def test_the_context_length_comes_from_the_service_where_it_states_one(
    provider: OpenAIProvider,
) -> None:
    provider.add_model("long", max_model_len=131_072)
    tuning = platform(provider)
    assert await tuning.context_length(CandidateConfig(model="long")) == 131_072
    assert await tuning.context_length(CandidateConfig(model="long", context_length=4096)) == 4096
    assert await tuning.context_length(CANDIDATE) == 8_192


async def test_the_platform_comes_from_the_environment(
    provider: OpenAIProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = await open_platform(ConnectionsConfig(platform="openai"))
    endpoint = await found.deploy("d", CANDIDATE, silent)
    assert endpoint.api_key_env == "OPENAI_API_KEY"
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        await open_platform(ConnectionsConfig(platform="openai"))


async def test_a_block_holds_the_key_and_shows_it_nowhere(provider: OpenAIProvider) -> None:
    block = OpenAICompatible(base_url=provider.url, api_key=SecretStr("sk-secret"))
    endpoint = await block.connect().deploy("d", CANDIDATE, silent)
    assert endpoint.api_key_env is None
    assert "sk-secret" not in repr(block) + str(endpoint)
    assert block.connect().api_key == "sk-secret"


async def test_requests_and_answers_have_the_shapes_of_the_official_client(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    from openai import AsyncOpenAI
    from openai.types.fine_tuning.job_create_params import JobCreateParams

    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    body = provider.requests("POST", "/v1/fine_tuning/jobs")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checked = TypeAdapter(JobCreateParams).validate_python(body)
    assert set(checked) == set(body)
    assert len(body["suffix"]) <= 64
    async with AsyncOpenAI(base_url=provider.url, api_key="sk-secret") as client:
        job = await client.fine_tuning.jobs.retrieve(done.job)
        assert type(job).model_validate(job.model_dump(), strict=True) == job
        assert (job.status, job.fine_tuned_model, job.metadata) == (
            "succeeded",
            done.model,
            {"flywheel": NAME},
        )
        events = (await client.fine_tuning.jobs.list_events(done.job)).data
        assert all(type(e).model_validate(e.model_dump()) == e for e in events)
        answer = await client.chat.completions.create(
            model=str(done.model), messages=[{"role": "user", "content": "hi"}]
        )
        assert answer.choices[0].message.content == "I am not sure."
        embedded = await client.embeddings.create(model="e", input=["a", "b"])
        assert [entry.index for entry in embedded.data] == [1, 0]
