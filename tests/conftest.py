"""What every folder of tests may need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def demo_model_home() -> Path:
    """A home directory with the demo's model, downloaded and converted once for all runs of the suite.

    It lies in $FLYWHEEL_TEST_CACHE, else in the user's cache. Link or copy `models` from it; write nothing into it.
    """
    from blocks.local_platform.demo_model import ensure_demo_model
    from flywheel.progress import silent

    base = os.environ.get("FLYWHEEL_TEST_CACHE") or Path.home() / ".cache" / "flywheel-tests"
    home = Path(base).expanduser().absolute()
    ensure_demo_model(home, silent)
    return home
