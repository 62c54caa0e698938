"""Where keys must not be, and where names out of a log must not lead, looked for after a whole run."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.sorting import LogSort
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from pydantic import SecretStr

from blocks.connections import open_run_store
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.openai_platform.block import OpenAICompatible
from flows.run_flywheel import run_flywheel
from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    EmbedderConfig,
    FlywheelConfig,
    IclConfig,
    LogsConfig,
)
from flywheel.results import RunResult
from tests.fakes.openai_provider import OpenAIProvider
from tests.reading import logged_records

pytestmark = pytest.mark.slow

PLANTED = "sk-planted-3f9c2a71d0e84b65"
UNUSED = "planted-elsewhere-77aa01c2"
KEYS = (PLANTED, UNUSED)
CARELESS = "sk-careless-0d5b1e6a9c3f4872"
HOSTILE = "../../etc/passwd"
VARIABLES = (
    "ELASTICSEARCH_API_KEY",
    "MONGODB_URL",
    "NEMO_API_KEY",
    "OPENAI_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
)


class Arguments:
    """Looks at the command lines of all processes of this machine until it is told to stop."""

    def __init__(self, keys: Sequence[str] = KEYS) -> None:
        self._keys = keys
        self.guilty: set[str] = set()
        self.seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Arguments:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = place.read_bytes()
                except OSError:
                    continue
                self.seen += 1
                if has_key(line, self._keys):
                    self.guilty.add(line.decode(errors="replace"))


@pytest.fixture
def provider(oracle: dict[str, dict[str, Any]], prefect_api: None) -> Iterator[OpenAIProvider]:
    with OpenAIProvider(oracle, key=PLANTED) as server:
        block = OpenAICompatible(base_url=server.url, api_key=SecretStr(PLANTED), poll_seconds=0.05)
        block.save("planted", overwrite=True)
        yield server


@pytest.fixture
def log(sample_log: Path, tmp_path: Path) -> Path:
    """The sample's calls under names that would like to be paths, in bare lines."""
    path = tmp_path / "logs" / "log.jsonl"
    path.parent.mkdir()
    lines = []
    for number, record in enumerate(logged_records(sample_log)):
        if isinstance(record, dict) and record.get("workload_id") == "support-router" and len(lines) < 250:
            more = {"workload_id": HOSTILE, "client_id": "../../../tmp", "conversation_id": f"../../{number}"}
            lines.append(json.dumps({**record, **more, "id": f"../../../record-{number}"}))
    path.write_text("\n".join(lines) + "\n")
    return path


def holding(folder: Path, since: float, keys: Sequence[str] = KEYS) -> list[str]:
    """Files changed since then in which one of the keys stands: pages of databases, and what is encoded, included."""
    guilty = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and path.stat().st_mtime >= since:
                content = path.read_bytes()
                if has_key(content, keys) or has_key(decoded(content), keys):
                    guilty.append(str(path))
        except OSError:  # gone meanwhile
            continue
    return guilty


def has_key(content: bytes, keys: Sequence[str]) -> bool:
    return any(key.encode() in content for key in keys)


def decoded(content: bytes) -> bytes:
    """What Prefect packed into the file of a result, also that of a task that failed; nothing for any other file."""
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except ValueError:
        return b""


def prefect_database() -> Path:
    """The file of the Prefect server that this process talks to; parameters, artifacts and all logs are in it."""
    settings = get_current_settings()
    place = Path(str(settings.server.database.connection_url.get_secret_value()).partition("///")[2])
    with contextlib.closing(sqlite3.connect(place)) as connection:
        assert connection.execute("SELECT count(*) FROM flow_run").fetchone()[0] > 0
    return place


async def last_line_arrived(flow_run_id: UUID, seconds: float = 240) -> None:
    """Lines are sent in batches, some seconds after they were logged: waits for the last one of the run."""
    end, newest = time.monotonic() + seconds, LogSort.TIMESTAMP_DESC
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    async with get_client() as client:
        while not any(
            line.message.startswith("Finished in") for line in await client.read_logs(of_run, sort=newest)
        ):
            assert time.monotonic() < end, f"the last line of the run is not there after {seconds} s"
            await asyncio.sleep(0.2)


