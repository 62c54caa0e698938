"""A server that speaks Elasticsearch's protocol, from a package, for as long as the tests need one.

It is an emulator in a process of its own, for correctness on small data: a search over many records can make it grow
without bound, which is why its memory is limited. `ELASTICSEARCH_URL` puts a real server in its place.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer

MOST_MEMORY = 2_000_000_000  # of address space, in bytes
LONGEST_START = 180.0  # seconds
_ADDRESS = re.compile(r"elasticsearch\s+(http://\S+)")


@contextmanager
def elasticsearch_server(directory: Path) -> Iterator[str]:
    """The address of a running server: of `ELASTICSEARCH_URL` where that is set, else of one started here.

    Args:
        directory: Where the started server leaves its data and its messages.
    Raises: RuntimeError when it does not start.
    """
    if url := os.environ.get("ELASTICSEARCH_URL"):
        yield url.rstrip("/")
        return
    messages = directory / "messages.txt"
    with messages.open("wb") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "noida_db.cli", "start", "--only", "elasticsearch"),
                *("--elasticsearch-port", "0", "--data-dir", str(directory / "data")),
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # the package starts a child of its own: both are stopped as a group
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY)),
        )
    assert process.stdout is not None
    impatience = Timer(LONGEST_START, _stop, [process])
    impatience.start()
    try:
        url = _address(process.stdout, messages)
        impatience.cancel()
        yield url
    finally:
        impatience.cancel()
        _stop(process)
        process.stdout.close()


def _address(output: Iterator[bytes], messages: Path) -> str:
    for line in output:
        if found := _ADDRESS.search(line.decode()):
            return found[1]
    raise RuntimeError(f"the test server did not start: {messages.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
