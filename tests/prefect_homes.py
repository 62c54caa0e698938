"""Homes of Prefect for servers of tests: to make a database by all of its migrations costs more than the server."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from tests.prefect_leftovers import clear_up

MAKING_SECONDS = 600


def cache() -> Path:
    """Where tests keep what is dear to make: $FLYWHEEL_TEST_CACHE, else a folder in the user's cache."""
    base = os.environ.get("FLYWHEEL_TEST_CACHE") or Path.home() / ".cache" / "flywheel-tests"
    return Path(base).expanduser().absolute()


def without_prefect() -> dict[str, str]:
    """This process's environment without what it says of Prefect."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}


def prefect_home(home: Path) -> Path:
    """The folder, with an empty database in it, as this release of Prefect makes it for a server that has none."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_database(), home / "prefect.db")
    return home


def _database() -> Path:
    """An empty database that no server has used; made once for each release and kept."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / f"prefect-{version('prefect')}.db"
    with FileLock(database.with_suffix(".lock"), timeout=MAKING_SECONDS):
        if not database.exists():
            home = database.with_suffix(".home")
            shutil.rmtree(home, ignore_errors=True)  # what a killed one left
            subprocess.run(
                [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
                env=without_prefect() | {"PREFECT_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=MAKING_SECONDS,
                check=True,
            )
            assert not (home / "prefect.db-wal").exists()  # else the one file is not all of it
            (home / "prefect.db").rename(database)
            shutil.rmtree(home)
    return database


@contextmanager
def server_of_its_own(home: Path) -> Iterator[str]:
    """A server process as the command starts it; Prefect of this process points at it, and finds its database."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_DATABASE_CONNECTION_URL,
        temporary_settings,
    )

    from flywheel.cli.prefect_server import prefect_server

    prefect_home(home)
    settings = {
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{home}/prefect.db",
    }
    before = os.environ.get("PREFECT_HOME")
    os.environ["PREFECT_HOME"] = str(home)
    try:
        with temporary_settings(settings, restore_defaults={PREFECT_API_URL}), prefect_server() as url:
            yield url
    finally:
        if before is None:
            del os.environ["PREFECT_HOME"]
        else:
            os.environ["PREFECT_HOME"] = before
        clear_up()  # Prefect keeps clients for as long as its settings are these


class RestartableServer:
    """A server process on one port and one database, to be killed and started again."""

    def __init__(self, home: Path) -> None:
        from flywheel.cli.prefect_server import free_port

        self._home = prefect_home(home)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}/api"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        from flywheel.cli.prefect_server import SERVER_SETTINGS

        arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                env=without_prefect() | SERVER_SETTINGS | {"PREFECT_HOME": str(self._home)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + MAKING_SECONDS
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5):
                return
            assert self._process.poll() is None, (self._home / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(120)
            self._process = None
