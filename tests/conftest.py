"""What every folder of tests may need."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import prefect_leftovers

if TYPE_CHECKING:
    from tests.fakes.gpu_platform import GpuPlatformServer

TESTS = Path(__file__).parent
# How long an example takes, or is in the making, depends on who else uses the machine. And what the suite says of a
# change depends on the change alone: FLYWHEEL_TEST_EXAMPLES=new looks at examples that nobody has seen, and at more.
NEW_EXAMPLES = os.environ.get("FLYWHEEL_TEST_EXAMPLES") == "new"
settings.register_profile(
    "flywheel",
    deadline=None,
    derandomize=not NEW_EXAMPLES,
    max_examples=200 if NEW_EXAMPLES else 40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("flywheel")


def pytest_configure() -> None:
    # In the background of a shell Ctrl-C is ignored, and what a test starts and interrupts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for test in items:
        if test.path.is_relative_to(TESTS / "integration"):  # servers, sockets, processes
            test.add_marker(pytest.mark.slow)
        if prefect_leftovers.runs_flows(test.path, TESTS):
            prefect_leftovers.not_heeded(test)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # a gigabyte of modules stays to the end: walking it again and again is a twentieth of the time


@pytest.fixture(scope="module", autouse=True)
def _cleared_up(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if prefect_leftovers.runs_flows(request.path, TESTS):
        prefect_leftovers.clear_up()


@pytest.fixture(scope="session")
def demo_model_home() -> Path:
    """A home directory with the demo's model, downloaded and converted once for all runs of the suite.

    It lies in $FLYWHEEL_TEST_CACHE, else in the user's cache. Link or copy `models` from it; write nothing into it.
    """
    from blocks.local_platform.models.demo_model import ensure_demo_model
    from flywheel.progress import silent
    from tests.prefect_homes import cache

    home = cache()
    ensure_demo_model(home, silent)
    return home


@pytest.fixture(scope="session")
def sample_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample production log. Only read it: every test of the process has the same."""
    from flywheel.sample import write_sample_log

    path = tmp_path_factory.mktemp("sample") / "log"
    write_sample_log(path)
    return path


@pytest.fixture(scope="session")
def oracle(sample_log: Path) -> dict[str, dict[str, object]]:
    """The production answers of the log by the text of the last user message."""
    from tests.reading import logged_records

    answers = {}
    for record in logged_records(sample_log):
        try:
            question = [m for m in record["request"]["messages"] if m["role"] == "user"][-1]["content"]
            message = json.loads(json.dumps(record["response"]["choices"][0]["message"]))
            for call in message.get("tool_calls") or []:
                arguments = call["function"]["arguments"]
                if not isinstance(arguments, str):
                    call["function"]["arguments"] = json.dumps(arguments)
        except (AttributeError, KeyError, IndexError, TypeError):  # the sample holds every kind of bad record
            continue
        if isinstance(question, list):
            question = "".join(part.get("text", "") for part in question)
        answers[str(question)] = message
    return answers


@pytest.fixture(scope="session")
def platform_server(oracle: dict[str, dict[str, object]]) -> Iterator[GpuPlatformServer]:
    from tests.fakes.gpu_platform import GpuPlatformServer

    with GpuPlatformServer(oracle) as server:
        yield server


@pytest.fixture
def gpu_platform(prefect_api: object, platform_server: GpuPlatformServer) -> GpuPlatformServer:
    """The platform in the state of a fresh server, saved as the block `fake-gpu-platform/main`.

    Which Prefect server it is saved on is the business of `prefect_api`, which each folder has its own of.
    """
    fresh(platform_server)
    return platform_server


def fresh(platform_server: GpuPlatformServer) -> None:
    """Bring the platform to the state of a fresh server, and save it as `fake-gpu-platform/main`."""
    from tests.fakes.gpu_platform import GpuPlatformBlock

    platform_server.forget()
    GpuPlatformBlock(url=platform_server.url).save("main", overwrite=True)
