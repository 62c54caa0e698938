"""How to reach a Langfuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flywheel.errors import ConfigError

CLOUD = "https://cloud.langfuse.com"


@dataclass(frozen=True)
class LangfuseSettings:
    """Where Langfuse is and who we are; the keys decide the project. The secret does not show in its `repr`.

    Args:
        host: `http[s]://host[:port][/prefix]`.
        timeout_seconds: Longest wait for one answer.
        attempts: Requests made for one answer before giving up, and `first_pause` the seconds before the second.
        page_size: Observations in one answer, 100 at most; fewer where answers are too large for the server.
    """

    public_key: str
    secret_key: str = field(repr=False)
    host: str = CLOUD
    timeout_seconds: float = 60.0
    attempts: int = 8
    first_pause: float = 0.5
    page_size: int = 100


def settings_from_environment(environment: Mapping[str, str], host: str = "") -> LangfuseSettings:
    """Settings from the variables that Langfuse's own SDKs read.

    Args:
        host: In place of `LANGFUSE_HOST` (or `LANGFUSE_BASE_URL`); without any it is Langfuse's cloud.
    Raises: ConfigError.
    """

    def named(name: str) -> str:
        return environment.get(f"LANGFUSE_{name}", "").strip()

    if not named("PUBLIC_KEY") or not named("SECRET_KEY"):
        raise ConfigError(
            "LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY have to be set to read from Langfuse: make a pair in the "
            "settings of its project."
        )
    return LangfuseSettings(
        named("PUBLIC_KEY"),
        named("SECRET_KEY"),
        checked_host(host or named("HOST") or named("BASE_URL") or CLOUD),
    )


def checked_host(address: str) -> str:
    """The address of Langfuse without a slash at its end; `langfuse://host` is one with TLS. Raises: ConfigError."""
    address = address.strip().rstrip("/")
    if address.startswith("langfuse://"):
        address = "https://" + address.removeprefix("langfuse://")
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or parts.query or parts.fragment:
        raise ConfigError(
            "The address of Langfuse is no URL: write https://host, http://host:3000 or langfuse://host."
        )
    if parts.username or parts.password:
        raise ConfigError(
            "The address of Langfuse holds keys; put them into LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY."
        )
    return address
