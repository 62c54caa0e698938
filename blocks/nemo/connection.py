"""Where the platform is, who we are there, and how long we wait."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import msgspec

from flywheel.errors import ConfigError

NEMO, NIM, DATASTORE = "NEMO_BASE_URL", "NIM_BASE_URL", "DATASTORE_BASE_URL"
KEY, NAMESPACE, POLL = "NEMO_API_KEY", "NEMO_NAMESPACE", "NEMO_POLL_SECONDS"
DEFAULT_NAMESPACE = "flywheel"


class Waits(msgspec.Struct, frozen=True):
    """Bounds of every wait, in seconds.

    `queue` bounds the time until GPUs are there; `start` the time without news before a deployment answers or a
    training makes its first step, `stall` the time without news of a training after that; `sync` the time until a
    finished model is known to the inference service; `release` the time until something cancelled or deleted is gone.
    """

    request: float = 60.0
    poll: float = 10.0
    first_retry: float = 0.5
    queue: float = 86_400.0
    start: float = 3_600.0
    stall: float = 3_600.0
    sync: float = 3_600.0
    release: float = 300.0


class NemoConnection(msgspec.Struct, frozen=True):
    """Addresses of the three services, the namespace that everything of ours lives in, and an optional key.

    The key goes as a bearer token to all three. `nim_key_env` names the environment variable that holds it, where it
    came from there.
    """

    nemo: str
    nim: str
    datastore: str
    namespace: str = DEFAULT_NAMESPACE
    key: str | None = None
    nim_key_env: str | None = None
    waits: Waits = Waits()

    def __repr__(self) -> str:
        return f"NemoConnection(nemo={self.nemo!r}, nim={self.nim!r}, datastore={self.datastore!r})"


def from_environment(environment: Mapping[str, str] = os.environ) -> NemoConnection:
    """The connection that the environment describes.

    Raises: ConfigError that names the variables that are missing.
    """
    missing = [name for name in (NEMO, NIM, DATASTORE) if not environment.get(name, "").strip()]
    if missing:
        raise ConfigError(
            f"connections.platform is 'nemo', but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set; set the address of each service."
        )
    key = environment.get(KEY, "").strip() or None
    return NemoConnection(
        nemo=checked_url(NEMO, environment[NEMO]),
        nim=checked_url(NIM, environment[NIM]),
        datastore=checked_url(DATASTORE, environment[DATASTORE]),
        namespace=environment.get(NAMESPACE, "").strip() or DEFAULT_NAMESPACE,
        key=key,
        nim_key_env=KEY if key else None,
        waits=Waits(poll=_seconds(POLL, environment.get(POLL, "").strip() or "10")),
    )


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 600:
        raise ConfigError(f"{name} is {text!r}; give seconds between 0 and 600.")
    return seconds


def checked_url(name: str, url: str) -> str:
    """The URL without a slash at its end. Raises ConfigError where it is none."""
    url = url.strip().rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{name} is {url!r}; it has to begin with http:// or https://.")
    return url
