"""What Prefect has stored of the runs so far: parameters, states, logs and artifacts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL


def database_of_prefect() -> Path:
    """The file of the Prefect server that this process talks to."""
    return Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition("///")[2])


async def stored_by_prefect(at_least: str) -> bytes:
    """The bytes of the server's database, once the log lines are in it; `at_least` is what must be found there."""
    await APILogHandler.aflush()
    database = database_of_prefect()
    for _ in range(1200):
        found = b"".join(path.read_bytes() for path in sorted(database.parent.glob(f"{database.name}*")))
        if b"Finished in state" in found and at_least.encode() in found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{database} holds no log lines or not {at_least!r}")
