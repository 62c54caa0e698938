"""Fine-tunes on the platform, over the wire."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.nemo.connection import NemoConnection
from blocks.nemo.platform import NemoPlatform
from blocks.ports import FineTuneRequest
from flywheel.config import CandidateConfig, CustomizerConfig, LoraConfig, TrainingConfig
from flywheel.errors import (
    DataError,
    RemoteError,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
)
from flywheel.progress import silent
from tests.fakes.nemo.exchanges import Fault, html_burst
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.conftest import (
    MODEL,
    TOOL,
    Heard,
    fine_tune_request,
    impatient,
    row,
)

NAME = "fw-run-small-abc"
CREATE = "POST /v1/customization/jobs$"


async def test_a_fine_tune_trains_and_its_model_answers_beside_the_base(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig, request_for: FineTuneRequest
) -> None:
    await platform.deploy("fw-run-small", candidate, silent)
    heard = Heard()
    done = await platform.fine_tune(request_for, heard)
    endpoint = await platform.serve_customization("fw-run-small", done)

    assert done.status == "completed"
    assert done.model == f"flywheel/{NAME}@v1"
    assert done.job.startswith("cust-")
    assert (done.train_rows, done.skipped_rows) == (12, 0)
    assert (done.train_loss, done.val_loss) == (0.21, 0.34)
    assert done.runtime_seconds is not None
    assert done.queued_seconds is not None
    assert done.queued_seconds > 0
    assert endpoint.model == done.model
    totals = {total for _, done_steps, total, _ in heard.reports if done_steps}
    assert totals == {6}
    assert "pending, PVCCreated" in heard.details
    assert any("epoch 1/2, loss" in detail for detail in heard.details)


async def test_the_jobs_settings_are_the_requests_own(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    asked = msgspec.structs.replace(
        fine_tune_request(tmp_path, [row(n) for n in range(12)]),
        training=TrainingConfig(
            epochs=3, batch_size=4, learning_rate=2e-4, seed=7, warmup_ratio=0.5, max_seq_length=4096
        ),
        lora=LoraConfig(adapter_dim=8, adapter_alpha=16, adapter_dropout=0.1, target_modules=["q_proj"]),
        customizer=CustomizerConfig(gpus=2, nodes=1, micro_batch_size=2, tensor_parallel_size=2),
    )
    await platform.fine_tune(asked, silent)

    (job,) = nemo.customizer.jobs.values()
    assert job["namespace"] == "flywheel"
    assert job["hyperparameters"] == {
        "training_type": "sft",
        "finetuning_type": "lora",
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 2e-4,
        "weight_decay": 0.0,
        "warmup_steps": 4,
        "seed": 7,
        "lora": {"adapter_dim": 8, "adapter_dropout": 0.1, "alpha": 16, "target_modules": ["q_proj"]},
    }
    config = nemo.customizer.configs[job["config"]]
    assert config["max_seq_length"] == 4096
    (option,) = config["training_options"]
    assert (option["num_gpus"], option["micro_batch_size"], option["tensor_parallel_size"]) == (2, 2, 2)


async def test_other_settings_make_another_config_and_the_same_settings_the_same(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(4)]
    await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-a"), silent)
    await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-b"), silent)
    assert len(nemo.customizer.configs) == 1
    await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-c", max_seq_length=1_024), silent)
    assert len(nemo.customizer.configs) == 2


async def test_a_config_that_somebody_changed_is_refused_not_used(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(4)]
    await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-a"), silent)
    next(iter(nemo.customizer.configs.values()))["max_seq_length"] = 17
    with pytest.raises(RemoteRejected, match="max_seq_length"):
        await platform.fine_tune(fine_tune_request(tmp_path, rows, "fw-b"), silent)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(CREATE, "lose"),
        Fault(CREATE, "after", 502),
        Fault(CREATE, "after", 504),
        Fault(CREATE, "after", 409, '{"detail": "model or dataset with name x already exists"}'),
        html_burst("POST /v1/customization/configs", 2),
        Fault("POST /v1/customization/configs", "lose"),
    ],
    ids=["connection lost", "502", "504", "409 of our own", "config burst", "config lost"],
)
async def test_a_lost_answer_never_trains_twice(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest, fault: Fault
) -> None:
    nemo.faults = [fault]
    done = await platform.fine_tune(request_for, silent)

    assert done.status == "completed"
    assert len(nemo.happened("submitted")) == 1
    assert len(nemo.customizer.configs) == 1


async def test_a_restart_adopts_the_job_that_runs_and_the_one_that_is_done(
    nemo: NemoServer, connection: NemoConnection, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.queued_jobs = {NAME}
    first = asyncio.create_task(NemoPlatform(connection).fine_tune(request_for, silent))
    while not nemo.happened("submitted"):
        await asyncio.sleep(0.002)
    second = asyncio.create_task(NemoPlatform(connection).fine_tune(request_for, silent))
    await asyncio.sleep(0.05)
    nemo.misbehave.queued_jobs = set()
    one, other = await asyncio.gather(first, second)
    third = await NemoPlatform(connection).fine_tune(request_for, silent)

    assert len(nemo.happened("submitted")) == 1
    assert one.job == other.job == third.job
    assert nemo.hub.repos.keys() == {("model", f"flywheel/{NAME}")}  # uploaded rows are gone again


async def test_a_server_that_passes_over_filters_hands_us_nobody_elses_job(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(4)]
    for number in range(4):  # more than fit on one page of the fake
        await platform.fine_tune(fine_tune_request(tmp_path, rows, f"fw-other-{number}"), silent)
    jobs = list(nemo.customizer.jobs.values())
    everything = {"object": "list", "data": jobs, "sort": None, "filter": None, "search": None}
    nemo.faults = [Fault("GET /v1/customization/jobs$", "instead", 200, json.dumps(everything), times=2)]
    done = await platform.fine_tune(fine_tune_request(tmp_path, rows), silent)

    assert done.model == f"flywheel/{NAME}@v1"
    assert len(nemo.happened("submitted")) == 5


async def test_a_model_whose_files_were_not_stored_is_a_failure(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.failing_uploads = {NAME}
    with pytest.raises(RemoteJobFailed, match="could not store"):
        await platform.fine_tune(request_for, silent)


async def test_a_model_that_never_syncs_ends_the_wait_with_what_is_there(
    nemo: NemoServer, platform: NemoPlatform, candidate: CandidateConfig, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.never_synced = {NAME}
    await platform.deploy("fw-run-small", candidate, silent)
    done = await platform.fine_tune(request_for, silent)
    with pytest.raises(RemoteJobTimedOut, match=f"not listed; there: {MODEL}"):
        await impatient(nemo, sync=0.2).serve_customization("fw-run-small", done)


async def test_a_base_checkpoint_on_its_way_is_waited_for(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.misbehave.downloading_seconds = 60
    assert (await platform.fine_tune(request_for, silent)).status == "completed"


async def test_the_newest_ready_target_is_taken_and_one_named_in_the_settings_before_it(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    nemo.clock.seconds += 60
    nemo.customizer.add_target(MODEL, "3.0")
    nemo.clock.seconds += 60
    nemo.customizer.add_target(MODEL, "4.0", status="downloading")
    asked = fine_tune_request(tmp_path, [row(n) for n in range(4)])
    await platform.fine_tune(asked, silent)
    named = msgspec.structs.replace(
        asked, name="fw-named", customizer=CustomizerConfig(target="meta/llama-3.2-1b-instruct@2.0")
    )
    await platform.fine_tune(named, silent)

    versions = [config["target"]["name"].rpartition("@")[2] for config in nemo.customizer.configs.values()]
    assert versions == ["3.0", "2.0"]


@pytest.mark.parametrize(
    ("target", "words"), [("meta/none@1", "has no customization target 'meta/none@1'"), ("", "one installed")]
)
async def test_a_model_that_cannot_be_fine_tuned_there_is_told_before_anything_is_made(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest, target: str, words: str
) -> None:
    nemo.customizer.targets.clear()
    asked = msgspec.structs.replace(request_for, customizer=CustomizerConfig(target=target))
    with pytest.raises(RemoteRejected, match=words):
        await platform.fine_tune(asked, silent)
    assert nemo.customizer.configs == {}


async def test_a_target_that_failed_is_told(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    nemo.customizer.targets.clear()
    nemo.customizer.add_target(MODEL, status="failed")
    with pytest.raises(RemoteJobFailed, match="it is 'failed'"):
        await platform.fine_tune(request_for, silent)


async def test_rows_beyond_the_platforms_limits_are_converted_or_left_out_with_a_count(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    many = {f"p{n}": {"type": "string"} for n in range(9)}
    wide = {
        "type": "function",
        "function": {"name": "wide", "parameters": {"type": "object", "properties": many}},
    }
    call: dict[str, Any] = {"name": "find_order", "arguments": '{"order_id": "A"}'}
    text_arguments = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": call}],
            },
        ],
        "tools": [TOOL],
    }
    plain = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "tools": [],
    }
    rows = [row(1), {**row(2), "tools": [wide]}, text_arguments, plain]
    done = await platform.fine_tune(fine_tune_request(tmp_path, rows), silent)

    assert done.status == "completed"
    assert (done.train_rows, done.skipped_rows) == (3, 1)
    assert done.skipped == {"a tool with more than 8 parameters": 1}


async def test_rows_of_which_none_is_left_are_told_before_anything_is_uploaded(
    nemo: NemoServer, platform: NemoPlatform, tmp_path: Path
) -> None:
    picture = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}
    with pytest.raises(DataError, match="1 have content that is not text"):
        await platform.fine_tune(fine_tune_request(tmp_path, [picture]), silent)
    assert nemo.hub.repos == {}


async def test_deleting_a_fine_tune_leaves_nothing_of_it(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    await platform.fine_tune(request_for, silent)
    nemo.faults = [Fault("DELETE /v1/models", "after", 404)]
    await platform.delete_fine_tune(NAME)
    await platform.delete_fine_tune(NAME)

    assert nemo.entities.models == {}
    assert nemo.hub.repos == {}
    assert nemo.entities.datasets == {}


async def test_what_cannot_be_deleted_does_not_keep_the_rest(
    nemo: NemoServer, platform: NemoPlatform, request_for: FineTuneRequest
) -> None:
    await platform.fine_tune(request_for, silent)
    nemo.faults = [html_burst("DELETE /v1/models", 10**6)]
    with pytest.raises(RemoteError, match="Not everything"):
        await platform.delete_fine_tune(NAME)
    assert nemo.hub.repos == {}
