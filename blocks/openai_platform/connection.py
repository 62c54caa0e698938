"""How a service is reached: its address, its key, and the patience with it."""

from __future__ import annotations

import os
from typing import NamedTuple

from blocks.openai_platform.api import FIRST_PAUSE
from blocks.openai_platform.job_watch import Patience
from blocks.openai_platform.training_file import ProviderRules
from flywheel.errors import ConfigError

OPENAI = "https://api.openai.com/v1"
VLLM = "http://127.0.0.1:8000/v1"
UNSTATED_CONTEXT = 8_192


class Connection(NamedTuple):
    """One service.

    Args:
        base_url: With the version at its end.
        key: None where the service wants none.
        key_env: Environment variable that holds the key; evaluation reads it there. None where a block holds it.
        context_length: Tokens, for models of which neither the candidate's settings nor the service state it.
        startup_seconds: Longest wait for a model's first answer.
        timeout_seconds: Longest wait for one call.
    """

    base_url: str
    key: str | None = None
    key_env: str | None = None
    context_length: int = UNSTATED_CONTEXT
    startup_seconds: float = 600.0
    timeout_seconds: float = 60.0
    patience: Patience = Patience()
    rules: ProviderRules = ProviderRules()
    first_pause: float = FIRST_PAUSE


def service_of_environment(prefix: str, default_url: str, *, needs_key: bool = False) -> Connection:
    """The service of `<prefix>_BASE_URL` with the key of `<prefix>_API_KEY`.

    Args:
        needs_key: The default address answers nobody without a key.

    Raises: ConfigError where the key is needed and missing.
    """
    base_url = os.environ.get(f"{prefix}_BASE_URL", "").strip() or default_url
    name = f"{prefix}_API_KEY"
    key = os.environ.get(name, "").strip() or None
    if key is None and needs_key and base_url == default_url:
        raise ConfigError(
            f"{base_url} wants a key: put it into the environment variable {name}, or set {prefix}_BASE_URL to a "
            "service that needs none."
        )
    return Connection(base_url, key, name if key else None)
