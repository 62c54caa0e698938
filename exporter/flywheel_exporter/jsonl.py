"""A sink that appends to a file of JSON lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from flywheel_exporter.sinks import Line, Outcome


class JsonlFile:
    """Appends to `path`, which is opened for each batch: it may be moved away at any time, as log rotation does.

    Several processes may write to one local file: a batch is appended in one piece.

    Args:
        path: The file; its directory is made if it is missing.
        sync: Wait for the disk after each batch.
        mode: Permissions of a new file, before the umask. Prompts are nobody else's business.
    """

    def __init__(self, path: str | os.PathLike[str], sync: bool = False, mode: int = 0o640) -> None:
        self.path = Path(path).absolute()
        self._sync = sync
        self._mode = mode

    def write(self, lines: Sequence[Line]) -> Outcome:
        """See `Sink`. A full disk is an `OSError`; what was appended of the batch by then is taken back."""
        data = b"".join([line.data + b"\n" for line in lines])
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, self._mode)
        try:
            self._append(file, data)
            if self._sync:
                os.fsync(file)
        finally:
            os.close(file)
        return Outcome()

    def close(self) -> None:
        """Nothing is held open."""

    @staticmethod
    def _append(file: int, data: bytes) -> None:
        written = os.write(file, data)
        if written == len(data):
            return
        try:
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            # The whole batch comes again, so what stands of it goes, unless another process has written behind it.
            end = os.lseek(file, 0, os.SEEK_CUR)
            if os.fstat(file).st_size == end:
                os.ftruncate(file, end - written)
            raise
