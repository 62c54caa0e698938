"""Worker processes that outlive an object, and sometimes the process that started them.

A process is known by its id and its start time together: an id alone is given again to strangers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import msgspec

from flywheel.errors import RemoteError

SECONDS_BETWEEN_LOOKS = 0.05


class ProcessRef(msgspec.Struct, frozen=True):
    """One process of this machine. `started` is opaque: only equality means something."""

    pid: int
    started: str

    @staticmethod
    def of(pid: int) -> ProcessRef | None:
        """The process that has this id now, None where there is none."""
        started = _start_time(pid)
        return None if started is None else ProcessRef(pid=pid, started=started)

    @staticmethod
    def current() -> ProcessRef:
        """This process."""
        ref = ProcessRef.of(os.getpid())
        assert ref is not None
        return ref

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie is dead."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # our own child stays a zombie until someone asks
        return _start_time(self.pid) == self.started


def spawn_python(module: str, arguments: Sequence[str], log: Path) -> ProcessRef:
    """Start `python -m module arguments` in a session of its own; its output is appended to `log`.

    Ctrl-C in the terminal does not reach it. `os.posix_spawn` and not `subprocess`, whose objects complain when they
    are dropped while the process goes on, which is the point here.
    """
    command = [sys.executable, "-m", module, *arguments]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            sys.executable,
            command,
            _worker_environment(),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 1),
                (os.POSIX_SPAWN_DUP2, descriptor, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise RemoteError(
            f"The worker {module} could not be started: {error}. Is {sys.executable} there?"
        ) from error
    finally:
        os.close(descriptor)
    return ProcessRef(pid=pid, started=_start_time(pid) or "gone")


async def stop(process: ProcessRef, grace: float = 10.0) -> None:
    """Ask the process to end, insist after `grace` seconds, and return when it is seen gone.

    Raises: RemoteError where even a kill does not help within 10 s.
    """
    for signal_number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        if not process.is_alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not process.is_alive():
                return
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    raise RemoteError(f"Process {process.pid} does not end, not even when killed; end it by hand.")


def log_tail(log: Path, lines: int = 6) -> str:
    """The last lines of a log on one line, for an error message; empty where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    kept = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return " | ".join(line[-300:] for line in kept)


@contextlib.contextmanager
def exclusive_sync(lock: Path, patience: float) -> Iterator[None]:
    """Hold the lock file alone, among all processes of this machine; a dead holder's lock is free.

    Raises: RemoteError after `patience` seconds.
    """
    with _opened(lock) as descriptor:
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise RemoteError(
                    f"Another process has held {lock} for {patience:.0f} s; stop it or try again later."
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        yield


@contextlib.asynccontextmanager
async def exclusive(lock: Path, patience: float) -> AsyncIterator[None]:
    """`exclusive_sync` for a coroutine: waiting can be cancelled."""
    with _opened(lock) as descriptor:
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise RemoteError(
                    f"Another process has held {lock} for {patience:.0f} s; stop it or try again later."
                )
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        yield


@contextlib.contextmanager
def _opened(lock: Path) -> Iterator[int]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # frees the lock


def _try_lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _worker_environment() -> dict[str, str]:
    environment = dict(os.environ)
    # Server and trainer share the cores: threads that spin while they wait for each other made steps ten times slower.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Activations come and go by the megabyte; giving them back to the system each time costs page faults.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**31))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**33))
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    environment["PYTHONUNBUFFERED"] = "1"
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    return environment


def _start_time(pid: int) -> str | None:
    if not Path("/proc/self/stat").exists():  # not Linux
        shown = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split(maxsplit=1)
        return shown[1].strip() if len(shown) == 2 and not shown[0].startswith("Z") else None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
