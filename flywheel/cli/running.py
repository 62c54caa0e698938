"""Running the flow from the command line: server, progress bars, the run's result."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from flywheel.errors import FlywheelError

if TYPE_CHECKING:
    from flywheel.config import ConnectionsConfig, FlywheelConfig
    from flywheel.rerun import PartConfig
    from flywheel.results import RunResult

T = TypeVar("T")
SECONDS_TO_LOOK = 5.0


def run_here(
    config: FlywheelConfig,
    *,
    run_id: str | None,
    keep_server: bool,
    quiet: bool,
    debug: bool,
    part: PartConfig | None = None,
) -> RunResult:
    """Run the flow in this process and return what it found.

    Args:
        run_id: An earlier run to resume; None starts a new one.
        keep_server: Leave the Prefect server up that was started for the run.
        quiet: No progress bars.
        debug: Prefect's logs on stderr as well.
        part: The part of the flywheel to turn; None turns all of it.
    Raises: whatever stopped the run; a run all of whose candidates failed is a result, not an exception.
    """
    from flywheel.cli.prefect_server import prefect_server
    from flywheel.cli.terminal import progress_bars
    from flywheel.progress import listening

    _quieten(debug)  # before Prefect is imported: it reads its logging settings once
    from prefect.exceptions import TerminationSignal

    with told_to_stop(), progress_bars(enabled=not quiet) as progress:
        progress("Prefect server", 0, 1)
        with prefect_server(keep=keep_server, meanwhile=_load_flow) as url:
            progress("Prefect server", 1, 1, url.removesuffix("/api"))
            run_id = run_id or new_run_id()
            try:
                with listening(progress):
                    return run_until_stopped(_run(config, run_id, part))
            except (KeyboardInterrupt, TerminationSignal, asyncio.CancelledError):
                raise KeyboardInterrupt(how_to_go_on(config.connections, run_id)) from None


@contextlib.contextmanager
def told_to_stop() -> Iterator[None]:
    """SIGTERM raises inside the block, so that what was started is stopped; by default it would end us on the spot."""
    from prefect.exceptions import TerminationSignal

    def stop(number: int, _: object) -> None:
        raise TerminationSignal(signal=number)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # only the main thread has signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; Ctrl-C cancels it and waits for what it does then, and pressed again changes nothing of that.

    Raises: KeyboardInterrupt once the work has stopped.
    """
    stopped = False

    async def watched() -> T:
        task = asyncio.ensure_future(work)

        def stop() -> None:
            nonlocal stopped
            stopped = True
            task.cancel()

        with contextlib.suppress(
            NotImplementedError, RuntimeError, ValueError
        ):  # not in every thread and system
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        if stopped:
            raise KeyboardInterrupt from None
        raise


def how_to_go_on(connections: ConnectionsConfig, run_id: str) -> str:
    """What to do after a run was interrupted: one that was never written down cannot be resumed.

    A history that does not answer within seconds is taken to have it: whoever presses Ctrl-C does not want to wait.
    """
    found: list[bool] = []

    def look() -> None:
        from blocks.connections import open_run_store

        with contextlib.suppress(FlywheelError, OSError):
            runs = asyncio.run(open_run_store(connections))
            with contextlib.closing(runs):
                found.append(runs.find_run(run_id) is not None)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(SECONDS_TO_LOOK)
    return "the run had not begun" if found == [False] else f"go on with --resume {run_id}"


def new_run_id() -> str:
    """A fresh id; the command makes it so that it can name the run even when the run does not get far."""
    return uuid.uuid4().hex[:12]


def _load_flow() -> None:
    """Import what the run needs: seconds of work that another core can do while the server starts."""
    import flows.run_flywheel  # noqa: F401


async def _run(config: FlywheelConfig, run_id: str, part: PartConfig | None) -> RunResult:
    from blocks.connections import open_run_store
    from flows.run_flywheel import run_flywheel
    from flywheel.cli.cancelling import cancelled_together
    from flywheel.rerun import EVERYTHING

    async with cancelled_together(run_id):
        state = await run_flywheel(config, run_id=run_id, part=part or EVERYTHING, return_state=True)
    if state.is_failed() or state.is_crashed() or state.is_cancelled():
        error = await state.aresult(raise_on_failure=False)
        if isinstance(error, BaseException):
            raise error
    runs = await open_run_store(config.connections)
    try:
        return runs.load_run(run_id)
    finally:
        runs.close()


def _quieten(debug: bool) -> None:
    """Prefect's logs go to its server; the terminal belongs to the bars and the result."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "DEBUG" if debug else "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "DEBUG" if debug else "INFO")
