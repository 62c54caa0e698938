"""`make server`, as far as it can be tried without a minute of a server's start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployments.conftest import Receiver

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_a_port_that_somebody_listens_on_is_left_alone(receiver: Receiver, tmp_path: Path) -> None:
    port = receiver.url.split(":")[2].partition("/")[0]
    done = subprocess.run(
        [sys.executable, "-m", "deployments.local_server"],
        cwd=ROOT,
        env={**os.environ, "FLYWHEEL_SERVER_PORT": port, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "choose another FLYWHEEL_SERVER_PORT" in done.stderr
    assert list(tmp_path.iterdir()) == []
