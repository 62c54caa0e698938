"""What an operator has: a Prefect server to ask, deployments to run, and workers to start and to lose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from blocks.history.sqlite_run_store import SqliteRunStore
from tests.fakes.nemo_server import NemoServer

ROOT = Path(__file__).resolve().parent.parent.parent
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
QUICKLY = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_HEARTBEAT_SECONDS": "5"}


class PrefectServer:
    """The server's API, as its UI uses it."""

    def __init__(self, url: str) -> None:
        # A connection for each request: a kept one may be closed by the server just as it is used again.
        once = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(
            base_url=url, timeout=120, transport=httpx.HTTPTransport(retries=3, limits=once)
        )

    def __enter__(self) -> PrefectServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._asked("POST", path, json=body)

    def get(self, path: str) -> Any:
        answer = self._asked("GET", path)
        answer.raise_for_status()
        return answer.json()

    def _asked(self, method: str, path: str, **more: Any) -> httpx.Response:
        # SQLite answers 503 while it is locked; whoever speaks to the server directly tries again.
        for _ in range(60):
            answer = self._http.request(method, path, **more)
            if answer.status_code != 503:
                break
            time.sleep(0.5)
        return answer

    def deployment(self, name: str) -> dict[str, Any]:
        """By the name of the flow and its own, as `flow/deployment`."""
        entry: dict[str, Any] = self.get(f"/deployments/name/{name}")
        return entry

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """A run with what the form sends; its id."""
        entry = self.deployment(deployment)
        answer = self.post(f"/deployments/{entry['id']}/create_flow_run", {"parameters": parameters})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def state(self, flow_run: str) -> dict[str, Any]:
        state: dict[str, Any] = self.get(f"/flow_runs/{flow_run}")["state"]
        return state

    def set_state(self, flow_run: str, kind: str, name: str | None = None) -> None:
        """What the buttons of a run do: CANCELLING, and SCHEDULED with the name AwaitingRetry."""
        body = {"state": {"type": kind, "name": name} if name else {"type": kind}}
        assert self.post(f"/flow_runs/{flow_run}/set_state", body).status_code in (200, 201)

    def ended(self, flow_run: str, seconds: float) -> dict[str, Any]:
        """The run's last state, once it has ended."""
        until(lambda: self.state(flow_run)["type"] in ENDED, seconds, lambda: str(self.state(flow_run)))
        return self.state(flow_run)

    def gpu_slots_taken(self) -> int:
        return int(self.get("/v2/concurrency_limits/gpu")["active_slots"])


def until(true: Callable[[], object], seconds: float, told: Callable[[], str] = str) -> None:
    """Wait for it, and fail with what is told then."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {told()}"
        time.sleep(0.1)


@contextmanager
def worker(url: str, home: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect worker start`, as the page on operations has it; killed at the end if it still lives."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    environment |= {
        "PREFECT_API_URL": url,
        "HOME": str(home),
        "PREFECT_HOME": str(home / ".prefect"),
    } | QUICKLY
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_settings(log: Path, home: Path, candidate: str, **settings: Any) -> dict[str, Any]:
    """The setting `config` of a small run on NeMo Microservices; its history is in `home`."""
    return {
        "workload_id": "support-router",
        "client_id": "acme-web",
        "logs": {"path": str(log)},
        "data_split_config": {"eval_size": 12, "limit": 120, "min_total_records": 20},
        "connections": {"home": str(home), "platform": "flywheel-nemo-microservices/main"},
        "candidates": [{"name": candidate, "model": "meta/small", **settings}],
    }


def nemo_variables(nemo: NemoServer) -> Mapping[str, str]:
    """What describes the platform to the bootstrap."""
    return {
        "NEMO_BASE_URL": nemo.urls["nemo"],
        "NIM_BASE_URL": nemo.urls["nim"],
        "DATASTORE_BASE_URL": nemo.urls["datastore"],
        "NEMO_POLL_SECONDS": "0.2",
    }


def working_on(nemo: NemoServer, candidate: str) -> list[str]:
    """Deployments and trainings of a candidate that are not over, as the platform sees it."""
    deployed = [name for name in nemo.deployments.look() if candidate in str(name)]
    training = [
        job["output_model"]
        for job in nemo.customizer.jobs.values()
        if candidate in job["output_model"] and job["status"] not in ("completed", "failed", "cancelled")
    ]
    return deployed + training


def history(home: Path, run_id: str) -> tuple[str, list[str]]:
    """A run's state in its own history, and what its ledger still has."""
    runs = SqliteRunStore(home / "runs.sqlite")
    try:
        return runs.load_run(run_id).status, [entry.name for entry in runs.allocated(run_id)]
    finally:
        runs.close()
