"""One real Prefect server, one real run on a platform that answers at once, and one headless Chromium for all tests.

The run stops at its form: whoever decides does so in the browser. Screenshots go to $FLYWHEEL_SCREENSHOTS, else to
the tests' temporary folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from flywheel.cli.prefect_server import SERVER_SETTINGS, deliver_what_is_queued, free_port
from flywheel.config import (
    AnalysisConfig,
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    DecisionConfig,
    FlywheelConfig,
    LogsConfig,
    PriceConfig,
    ThresholdsConfig,
)
from flywheel.results import RunResult
from tests.fakes.gpu_platform import GpuPlatformBlock, GpuPlatformServer
from tests.prefect_homes import prefect_home, without_prefect

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "
    "[click](javascript:document.title='owned') {{ 7*7 }}"
)
SIZE = (1280, 1600)


@dataclass
class Paused:
    """A run that waits at its form."""

    ui: str
    flow_run_id: UUID
    deployment_id: UUID
    config: FlywheelConfig
    thread: threading.Thread
    settings: contextvars.Context

    def stored(self) -> RunResult:
        """The run as the run store has it."""
        from blocks.history.sqlite_run_store import SqliteRunStore

        return SqliteRunStore(Path(self.config.connections.home) / "runs.sqlite").load_run(
            str(self.flow_run_id)
        )


@pytest.fixture(scope="package")
def prefect_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server with its UI, of a home of its own."""
    home = prefect_home(tmp_path_factory.mktemp("prefect-home"))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = without_prefect() | SERVER_SETTINGS | {"PREFECT_HOME": str(home)}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(lambda: _answers(f"{url}/api/health"), 300, "the Prefect server did not start")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="package")
def run(
    prefect_ui: str,
    sample_log: Path,
    oracle: dict[str, dict[str, object]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Paused]:
    """A whole run, up to where it waits for a person."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    config = _config(sample_log, tmp_path_factory.mktemp("home"))
    with GpuPlatformServer(oracle) as platform:
        platform.unsure = HOSTILE
        with temporary_settings(
            {PREFECT_API_URL: f"{prefect_ui}/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        ):
            settings = contextvars.copy_context()
        settings.run(GpuPlatformBlock(url=platform.url).save, "main", overwrite=True)
        deployment_id = settings.copy().run(_deployed)
        thread = threading.Thread(target=settings.copy().run, args=(_run_flow, config), daemon=True)
        thread.start()
        flow_run_id = settings.copy().run(_paused, thread)
        paused = Paused(prefect_ui, flow_run_id, deployment_id, config, thread, settings)
        try:
            yield paused
        finally:
            if thread.is_alive():  # nobody decided
                settings.copy().run(_resume, flow_run_id)
                thread.join(240)
            assert not thread.is_alive()
            settings.copy().run(deliver_what_is_queued)  # before the server goes


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a head, by its own distribution's driver."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.fail(
            "These tests need Debian's chromium and chromium-driver: `make browser` installs them as root."
        )
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = chromium
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--window-size={SIZE[0]},{SIZE[1]}",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.set_page_load_timeout(120)
        yield browser
    finally:
        browser.quit()


@pytest.fixture(scope="package")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of what was seen are left."""
    named = os.environ.get("FLYWHEEL_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _config(log: Path, home: Path) -> FlywheelConfig:
    prices = [
        PriceConfig(model=model, input_per_1k=price, output_per_1k=4 * price, fine_tune=fine_tune)
        for model, price, fine_tune in (("prod-large-70b", 0.002, None), ("small-a", 0.0001, 5.0))
    ]
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        description="Could a small model route support requests?",
        logs=LogsConfig(path=str(log)),
        data_split_config=DataSplitConfig(eval_size=60),
        connections=ConnectionsConfig(home=str(home), platform="fake-gpu-platform/main"),
        analysis_config=AnalysisConfig(thresholds=ThresholdsConfig(margin=0.2), prices=prices),
        decision_config=DecisionConfig(require_decision=True, wait_hours=0.5),
        candidates=[CandidateConfig(name="small-a", model="small-a")],
    )


def _deployed() -> UUID:
    from flows.run_flywheel import run_flywheel

    async def apply() -> UUID:
        deployment = await run_flywheel.ato_deployment(name="browsed")
        return await deployment.aapply()

    return asyncio.run(apply())


def _run_flow(config: FlywheelConfig) -> None:
    from flows.run_flywheel import run_flywheel

    asyncio.run(run_flywheel(config, return_state=True))


def _paused(thread: threading.Thread) -> UUID:
    """Wait until the one run of the server is paused."""
    from prefect.client.orchestration import get_client

    async def look() -> UUID | None:
        async with get_client() as client:
            runs = await client.read_flow_runs()
        paused = [run for run in runs if run.state is not None and run.state.is_paused()]
        return paused[0].id if paused else None

    deadline = time.monotonic() + 360
    while time.monotonic() < deadline:
        if found := asyncio.run(look()):
            return found
        assert thread.is_alive(), "the run ended without waiting for a decision"
        time.sleep(1)
    raise AssertionError("the run did not get to its form")


def _resume(flow_run_id: UUID) -> None:
    from prefect.flow_runs import aresume_flow_run

    from tasks.concluding.decisions import NOBODY, DecisionForm

    asyncio.run(aresume_flow_run(flow_run_id, run_input=DecisionForm(by=NOBODY).model_dump()))


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
        return True
    return False


def _wait(holds: Any, seconds: float, why: str) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.2)
    raise AssertionError(why)
