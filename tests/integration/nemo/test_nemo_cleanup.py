"""What dead runs left on the platform is found by name, where no ledger has it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.nemo.platform import NemoPlatform
from flywheel.config import CandidateConfig, ConnectionsConfig
from flywheel.errors import RemoteJobCancelled
from flywheel.progress import silent
from flywheel.results import RunResult
from tasks.cleaning.cleanup import clean_up
from tests.fakes.nemo_server import NemoServer
from tests.integration.nemo.conftest import fine_tune_request, row

OURS = "fw-aaaa-small-1"
STRANGERS = [f"fw-bbbb-small-{number}" for number in range(3)]  # with ours more than a page


async def test_a_deployment_and_a_fine_tune_of_a_dead_run_are_freed_and_those_of_others_stay(
    nemo: NemoServer,
    platform: NemoPlatform,
    candidate: CandidateConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for service, variable in (
        ("nemo", "NEMO_BASE_URL"),
        ("nim", "NIM_BASE_URL"),
        ("datastore", "DATASTORE_BASE_URL"),
    ):
        monkeypatch.setenv(variable, nemo.urls[service])
    monkeypatch.setenv("NEMO_POLL_SECONDS", "0.05")
    await asyncio.gather(*(platform.deploy(name, candidate, silent) for name in (OURS, *STRANGERS)))
    nemo.misbehave.stalled_jobs = {"fw-aaaa-small-abc", "fw-bbbb-small-abc"}
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    training, other = (
        asyncio.create_task(platform.fine_tune(fine_tune_request(folder, [row(1)], name=name), silent))
        for folder, name in zip(folders, ("fw-aaaa-small-abc", "fw-bbbb-small-abc"), strict=True)
    )
    while len(await platform.existing()) < 6:
        await asyncio.sleep(0.05)

    SqliteRunStore(tmp_path / "home" / "runs.sqlite").save_run(
        RunResult("aaaa", "w", "c", "failed", "2026-01-01T00:00:00+00:00")
    )
    connections = ConnectionsConfig(home=str(tmp_path / "home"), platform="nemo")
    found = await clean_up(connections, older_than=timedelta(minutes=10))

    assert {(each.kind, each.name, each.done) for each in found} == {
        ("deployment", OURS, "freed"),
        ("fine-tune", "fw-aaaa-small-abc", "freed"),
    }
    with pytest.raises(RemoteJobCancelled):
        await asyncio.wait_for(training, 120)
    assert {name for _, name in await platform.existing()} == {*STRANGERS, "fw-bbbb-small-abc"}
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other
