"""The Prefect server that the user has set."""

from __future__ import annotations

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flywheel.cli.prefect_server import free_port, prefect_server
from flywheel.errors import RemoteError


def test_a_server_that_does_not_answer_is_named_before_anything_is_run() -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(RemoteError, match=f"{url} does not answer .*PREFECT_API_URL"),
        prefect_server(),
    ):
        raise AssertionError("there is no such server")
