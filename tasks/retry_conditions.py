"""Which failures a task tries again.

Prefect takes only a plain function here: with a method, a partial or a callable object it never retries, silently.
"""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun

from flywheel.errors import RemoteRejected, TransientRemoteError


def is_transient(task: Any, task_run: TaskRun, state: State[Any]) -> bool:
    """Retry what may pass: `TransientRemoteError`, and connection errors that nobody has translated."""
    error = state.data
    if isinstance(error, RemoteRejected):
        return False
    return isinstance(error, TransientRemoteError | ConnectionError | TimeoutError)
