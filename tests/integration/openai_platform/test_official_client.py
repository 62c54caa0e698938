"""The provider's own client as a witness of what is sent and answered."""

from __future__ import annotations

import warnings
from pathlib import Path

from pydantic import TypeAdapter

from flywheel.progress import silent
from tests.fakes.openai_provider import OpenAIProvider
from tests.integration.openai_platform.asking import NAME, platform, request


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
