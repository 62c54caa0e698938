"""A 409 means many things on this platform: made by us already, made by another, left over, or not yet.

That our own work is adopted where its answer was lost stands with deployments and fine-tunes; here are the others.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from blocks.nemo.connection import NemoConnection
from blocks.nemo.http import ATTEMPTS
from blocks.nemo.parts import opened
from blocks.nemo.platform import NemoPlatform
from blocks.ports import FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.errors import RemoteJobTimedOut, RemoteRejected, TransientRemoteError
from flywheel.progress import silent
from tests.fakes.nemo.exchanges import Fault
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.conftest import MODEL, Heard, fine_tune_request, impatient, row


class EverySecondLook(Fault):
    """Hits all attempts of one look, and lets the next look through: were a failure news, no wait would ever end."""

    asked = 0

    def takes(self, method: str, path: str) -> bool:
        if not re.match(self.route, f"{method} {path}"):
            return False
        self.asked += 1
        return self.asked % (ATTEMPTS + 1) != 0


NOT_SEEN_YET = '{"detail": "not found"}'
"""What a service says while what another has just made is not there for it yet; the creation after it is a 409."""


async def test_a_model_that_is_left_over_without_its_job_is_told_with_what_to_do(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    left_over = '{"detail": "model or dataset with name fw-run-small-abc@v1 already exists"}'
    nemo.faults = [Fault("POST /v1/customization/jobs$", "instead", 409, left_over)]
    with pytest.raises(RemoteRejected, match=r"already exists.*left over, delete it, its files too"):
        await platform.fine_tune(request_for, silent)
    assert nemo.happened("submitted") == []


async def test_a_base_checkpoint_that_never_comes_ends_the_wait_at_its_bound(
    nemo: NemoServer, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.downloading_seconds = 10**9
    with pytest.raises(RemoteJobTimedOut, match=r"was not there after \d+ s: .*downloading to cache"):
        await impatient(nemo, start=0.2).fine_tune(request_for, silent)
    assert nemo.happened("submitted") == []


@pytest.mark.parametrize("on_its_way", ["the target", "its cache"])
async def test_a_wait_for_the_base_checkpoint_ends_when_it_is_cancelled(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest, on_its_way: str
) -> None:
    if on_its_way == "its cache":
        nemo.misbehave.downloading_seconds = 10**9
    else:
        nemo.customizer.add_target(MODEL, status="downloading")
    heard = Heard()
    work = asyncio.create_task(platform.fine_tune(request_for, heard))
    while not any("base checkpoint" in detail for detail in heard.details):
        await asyncio.sleep(0.002)
    work.cancel()
    done, _ = await asyncio.wait({work}, timeout=60)
    assert done
    assert work.cancelled()
    assert nemo.hub.repos == {}


async def test_looks_that_fail_do_not_prolong_the_wait_for_a_base_checkpoint(
    nemo: NemoServer, request_for: FineTuneRequest
) -> None:
    nemo.customizer.add_target(MODEL, status="downloading")
    looks = f"GET /v1/customization/targets/{MODEL}"
    nemo.faults = [EverySecondLook(looks, "instead")]
    with pytest.raises(RemoteJobTimedOut, match="has been 'downloading'"):
        await asyncio.wait_for(impatient(nemo, start=0.4).fine_tune(request_for, silent), 60)


async def test_a_config_that_another_run_makes_at_the_same_moment_is_used_by_both(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    rows = [row(number) for number in range(4)]
    await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-a"), silent)
    unseen = Fault("GET /v1/customization/configs/", "instead", 404, NOT_SEEN_YET)
    nemo.faults = [unseen]
    done = await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-b"), silent)
    assert (done.status, unseen.times, len(nemo.customizer.configs)) == ("completed", 0, 1)
    assert [
        e.status for e in nemo.exchanges if (e.method, e.path) == ("POST", "/v1/customization/configs")
    ] == [
        200,
        409,
    ]


async def test_a_dataset_that_is_registered_at_the_same_moment_is_set_right_and_used(
    nemo: NemoServer, connection: NemoConnection, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    unseen = Fault("GET /v1/datasets/flywheel/data$", "instead", 404, NOT_SEEN_YET)
    for faults in ([], [unseen]):
        nemo.faults = faults
        async with opened(connection) as parts:
            url = await parts.put_dataset("data", {"rows.jsonl": tmp_path / "rows.jsonl"}, "test")
    assert unseen.times == 0
    assert 409 in {e.status for e in nemo.exchanges if (e.method, e.path) == ("POST", "/v1/datasets")}
    assert nemo.entities.datasets["flywheel/data"]["files_url"] == url


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "model deployment already exists"),
        (400, "model deployment already exists"),
        (409, "conflict"),
    ],
)
async def test_a_deployment_that_is_said_to_exist_and_is_not_there_is_worth_another_try(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig, status: int, said: str
) -> None:
    nemo.faults = [Fault("POST /v1/deployment", "instead", status, f'{{"detail": "{said}"}}')]
    with pytest.raises(TransientRemoteError, match=said):
        await platform.deploy("fw-run-small", candidate, silent)
    await platform.deploy("fw-run-small", candidate, silent)
    assert len(nemo.happened("deployed")) == 1


async def test_a_deployment_that_the_platform_does_not_take_is_told_in_its_words(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig
) -> None:
    refusal = '{"detail": [{"loc": ["body", "config", "gpu"], "msg": "too many", "type": "value_error"}]}'
    nemo.faults = [Fault("POST /v1/deployment", "instead", 422, refusal)]
    with pytest.raises(RemoteRejected, match=r"refuses .*body\.config\.gpu: too many"):
        await platform.deploy("fw-run-small", candidate, silent)
    assert nemo.happened("deployed") == []
