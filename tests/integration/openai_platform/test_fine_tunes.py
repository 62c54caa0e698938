"""Fine-tuning jobs at a provider: made once, waited for within bounds, and ended with what they hold."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.openai_platform.platform import OpenAIPlatform
from blocks.ports import FineTuneRequest
from flywheel.errors import RemoteJobCancelled, RemoteJobFailed, RemoteJobTimedOut, TrainingOutOfTime
from flywheel.progress import silent
from tests.fakes.openai_provider import OpenAIProvider
from tests.integration.openai_platform.asking import NAME, QUICK, platform, request


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


async def test_the_curve_is_whole_however_many_pages_its_events_have(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.steps_per_look = 100  # between two looks it makes more steps than one page holds
    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert [point.step for point in done.losses] == list(range(10, 101, 10))


async def test_a_provider_without_events_trains_all_the_same(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.no_events = True
    done = await platform(provider).fine_tune(request(tmp_path / "t"), silent)
    assert (done.status, done.tokens, done.train_loss, done.losses) == ("completed", 4_321, None, [])


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


MOMENT = 1e-9
"""Hours: over at the first look that sees the job train."""
PATIENT = QUICK._replace(cancelled=60)


async def test_a_job_that_reaches_its_bound_of_hours_is_cancelled_and_seen_cancelled(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.stuck_at_step = 50
    with pytest.raises(TrainingOutOfTime, match=r"max_hours \(1e-09 h\) at step .* and was cancelled"):
        await platform(provider, patience=PATIENT).fine_tune(bounded(tmp_path, MOMENT), silent)
    assert provider.jobs["ftjob-1"]["status"] == "cancelled"
    assert provider.files == {}


async def test_hours_that_a_job_trained_before_it_was_adopted_count(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.stuck_at_step = 50
    asked = bounded(tmp_path, 1.0)
    tuning = platform(provider, patience=PATIENT)
    (tmp_path / "files").mkdir()
    await tuning._create(asked, *tuning._files(asked, tmp_path / "files"))
    provider.jobs["ftjob-1"] |= {"created_at": time.time() - 7_200, "status": "running", "step": 50}
    with pytest.raises(TrainingOutOfTime, match="at step 50 of 100"):
        await platform(provider, patience=PATIENT).fine_tune(asked, silent)
    assert list(provider.jobs) == ["ftjob-1"]


async def test_a_job_that_ends_while_it_is_cancelled_at_its_bound_has_ended(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.ignores_cancel = True
    done = await platform(provider, patience=PATIENT).fine_tune(bounded(tmp_path, MOMENT), silent)
    assert (done.status, done.cut) == ("completed", "")


async def test_a_provider_that_does_not_confirm_the_cancellation_at_the_bound_is_told(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.ignores_cancel = True
    provider.faults.stuck_at_step = 50
    tuning = platform(provider, patience=QUICK._replace(cancelled=0.2))
    with pytest.raises(RemoteJobTimedOut, match="does not confirm that it was cancelled; cancel it there"):
        await tuning.fine_tune(bounded(tmp_path, MOMENT), silent)


def bounded(folder: Path, hours: float) -> FineTuneRequest:
    asked = request(folder / "t")
    training = asked.training.model_copy(update={"max_hours": hours})
    return msgspec.structs.replace(asked, training=training)


async def test_cancelling_stops_the_job_and_removes_its_files(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.stuck_at_step = 50
    reached = asyncio.Event()

    def progress(stage: str, done: int, total: int | None, detail: str = "") -> None:
        if done == 50:
            reached.set()

    work = asyncio.create_task(platform(provider).fine_tune(request(tmp_path / "t"), progress))
    await asyncio.wait_for(reached.wait(), 60)
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
