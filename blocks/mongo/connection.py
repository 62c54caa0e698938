"""How to reach a MongoDB, and the client for it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from flywheel.errors import ConfigError

DEFAULT_DATABASE = "flywheel"
PATIENCE_SECONDS = 30.0
LONGEST_PATIENCE_SECONDS = 600.0
_SCHEMES = ("mongodb", "mongodb+srv")


class MongoConnection(msgspec.Struct, frozen=True):
    """Where the database is and how long to wait for it.

    `url` takes everything that MongoDB's connection strings do: several hosts of a replica set, `mongodb+srv`, TLS,
    the source of authentication. `username` and `password` may stand apart from it, without percent signs.
    `patience_seconds` bounds how long one call waits for a server that is away, its retries included.
    """

    url: str
    database: str = ""
    username: str = ""
    password: str = ""
    tls_ca_file: str = ""
    patience_seconds: float = PATIENCE_SECONDS

    def __repr__(self) -> str:
        return f"MongoConnection({self.place})"  # never the password, which may be part of the URL

    @property
    def database_name(self) -> str:
        """The database set, else the one that the URL names, else `flywheel`."""
        return self.database or unquote(urlsplit(self.url).path.strip("/")) or DEFAULT_DATABASE

    @property
    def place(self) -> str:
        """Hosts and database, for messages."""
        return f"{urlsplit(self.url).netloc.rpartition('@')[2]}/{self.database_name}"

    def client(self) -> Any:
        """A `pymongo.MongoClient`. Nothing is sent before its first use. Raises ConfigError."""
        if urlsplit(self.url).scheme not in _SCHEMES:
            raise ConfigError(
                "The address of MongoDB must begin with mongodb:// or mongodb+srv://, "
                "for example mongodb://localhost:27017/flywheel."
            )
        from pymongo import MongoClient
        from pymongo.errors import ConfigurationError, InvalidURI

        given = {name.lower() for name, _ in parse_qsl(urlsplit(self.url).query)}
        options: dict[str, Any] = {"appname": "flywheel", "w": "majority"}
        if self.tls_ca_file:
            options |= {"tls": True, "tlsCAFile": self.tls_ca_file}
        options = {name: value for name, value in options.items() if name.lower() not in given}
        if self.username:
            options |= {"username": self.username, "password": self.password}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "error", UserWarning
                )  # the driver goes on without an option that is wrong
                return MongoClient(self.url, **options)
        except (InvalidURI, ConfigurationError, ValueError, TypeError, OSError, UserWarning) as error:
            # Not the driver's own words for an address: they may repeat a part of the password.
            told = "" if isinstance(error, InvalidURI | ValueError) else f" ({error})"
            raise ConfigError(
                f"The address or the options of MongoDB cannot be used{told}. It reads "
                "mongodb://user:password@host:27017/database; write @ : / % in a password as %40 %3A %2F %25, and see "
                "that the host and the files it names exist."
            ) from None


def connection_from_environment(environment: Mapping[str, str] | None = None) -> MongoConnection:
    """From MONGODB_URL; where set, MONGODB_DATABASE, _USERNAME, _PASSWORD, _TLS_CA_FILE and _PATIENCE_SECONDS, too.

    Raises: ConfigError.
    """
    values = os.environ if environment is None else environment
    if not values.get("MONGODB_URL"):
        raise ConfigError(
            "To keep history in MongoDB set the environment variable MONGODB_URL, for example to "
            "mongodb://localhost:27017/flywheel, or name a saved block."
        )
    return MongoConnection(
        url=values["MONGODB_URL"],
        database=values.get("MONGODB_DATABASE", ""),
        username=values.get("MONGODB_USERNAME", ""),
        password=values.get("MONGODB_PASSWORD", ""),
        tls_ca_file=values.get("MONGODB_TLS_CA_FILE", ""),
        patience_seconds=_patience(values.get("MONGODB_PATIENCE_SECONDS", "").strip()),
    )


def _patience(text: str) -> float:
    try:
        seconds = float(text) if text else PATIENCE_SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_PATIENCE_SECONDS:
        raise ConfigError(
            f"MONGODB_PATIENCE_SECONDS is {text!r}; give seconds up to {LONGEST_PATIENCE_SECONDS:g}, such as 30."
        )
    return seconds
