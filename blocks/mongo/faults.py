"""What goes wrong with MongoDB: what passes and is tried again, and what the rest means to a user."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pymongo
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from flywheel.errors import ConfigError, DataError, EndpointRefused, FlywheelError, TransientRemoteError

T = TypeVar("T")

_REFUSED = {13, 18, 8000}  # Unauthorized, AuthenticationFailed, Atlas's own
_TIMED_OUT = {50, 64, 100, 202, 262}  # also: the majority did not confirm in time
_MOVED = {6, 7, 63, 89, 91, 133, 134, 150, 189, 234, 9001, 10107, 11600, 11602, 13388, 13435, 13436}
_DUPLICATE_KEY = 11000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_ATTEMPTS_AT_LEAST = 3


def with_patience(work: Callable[[], T], place: str, patience: float) -> T:
    """The result of `work`, tried again while its failure may pass, for `patience` seconds in all.

    `work` must be fit to be repeated after it had its effect, since an answer can be lost.
    Raises: what `explained` makes of the last failure.
    """
    started = time.monotonic()
    pause, attempts = _FIRST_PAUSE, 0
    while True:
        attempts += 1
        left = patience - (time.monotonic() - started)
        try:
            with pymongo.timeout(max(0.05, min(left, patience / _ATTEMPTS_AT_LEAST))):
                return work()
        except DocumentTooLarge as error:  # no PyMongoError
            raise DataError(
                f"MongoDB at {place} takes no document of this size: {error}. Nothing was written."
            ) from error
        except PyMongoError as error:
            waited = time.monotonic() - started
            if not _passes(error) or waited + pause >= patience:
                raise explained(error, place, waited, attempts) from error
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


def explained(error: PyMongoError, place: str, waited: float, attempts: int) -> FlywheelError:
    """What an error of the driver means to the user, and what to do."""
    if isinstance(error, BulkWriteError) and _codes(error) == {_DUPLICATE_KEY}:
        return DataError("Two candidates of a run, or two of a candidate's evaluations, have the same name.")
    if isinstance(error, ConfigurationError):
        return ConfigError(f"The options of MongoDB at {place} do not fit it: {error}.")
    if _passes(error):
        transient = TransientRemoteError(
            f"MongoDB at {place} could not be used for {waited:.0f} s ({_reason(error)}). Check that it runs and that "
            "the address is right (MONGODB_URL or the block), then run again: what was saved stays."
        )
        transient.attempts = attempts
        return transient
    if isinstance(error, OperationFailure) and error.code in _REFUSED:
        return EndpointRefused(
            f"MongoDB at {place} refuses this user ({_reason(error)}). Check name, password, authSource and that the "
            "user may read and write this database."
        )
    return DataError(f"MongoDB at {place} refused what was asked ({_reason(error)}).")


def _passes(error: PyMongoError) -> bool:
    if isinstance(error, ConnectionFailure | WriteConcernError | DuplicateKeyError) or error.timeout:
        return True  # a duplicate key: two writers inserted one id at once, and next time there is one to replace
    return bool(_codes(error) & (_TIMED_OUT | _MOVED)) or error.has_error_label("RetryableWriteError")


def _codes(error: PyMongoError) -> set[int]:
    if isinstance(error, BulkWriteError):
        details = error.details or {}
        faults = [*details.get("writeErrors", []), *details.get("writeConcernErrors", [])]
        return {fault.get("code", 0) for fault in faults}
    return {error.code or 0} if isinstance(error, OperationFailure) else set()


def _reason(error: PyMongoError) -> str:
    """The driver's words without the state of every server, which it adds at length."""
    text = str(error).split(", full error:")[0].split(", Timeout: ")[0]
    return text if isinstance(error, AutoReconnect) or len(text) < 300 else f"{text[:300]}..."
