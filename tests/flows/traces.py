"""What Prefect has stored of the runs so far: parameters, states, logs and artifacts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL


async def stored_by_prefect(at_least: str) -> bytes:
    """The bytes of the server's database, once the log lines are in it; `at_least` is what must be found there."""
    await APILogHandler.aflush()
    database = Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    for _ in range(100):
        found = b"".join(path.read_bytes() for path in sorted(database.parent.glob(f"{database.name}*")))
        if b"Finished in state" in found and at_least.encode() in found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{database} holds no log lines or not {at_least!r}")
