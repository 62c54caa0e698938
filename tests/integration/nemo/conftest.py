"""A NeMo platform on loopback ports; after each test everything on the wire is held against the API's shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.nemo.connection import NemoConnection, Waits
from blocks.nemo.platform import NemoPlatform
from blocks.ports import FineTuneRequest
from flywheel.config import CandidateConfig, LoraConfig, TrainingConfig
from tests.contracts.nemo_shapes import require_contract
from tests.fakes.nemo_server import NemoServer

MODEL = "meta/llama-3.2-1b-instruct"
WAITS = Waits(
    request=60, poll=0.005, first_retry=0.005, queue=300, start=300, stall=300, sync=300, release=300
)
TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}},
    },
}


@pytest.fixture(scope="session")
def nemo_server() -> Iterator[NemoServer]:
    with NemoServer() as server:
        yield server


@pytest.fixture
def nemo(nemo_server: NemoServer) -> Iterator[NemoServer]:
    """A fresh platform that can fine-tune `MODEL`."""
    nemo_server.forget()
    nemo_server.customizer.add_target(MODEL)
    yield nemo_server
    require_contract(nemo_server.exchanges)


@pytest.fixture
def connection(nemo: NemoServer) -> NemoConnection:
    return connection_to(nemo)


@pytest.fixture
def platform(connection: NemoConnection) -> NemoPlatform:
    return NemoPlatform(connection)


@pytest.fixture
def candidate() -> CandidateConfig:
    return CandidateConfig(name="small", model=MODEL)


@pytest.fixture
def request_for(tmp_path: Path) -> FineTuneRequest:
    """A fine-tune of twelve rows."""
    return fine_tune_request(tmp_path, [row(number) for number in range(12)])


def connection_to(server: NemoServer, **more: Any) -> NemoConnection:
    urls = server.urls
    return NemoConnection(
        **{"nemo": urls["nemo"], "nim": urls["nim"], "datastore": urls["datastore"], "waits": WAITS, **more}
    )


def impatient(server: NemoServer, **waits: float) -> NemoPlatform:
    """A platform with one bound so short that a test can see it passed."""
    return NemoPlatform(connection_to(server, waits=msgspec.structs.replace(WAITS, **waits)))


def row(number: int) -> dict[str, Any]:
    """A training row as the flywheel writes it."""
    call = {"name": "find_order", "arguments": {"order_id": f"A-{number}"}}
    answer = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c", "type": "function", "function": call}],
    }
    return {"messages": [{"role": "user", "content": f"Where is A-{number}?"}, answer], "tools": [TOOL]}


def fine_tune_request(
    folder: Path, rows: list[dict[str, Any]], name: str = "fw-run-small-abc", **training: Any
) -> FineTuneRequest:
    train = folder / "train"
    train.mkdir(exist_ok=True)
    (train / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (train / "validation.jsonl").write_text(json.dumps(rows[0]) + "\n")
    settings = TrainingConfig(**{"epochs": 2, "batch_size": 4, **training})
    return FineTuneRequest(name, MODEL, train, settings, LoraConfig())


class Heard:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int, int | None, str]] = []

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        self.reports.append((stage, done, total, detail))

    @property
    def details(self) -> list[str]:
        return [detail for *_, detail in self.reports]
