"""What a run tells of training and serving that render the same rows differently, before it trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.vllm import VllmPlatform
from flywheel.config import FlywheelConfig
from flywheel.evaluation.parity import ParityReport
from tasks.evaluating.parity import report_parity
from tests.fakes.openai_provider import OpenAIProvider
from tests.fakes.toy_model import write_toy_model

pytestmark = pytest.mark.slow


@flow
async def compared(
    platform: Any, model: str, train: Path, candidate: str, config: FlywheelConfig
) -> ParityReport | None:
    return await report_parity(platform, model, train, candidate, config)


async def test_an_artifact_and_the_log_show_the_tokens_that_differ_and_a_server_that_cannot_tell_ends_nothing(
    prefect_api: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = str(tmp_path / "toy")
    write_toy_model(Path(model))
    Path(model, "model.safetensors").touch()  # weights are not read for this
    asked = [{"role": "user", "content": "where is my order?"}, {"role": "assistant", "content": "In Bern."}]
    (tmp_path / "training.jsonl").write_text(json.dumps({"messages": asked, "tools": []}) + "\n")
    config = FlywheelConfig(workload_id="parity-router", client_id="acme")
    chat_format = ChatFormat(Path(model))

    def shouting(body: dict[str, Any]) -> list[int]:
        return chat_format.prompt([{**m, "content": m["content"].upper()} for m in body["messages"]])

    with OpenAIProvider() as server:
        server.tokenize = shouting
        connection = Connection(server.url, startup_seconds=2, timeout_seconds=60, first_pause=0.01)
        vllm = VllmPlatform(connection, tmp_path / "home", "")
        report = await compared(vllm, model, tmp_path, "toy", config)
    assert report is not None
    assert not report.equal
    assert await compared(vllm, model, tmp_path, "away", config) is None  # the server is down by now
    assert await compared(object(), model, tmp_path, "hosted", config) is None  # no rendering is to be seen

    async with get_client() as client:
        ours = ArtifactFilter(
            key=ArtifactFilterKey(like_="%parity-router%")
        )  # a server answers with 200 at most
        (artifact,) = await client.read_artifacts(artifact_filter=ours)
    key, text = str(artifact.key), str(artifact.data)
    assert key.startswith("parity-")
    assert "WHERE IS MY ORDER" in text.replace('", "', "")
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("1 of 1 sample prompts differently" in message for message in warned)
    assert any("prompts of away were not compared" in message for message in warned)
