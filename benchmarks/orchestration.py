"""What a run costs beside the work itself: three candidates on a platform that answers at once.

    python benchmarks/orchestration.py            # on a server that runs: start to results
    python benchmarks/orchestration.py --embedded # the server's own start and end included
    python benchmarks/orchestration.py --profile  # where the time goes

The platform is the fake of the tests, in a process of its own; the log is the sample log. The blueprint that this
project measures itself against sleeps for 60 s and polls every 5 to 30 s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import json
import multiprocessing
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CANDIDATES = 3
ITEMS = 30


def serve(log: str, channel: Connection) -> None:
    """The platform; says where it is, and ends when told anything."""
    from tests.fakes.gpu_platform import GpuPlatformServer
    from tests.reading import logged_records

    oracle: dict[str, dict[str, Any]] = {}
    for record in logged_records(Path(log)):
        with contextlib.suppress(AttributeError, KeyError, IndexError, TypeError):
            question = [m for m in record["request"]["messages"] if m["role"] == "user"][-1]["content"]
            oracle[str(question)] = json.loads(json.dumps(record["response"]["choices"][0]["message"]))
    with GpuPlatformServer(oracle) as server:
        server.misbehave.train_seconds = 0.0
        channel.send(server.url)
        channel.recv()


@contextlib.contextmanager
def platform(log: Path) -> Iterator[str]:
    """The platform's address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(str(log), theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("end")
        process.join(10)


def timed_run(url: str, log: Path, home: Path, run_id: str) -> tuple[float, float, str]:
    """Seconds from the call of the flow to its results, those of CPU in this process, and the run's state."""
    from flows.run_flywheel import run_flywheel
    from flywheel.config import (
        CandidateConfig,
        ConnectionsConfig,
        DataSplitConfig,
        FlywheelConfig,
        LogsConfig,
    )
    from tests.fakes.gpu_platform import GpuPlatformBlock

    GpuPlatformBlock(url=url).save("orchestration", overwrite=True)
    config = FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(log)),
        data_split_config=DataSplitConfig(eval_size=ITEMS),
        connections=ConnectionsConfig(home=str(home), platform="fake-gpu-platform/orchestration"),
        gpu_slots=CANDIDATES,
        candidates=[CandidateConfig(name=f"c{n}", model=f"small-{n}") for n in range(CANDIDATES)],
    )
    going: Any = run_flywheel(config, run_id=run_id, return_state=True)
    began, worked = time.perf_counter(), time.process_time()
    state = asyncio.run(going)
    return time.perf_counter() - began, time.process_time() - worked, state.name


def main() -> None:
    """Print seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    sys.path.insert(0, str(Path(__file__).parent.parent))
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("PREFECT_HOME", f"{folder}/prefect")
        from flywheel.cli.prefect_server import prefect_server
        from flywheel.cli.running import _load_flow
        from flywheel.sample import write_sample_log

        log = Path(folder) / "log"
        write_sample_log(log)
        with platform(log) as url:
            if arguments.embedded:
                with prefect_server():
                    pass  # the first start ever makes the database
                for number in range(arguments.runs):
                    began = time.perf_counter()
                    with prefect_server(meanwhile=_load_flow):
                        ready = time.perf_counter() - began
                        _, cpu, state = timed_run(url, log, Path(folder) / f"home-{number}", f"run-{number}")
                    took = time.perf_counter() - began
                    print(
                        f"embedded: {took:.2f} s, {ready:.2f} of them until the server was ready, "
                        f"{cpu:.2f} s of CPU here; {state}"
                    )
                return
            with prefect_server():
                profile = cProfile.Profile()
                for number in range(arguments.runs):
                    if arguments.profile and number == arguments.runs - 1:
                        profile.enable()
                    took, cpu, state = timed_run(url, log, Path(folder) / f"home-{number}", f"run-{number}")
                    profile.disable()
                    print(
                        f"running server: {took:.2f} s from start to results, {cpu:.2f} s of CPU here; {state}"
                    )
                if arguments.profile:
                    pstats.Stats(profile).sort_stats("tottime").print_stats(25)
                    pstats.Stats(profile).sort_stats("cumtime").print_stats(60)


if __name__ == "__main__":
    main()
