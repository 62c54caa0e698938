"""How to reach an Elasticsearch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from flywheel.errors import ConfigError

DEFAULT_INDEX = "log-store-*"
_PLAIN = {"http": ("http", 9200), "elasticsearch": ("http", 9200)}
_ENCRYPTED = {"https": ("https", 443), "elasticsearchs": ("https", 9200)}
_SCHEMES = _PLAIN | _ENCRYPTED


@dataclass(frozen=True)
class ElasticsearchSettings:
    """Where Elasticsearch is, who we are, and how patient we are. Secrets do not show in its `repr`.

    Args:
        hosts: URLs `http[s]://host[:port][/prefix]`; none when `cloud_id` is given.
        api_key: In the encoded form that Elasticsearch shows once; else `username` and `password`; else no
            authentication.
        ca_certs: File of the certificate authority; `ca_fingerprint`: SHA-256 of its certificate, in hex.
        index: Index, alias, data stream or pattern, or several separated by commas.
        timeout_seconds: Longest wait for one answer.
        attempts: Requests made for one answer before giving up, and `first_pause` the seconds before the second; see
            `transport`.
        compress: Whether answers travel packed: for a network that is slower than some 50 MB/s.
        slices: Cursors that read at the same time.
        page_bytes: What one page of records shall weigh; its number of records follows from their size.
    """

    hosts: tuple[str, ...] = ("http://localhost:9200",)
    cloud_id: str | None = None
    api_key: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    ca_fingerprint: str | None = None
    index: str = DEFAULT_INDEX
    timeout_seconds: float = 30.0
    attempts: int = 8
    first_pause: float = 0.5
    compress: bool = False
    slices: int = 2
    page_bytes: int = 8_000_000


def settings_from_environment(environment: Mapping[str, str]) -> ElasticsearchSettings:
    """Settings from `ELASTICSEARCH_*` variables, for the command line.

    `ELASTICSEARCH_URL` is one URL or several separated by commas: `https://host:9200`, or
    `elasticsearch://user:password@host:9200/index` (`elasticsearchs://` with TLS). `ELASTICSEARCH_CLOUD_ID` may
    stand in its place. `_INDEX`, `_API_KEY`, `_USERNAME`, `_PASSWORD`, `_CA_CERTS` and `_CA_FINGERPRINT` add the rest,
    `_TIMEOUT_SECONDS`, `_ATTEMPTS`, `_SLICES` and `_PAGE_MEGABYTES` the patience and the pace.

    Raises: ConfigError.
    """

    def named(name: str) -> str | None:
        return environment.get(f"ELASTICSEARCH_{name}") or None

    url, cloud_id = named("URL"), named("CLOUD_ID")
    if not (url or cloud_id):
        raise ConfigError(
            "ELASTICSEARCH_URL is not set: give the address of Elasticsearch, for example https://host:9200, and "
            "ELASTICSEARCH_API_KEY where it asks for a key."
        )
    if url and cloud_id:
        raise ConfigError("ELASTICSEARCH_URL and ELASTICSEARCH_CLOUD_ID are both set; unset one of them.")
    addresses = [_Address.of(text) for text in url.split(",")] if url else []
    first = addresses[0] if addresses else _Address("", None, None, None)
    if any(each.whose not in (first.whose, (None, None, None)) for each in addresses):
        raise ConfigError(
            "The addresses in ELASTICSEARCH_URL name different users or indices. They are nodes of one cluster: name "
            "both in the first, or in ELASTICSEARCH_USERNAME, ELASTICSEARCH_PASSWORD and ELASTICSEARCH_INDEX."
        )
    usual = ElasticsearchSettings()
    settings = ElasticsearchSettings(
        hosts=tuple(address.host for address in addresses),
        cloud_id=cloud_id,
        api_key=named("API_KEY"),
        username=named("USERNAME") or first.username,
        password=named("PASSWORD") or first.password,
        ca_certs=named("CA_CERTS"),
        ca_fingerprint=named("CA_FINGERPRINT"),
        index=named("INDEX") or first.index or DEFAULT_INDEX,
        timeout_seconds=_number(environment, "TIMEOUT_SECONDS", usual.timeout_seconds, 0.001, 3_600),
        attempts=int(_number(environment, "ATTEMPTS", usual.attempts, 1, 20)),
        slices=int(_number(environment, "SLICES", usual.slices, 1, 16)),
        page_bytes=int(1e6 * _number(environment, "PAGE_MEGABYTES", usual.page_bytes / 1e6, 0.001, 100)),
    )
    check_credentials(settings)
    return settings


def check_credentials(settings: ElasticsearchSettings) -> None:
    """Raises ConfigError when two kinds of credentials are given, or half of one."""
    if settings.api_key and settings.username:
        raise ConfigError("Elasticsearch got an API key and a user name; give one of them.")
    if bool(settings.username) != bool(settings.password):
        raise ConfigError("Elasticsearch needs a user name and a password together, or an API key instead.")


def _number(environment: Mapping[str, str], name: str, usual: float, least: float, most: float) -> float:
    text = environment.get(f"ELASTICSEARCH_{name}", "").strip()
    try:
        number = float(text) if text else usual
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ConfigError(f"ELASTICSEARCH_{name} is {text!r}; give a number from {least:g} to {most:g}.")
    return number


@dataclass(frozen=True)
class _Address:
    host: str
    username: str | None
    password: str | None
    index: str | None

    @property
    def whose(self) -> tuple[str | None, str | None, str | None]:
        """User, password and index."""
        return self.username, self.password, self.index

    @classmethod
    def of(cls, text: str) -> _Address:
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError:
            _refuse(None)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.query or parts.fragment:
            _refuse(parts)
        scheme, usual_port = _SCHEMES[parts.scheme]
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        path = parts.path.rstrip("/")
        holds_index = parts.scheme.startswith("elasticsearch")
        return cls(
            f"{scheme}://{name}:{port or usual_port}{'' if holds_index else path}",
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            unquote(path.lstrip("/")) or None if holds_index else None,
        )


def normalised_host(url: str) -> str:
    """The URL with a port, as the client wants it. Raises ConfigError for one that is none or holds credentials."""
    address = _Address.of(url)
    if address.username or address.password:
        raise ConfigError("An address of Elasticsearch holds a password; put it into the fields made for it.")
    if address.index:
        raise ConfigError(
            f"An address of Elasticsearch names the index {address.index}; put it into `index`."
        )
    return address.host


def _refuse(parts: SplitResult | None) -> NoReturn:
    # the URL itself may hold a password, so it is not shown
    shown = f" of {parts.hostname!r}" if parts is not None and parts.hostname else ""
    raise ConfigError(
        f"The address{shown} is no URL of Elasticsearch: write https://host:9200, or "
        "elasticsearch://host:9200/index (elasticsearchs:// with TLS), and nothing after a '?': the rest has variables "
        "of its own."
    )
