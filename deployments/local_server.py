"""Everything on one machine for a look around: a Prefect server, a worker, and all deployments.

    python -m deployments.local_server

Ctrl-C cancels the runs that are under way, waits for them to free what they hold, and takes everything down again. A
second Ctrl-C does not wait. The server listens on loopback, at FLYWHEEL_SERVER_PORT or 4200.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flywheel.cli.prefect_server import SERVER_SETTINGS
from flywheel.errors import FlywheelError

ROOT = Path(__file__).resolve().parent.parent
POOL = "local"
START_SECONDS = 240
CANCEL_SECONDS = 120
STOP_SECONDS = 15


def main() -> int:
    """Bring everything up, wait for Ctrl-C, take everything down."""
    port = int(os.environ.get("FLYWHEEL_SERVER_PORT", "4200"))
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **SERVER_SETTINGS, "PREFECT_API_URL": f"{url}/api"}
    environment.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    if _answers(f"{url}/api/health"):
        print(
            f"Something listens at {url} already. Stop it, or choose another FLYWHEEL_SERVER_PORT.",
            file=sys.stderr,
        )
        return 2
    stop = _Stop()
    with stop.listening(), contextlib.ExitStack() as stack:
        try:
            serve = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
            server = stack.enter_context(_process("server", serve, environment))
            _load_prefect()  # seconds of work for another core while the server comes up
            _wait_for(f"{url}/api/health", server, stop)
            _prepare(environment, stop)
            _once(["-m", "prefect", "--no-prompt", "deploy", "--all"], environment, stop)
            _prepare(environment, stop)  # once more, for what needs the deployments
            work = ["worker", "start", "--pool", POOL, "--name", f"{POOL}-{os.getpid()}"]
            worker = stack.enter_context(_process("worker", work, environment))
            stack.callback(
                _cancel_runs, environment
            )  # before the worker goes: it kills its runs without a word
            print(
                f"\nReady: {url} has the deployments; run one with\n"
                f"  PREFECT_API_URL={url}/api prefect deployment run flywheel/support-router\n"
                "Ctrl-C takes everything down.",
                flush=True,
            )
            while not stop.asked:
                for name, process in (("server", server), ("worker", worker)):
                    if process.poll() is not None:
                        print(
                            f"The {name} ended by itself (exit code {process.returncode}).", file=sys.stderr
                        )
                        return 1
                time.sleep(0.2)
        except _StoppedEarly:
            pass
        except subprocess.CalledProcessError as error:
            print(f"This failed: {' '.join(map(str, error.cmd[1:]))}", file=sys.stderr)
            return 1
        except FlywheelError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    print("Everything is down.", flush=True)
    return 0


class _StoppedEarly(Exception):
    """Ctrl-C while things were coming up."""


class _Stop:
    """Counts what asks us to stop; signals arrive in the main thread, between two looks."""

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: object) -> None:
        self.asked += 1
        if self.asked > 1:
            raise KeyboardInterrupt
        print("\nStopping; once more to stop without waiting for runs.", flush=True)

    def check(self) -> None:
        if self.asked:
            raise _StoppedEarly


@contextmanager
def _process(
    name: str, arguments: list[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A long-lived process in a session of its own, so that Ctrl-C reaches us alone and we decide the order."""
    folder = Path(environment.get("PREFECT_HOME") or "~/.prefect").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"flywheel-{name}.log"
    print(f"Starting the {name}; its log is {log}", flush=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                break


def _load_prefect() -> None:
    import deployments.bootstrap  # noqa: F401


def _prepare(environment: dict[str, str], stop: _Stop) -> None:
    """The bootstrap, in this process: one of its own would need longer to start than for its work."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from deployments.bootstrap import bootstrap

    stop.check()
    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        asyncio.run(asyncio.wait_for(bootstrap(environment, POOL), START_SECONDS))
    stop.check()


def _once(arguments: list[str], environment: dict[str, str], stop: _Stop) -> None:
    """Run to its end; what it prints is shown when it fails."""
    stop.check()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_SECONDS,
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    stop.check()


def _wait_for(health: str, server: subprocess.Popen[bytes], stop: _Stop) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(health):
        stop.check()
        if server.poll() is not None or time.monotonic() > deadline:
            raise subprocess.CalledProcessError(server.returncode or 1, list(map(str, server.args)))  # type: ignore[arg-type]
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _cancel_runs(environment: dict[str, str]) -> None:
    """Cancel what is under way and wait, within a bound, until it has stopped."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}):
        asyncio.run(_cancelled(CANCEL_SECONDS))


async def _cancelled(seconds: float) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelling

    def under_way(*types: StateType) -> FlowRunFilter:
        return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))

    async with get_client() as client:
        roots = [
            flow_run
            for flow_run in await client.read_flow_runs(
                flow_run_filter=under_way(StateType.RUNNING, StateType.PENDING)
            )
            if flow_run.deployment_id is not None
        ]
        for flow_run in roots:
            print(f"Cancelling {flow_run.name} ...", flush=True)
            await client.set_flow_run_state(flow_run.id, Cancelling(), force=True)
        deadline = time.monotonic() + seconds
        while roots and time.monotonic() < deadline:
            await asyncio.sleep(1)
            still = await client.read_flow_runs(flow_run_filter=under_way(StateType.CANCELLING))
            roots = [flow_run for flow_run in roots if flow_run.id in {other.id for other in still}]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the second Ctrl-C: everything was stopped, and nothing was waited for
        sys.exit(130)
