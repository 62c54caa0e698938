"""How fine-tunes on the platform end before their time: failed, stalled, starved, cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from blocks.nemo.platform import NemoPlatform
from blocks.ports import FineTuneRequest
from flywheel.errors import (
    NotEnoughResources,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    TrainingOutOfTime,
    TransientRemoteError,
)
from flywheel.progress import silent
from tests.fakes.nemo.exchanges import Fault, html_burst
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.conftest import (
    MODEL,
    Heard,
    fine_tune_request,
    impatient,
    row,
)

NAME = "fw-run-small-abc"
CREATE = "POST /v1/customization/jobs$"


async def test_a_failed_job_is_told_in_the_platforms_words_whatever_its_percentage(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.failing_jobs = {NAME: "CUDA out of memory at step 6"}
    with pytest.raises(RemoteJobFailed, match="CUDA out of memory at step 6"):
        await platform.fine_tune(request_for, silent)
    (job,) = nemo.customizer.jobs.values()
    assert job["status_details"]["percentage_done"] == 100


async def test_a_failure_without_words_is_explained_by_the_containers(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.failing_without_words = {NAME}
    with pytest.raises(RemoteJobFailed, match="back-off restarting failed container"):
        await platform.fine_tune(request_for, silent)


async def test_a_failed_attempt_is_followed_by_a_new_one_on_the_next_call(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.failing_jobs = {NAME: "node lost"}
    with pytest.raises(RemoteJobFailed):
        await platform.fine_tune(request_for, silent)
    nemo.misbehave.failing_jobs = {}
    done = await platform.fine_tune(request_for, silent)

    assert done.model == f"flywheel/{NAME}@v2"


async def test_the_services_own_race_on_the_model_entity_is_tried_once_more(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.entity_races = 1
    assert (await platform.fine_tune(request_for, silent)).status == "completed"
    nemo.forget()
    nemo.customizer.add_target(MODEL)
    nemo.misbehave.entity_races = 2
    with pytest.raises(RemoteJobFailed, match="num_parameters"):
        await platform.fine_tune(request_for, silent)


async def test_a_stalled_job_is_cancelled_and_told_as_a_stall(
    nemo: NemoServer, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.stalled_jobs = {NAME}
    with pytest.raises(RemoteJobTimedOut, match="made no progress for 0 s"):
        await impatient(nemo, stall=0.2, start=0.2).fine_tune(request_for, silent)
    assert nemo.happened("cancelled")


async def test_a_wait_for_gpus_is_its_own_error_however_often_the_platform_repeats_it(
    nemo: NemoServer, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.starved_jobs = {NAME}
    heard = Heard()
    with pytest.raises(NotEnoughResources, match="waited 0 s for GPUs"):
        await impatient(nemo, queue=0.3).fine_tune(request_for, heard)
    assert "waiting for GPUs" in heard.details
    assert nemo.happened("cancelled")


async def test_time_in_the_queue_is_no_stall(nemo: NemoServer, request_for: FineTuneRequest) -> None:
    nemo.misbehave.queued_jobs = {NAME}
    work = asyncio.create_task(impatient(nemo, stall=1.5, start=1.5).fine_tune(request_for, silent))
    await asyncio.sleep(1.8)
    nemo.misbehave.queued_jobs = set()
    assert (await work).status == "completed"


@pytest.fixture
def bounded(tmp_path: Path) -> FineTuneRequest:
    """A fine-tune whose hours are over at the first look that sees it train."""
    return fine_tune_request(tmp_path, [row(number) for number in range(12)], max_hours=1e-9)


async def test_a_job_that_reaches_its_bound_of_hours_is_cancelled_and_seen_cancelled(
    nemo: NemoServer, platform: NemoPlatform, bounded: FineTuneRequest
) -> None:
    nemo.misbehave.stalled_jobs = {NAME}
    with pytest.raises(TrainingOutOfTime, match=r"cancelled at training_config.max_hours \(1e-09 h\)"):
        await platform.fine_tune(bounded, silent)
    (job,) = nemo.customizer.jobs.values()
    assert job["status"] == "cancelled"
    assert nemo.hub.repos == {}  # the uploaded rows are gone


async def test_a_job_that_ends_while_it_is_cancelled_at_its_bound_has_ended(
    nemo: NemoServer, platform: NemoPlatform, bounded: FineTuneRequest
) -> None:
    nemo.misbehave.stubborn_jobs = {NAME}
    assert (await platform.fine_tune(bounded, silent)).status == "completed"


async def test_a_platform_that_does_not_confirm_the_cancellation_at_the_bound_is_told(
    nemo: NemoServer, bounded: FineTuneRequest
) -> None:
    nemo.misbehave.stalled_jobs = nemo.misbehave.stubborn_jobs = {NAME}
    with pytest.raises(RemoteJobTimedOut, match=r"reached .*max_hours .* does not confirm"):
        await impatient(nemo, release=0.2).fine_tune(bounded, silent)


async def test_bad_polls_fail_nothing(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.faults = [html_burst(r"GET /v1/customization/jobs/.*/status", 12)]
    assert (await platform.fine_tune(request_for, silent)).status == "completed"


async def test_cancelling_stops_the_job_and_sees_it_stopped(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.stalled_jobs = {NAME}
    work = asyncio.create_task(platform.fine_tune(request_for, silent))
    while "running" not in {job["status"] for job in nemo.customizer.jobs.values()}:
        await asyncio.sleep(0.002)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    (job,) = nemo.customizer.jobs.values()
    assert job["status"] == "cancelled"
    assert nemo.hub.repos == {}
    posts = [e.path for e in nemo.exchanges if e.path.endswith("/cancel")]
    assert posts == [f"/v1/customization/jobs/{job['id']}/cancel"]


async def test_what_a_request_creates_after_its_cancellation_is_cancelled_too(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    slow = Fault(CREATE, "slow")
    nemo.faults = [slow]
    work = asyncio.create_task(platform.fine_tune(request_for, silent))
    while slow.times:
        await asyncio.sleep(0.002)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await asyncio.sleep(2 * slow.seconds)

    (job,) = nemo.customizer.jobs.values()
    assert job["status"] == "cancelled"


async def test_a_cancel_that_the_platform_does_not_confirm_is_told(
    nemo: NemoServer, request_for: FineTuneRequest, caplog: pytest.LogCaptureFixture
) -> None:
    platform = impatient(nemo, release=0.2)
    nemo.misbehave.stalled_jobs = nemo.misbehave.stubborn_jobs = {NAME}
    work = asyncio.create_task(platform.fine_tune(request_for, silent))
    while "running" not in {job["status"] for job in nemo.customizer.jobs.values()}:
        await asyncio.sleep(0.002)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):  # the cancellation is not swallowed by what goes wrong in it
        await work
    assert "does not confirm" in caplog.text
    with pytest.raises(TransientRemoteError, match="does not confirm"):
        await platform.cancel_fine_tune(NAME)


async def test_a_job_cancelled_by_somebody_else_is_told_so(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.stalled_jobs = {NAME}
    work = asyncio.create_task(platform.fine_tune(request_for, silent))
    while "running" not in {job["status"] for job in nemo.customizer.jobs.values()}:
        await asyncio.sleep(0.002)
    nemo.customizer._cancelled_at[next(iter(nemo.customizer.jobs))] = 0.0
    with pytest.raises(RemoteJobCancelled, match="cancelled on the platform"):
        await work
