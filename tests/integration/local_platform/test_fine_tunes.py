"""Processes that train live, die and are found again. A toy model: what it learns does not matter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from blocks.local_platform.models.adapters import merged
from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.model_loading import load_model
from blocks.local_platform.models.packed_attention import PackedRows
from blocks.local_platform.platform import LocalPlatform
from flywheel.errors import RemoteJobFailed, RemoteJobTimedOut, RemoteRejected, TrainingOutOfTime
from flywheel.progress import silent
from flywheel.results import Customization
from tests.integration.local_platform.using import interruptions, owner, process, request, status, until

pytestmark = pytest.mark.slow


async def test_a_fine_tune_leaves_an_adapter_that_peft_loads_and_its_name_trains_once(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    reports: list[tuple[str, int, int | None]] = []
    result = await platform.fine_tune(
        request(tmp_path, model), lambda stage, done, total, detail="": reports.append((stage, done, total))
    )
    assert (result.status, result.train_rows, result.skipped_rows) == ("completed", 12, 0)
    assert result.val_loss is not None
    assert [point.step for point in result.losses] == list(range(1, len(result.losses) + 1))
    assert result.losses[-1].validation == result.val_loss
    assert result.tokens > 0
    assert reports[-1] == ("fine-tune job", 48, 48)
    assert result.adapter is not None
    adapted = merged(load_model(Path(model), torch.device("cpu"), torch.float32), Path(result.adapter))
    base = load_model(Path(model), torch.device("cpu"), torch.float32)
    assert not torch.equal(
        adapted.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight
    )
    card = json.loads((Path(result.adapter) / "card.json").read_text())
    assert card["base_model"] == model
    assert len(card["data_sha256"]) == len(card["base_weights_sha256"]) == 64
    assert card["training_config"]["epochs"] == 4

    before = process(tmp_path)
    again = await LocalPlatform(tmp_path).fine_tune(request(tmp_path, model), silent)
    assert (again, process(tmp_path)) == (result, before)
    # A name must never hide that the settings changed.
    with pytest.raises(RemoteRejected, match="another name"):
        await platform.fine_tune(request(tmp_path, model, epochs=2), silent)


async def test_the_best_epoch_is_kept_where_that_is_asked_and_patience_ends_a_training_that_gets_worse(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    asked = request(tmp_path, model, epochs=12, learning_rate=0.05, keep="best", patience_epochs=2)
    too_long = {
        "messages": [{"role": "user", "content": "why " * 5_000}, {"role": "assistant", "content": "so"}]
    }
    with (asked.train / "training.jsonl").open("a") as rows:
        rows.write("\n" + json.dumps(too_long))
    # Answers that no row prepares for: learning the rows by heart makes them less likely.
    other = {
        "messages": [
            {"role": "user", "content": "Question number 3"},
            {"role": "assistant", "content": "no!"},
        ]
    }
    (asked.train / "validation.jsonl").write_text(json.dumps(other))
    result = await platform.fine_tune(asked, silent)

    by_epoch = [point.validation for point in result.losses if point.validation is not None]
    best = min(by_epoch)
    assert result.val_loss == best
    assert result.skipped == {"longer than max_seq_length (2048 tokens)": 1}
    kept = by_epoch.index(best) + 1
    assert len(by_epoch) == kept + 2 < 12
    assert result.adapter is not None
    assert json.loads((Path(result.adapter) / "card.json").read_text())["epoch"] == kept
    assert loss_of(model, Path(result.adapter), other) == pytest.approx(best, rel=0.02)


def loss_of(model: str, adapter: Path, row: dict[str, Any]) -> float:
    """Mean loss of the answer's tokens, by the plainest computation there is."""
    prompt, answer = ChatFormat(Path(model)).example(row["messages"], [])
    tuned = merged(load_model(Path(model), torch.device("cpu"), torch.float32), adapter)
    layout = PackedRows(0, [len(prompt) + len(answer)], torch.device("cpu"))
    with torch.no_grad():
        logits = tuned(
            input_ids=torch.tensor([[*prompt, *answer]]), position_ids=layout.positions(), layout=layout
        ).logits[0]
    predicted = logits[len(prompt) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(predicted, torch.tensor(answer)))


