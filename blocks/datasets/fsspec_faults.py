"""What goes wrong with a remote file system, and what it means to the user."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from flywheel.errors import (
    ConfigError,
    EndpointRefused,
    FlywheelError,
    RemoteError,
    RemoteRejected,
    TransientRemoteError,
)

_CREDENTIALS = (
    "credential",
    "access key",
    "forbidden",
    "unauthorized",
    "access denied",
    "signature",
    "401",
    "403",
)
_BUCKET = ("nosuchbucket", "bucket does not exist", "bucket not found")
_LOCAL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn errors of a file system at `url` into ours. Those of the local disk (full, read-only) stay as they are.

    Libraries of the clouds raise errors of their own, which this code cannot import: they are told by their words.
    """
    try:
        yield
    except FlywheelError:
        raise
    except OSError as error:
        if error.errno in _LOCAL_DISK:
            raise
        raise _explained(error, url) from error
    except Exception as error:
        raise _explained(error, url) from error


def _explained(error: Exception, url: str) -> FlywheelError:
    said = f"{type(error).__name__}: {error}"
    words = said.lower()
    if isinstance(error, ImportError):
        return ConfigError(
            f"No package is installed for the dataset store {url} ({error}). "
            "Install flywheel's extra for it, for example `pip install 'flywheel[s3]'` or `[gcs]`."
        )
    if "protocol not known" in words:
        return ConfigError(
            f"The dataset store {url} begins with a kind of address that is not known ({error})."
        )
    if any(word in words for word in _BUCKET):
        return RemoteRejected(
            f"The dataset store {url} names a bucket that is not there ({said}). Create it first."
        )
    if isinstance(error, PermissionError) or any(word in words for word in _CREDENTIALS):
        return EndpointRefused(
            f"The dataset store {url} refuses us ({said}). Give credentials in the way its provider has them "
            "(environment or profile), or in a block, and see that they may read, write, list and delete there."
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return RemoteRejected(
            f"The dataset store {url} is not there ({said}). Create the bucket or directory first."
        )
    if isinstance(error, TimeoutError | ConnectionError) or any(
        word in words for word in ("timeout", "timed out", "connect", "slowdown", "500", "502", "503", "504")
    ):
        return TransientRemoteError(f"The dataset store {url} cannot be reached ({said}). Try again.")
    return RemoteError(f"The dataset store {url} failed ({said}).")