async def said_by_prefect(flow_run_id: UUID) -> dict[str, str]:
    """What the server tells of a flow run, of what it started, and of its artifacts."""
    await last_line_arrived(flow_run_id)
    of_run = FlowRunFilterId(any_=[flow_run_id])
    async with get_client() as client:
        below = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run_id]))
        )
        runs = [await client.read_flow_run(flow_run_id), *below]
        tasks = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=of_run))
        logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[r.id for r in runs])))
        artifacts = await client.read_artifacts(flow_run_filter=FlowRunFilter(id=of_run))
    return {
        "parameters": "".join(run.model_dump_json() for run in runs),
        "inputs of tasks": "".join(task.model_dump_json() for task in tasks),
        "logs": "".join(line.message for line in logs),
        "artifacts": "".join(artifact.model_dump_json() for artifact in artifacts),
    }


async def test_the_search_for_keys_finds_one_in_each_of_the_places_that_it_looks_at(
    prefect_api: None, tmp_path: Path
) -> None:
    """Else its silence would mean nothing."""

    @flow(persist_result=True, name="careless")
    async def careless(key: str) -> list[str]:
        get_run_logger().info("the key is %s", key)
        await acreate_markdown_artifact(key, key="careless")
        return [key]

    began = time.time() - 1
    state = await careless(CARELESS, return_state=True)
    with contextlib.closing(SqliteRunStore(tmp_path / "runs.sqlite")) as runs:
        runs.save_run(RunResult("run-a", "w", "c", "failed", "2026-01-01", message=CARELESS))
    with Arguments([CARELESS]) as arguments:
        command = [sys.executable, "-c", "import sys; sys.stdin.read()", CARELESS]
        with subprocess.Popen(command, stdin=subprocess.PIPE):  # it ends when its input is closed
            async with asyncio.timeout(120):
                while not arguments.guilty:
                    await asyncio.sleep(0.1)

    assert len(arguments.guilty) == 1
    assert state.state_details.flow_run_id is not None
    said = await said_by_prefect(state.state_details.flow_run_id)
    assert [name for name, text in said.items() if CARELESS in text] == ["parameters", "logs", "artifacts"]
    results = Path(get_current_settings().results.local_storage_path)
    for place in (results, prefect_database().parent, tmp_path):
        assert holding(place, began, [CARELESS]) != [], place


async def test_keys_stand_nowhere_after_a_run_and_hostile_names_led_nowhere(
    log: Path,
    provider: OpenAIProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PLANTED_EMBEDDER_KEY", PLANTED)
    for name in VARIABLES:
        monkeypatch.setenv(name, UNUSED)
    embedder = EmbedderConfig(base_url=provider.url, model="embed", api_key_env="PLANTED_EMBEDDER_KEY")
    config = FlywheelConfig(
        workload_id=HOSTILE,
        client_id="../../../tmp",
        logs=LogsConfig(path=str(log)),
        data_split_config=DataSplitConfig(eval_size=20),
        icl_config=IclConfig(embedder=embedder),
        connections=ConnectionsConfig(
            home=str(tmp_path / "home"), platform="flywheel-openai-compatible/planted"
        ),
        gpu_slots=2,
        candidates=[
            CandidateConfig(name="../../alpha", model="small-a", context_length=32_768),
            CandidateConfig(name="nobody", model="no-such-model", context_length=32_768, customize=False),
        ],
    )
    began = time.time() - 1
    with Arguments() as arguments:
        state = await run_flywheel(config, run_id="../../../run-of-evil", return_state=True)
    store = await open_run_store(config.connections)
    result = store.load_run("../../../run-of-evil")
    store.close()
    by_name = {candidate.candidate: candidate for candidate in result.candidates}
    assert by_name["../../alpha"].status == "completed", result
    assert by_name["nobody"].status == "failed"  # errors are among what is searched

    assert holding(tmp_path, began) == []
    assert arguments.seen > 0
    assert arguments.guilty == set()
    assert PLANTED not in caplog.text
    assert UNUSED not in caplog.text
    assert holding(Path(get_current_settings().results.local_storage_path), began) == []
    assert holding(prefect_database().parent, 0) == []
    assert state.state_details.flow_run_id is not None
    said = await said_by_prefect(state.state_details.flow_run_id)
    assert all(said.values()), "there is something to look at"
    assert [name for name, text in said.items() if PLANTED in text or UNUSED in text] == []

    outside = [path for path in tmp_path.iterdir() if path.name not in ("home", "logs")]
    assert outside == []
    for path in (tmp_path / "home").rglob("*"):
        assert ".." not in path.name
        assert path.resolve().is_relative_to(tmp_path / "home")
    assert not [name for name in os.listdir(tmp_path.parent) if "evil" in name or "record-" in name]
