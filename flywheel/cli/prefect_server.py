"""A Prefect server for one command: started on a free loopback port, stopped at the end.

Prefect's own temporary server costs every process twice as long and hangs for a minute on Ctrl-C. Whoever has
PREFECT_API_URL set, in the environment or in the active profile, keeps their own server.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel.errors import RemoteError

START_SECONDS = 180
STOP_SECONDS = 10
PORTS = range(20_000, 32_000)
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_API_URL": "/api",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # Task states and events are written in batches: one by one, they keep SQLite locked against what the run asks for.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "3",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "5",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "5",
}
"""Leases on disk outlive a restart, and one that ran out is seen within 5 s; Prefect looks every 15 s by itself."""


@contextmanager
def prefect_server(keep: bool = False, meanwhile: Callable[[], object] | None = None) -> Iterator[str]:
    """Yield the API URL of a Prefect server and point Prefect at it inside the block.

    Args:
        keep: Leave a server that was started here running afterwards.
        meanwhile: Called while a server that was started here comes up, which takes seconds.
    Raises: RemoteError with the end of the server's own log if it does not come up, or where the user's is silent.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    if configured := PREFECT_API_URL.value():
        _require_answer(configured)
        yield configured
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryDirectory(prefix="flywheel-prefect-") as folder:
        log = Path(folder) / "server.log"
        process = _start(port, log)
        try:
            if meanwhile is not None:
                meanwhile()
            _wait_until_healthy(process, url, log)
            with temporary_settings({PREFECT_API_URL: url}), _in_environment("PREFECT_API_URL", url):
                try:
                    yield url
                finally:
                    deliver_what_is_queued()
        finally:
            if not keep:
                _stop(process)


def _require_answer(url: str) -> None:
    """Raises: RemoteError where the server that the user has set does not answer, before Prefect fails in its words."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise RemoteError(
            f"The Prefect server at {url} does not answer ({error}). Start it, correct PREFECT_API_URL, or unset it: "
            "the command then starts a server of its own."
        )


def _start(port: int, log: Path) -> subprocess.Popen[bytes]:
    # In a session of its own, so that Ctrl-C reaches the run first and the server is still there to be told.
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, **SERVER_SETTINGS},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    what = f"did not start within {START_SECONDS} s"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            what = "ended while it was starting"
            break
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{url}/health", timeout=2),
        ):
            return
        time.sleep(0.1)
    tail = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
    raise RemoteError(
        f"The Prefect server {what}: {tail or 'it printed nothing'}. "
        "Start one with `prefect server start` and set PREFECT_API_URL to it."
    )


def deliver_what_is_queued() -> None:
    """Logs and task-run events are sent from background threads: let them arrive before the server goes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=STOP_SECONDS, at_exit=False)
    APILogWorker.drain_all(timeout=STOP_SECONDS, at_exit=False)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return


def free_port() -> int:
    """A loopback port that nobody has, below those that systems give away by themselves.

    One of theirs could be given to any other program between now and when the server, seconds later, listens there.

    Raises: RemoteError where none is found.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RemoteError(
        f"No port between {PORTS.start} and {PORTS.stop} is free for a Prefect server. "
        "Start one with `prefect server start` and set PREFECT_API_URL to it."
    )


@contextmanager
def _in_environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value  # worker processes that we start must find the same server
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