@pytest.mark.long
async def test_a_cancelled_fine_tune_is_gone_and_ends_as_if_it_had_never_stopped_when_resumed(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    whole = await platform.fine_tune(request(tmp_path, model, name="whole", epochs=6), silent)
    for _ in interruptions(tmp_path):
        running = asyncio.create_task(platform.fine_tune(request(tmp_path, model, epochs=6), silent))
        await until(lambda: status(tmp_path).step >= 5)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert running.cancelled()
    assert not process(tmp_path).is_alive()
    stopped = status(tmp_path)
    assert stopped.state == "cancelled"
    assert stopped.step < stopped.total_steps
    resumed = await platform.fine_tune(request(tmp_path, model, epochs=6), silent)
    assert "resumed at step" in (tmp_path / "jobs" / "job" / "log.txt").read_text()
    assert adapter_bytes(resumed) == adapter_bytes(whole)


def adapter_bytes(customization: Customization) -> bytes:
    assert customization.adapter is not None
    return (Path(customization.adapter) / "adapter_model.safetensors").read_bytes()


@pytest.mark.long
async def test_a_killed_training_process_is_resumed_from_its_checkpoint(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    for _ in interruptions(tmp_path):
        running = asyncio.create_task(platform.fine_tune(request(tmp_path, model, epochs=8), silent))
        await until(lambda: status(tmp_path).epoch >= 3)
        first = process(tmp_path)
        with contextlib.suppress(ProcessLookupError):
            os.kill(first.pid, signal.SIGKILL)
        if status(tmp_path).state == "completed":
            await running
    result = await running
    assert result.status == "completed"
    assert process(tmp_path) != first
    log = (tmp_path / "jobs" / "job" / "log.txt").read_text()
    assert "resumed at step" in log


async def test_a_training_goes_on_when_its_flow_is_killed_and_the_next_flow_adopts_it(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    wanted = request(tmp_path, model, epochs=12)
    for _ in interruptions(tmp_path):
        other = await owner(tmp_path, model, "train")
        await until(lambda: status(tmp_path).step >= 5)
        other.kill()
        await other.wait()
        trainer = process(tmp_path)
        alive = trainer.is_alive()
    assert alive
    result = await platform.fine_tune(wanted, silent)
    assert result.status == "completed"
    assert process(tmp_path) == trainer


async def test_a_failed_training_says_why_and_may_be_tried_again(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    wanted = request(tmp_path, model, max_seq_length=16)
    with pytest.raises(RemoteJobFailed, match="max_seq_length"):
        await platform.fine_tune(wanted, silent)
    assert status(tmp_path).state == "failed"
    with pytest.raises(RemoteJobFailed, match="max_seq_length"):
        await platform.fine_tune(wanted, silent)


async def test_a_training_that_may_not_be_cut_fails_at_its_bound_of_hours_and_leaves_nothing(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    asked = request(tmp_path, model, max_hours=1e-9, at_max_hours="fail")
    with pytest.raises(
        TrainingOutOfTime, match=r"stopped at max_hours .* after step 1 of 48.* Raise training_config"
    ):
        await platform.fine_tune(asked, silent)
    assert status(tmp_path).state == "failed"
    assert not (tmp_path / "jobs" / "job" / "adapter").exists()


async def test_a_training_without_progress_is_stopped(tmp_path: Path, model: str) -> None:
    platform = LocalPlatform(tmp_path, stall_seconds=5)
    running = asyncio.create_task(platform.fine_tune(request(tmp_path, model, epochs=100, rows=100), silent))
    await until(lambda: (tmp_path / "jobs" / "job" / "process.json").exists())
    os.kill(process(tmp_path).pid, signal.SIGSTOP)
    with pytest.raises(RemoteJobTimedOut, match="no progress"):
        await running
    assert not process(tmp_path).is_alive()
