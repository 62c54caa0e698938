"""A command that tests one answer, such as a suite of code tests run on the code in it.

The command gets one JSON object on its input: `id`, `request`, `reference`, `response`, `text` (the answer's words).
Exit code 0 passes, 1 fails, anything else says that it could not tell. With exit code 0 a last line of output such as
`{"score": 0.5}` gives a score between. It sees none of this process's environment but what it takes to run a program,
for what it runs may have been written by a model. It is no sandbox: bring one where answers are executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

import msgspec

from flywheel.errors import ScoringError
from flywheel.evaluation.custom_metrics import checked
from flywheel.records.messages import content_text
from flywheel.results import EvalItem

MOST_OUTPUT = 64 * 1024
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")


async def passes(
    command: Sequence[str], item: EvalItem, response: dict[str, Any], timeout_seconds: float
) -> float:
    """The score of one answer.

    Raises: ScoringError where the command is not there, takes too long or cannot tell. Whatever it started is gone by
        then.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise ScoringError(f"the command {command[0]!r} cannot be started: {error}") from error
    try:
        async with asyncio.timeout(timeout_seconds):
            output, _ = await asyncio.gather(_end_of(process), _tell(process, _document(item, response)))
            code = await process.wait()
    except TimeoutError:
        raise ScoringError(f"the command took longer than {timeout_seconds:g} seconds") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code == 1:
        return 0.0
    said = output.decode("utf-8", "replace").strip()
    if code != 0:
        raise ScoringError(f"the command ended with exit code {code}: {said[-300:]}")
    return _stated(said.rpartition("\n")[2])


def _document(item: EvalItem, response: dict[str, Any]) -> bytes:
    choices = response.get("choices")
    message = choices[0].get("message") if isinstance(choices, list) and choices else None
    return msgspec.json.encode(
        {
            "id": item.id,
            "request": item.request,
            "reference": item.response,
            "response": response,
            "text": content_text(message.get("content")) if isinstance(message, dict) else "",
        }
    )


async def _tell(process: asyncio.subprocess.Process, document: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not listen to the end
        process.stdin.write(document)
        await process.stdin.drain()
    process.stdin.close()


async def _end_of(process: asyncio.subprocess.Process) -> bytes:
    """The last of what the command says; all of it is read, so that it never waits for us."""
    assert process.stdout is not None
    kept = b""
    while piece := await process.stdout.read(MOST_OUTPUT):
        kept = (kept + piece)[-MOST_OUTPUT:]
    return kept


def _stated(line: str) -> float:
    try:
        document = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return 1.0
    if not isinstance(document, dict) or "score" not in document:
        return 1.0
    return checked(document["score"])
