"""Deployments on the platform, over the wire."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from blocks.nemo.connection import NemoConnection
from blocks.nemo.platform import NemoPlatform
from flywheel.config import CandidateConfig, DeploymentConfig
from flywheel.errors import (
    EndpointRefused,
    NotEnoughResources,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
    TransientRemoteError,
)
from flywheel.progress import silent
from tests.fakes.nemo.exchanges import Fault, html_burst
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.conftest import MODEL, Heard, connection_to, impatient

POST = "POST /v1/deployment/model-deployments"


async def test_a_deployment_is_ready_when_a_real_completion_came_back(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    heard = Heard()
    endpoint = await platform.deploy("fw-run-small", candidate, heard)

    assert endpoint.base_url == f"{nemo.urls['nim']}/v1"
    assert endpoint.model == MODEL
    assert nemo.nim.asked == 1
    assert "pending Pulling image" in heard.details
    assert heard.details[-1] == "answers"


async def test_gpus_image_and_storage_are_the_candidates_own(
    nemo: NemoServer, platform: NemoPlatform
) -> None:
    settings = DeploymentConfig(
        image_name="nvcr.io/nim/x", image_tag="1.8.3", gpus=2, storage="50Gi", environment={"A": "b"}
    )
    candidate = CandidateConfig(name="small", model=MODEL, deployment_config=settings)
    await platform.deploy("fw-run-small", candidate, silent)

    (made,) = nemo.deployments.made.values()
    assert made["config"]["nim_deployment"] == {
        "image_name": "nvcr.io/nim/x",
        "image_tag": "1.8.3",
        "gpu": 2,
        "pvc_size": "50Gi",
        "additional_envs": {"A": "b"},
        "disable_lora_support": False,
    }


async def test_a_deployment_that_stands_is_adopted(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    await platform.deploy("fw-run-small", candidate, silent)
    await platform.deploy("fw-run-small", candidate, silent)

    assert len(nemo.happened("deployed")) == 1


async def test_the_name_taken_by_other_settings_is_refused_not_adopted(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    await platform.deploy("fw-run-small", candidate, silent)
    larger = candidate.model_copy(update={"deployment_config": DeploymentConfig(gpus=4)})

    with pytest.raises(RemoteRejected, match="another gpu"):
        await platform.deploy("fw-run-small", larger, silent)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(POST, "lose"),
        Fault(POST, "after", 502),
        Fault(POST, "after", 500, '{"detail": "model deployment already exists"}'),
        Fault(POST, "after", 409, '{"detail": "conflict"}'),
    ],
    ids=["connection lost", "bad gateway", "500 already exists", "409"],
)
async def test_an_answer_lost_after_the_work_was_done_ends_in_adoption(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig, fault: Fault
) -> None:
    nemo.faults = [fault]
    await platform.deploy("fw-run-small", candidate, silent)

    assert len(nemo.happened("deployed")) == 1


async def test_a_request_that_did_nothing_is_worth_another_try_of_the_task(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    nemo.faults = [html_burst(POST, times=1)]
    with pytest.raises(TransientRemoteError, match="502"):
        await platform.deploy("fw-run-small", candidate, silent)
    await platform.deploy("fw-run-small", candidate, silent)

    assert len(nemo.happened("deployed")) == 1


async def test_a_failed_deployment_stops_the_wait_with_the_platforms_own_words(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    nemo.misbehave.failing_deployments = {"small": "ImagePullBackOff: no such tag 9.9.9"}
    with pytest.raises(RemoteJobFailed, match=r"ImagePullBackOff: no such tag 9\.9\.9"):
        await platform.deploy("fw-run-small", candidate, silent)


async def test_what_failed_earlier_is_taken_away_and_made_again(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    nemo.misbehave.failing_deployments = {"small": "node lost"}
    with pytest.raises(RemoteJobFailed):
        await platform.deploy("fw-run-small", candidate, silent)
    nemo.misbehave.failing_deployments = {}
    await platform.deploy("fw-run-small", candidate, silent)

    assert len(nemo.happened("deployed")) == 2
    assert len(nemo.happened("shut down")) == 1


async def test_waiting_for_gpus_ends_at_its_own_bound(nemo: NemoServer, candidate: CandidateConfig) -> None:
    nemo.misbehave.starved_deployments = {"small"}
    with pytest.raises(NotEnoughResources, match=r"Insufficient nvidia\.com/gpu"):
        await impatient(nemo, queue=0.2).deploy("fw-run-small", candidate, silent)


async def test_a_start_without_news_ends_at_its_bound(nemo: NemoServer, candidate: CandidateConfig) -> None:
    nemo.misbehave.stuck_deployments = {"small"}
    with pytest.raises(RemoteJobTimedOut, match="Pulling image"):
        await impatient(nemo, start=0.2).deploy("fw-run-small", candidate, silent)


async def test_a_slow_start_that_moves_is_waited_for(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    nemo.misbehave.start_seconds = 30
    await platform.deploy("fw-run-small", candidate, silent)


async def test_a_model_that_is_listed_but_does_not_answer_is_not_ready(
    nemo: NemoServer, candidate: CandidateConfig
) -> None:
    nemo.misbehave.broken_when_used = {MODEL}
    with pytest.raises(RemoteJobTimedOut, match="does not fit this engine"):
        await impatient(nemo, sync=0.2).deploy("fw-run-small", candidate, silent)


async def test_bad_polls_are_no_news_and_no_failure(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    nemo.misbehave.start_seconds = 20
    place = r"GET /v1/deployment/model-deployments/flywheel/fw-run-small"
    nemo.faults = [Fault(place, "instead", 404, times=0), html_burst("GET /v1/models", 7)]
    task = asyncio.create_task(platform.deploy("fw-run-small", candidate, silent))
    while not nemo.happened("deployed"):
        await asyncio.sleep(0.002)
    nemo.faults.append(html_burst(place, 7))
    await task


async def test_shutting_down_returns_when_the_deployment_is_gone(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    await platform.deploy("fw-run-small", candidate, silent)
    await platform.shut_down("fw-run-small")

    assert nemo.deployments.look() == {}
    await platform.shut_down("fw-run-small")  # what is not there is no error
    assert len(nemo.happened("shut down")) == 1


async def test_a_delete_that_answers_404_after_doing_it_is_done(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    await platform.deploy("fw-run-small", candidate, silent)
    nemo.faults = [Fault("DELETE ", "after", 404, '{"detail": "not found"}')]
    await platform.shut_down("fw-run-small")

    assert nemo.deployments.look() == {}


async def test_a_deployment_that_does_not_go_is_told(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    await platform.deploy("fw-run-small", candidate, silent)
    nemo.misbehave.delete_seconds = 1e9
    with pytest.raises(TransientRemoteError, match="still there"):
        await impatient(nemo, release=0.2).shut_down("fw-run-small")


async def test_names_fit_what_kubernetes_takes_and_are_told_as_they_were_given(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    name = "fw-" + "Very_Long/Name " * 9
    heard = Heard()
    await platform.deploy(name, candidate, heard)
    await platform.shut_down(name)

    assert nemo.deployments.look() == {}
    assert {stage for stage, *_ in heard.reports} == {f"deploy {name}"}


async def test_the_context_length_is_the_models_own_where_the_platform_knows_it(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    assert await platform.context_length(candidate) == 8192
    nemo.entities.add_base_model(MODEL, context_size=16_384)
    assert await platform.context_length(candidate) == 16_384
    for own, expected in ((4096, 4096), (100_000, 16_384)):
        assert await platform.context_length(candidate.model_copy(update={"context_length": own})) == expected


async def test_what_a_request_creates_after_its_cancellation_is_shut_down_too(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    slow = Fault(POST, "slow")
    nemo.faults = [slow]
    task = asyncio.create_task(platform.deploy("fw-run-small", candidate, silent))
    while slow.times:
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await platform.shut_down("fw-run-small")
    await asyncio.sleep(2 * slow.seconds)

    assert len(nemo.happened("deployed")) == 1
    assert nemo.deployments.look() == {}


async def test_a_wrong_key_is_refused_at_once_and_never_shown(connection: NemoConnection) -> None:
    with NemoServer(key="right-key-of-ours") as server:
        wrong = NemoPlatform(connection_to(server, key="wrong-key-of-ours"))
        with pytest.raises(EndpointRefused, match="Check the API key") as refused:
            await wrong.shut_down("fw-run-small")
        assert "wrong-key-of-ours" not in str(refused.value)
        right = NemoPlatform(connection_to(server, key="right-key-of-ours"))
        await right.shut_down("fw-run-small")
    assert "right-key-of-ours" not in repr(connection_to(server, key="right-key-of-ours"))


async def test_services_that_are_not_there_are_a_clear_error_in_bounded_time(
    connection: NemoConnection, candidate: CandidateConfig
) -> None:
    with NemoServer() as server:
        pass
    with pytest.raises(TransientRemoteError, match=r"NeMo at http://127\.0\.0\.1:\d+ cannot be reached"):
        await NemoPlatform(connection_to(server)).deploy("fw-run-small", candidate, silent)


async def test_a_certificate_that_does_not_verify_is_refused_at_once_and_one_that_does_is_taken(
    candidate: CandidateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with NemoServer(tls=context) as server:
        platform = NemoPlatform(connection_to(server))
        with pytest.raises(EndpointRefused, match=r"does not verify .*SSL_CERT_FILE"):
            await platform.deploy("fw-run-small", candidate, silent)
        assert server.exchanges == []
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        await platform.deploy("fw-run-small", candidate, silent)
        await platform.shut_down("fw-run-small")
